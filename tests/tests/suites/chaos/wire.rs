//! The wire to Kafka: slow, cut, and losing the answer that matters. The host speaks to a broker of the test's own
//! behind a proxy that understands Kafka's messages.

use std::time::{Duration, Instant};

use tests::broker::Broker;
use tests::chance::{Chance, times};
use tests::chaos::kills::settle;
use tests::chaos::load::Load;
use tests::chaos::ticks::{CLOCKS, Ticks};
use tests::chaos::words::{LMDB, Words};
use tests::logs::{TestLog, eventually, kafka, kafka_at};
use tests::proxy::{END_TRANSACTION, Lost, Proxy};

/// A transaction is given up soon, by the coordinator and by the client; a member is missed late, so that the tasks stay
/// where they are.
const QUICK: [(&str, &str); 3] =
    [("transaction.timeout.ms", "2000"), ("socket.timeout.ms", "2000"), ("session.timeout.ms", "30000")];

/// Longer than the client asks for the answer to a commit: then it has to find out for itself.
const SILENCE: Duration = Duration::from_secs(7);

/// librdkafka asks again before that, and is told.
const HICCUP: Duration = Duration::from_millis(300);

/// What becomes of a commit, and for how long nobody hears of it.
fn losses() -> impl Iterator<Item = (Lost, Duration)> {
    let each = [(Lost::Answer, HICCUP), (Lost::Request, HICCUP), (Lost::Answer, SILENCE), (Lost::Request, SILENCE)];
    each.into_iter().cycle().take(times(each.len()))
}

fn behind_a_proxy(test: impl Fn(&TestLog, &Proxy)) {
    if kafka().is_none() {
        return;
    }
    let proxy = Proxy::bind();
    let broker = Broker::behind(&proxy);
    test(&kafka_at(&broker.address, &[]), &proxy);
}

/// Waits until the process at this address has committed once more and its tasks run.
fn until_it_commits(words: &Words<'_>, address: &str) {
    let commits = || words.metric(address, "millstream_commits_total", "committed");
    let before = commits();
    eventually("another commit", || (commits() > before + 1).then_some(()));
}

#[test]
fn a_commit_whose_answer_is_lost_was_made_or_was_not_and_is_neither_lost_nor_made_twice() {
    behind_a_proxy(|log, proxy| {
        let words = Words::with_kafka(log, LMDB, &QUICK);
        let load = Load::start(&words);
        let mut running = words.start();
        let address = running.ready();
        for (lost, down) in losses() {
            until_it_commits(&words, &address);
            proxy.lose(END_TRANSACTION, lost, down);
            eventually("a commit", || proxy.has_lost().then_some(()));
            std::thread::sleep(down);
            println!("{lost:?} for {down:?}");
        }
        until_it_commits(&words, &address);
        let fed = load.end();
        let said = words.stop(running);
        settle(&words, fed, vec![said]);
    });
}

/// No input moves: what the interval leaves beside the inputs' old offsets settles it.
#[test]
fn a_commit_whose_answer_is_lost_while_only_the_clock_wrote_is_settled_all_the_same() {
    behind_a_proxy(|log, proxy| {
        let ticks = Ticks::with_kafka(log, &QUICK);
        let mut running = ticks.start_with(|_| {});
        let address = running.ready();
        let until_it_ticks = || {
            let before = ticks.commits(&address);
            eventually("it ticks", || (ticks.commits(&address) > before + 1).then_some(()));
        };
        for (lost, down) in losses() {
            until_it_ticks();
            proxy.lose(END_TRANSACTION, lost, down);
            eventually("a commit", || proxy.has_lost().then_some(()));
            std::thread::sleep(down);
            println!("{lost:?} for {down:?}");
        }
        until_it_ticks();
        let (said, counted) = ticks.stop(running);
        assert!(said.contains("the outcome of a commit is unknown"), "nothing was to be settled: {said}");
        assert!(!said.contains("tasks were lost"), "{said}");
        assert!(counted.keys().all(|what| what.starts_with("tick")), "a line came: {:?}", counted.keys());
        assert_eq!(counted.len(), CLOCKS as usize);
    });
}

/// Commits that are held back for so long.
const DELAYED: usize = 2;

#[test]
fn a_commit_that_arrives_when_its_producer_was_replaced_changes_nothing() {
    behind_a_proxy(|log, proxy| {
        let words = Words::with_kafka(log, LMDB, &QUICK);
        let load = Load::start(&words);
        let mut running = words.start();
        let address = running.ready();
        for _ in 0..times(DELAYED) {
            until_it_commits(&words, &address);
            proxy.lose(END_TRANSACTION, Lost::Held, SILENCE);
            eventually("a commit", || proxy.has_lost().then_some(()));
            std::thread::sleep(SILENCE);
            until_it_commits(&words, &address);
            proxy.deliver();
        }
        let fed = load.end();
        let said = words.stop(running);
        settle(&words, fed, vec![said]);
    });
}

/// Cuts of all connections at random instants.
const CUTS: usize = 12;

/// Between two of them at most.
const APART_MS: u64 = 1_500;

/// No connection can be made after one.
const DOWN_MS: u64 = 800;

/// On each way: two seconds there and back.
const SLOW: Duration = Duration::from_secs(1);

/// A transaction takes a round trip for every few of its partitions; one or two do not fit into their time.
const SLOW_COMMIT: Duration = Duration::from_secs(150);

#[test]
fn a_slow_wire_that_breaks_delays_and_does_nothing_else() {
    behind_a_proxy(|log, proxy| {
        let mut chance = Chance::new();
        let words = Words::with_kafka(log, LMDB, &[("session.timeout.ms", "30000")]);
        let load = Load::start(&words);
        let mut running = words.start();
        let address = running.ready();
        for _ in 0..times(CUTS) {
            std::thread::sleep(Duration::from_millis(chance.below(APART_MS)));
            proxy.cut(Duration::from_millis(chance.below(DOWN_MS)));
        }
        until_it_commits(&words, &address);
        proxy.delay(SLOW);
        // The transaction that it catches is given up, and the next one has more time.
        let commits = || words.metric(&address, "millstream_commits_total", "committed");
        let (before, start) = (commits(), Instant::now());
        while commits() == before {
            assert!(start.elapsed() < SLOW_COMMIT, "no commit over a slow wire: {}", running.said());
            std::thread::sleep(Duration::from_millis(100));
        }
        println!("a commit over a slow wire after {:?}", start.elapsed());
        proxy.delay(Duration::ZERO);
        let fed = load.end();
        let said = words.stop(running);
        settle(&words, fed, vec![said]);
    });
}
