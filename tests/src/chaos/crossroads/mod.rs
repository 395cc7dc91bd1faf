//! Windows, sessions, groups and every join behind repartition topics, under test: the guest `crossroads`. What it is fed has one
//! outcome, whatever the order in which the tasks come to it, and the verdict works it out from the inputs alone.
//!
//! | file | holds |
//! |---|---|
//! | [`feed`] | what comes in |
//! | [`evidence`] | inputs and outputs, as a stranger reads them |
//! | [`windows`] | windows and sessions that say every update |
//! | [`closed`] | windows and sessions that say their last result |
//! | [`streams`] | joins of streams with each other and with tables |
//! | [`tables`] | joins of tables, and a table in groups |
//! | [`murmur2`] | which task has a key |

pub mod closed;
pub mod evidence;
pub mod feed;
pub mod murmur2;
pub mod streams;
pub mod tables;
pub mod windows;

use std::ops::Deref;
use std::time::Duration;

use super::gap;
use super::kills::{live_and_die, stop};
use super::load::Load;
use super::subject::{STATE, Shape, Subject};
use super::verdict::put_aside;
use crate::chance::Chance;
use crate::logs::{Kind, TestLog, eventually};
use evidence::Evidence;

/// Sources, and their partitions. Tariffs meet what comes through a repartition topic.
const SOURCES: [(&str, i32); 4] =
    [("lines", feed::PARTITIONS), ("taps", 1), ("tariffs", REPARTITIONED), ("places", PLACE_PARTITIONS)];

/// A global table is whole everywhere, however its topic is cut.
const PLACE_PARTITIONS: i32 = 3;

/// Partitions of the repartition topics.
const REPARTITIONED: i32 = 8;

/// Who says something, all of it to one topic.
const SINKS: [&str; 22] = [
    "tumbled",
    "hopped",
    "slid",
    "gathered",
    "visited",
    "closed",
    "suppressed",
    "ended",
    "seen",
    "named",
    "known",
    "priced",
    "answered",
    "asked",
    "shipped",
    "packed",
    "sent",
    "addressed",
    "owned",
    "counted",
    "placed",
    "found",
];

/// A process is killed this long behind the records that close everything, at the latest.
const CLOSING_MS: u64 = 300;

pub struct Crossroads<'a> {
    subject: Subject<'a>,
    /// The time of what comes first.
    begin: i64,
}

/// A subject like any other.
impl<'a> Deref for Crossroads<'a> {
    type Target = Subject<'a>;

    fn deref(&self) -> &Subject<'a> {
        &self.subject
    }
}

impl<'a> Crossroads<'a> {
    /// Its topics are there; nothing runs.
    pub fn new(log: &'a TestLog, shape: Shape) -> Crossroads<'a> {
        let crossroads = Crossroads { subject: Subject::new(log, shape, "crossroads"), begin: feed::begin() };
        for (topic, partitions) in SOURCES {
            crossroads.create(&crossroads.topic(topic), partitions);
        }
        let outcomes = crossroads.topic("outcomes");
        crossroads.create(&outcomes, REPARTITIONED);
        let mut manifest = crossroads.manifest("tests/guests/crossroads", "", &[]);
        for (source, _) in SOURCES {
            manifest += &format!("[sources.{source}]\ntopic = \"{}\"\n", crossroads.topic(source));
        }
        for sink in SINKS {
            manifest += &format!("[sinks.{sink}]\ntopic = \"{outcomes}\"\n");
        }
        crossroads.mill.write("app.toml", &manifest);
        crossroads
    }

    /// Kills the application this often under load, and checks what came of it.
    pub fn be_killed(&self, kills: usize, chance: &mut Chance) {
        self.be_hurt(chance, |chance| drop(live_and_die(self, kills, chance)));
    }

    /// Hurts the application under load, kills it while it closes what is open, and checks what came of it.
    pub fn be_hurt(&self, chance: &mut Chance, hurt: impl FnOnce(&mut Chance)) {
        self.take_tariffs();
        let (lines, taps) = (feed::lines(self.begin, chance.fork()), feed::taps(self.begin, chance.fork()));
        let loads =
            [Load::of(self, "lines", feed::LINES_AT_ONCE, lines), Load::of(self, "taps", feed::TAPS_AT_ONCE, taps)];
        hurt(chance);
        let fed = loads.map(Load::end);
        self.close(chance);
        let mut last = self.start();
        last.ready();
        self.until_caught_up();
        self.check(fed);
        stop(self, last);
        if self.shape.is_kept() {
            let mut again = self.start();
            again.ready();
            let restored = gap::restores(&self.stop(again));
            // On Kafka the marker of the last transaction stands behind the last record.
            let marker = i64::from(self.log.kind == Kind::Kafka && self.shape.is_exactly_once());
            let left: Vec<_> = restored.iter().filter(|one| one.end - one.from > marker).collect();
            assert!(left.is_empty(), "a clean stop leaves nothing to restore: {left:?}");
        }
    }

    /// Lets it read all places and tariffs before anything else comes.
    fn take_tariffs(&self) {
        self.mill.run_with(&["produce", &self.topic("places")], feed::places(self.begin)).ok();
        self.mill.run_with(&["produce", &self.topic("tariffs")], feed::tariffs(self.begin)).ok();
        let mut running = self.start();
        running.ready();
        let all = feed::TARIFFS as i64;
        eventually("all tariffs are read", || (self.ends("tariffs") == all).then_some(()));
        self.until_caught_up();
        running.kill();
    }

    /// Ends all windows and waits, when everything else is done, and kills who does it.
    fn close(&self, chance: &mut Chance) {
        let mut running = self.start();
        running.ready();
        self.until_caught_up();
        for (topic, closers) in [("lines", feed::line_closers(self.begin)), ("taps", feed::tap_closers(self.begin))] {
            self.mill.run_with(&["produce", &self.topic(topic)], closers).ok();
        }
        std::thread::sleep(Duration::from_millis(chance.below(CLOSING_MS)));
        running.kill();
    }

    /// Records of a source that the application knows.
    fn ends(&self, source: &str) -> i64 {
        let (topic, known) = (self.topic(source), self.progress());
        let ends = known.iter().flat_map(|(partitions, _)| partitions).filter(|(of, ..)| *of == topic);
        ends.map(|(_, _, end)| end).sum()
    }

    #[track_caller]
    fn check(&self, fed: [u64; 2]) {
        let evidence = Evidence::read(self);
        assert_eq!(evidence.fed(), fed, "what was acknowledged is in the topics, each of it once");
        println!("{} lines, {} taps, {} outcomes", fed[0], fed[1], evidence.outcomes.len());
        windows::check(&evidence);
        streams::check(&evidence);
        tables::check(&evidence);
        closed::check(&evidence);
        let aside = put_aside(self, STATE);
        assert!(aside.is_empty(), "state was put aside: {aside:?}");
    }
}
