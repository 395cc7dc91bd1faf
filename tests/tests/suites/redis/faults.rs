//! Words are counted exactly on a Redis server while that dies, hangs, forgets, goes back and changes hands. Each
//! disturbance comes twice, in the middle of the work; the store is held against its changelog behind each.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use millstream::app::App;
use tests::application::{Application, entries};
use tests::logs::{TestLog, each_log, eventually};
use tests::providers::counts;
use tests::redis::Redis;

/// Lines that each of two tasks' sources gets half of, in thirds.
const ROUNDS: usize = 60;
const LINES: [&str; 3] = ["the mill turns", "the wheel turns the stone", "a mill a wheel"];

fn words<'a>(log: &'a TestLog, redis: &Redis) -> Application<'a> {
    let manifest = format!("commit_interval = \"5ms\"\n{}", redis.manifest(", timeout_ms = \"500\""));
    Application::new(log, "plugins/word-count", &manifest, &[("lines", 2), ("counts", 2)])
}

/// Feeds a third of the lines, `disturb`s with another one coming in, and waits until all of it is counted.
struct Work<'a> {
    log: &'a TestLog,
    application: &'a Application<'a>,
    expected: BTreeMap<String, i64>,
    fed: usize,
}

impl<'a> Work<'a> {
    fn new(log: &'a TestLog, application: &'a Application<'a>) -> Work<'a> {
        Work { log, application, expected: BTreeMap::new(), fed: 0 }
    }

    fn feed(&mut self, rounds: usize) {
        for _ in 0..rounds {
            let line = LINES[self.fed % LINES.len()];
            line.split(' ').for_each(|word| *self.expected.entry(word.to_owned()).or_default() += 1);
            self.log.produce(&self.application.topic("lines"), (self.fed % 2) as i32, &[line]);
            self.fed += 1;
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn is_counted(&self) -> bool {
        let counts = counts(self.application, true);
        self.expected.iter().all(|(word, count)| counts.get(word).is_some_and(|found| found >= count))
    }

    /// Counts and stored counts are what the lines come to.
    fn finish(&self, app: &App) {
        eventually("the end", || (app.has_ended() || self.is_counted()).then_some(()));
        assert!(!app.has_ended(), "it goes on");
        assert_eq!(counts(self.application, true), self.expected);
        let stored = entries(self.application, app, "word-counts").into_iter().map(|(word, (count, _))| {
            (String::from_utf8(word).unwrap(), i64::from_be_bytes(count.try_into().unwrap()))
        });
        assert_eq!(stored.collect::<BTreeMap<_, _>>(), self.expected);
    }
}

fn survives(log: &TestLog, redis: &Redis, mut disturb: impl FnMut(usize)) {
    let application = words(log, redis);
    let app = application.start();
    let mut work = Work::new(log, &application);
    work.feed(ROUNDS / 3);
    work.finish(&app);
    for time in 0..2 {
        work.feed(ROUNDS / 6);
        disturb(time);
        work.feed(ROUNDS / 6);
        work.finish(&app);
    }
    app.stop(false).unwrap_or_else(|problem| panic!("{problem}"));
}

#[test]
fn words_are_counted_and_a_start_reads_nothing_that_the_server_has() {
    each_log(|log| {
        let redis = Redis::start();
        let application = words(log, &redis);
        let mut work = Work::new(log, &application);
        for _ in 0..3 {
            work.feed(9);
            let app = application.start();
            work.finish(&app);
            app.stop(false).unwrap();
        }
        assert!(redis.ask(&["DBSIZE"]).trim() != "0", "the state is there");
    });
}

/// What it had acknowledged may be gone: the host finds an older position, and restores.
#[test]
fn a_server_that_is_killed_and_comes_back_costs_no_count() {
    each_log(|log| {
        for config in ["appendonly yes\nappendfsync always\n", "appendonly yes\nappendfsync everysec\n", ""] {
            let redis = Redis::with(config);
            survives(log, &redis, |time| {
                redis.kill();
                // Shorter than a call tries, and longer.
                std::thread::sleep(Duration::from_millis([100, 1_500][time]));
                redis.again();
            });
        }
    });
}

#[test]
fn a_server_that_hangs_for_seconds_holds_its_tasks_up_and_costs_no_count() {
    each_log(|log| {
        let redis = Redis::start();
        survives(log, &redis, |_| {
            redis.freeze();
            std::thread::sleep(Duration::from_secs(3));
            redis.thaw();
        });
    });
}

#[test]
fn a_server_that_is_flushed_under_the_work_is_restored() {
    each_log(|log| {
        let redis = Redis::start();
        survives(log, &redis, |_| assert!(redis.ask(&["FLUSHALL"]).contains("OK")));
    });
}

/// One of the three keys of a store: what is left of it is worth nothing.
#[test]
fn a_server_that_loses_part_of_a_store_is_restored() {
    each_log(|log| {
        let redis = Redis::start();
        survives(log, &redis, |time| {
            let part = ["*:values", "*:order"][time];
            let keys = redis.ask(&["KEYS", part]);
            keys.lines().for_each(|key| drop(redis.ask(&["DEL", key])));
            assert!(keys.lines().count() > 0);
        });
    });
}

#[test]
fn a_server_that_is_set_back_to_an_older_copy_is_restored() {
    each_log(|log| {
        let redis = Redis::with("");
        let mut copy: Option<PathBuf> = None;
        survives(log, &redis, |time| match time {
            0 => copy = Some(redis.copy()),
            _ => redis.set_back_to(copy.as_deref().unwrap()),
        });
    });
}

/// While nobody looks: the next start finds the position of the copy and reads the rest of the changelog.
#[test]
fn a_server_that_is_set_back_between_two_runs_is_brought_up_to_date() {
    each_log(|log| {
        let redis = Redis::with("");
        let application = words(log, &redis);
        let mut work = Work::new(log, &application);
        let mut copy: Option<PathBuf> = None;
        for run in 0..3 {
            work.feed(9);
            let app = application.start();
            work.finish(&app);
            app.stop(false).unwrap();
            match run {
                0 => copy = Some(redis.copy()),
                _ => redis.set_back_to(copy.as_deref().unwrap()),
            }
        }
    });
}
