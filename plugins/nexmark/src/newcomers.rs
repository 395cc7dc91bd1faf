//! q8: persons who sell something in the ten seconds in which they were new.

use millstream_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use crate::events::{Auction, Person};
use crate::{BACKLOG, WINDOW, window_of};

#[derive(Serialize, Deserialize)]
struct Newcomer {
    id: i64,
    name: String,
    /// Of the window, in ms.
    start: i64,
}

impl Json for Newcomer {}

/// Lets a person of a window pass once, however many things it sells.
struct Once {
    seen: WindowStore<i64, i64>,
}

impl Processor<i64, Newcomer, i64, Newcomer> for Once {
    fn process(&mut self, person: Record<i64, Newcomer>, ctx: &mut Context<i64, Newcomer>) -> Result<(), Failure> {
        let start = person.value.start;
        if self.seen.fetch_one(&person.key, start)?.is_none() {
            self.seen.put(&person.key, start, &person.timestamp)?;
            ctx.forward(person);
        }
        Ok(())
    }
}

pub fn who_sell(persons: &Stream<i64, Person>, auctions: &Stream<i64, Auction>, app: &mut Topology) {
    let seen = app.window_store(Materialized::named("q8-seen").window_size(WINDOW).retention(BACKLOG));
    let sold = auctions.select_key(|_, auction| auction.seller);
    // As far apart as two times of one window can be; that they are of one is seen afterwards.
    let windows = JoinWindows::of(WINDOW).grace(BACKLOG);
    let pair = |person: Person, auction: Auction| {
        let start = window_of(person.date_time);
        (window_of(auction.date_time) == start).then_some(Newcomer { id: person.id, name: person.name, start })
    };
    persons
        .join_stream(&sold, pair, windows)
        .named("q8-sold")
        .flat_map_values(|newcomer| newcomer)
        .process("q8-once", |init| Once { seen: init.window_store(&seen) })
        .to("q8");
}
