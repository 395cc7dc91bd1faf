//! The events of the Nexmark benchmark, as the crate `nexmark` generates them (a port of Apache Beam's generator), for the
//! topics of `plugins/nexmark`.

use nexmark::EventGenerator;
use nexmark::config::NexmarkConfig;
use nexmark::event::Event;

/// The topics, in the order in which an event's number takes them: of 50 events 1, 3 and 46.
pub const TOPICS: [&str; 3] = ["persons", "auctions", "bids"];

/// The first event's timestamp, ms.
pub const START_MS: i64 = 1_700_000_000_000;

/// Numbers of events after which the kinds come again: an event's data follows from its number alone, so that seeds are
/// distances between first events, in multiples of this.
const ROUND: usize = 50;
/// Far enough apart for the largest run.
const SEED_ROUNDS: usize = 10_000_000;
/// Beyond it the numbers of the persons and auctions would not do for 53 bits, which JSON is safe with.
const SEEDS: u64 = 1_000_000;

/// Which events.
#[derive(Clone, Copy, Debug)]
pub struct Feed {
    pub seed: u64,
    /// Events in a second of their own time.
    pub rate: usize,
    /// Events among which the order is shuffled; 1: none.
    pub disorder: usize,
}

/// An event as a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fed {
    pub topic: &'static str,
    /// Big-endian: the person, the auction, or the auction that the bid is for.
    pub key: [u8; 8],
    /// JSON with the generator's field names.
    pub value: String,
    /// Ms since the epoch: the event's `date_time`.
    pub timestamp: i64,
}

impl Default for Feed {
    fn default() -> Feed {
        Feed { seed: 0, rate: 10_000, disorder: 1 }
    }
}

impl Feed {
    /// Without an end; the same for the same feed.
    pub fn events(self) -> impl Iterator<Item = Fed> {
        let config = NexmarkConfig {
            first_event_id: (self.seed % SEEDS) as usize * ROUND * SEED_ROUNDS,
            base_time: START_MS as u64,
            first_rate: self.rate,
            next_rate: self.rate,
            out_of_order_group_size: self.disorder,
            ..NexmarkConfig::default()
        };
        EventGenerator::new(config).map(fed)
    }
}

fn fed(event: Event) -> Fed {
    let timestamp = event.timestamp() as i64;
    // Writing plain structures of numbers and text does not fail.
    let (topic, key, value) = match &event {
        Event::Person(person) => (TOPICS[0], person.id, serde_json::to_string(person)),
        Event::Auction(auction) => (TOPICS[1], auction.id, serde_json::to_string(auction)),
        Event::Bid(bid) => (TOPICS[2], bid.auction, serde_json::to_string(bid)),
    };
    Fed { topic, key: (key as i64).to_be_bytes(), value: value.unwrap_or_default(), timestamp }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn some(feed: Feed) -> Vec<Fed> {
        feed.events().take(500).collect()
    }

    #[test]
    fn a_feed_is_the_same_for_its_seed_and_another_for_another() {
        let feed = Feed { seed: 7, ..Feed::default() };
        assert_eq!(some(feed), some(feed));
        assert_ne!(some(feed), some(Feed { seed: 8, ..feed }));
    }

    #[test]
    fn of_fifty_events_one_is_a_person_and_three_are_auctions_whatever_the_seed() {
        for seed in [0, 3, SEEDS - 1] {
            let events = some(Feed { seed, ..Feed::default() });
            let count = |topic| events.iter().filter(|event| event.topic == topic).count();
            assert_eq!(TOPICS.map(count), [10, 30, 460]);
            let numbers = |event: &Fed| i64::from_be_bytes(event.key);
            assert!(events.iter().all(|event| (0..1 << 53).contains(&numbers(event))));
        }
    }

    #[test]
    fn time_goes_by_the_rate_and_disorder_shuffles_it() {
        let slow = Feed { rate: 100, ..Feed::default() };
        let times = |feed| some(feed).iter().map(|event| event.timestamp - START_MS).collect::<Vec<_>>();
        assert!(times(slow).is_sorted());
        assert_eq!(times(slow).last(), Some(&4_990));
        let shuffled = times(Feed { disorder: 50, ..slow });
        assert!(!shuffled.is_sorted());
        let mut sorted = shuffled.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, times(slow));
    }
}
