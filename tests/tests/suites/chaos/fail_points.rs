//! The process ends at named places, between two steps that belong together (`host/src/fail_point.rs`).

use tests::chance::{Chance, times};
use tests::chaos::gap;
use tests::chaos::kills::settle;
use tests::chaos::load::Load;
use tests::chaos::subject::Subject;
use tests::chaos::words::{LMDB, PARTITIONS, STATE, Words};
use tests::logs::{Kind, each_log, eventually};
use tests::millstream::Running;

pub const FAIL_POINT: &str = "MILLSTREAM_FAIL_POINT";

/// Deaths at one point.
const DEATHS: usize = 5;

/// How often the point is passed at least before it ends the process: the first times take tasks, which come one after
/// the other, and fill topics in between.
const TIMES_MIN: u64 = 2;

/// How often more at most.
const TIMES_MORE: u64 = 12;

/// Runs the application until it ends itself at a point: what it said.
pub fn until_it_dies(subject: &Subject<'_>, point: &str) -> String {
    let running = subject.start_with(STATE, |command| {
        command.env(FAIL_POINT, point);
    });
    death(running, point)
}

/// Waits until it has ended itself at the point that it was told: what it said.
pub fn death(mut running: Running, point: &str) -> String {
    eventually(point, || running.has_ended().then_some(()));
    let ended = running.finish();
    assert!(ended.code.is_none() && ended.stderr.contains(FAIL_POINT), "{point}: {ended:?}");
    ended.stderr
}

/// Lets the application die at a point again and again, under load, and checks what came of it. `gap`: whether the log
/// has then what no store has.
fn die_at(point: &str, gap: bool) {
    each_log(|log| die(&Words::new(log, LMDB), point, gap));
}

fn die(words: &Words<'_>, point: &str, gap: bool) {
    let mut chance = Chance::new();
    let load = Load::start(words);
    let mut lives = Vec::new();
    for _ in 0..times(DEATHS) {
        lives.push(until_it_dies(words, &format!("{point}:{}", TIMES_MIN + chance.below(TIMES_MORE))));
    }
    let restored = settle(words, load.end(), lives);
    assert_eq!(restored > 0, gap, "{restored} records were restored");
}

/// What a cache holds back is gone with the process, and so are the offsets of what it came of.
#[test]
fn with_a_cache_before_an_interval_is_submitted_and_behind_its_commit() {
    each_log(|log| {
        die(&Words::cached(log, LMDB, "1MiB"), "cut", false);
        die(&Words::cached(log, LMDB, "1MiB"), "log-committed", true);
    });
}

#[test]
fn between_the_commit_of_the_log_and_that_of_the_state() {
    die_at("log-committed", true);
}

#[test]
fn inside_the_commit_of_the_state() {
    die_at("state-commit", true);
}

#[test]
fn before_an_interval_is_submitted() {
    die_at("cut", false);
}

/// Changelog records that are to be restored: each partition has some hundreds.
pub const LOGGED: i64 = 1_500;

/// Deaths of one restore. Each comes when one partition has come to its end, and there are more partitions than deaths.
const DEATHS_RESTORING: usize = 3;

#[test]
fn a_restore_that_dies_goes_on_where_it_was() {
    each_log(|log| {
        let words = Words::new(log, LMDB);
        let load = Load::start(&words);
        let mut first = words.start();
        first.ready();
        let logged = || words.outside().ends(&words.changelog()).iter().sum::<i64>();
        eventually("a long changelog", || (logged() > LOGGED).then_some(()));
        first.kill();
        drop(first);
        let fed = load.end();
        std::fs::remove_dir_all(words.mill.dir().join(STATE)).expect("nobody uses it");
        let mut lives: Vec<String> = (0..DEATHS_RESTORING).map(|_| until_it_dies(&words, "restore")).collect();
        let mut last = words.start();
        last.ready();
        lives.push(words.stop(last));
        for partition in 0..PARTITIONS {
            check_progress(&lives, partition);
        }
        let from_nothing = |said: &String| gap::restores(said).iter().filter(|one| one.from == 0).count();
        for (life, said) in lives.iter().enumerate() {
            // On Kafka the end of a transaction stands behind the last record: one that is whole comes to its end again, and
            // not every life brings one more.
            let whole = if log.kind == Kind::Kafka { life.min(1) } else { life };
            let left = from_nothing(said);
            assert!(left + whole <= PARTITIONS as usize, "{left} from nothing when {whole} were whole: {said}");
        }
        settle(&words, fed, Vec::new());
    });
}

/// Each life goes on where the one before it was.
fn check_progress(lives: &[String], partition: i32) {
    let told = lives.iter().flat_map(|said| gap::restores(said));
    let from: Vec<i64> = told.filter(|one| one.partition == partition).map(|one| one.from).collect();
    assert!(from.is_sorted(), "partition {partition} was read from {from:?}");
}
