//! What each start restored, against what was missing: the process says from where it reads each changelog, the
//! changelog itself says what stood behind that place.

use super::outside::{Row, Values};
use super::words::Words;
use crate::logs::Kind;

/// One store on its way, as its process told it: changelog records from `from` up to `end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Its changelog.
    pub topic: String,
    pub partition: i32,
    pub from: i64,
    pub end: i64,
}

/// Every restore that a process has told of on stderr, in their order.
pub fn restores(said: &str) -> Vec<Restored> {
    let told = said.lines().filter(|line| line.contains(": restoring task="));
    let one = |line| Restored {
        topic: topic(line),
        partition: task(line),
        from: number(line, " from="),
        end: number(line, " end="),
    };
    told.map(one).collect()
}

fn topic(line: &str) -> String {
    let topic = line.split_once(" topic=").map(|(_, rest)| rest.split(' ').next().unwrap_or_default());
    topic.unwrap_or_else(|| panic!("no topic in {line}")).trim_matches('"').to_owned()
}

/// Partition of `task=1_3`.
fn task(line: &str) -> i32 {
    let task = line.split_once(" task=").map(|(_, rest)| rest.split(' ').next().unwrap_or_default());
    let partition = task.and_then(|task| task.split_once('_')?.1.parse().ok());
    partition.unwrap_or_else(|| panic!("no task in {line}"))
}

fn number(line: &str, name: &str) -> i64 {
    let digits = line.split_once(name).map(|(_, rest)| rest.split(' ').next().unwrap_or_default());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("no{name} in {line}"))
}

/// Changelog records that a process read into its stores, as it told.
pub fn read(words: &Words<'_>, said: &str) -> usize {
    let changelog = words.outside().read(&words.changelog(), Values::Number);
    restores(said).iter().map(|restored| missing(&changelog, restored).len()).sum()
}

/// What stood between `from` and `end` of a restore, among all committed records of the changelog.
pub fn missing<'r>(changelog: &'r [Row], restored: &Restored) -> Vec<&'r Row> {
    let within =
        |row: &&Row| row.partition == restored.partition && (restored.from..restored.end).contains(&row.offset);
    changelog.iter().filter(within).collect()
}

/// State on disk is behind its changelog by one interval at most: what the log has committed and the process had no
/// time to apply. Every restore that `lives` told of must have read that, and not a record more: how many all of them
/// read. Under at-least-once an interval that a crash met may be in the log in part, and again behind it.
#[track_caller]
pub fn check(words: &Words<'_>, lives: &[String]) -> usize {
    let changelog = words.outside().read(&words.changelog(), Values::Number);
    let mut read = 0;
    for (number, said) in lives.iter().enumerate() {
        for restored in restores(said) {
            let gap = missing(&changelog, &restored);
            // An interval says each word once.
            let bound = if words.shape.is_exactly_once() { words.vocabulary } else { 2 * words.vocabulary };
            assert!(gap.len() as u64 <= bound, "life {number} read {} records: {restored:?}", gap.len());
            if words.log.kind == Kind::Kafka && words.shape.is_exactly_once() {
                // A marker stands behind each transaction, so one transaction is one run of offsets.
                let broken = gap.windows(2).find(|pair| pair[1].offset != pair[0].offset + 1);
                assert_eq!(broken, None, "life {number} read more than one interval: {restored:?}");
            }
            read += gap.len();
        }
    }
    println!("{} lives restored {read} of {} changelog records", lives.len(), changelog.len());
    read
}
