//! The embedded log is compacted while an application runs on it, and the process ends in the middle of that.

use tests::chance::Chance;
use tests::chaos::kills::settle;
use tests::chaos::outside::Values;
use tests::chaos::verdict;
use tests::chaos::words::{LMDB, STATE, Words};
use tests::logs::{embedded, eventually};

use super::fail_points::until_it_dies;

/// Deaths at one point.
const DEATHS: u64 = 4;

/// Lines that come before each life: more of the changelog than is left alone.
const LINES: u64 = 3_000;

/// Different words: so many are in the changelog again behind each life, in however few commits.
const VOCABULARY: u64 = 1_000;

/// Its changelog is compacted as soon as there is a little of it.
const COMPACTED: &str = "[stores.word-counts]\nchangelog = { topic_configs = { \"min.compaction.lag.ms\" = \"0\", \
                         \"segment.bytes\" = \"1000\" } }\n";

/// By a process that is too short to be the janitor; answers how many lines there are now.
fn feed(words: &Words<'_>, fed: u64) -> u64 {
    let line = |i: u64| format!("{{\"value\":\"word{}\"}}\n", i % words.vocabulary);
    let lines: String = (fed..fed + LINES).map(line).collect();
    words.mill.run_with(&["produce", &words.topic("lines")], lines).ok();
    fed + LINES
}

/// Changelog records that are there, and those that were ever written.
fn logged(words: &Words<'_>) -> (i64, i64) {
    let outside = words.outside();
    let left = outside.read(&words.changelog(), Values::Number).len();
    (left as i64, outside.ends(&words.changelog()).iter().sum())
}

fn die_at(point: &str) {
    let log = embedded();
    let (mut words, mut chance) = (Words::with_state(&log, LMDB, COMPACTED), Chance::new());
    words.vocabulary = VOCABULARY;
    let mut fed = feed(&words, 0);
    words.mill.run(&["run", ".", "--state-dir", STATE, "--until-end"]).ok();
    for _ in 0..DEATHS {
        fed = feed(&words, fed);
        // Of one partition alone there are two steps at least.
        until_it_dies(&words, &format!("{point}:{}", 1 + chance.below(2)));
    }
    settle(&words, feed(&words, fed), Vec::new());
    fed += LINES;
    // What was compacted holds all that a stranger to it needs.
    std::fs::remove_dir_all(words.mill.dir().join(STATE)).expect("nobody uses it");
    let mut stranger = words.start();
    stranger.ready();
    verdict::check(&words, fed, &[STATE]);
    eventually("most of the changelog is gone", || {
        let (left, written) = logged(&words);
        (left * 3 < written).then_some(())
    });
    words.stop(stranger);
}

#[test]
fn a_death_inside_a_compaction_leaves_the_log_as_it_was() {
    die_at("log-tidy");
}

#[test]
fn a_death_between_two_steps_of_a_compaction_loses_nothing() {
    die_at("log-tidied");
}
