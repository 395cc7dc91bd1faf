//! January's flights through the real program, on each log: exact at the end, whatever happens on the way.

use std::sync::LazyLock;
use std::time::Duration;

use rustix::process::Signal;
use tests::chance::Chance;
use tests::flights::Flights;
use tests::http::get;
use tests::january::{self, FLIGHTS, Totals};
use tests::logs::{each_log, eventually, kafka};

static TOTALS: LazyLock<Totals> = LazyLock::new(Totals::of_the_month);

/// Flights read, airports counted, carriers joined.
const SUBTOPOLOGIES: usize = 3;

/// How often an application is killed on its way through the month.
const KILLS: usize = 6;

/// Between progress that is seen and a kill: some commit intervals, so that it meets any part of one.
const HESITATION_MS: u64 = 60;

#[test]
fn the_month_comes_to_the_totals_of_the_file() {
    each_log(|log| {
        for provider in ["memory", "lmdb"] {
            let flights = Flights::new(log, provider, 4);
            flights.run_to_end();
            assert_eq!(flights.lag(), 0);
            flights.check(&TOTALS);
        }
    });
}

#[test]
fn kills_in_the_middle_leave_neither_gap_nor_repeat() {
    each_log(|log| {
        for provider in ["memory", "lmdb"] {
            let flights = Flights::without_flights(log, provider, 4);
            be_killed_all_month(&flights, || {});
            flights.run_to_end();
            flights.check(&TOTALS);
        }
    });
}

#[test]
fn a_lost_state_directory_is_made_again_from_the_changelogs() {
    each_log(|log| {
        for provider in ["memory", "lmdb"] {
            let flights = Flights::without_flights(log, provider, 4);
            let forget = || std::fs::remove_dir_all(flights.mill.dir().join("state")).unwrap();
            be_killed_all_month(&flights, forget);
            flights.run_to_end();
            forget();
            flights.run_to_end();
            flights.check(&TOTALS);
        }
    });
}

#[test]
fn of_two_processes_one_is_killed_and_the_other_takes_over() {
    let Some(log) = kafka() else { return };
    let mut chance = Chance::new();
    let flights = Flights::without_flights(&log, "lmdb", 8);
    let (mut left, mut killed) = (flights.start("state"), flights.start("other-state"));
    let (address, theirs) = (left.address(), killed.address());
    eventually("both have tasks and all tasks run", || {
        let (a, b) = (running_tasks(&flights, &address), running_tasks(&flights, &theirs));
        (a > 0 && b > 0 && a + b == SUBTOPOLOGIES * 8).then_some(())
    });

    std::thread::scope(|scope| {
        scope.spawn(|| flights.feed(&january::flights()));
        wait_for_progress(&flights, &mut chance, FLIGHTS);
        killed.kill();
    });
    eventually("the other has all tasks", || (running_tasks(&flights, &address) == SUBTOPOLOGIES * 8).then_some(()));
    eventually("nothing is left to process", || (flights.lag() == 0).then_some(()));
    left.signal(Signal::TERM);
    left.finish().ok();
    flights.check(&TOTALS);
}

/// Tasks of the process at this address that run.
fn running_tasks(flights: &Flights<'_>, address: &str) -> usize {
    let status = get(address, &format!("/v1/apps/{}/status", flights.id)).is(200).json();
    status["tasks"].as_array().unwrap().iter().filter(|task| task["state"] == "RUNNING").count()
}

/// Feeds the month in slices, and kills the application in the middle of each, by `kill -9`. Does `after` each kill.
fn be_killed_all_month(flights: &Flights<'_>, after: impl Fn()) {
    let mut chance = Chance::new();
    let month = january::flights();
    let lines: Vec<&str> = month.split_inclusive('\n').collect();
    let mut in_the_middle = 0;
    for slice in lines.chunks(FLIGHTS.div_ceil(KILLS)) {
        let mut running = flights.start("state");
        running.ready();
        flights.feed(&slice.concat());
        wait_for_progress(flights, &mut chance, slice.len());
        running.kill();
        running.finish();
        in_the_middle += usize::from(flights.lag() > 0);
        after();
    }
    assert!(in_the_middle > 0, "every kill came too late");
}

/// Until some of what was fed is done, at most half, and a moment longer.
fn wait_for_progress(flights: &Flights<'_>, chance: &mut Chance, fed: usize) {
    let enough = flights.progress() + 1 + chance.below(fed as u64 / 2) as usize;
    eventually("progress", || (flights.progress() >= enough.min(FLIGHTS)).then_some(()));
    std::thread::sleep(Duration::from_millis(chance.below(HESITATION_MS)));
}
