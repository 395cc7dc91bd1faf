//! The clock on the wall steps an hour or a day ahead and back. Time of the records is their own; what goes by the clock on the
//! wall is neither silent nor beside itself.

use std::time::{Duration, Instant};

use tests::chaos::clock::Clock;
use tests::chaos::kills::settle;
use tests::chaos::load::Load;
use tests::chaos::ticks::{CLOCKS, EVERY_MS, Ticks};
use tests::chaos::words::{LMDB, STATE, Words};
use tests::logs::{each_log, eventually};

/// A mistake of summer time. Kafka takes no record that is further ahead of its own clock.
const HOUR: i64 = 3_600;

/// A machine that comes from another time altogether.
const DAY: i64 = 24 * HOUR;

/// Where the clock stands, in seconds from the right time, one after the other.
const STEPS: [i64; 6] = [HOUR, -HOUR, 0, -DAY, 0, HOUR];

/// Between two steps: many commits.
const APART: Duration = Duration::from_millis(700);

#[test]
fn under_load_nothing_is_lost_or_repeated_when_the_clock_steps() {
    each_log(|log| {
        let (words, clock) = (Words::new(log, LMDB), Clock::new());
        let load = Load::start(&words);
        let mut running = words.start_with(STATE, |command| clock.hang(command));
        let address = running.ready();
        let commits = || words.metric(&address, "millstream_commits_total", "committed");
        for at in STEPS {
            clock.set(at);
            let (before, since) = (commits(), Instant::now());
            eventually("it commits at another time", || (commits() > before + 1).then_some(()));
            std::thread::sleep(APART.saturating_sub(since.elapsed()));
        }
        let fed = load.end();
        let said = words.stop(running);
        settle(&words, fed, vec![said]);
    });
}

/// Ticks of all clocks that show that they go on.
const SOME: u64 = 10;

#[test]
fn punctuations_by_the_wall_go_on_after_every_step_and_do_not_make_up_for_it() {
    each_log(|log| {
        let clock = Clock::new();
        let ticks = Ticks::new(log);
        let mut running = ticks.start_with(|command| clock.hang(command));
        let begun = Instant::now();
        let address = running.ready();
        let until_it_ticks = || {
            let before = ticks.commits(&address);
            eventually("it ticks", || (ticks.commits(&address) > before + SOME).then_some(()));
        };
        until_it_ticks();
        for at in STEPS {
            clock.set(at);
            until_it_ticks();
        }
        let (_, counted) = ticks.stop(running);
        let most = begun.elapsed().as_millis() as usize / EVERY_MS as usize + STEPS.len();
        assert_eq!(counted.len(), CLOCKS as usize, "every clock ticks");
        for (which, rows) in &counted {
            assert!(rows.len() <= most, "{which} ticked {} times, {most} were due", rows.len());
            let times: Vec<i64> = rows.iter().map(|row| row.timestamp).collect();
            let steps = times.windows(2).filter(|pair| (pair[1] - pair[0]).abs() > HOUR * 900).count();
            assert_eq!(steps, STEPS.len(), "{which} tells another time: {times:?}");
        }
    });
}

#[test]
fn a_retry_does_not_wait_for_the_time_that_the_clock_went_back() {
    each_log(|log| {
        let clock = Clock::new();
        let ticks = Ticks::new(log);
        let mut running = ticks.start_with(|command| clock.hang(command));
        running.ready();
        ticks.say("again");
        std::thread::sleep(Duration::from_secs(1));
        clock.set(-HOUR);
        ticks.say("strike");
        let strikes = || ticks.mill.run(&["store", "get", ".", "counts", "strike-0", "-o", "json"]).code == Some(0);
        eventually("the next line is counted", || strikes().then_some(()));
        let (_, counted) = ticks.stop(running);
        assert_eq!(counted["strike-0"].len(), 1);
    });
}
