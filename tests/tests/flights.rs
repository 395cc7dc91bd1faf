//! January's flights through the real program, on each log: exact at the end, whatever happens on the way.

#![allow(clippy::unwrap_used)]

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

/// Between progress that is seen and a kill: several commit intervals, so that it meets any part of one.
const HESITATION_MS: u64 = 300;

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
        let mut chance = Chance::new();
        for provider in ["memory", "lmdb"] {
            let flights = Flights::new(log, provider, 4);
            for _ in 0..3 {
                kill_in_the_middle(&flights, &mut chance);
            }
            flights.run_to_end();
            flights.check(&TOTALS);
        }
    });
}

#[test]
fn a_lost_state_directory_is_made_again_from_the_changelogs() {
    each_log(|log| {
        let mut chance = Chance::new();
        for provider in ["memory", "lmdb"] {
            let flights = Flights::new(log, provider, 4);
            kill_in_the_middle(&flights, &mut chance);
            forget_state(&flights);
            flights.run_to_end();
            forget_state(&flights);
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
    let (mut one, mut other) = (flights.start("state"), flights.start("other-state"));
    let (ours, theirs) = (one.address(), other.address());
    eventually("both have tasks and all tasks run", || {
        let (a, b) = (running_tasks(&flights, &ours), running_tasks(&flights, &theirs));
        (a > 0 && b > 0 && a + b == SUBTOPOLOGIES * 8).then_some(())
    });

    let topic = flights.topic("flights");
    let (mut killed, left, address) = match chance.below(2) {
        0 => (one, other, theirs),
        _ => (other, one, ours),
    };
    std::thread::scope(|scope| {
        scope.spawn(|| flights.mill.run_with(&["produce", &topic], january::flights()).ok());
        wait_for_the_middle(&flights, &mut chance);
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

/// Starts the application and kills it while it works. Where it is found to have ended its work first, the next
/// kill of the caller comes too late as well, and that is a run like any other.
fn kill_in_the_middle(flights: &Flights<'_>, chance: &mut Chance) {
    let mut running = flights.start("state");
    wait_for_the_middle(flights, chance);
    running.kill();
    running.finish();
}

/// Until some of what is still to do was done, and a moment longer.
fn wait_for_the_middle(flights: &Flights<'_>, chance: &mut Chance) {
    let before = flights.progress();
    let enough = before + 1 + chance.below((FLIGHTS - before.min(FLIGHTS - 1)) as u64 / 2) as usize;
    eventually("progress", || (flights.progress() >= enough.min(FLIGHTS)).then_some(()));
    std::thread::sleep(Duration::from_millis(chance.below(HESITATION_MS)));
}

fn forget_state(flights: &Flights<'_>) {
    std::fs::remove_dir_all(flights.mill.dir().join("state")).unwrap();
}
