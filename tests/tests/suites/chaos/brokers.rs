//! The broker goes away and comes back.

use std::time::{Duration, Instant};

use tests::broker::Brokers;
use tests::chance::{Chance, times};
use tests::chaos::kills::settle;
use tests::chaos::load::Load;
use tests::chaos::words::{LMDB, Words};
use tests::http::get;
use tests::logs::{eventually, kafka, kafka_at};
use tests::millstream::Running;
use tests::process;

const CRASHES: usize = 3;

/// Between a broker that works and its crash, at most.
const APART_MS: u64 = 1_500;

#[test]
fn a_broker_that_crashes_and_returns_has_lost_nothing_and_repeats_nothing() {
    if kafka().is_none() {
        return;
    }
    let (broker, mut chance) = (Brokers::start(1), Chance::new());
    let log = kafka_at(&broker.addresses[0], &[]);
    let words = Words::new(&log, LMDB);
    let load = Load::start(&words);
    let mut running = words.start();
    let address = running.ready();
    for _ in 0..times(CRASHES) {
        std::thread::sleep(Duration::from_millis(chance.below(APART_MS)));
        broker.kill(0);
        std::thread::sleep(Duration::from_millis(chance.below(APART_MS)));
        broker.again(0);
        let commits = || words.metric(&address, "millstream_commits_total", "committed");
        let before = commits();
        eventually("commits on the broker that is back", || (commits() > before + 1).then_some(()));
    }
    let fed = load.end();
    let said = words.stop(running);
    settle(&words, fed, vec![said]);
}

const AWAY: Duration = Duration::from_secs(60);

/// Its state says so this long after the broker went.
const TOLD: Duration = Duration::from_secs(10);

/// Of one core while it waits.
const CPU_SHARE: f64 = 0.05;

/// Anonymous memory that it may take meanwhile: caches fill, nothing piles up.
const GROWTH: u64 = 16 << 20;

#[test]
fn without_its_broker_an_application_lives_says_why_and_waits_without_work() {
    if kafka().is_none() {
        return;
    }
    let broker = Brokers::start(1);
    let log = kafka_at(&broker.addresses[0], &[]);
    let words = Words::new(&log, LMDB);
    let load = Load::start(&words);
    let mut running = words.start();
    let address = running.ready();
    let commits = || words.metric(&address, "millstream_commits_total", "committed");
    eventually("commits", || (commits() > 20).then_some(()));
    broker.kill(0);
    let fed = std::thread::scope(|scope| {
        let fed = scope.spawn(|| load.end());
        be_without(&words, &running, &address);
        broker.again(0);
        fed.join().expect("lines can be written")
    });
    let before = commits();
    eventually("commits on the broker that is back", || (commits() > before + 1).then_some(()));
    let said = words.stop(running);
    settle(&words, fed, vec![said]);
}

fn be_without(words: &Words<'_>, running: &Running, address: &str) {
    let gone = Instant::now();
    let reason = eventually("it says that the log is away", || {
        let status = words.status(address);
        (status["state"] == "DEGRADED").then(|| status["reason"].as_str().unwrap_or_default().to_owned())
    });
    let told = gone.elapsed();
    assert!(!reason.is_empty());
    let (busy, memory) = (process::cpu_time(running.id()), process::anonymous_memory(running.id()));
    let since = Instant::now();
    while gone.elapsed() < AWAY {
        get(address, "/livez").is(200);
        std::thread::sleep(Duration::from_secs(1));
    }
    let share = (process::cpu_time(running.id()) - busy).as_secs_f64() / since.elapsed().as_secs_f64();
    let growth = process::anonymous_memory(running.id()).saturating_sub(memory);
    println!("told after {told:?}: {reason}; {:.1} % of a core, {} KiB more", 100.0 * share, growth >> 10);
    assert!(told < TOLD && share < CPU_SHARE && growth < GROWTH, "{told:?} {share} {growth}");
}

/// A stop without a broker waits a little for one, and has nobody to take leave of. Ten seconds are wanted of a machine that
/// has nothing else to do.
const STOPPED: Duration = Duration::from_secs(20);

#[test]
fn a_stop_while_the_broker_is_away_ends_soon_and_the_next_start_does_again_what_was_not_committed() {
    if kafka().is_none() {
        return;
    }
    let broker = Brokers::start(1);
    let log = kafka_at(&broker.addresses[0], &[]);
    let words = Words::new(&log, LMDB);
    let load = Load::start(&words);
    let mut lives = Vec::new();
    for waits_until_told in [true, false] {
        let mut running = words.start();
        let address = running.ready();
        let commits = || words.metric(&address, "millstream_commits_total", "committed");
        eventually("commits", || (commits() > 5).then_some(()));
        broker.kill(0);
        if waits_until_told {
            eventually("it says that the log is away", || {
                (words.status(&address)["state"] == "DEGRADED").then_some(())
            });
        }
        let since = Instant::now();
        lives.push(words.stop(running));
        let took = since.elapsed();
        println!("stopped without a broker in {took:?}");
        assert!(took < STOPPED, "it took {took:?}: {}", lives.concat());
        broker.again(0);
    }
    settle(&words, load.end(), lives);
}
