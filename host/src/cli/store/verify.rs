//! `store verify`: whether stores hold what their changelogs add up to.
//!
//! What is compared are values, byte by byte. A store that is written meanwhile is read between two looks at the end
//! of its changelog, and may hold what stood there at any time between them. What lies on the disk of an application
//! that does not run is compared with its changelog up to where it stands: a start reads the rest. What a store that goes
//! by time has forgotten is no difference, whatever its changelog still has.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use millstream_engine::error::{Problem, exit};
use millstream_engine::record::Records;
use millstream_engine::store::StoreKind;
use serde::Serialize;

use super::super::output::{self, Output, say};
use super::super::state::State;
use super::super::{Global, Result, changelog};
use super::{declared, timed};
use crate::app::Loaded;
use crate::app::status::StoreInfo;
use crate::desk::query::{Keys, ROWS_MAX, Range};
use crate::log::Log;
use crate::text::{Codec, Codecs};

/// Why a store of an application that does not run is not compared.
const UNHELD: &str = "the application does not run, and nothing of the store is on this disk";

/// Differences that a row names.
const SHOWN_MAX: usize = 10;

/// What is in the log comes into the store within milliseconds; a store that is behind for longer, through a full disk
/// perhaps, is looked at so often before it counts as different.
const LOOKS: u32 = 5;
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub struct Verify {
    app: PathBuf,
    /// Default: all that have a changelog
    store: Option<String>,
}

/// One partition of a store.
#[derive(Debug, Serialize)]
struct Verified {
    store: String,
    partition: i32,
    ok: bool,
    entries: usize,
    changelog_entries: usize,
    differences: Vec<Difference>,
    /// Of them, those that are not shown.
    more_differences: usize,
}

#[derive(Debug, Serialize)]
struct Difference {
    key: serde_json::Value,
    /// Of a window its start, of a session its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<i64>,
    /// `null`: not there.
    store: serde_json::Value,
    changelog: serde_json::Value,
}

type Entries = HashMap<Vec<u8>, Vec<u8>>;

/// A partition of a changelog, and what it has been while somebody else was read.
#[derive(Default)]
struct Folded {
    kind: StoreKind,
    entries: Entries,
    /// Of a versioned store: when each key's latest version came to be.
    versions: HashMap<Vec<u8>, i64>,
    /// The latest time that the store has seen.
    seen: Option<i64>,
    end: i64,
    /// Records behind it are not in the store yet.
    position: Option<i64>,
    /// Every value that a key had while the store was read; `None`: it was not there. Kept from the second look on.
    meanwhile: Option<HashMap<Vec<u8>, HashSet<Option<Vec<u8>>>>>,
    /// Keys that were written behind the position. Their records before it may be compacted away.
    behind: HashSet<Vec<u8>>,
}

impl Verify {
    pub fn run(&self, global: &Global, state_dir: Option<&Path>, output: Output) -> Result {
        let application = global.application(&self.app)?;
        let log = global.open_log_of(&application)?;
        let state = State::open(&self.app, state_dir, global)?;
        if let Some(name) = &self.store {
            declared(&state, name)?;
        }
        let engine = global.engine(std::slice::from_ref(&application))?;
        let blueprint = Loaded::load_to_look(&engine, &self.app, state_dir)?.blueprint;
        let kind_of = |name: &str| {
            let store = blueprint.graph.stores.iter().find(|store| store.name == name);
            store.map(|store| blueprint.kind(store)).unwrap_or_default()
        };
        let mut rows = Vec::new();
        for store in state.stores()? {
            let is_asked = self.store.as_ref().is_none_or(|asked| *asked == store.name);
            if !is_asked {
                continue;
            }
            let found = verify(&state, (&log, &application.manifest.id), &store, kind_of(&store.name))?;
            match found {
                Some(found) => rows.extend(found),
                None if self.store.is_some() => return Err(not_held(&store).into()),
                None => say(format_args!("{} is not compared: {UNHELD}", store.name)),
            }
        }
        output::list(output.format, &rows, || {
            let row = |row: &Verified| {
                let found = if row.ok { "equal".to_owned() } else { format!("{} differ", row.count()) };
                let (partition, entries) = (row.partition.to_string(), row.entries.to_string());
                [row.store.clone(), partition, entries, row.changelog_entries.to_string(), found]
            };
            output::table(["store", "partition", "entries", "in the changelog", ""], &[1, 2, 3], rows.iter().map(row))
        })?;
        let wrong: Vec<&Verified> = rows.iter().filter(|row| !row.ok).collect();
        if wrong.is_empty() { Ok(()) } else { Err(different(&wrong).into()) }
    }
}

impl Verified {
    fn count(&self) -> usize {
        self.differences.len() + self.more_differences
    }
}

/// Of each partition that is held anywhere; `None`: there is none.
fn verify(
    state: &State,
    (log, application): (&Arc<dyn Log>, &str),
    store: &StoreInfo,
    kind: StoreKind,
) -> Result<Option<Vec<Verified>>> {
    let Some(topic) = &store.changelog_topic else { return Ok(Some(Vec::new())) };
    let partitions = log.describe(&[topic])?.into_iter().flatten().next().map_or(0, |topic| topic.partitions);
    let is_held = |partition| state.is_held(&store.name, partition);
    let is_held: Vec<bool> = (0..partitions).map(is_held).collect::<Result<_>>()?;
    if !is_held.is_empty() && !is_held.contains(&true) {
        return Ok(None);
    }
    let codecs = Codecs { key: Codec::declared(&store.codecs.key), value: Codec::declared(&store.codecs.value) };
    let folded = |partition| {
        let mut position = state.position(&store.name, partition)?;
        if position.is_none() && store.reuses_source_topic {
            // What is behind it in a source topic was not processed yet.
            position = Some(changelog::committed(&**log, application, topic, partition)? - 1);
        }
        Ok(Folded { kind, position, ..Folded::default() })
    };
    let mut folded: Vec<Folded> = (0..partitions).map(folded).collect::<Result<_>>()?;
    let mut look = 0;
    loop {
        look += 1;
        folded.iter_mut().for_each(|part| part.meanwhile = None);
        read_on(&**log, topic, &mut folded)?;
        folded.iter_mut().for_each(|part| part.meanwhile = Some(HashMap::new()));
        let held = read(state, &store.name, partitions, kind)?;
        read_on(&**log, topic, &mut folded)?;
        let compare = |(partition, (held, folded)): (usize, (&Entries, &Folded))| match folded.kind {
            StoreKind::Window { duplicates: true, .. } => {
                compare(&store.name, partition as i32, held, &folded.by_place(), codecs)
            }
            _ => compare(&store.name, partition as i32, held, folded, codecs),
        };
        let rows = held.iter().zip(&folded).enumerate().filter(|(partition, _)| is_held[*partition]).map(compare);
        let rows: Vec<Verified> = rows.collect();
        if look == LOOKS || rows.iter().all(|row| row.ok) {
            return Ok(Some(rows));
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
}

/// Each partition of a changelog to the end that it has now.
fn read_on(log: &dyn Log, topic: &str, folded: &mut [Folded]) -> Result {
    for (partition, part) in folded.iter_mut().enumerate() {
        let from = (part.end > 0).then_some(part.end);
        let end = changelog::read(log, topic, partition as i32, (from, None), &mut |records| {
            part.take(records);
            Ok(())
        })?;
        part.end = part.end.max(end);
    }
    Ok(())
}

impl Folded {
    fn take(&mut self, records: &Records) {
        for (offset, record) in records.iter() {
            let Some(key) = record.key else { continue };
            if self.position.is_some_and(|position| offset > position) {
                self.behind.insert(key.to_vec());
                continue;
            }
            if self.is_refused(record.timestamp) || self.is_past(key, record.timestamp) {
                continue;
            }
            if record.value.is_some() || !matches!(self.kind, StoreKind::Window { duplicates: true, .. }) {
                self.seen = self.seen.max(timed::split(self.kind, key).map(|(_, time)| time));
            }
            if let Some(meanwhile) = &mut self.meanwhile {
                let values = meanwhile.entry(key.to_vec()).or_default();
                values.insert(self.entries.get(key).cloned());
                values.insert(record.value.map(<[u8]>::to_vec));
            }
            match record.value {
                Some(value) => drop(self.entries.insert(key.to_vec(), value.to_vec())),
                None => drop(self.entries.remove(key)),
            }
        }
    }

    /// Whether a versioned store does not take it, for it is older than what it keeps of any key: as a restore judges.
    fn is_refused(&mut self, timestamp: i64) -> bool {
        let StoreKind::Versioned { history_ms } = self.kind else { return false };
        let is_refused = self.seen.is_some_and(|seen| timestamp < seen.saturating_sub(history_ms));
        if !is_refused {
            self.seen = self.seen.max(Some(timestamp));
        }
        is_refused
    }

    /// Whether it is an earlier version than the latest that is known of its key.
    fn is_past(&mut self, key: &[u8], timestamp: i64) -> bool {
        if !matches!(self.kind, StoreKind::Versioned { .. }) {
            return false;
        }
        let latest = self.versions.entry(key.to_vec()).or_insert(timestamp);
        let is_past = timestamp < *latest;
        *latest = timestamp.max(*latest);
        is_past
    }

    /// Of a store that retains duplicates: named not by their numbers, which no query tells, but by their places among
    /// those of the same key and start, as [`read`] names what the store holds.
    fn by_place(&self) -> Folded {
        let mut places = HashMap::new();
        let mut sorted: Vec<&Vec<u8>> = self.entries.keys().collect();
        sorted.sort_unstable();
        let names: HashMap<&[u8], Vec<u8>> =
            sorted.into_iter().filter_map(|key| Some((&key[..], timed::next_place(key, &mut places)?))).collect();
        let named = |key: &Vec<u8>| names.get(&key[..]).cloned();
        let meanwhile = |values: &HashMap<Vec<u8>, HashSet<Option<Vec<u8>>>>| {
            values.iter().filter_map(|(key, values)| Some((named(key)?, values.clone()))).collect()
        };
        Folded {
            kind: self.kind,
            entries: self.entries.iter().filter_map(|(key, value)| Some((named(key)?, value.clone()))).collect(),
            seen: self.seen,
            meanwhile: self.meanwhile.as_ref().map(meanwhile),
            ..Folded::default()
        }
    }

    fn has_forgotten(&self, key: &[u8]) -> bool {
        self.seen.is_some_and(|seen| timed::is_forgotten(self.kind, key, seen))
    }
}

/// What a store holds, by the partition of its tasks.
fn read(state: &State, store: &str, partitions: i32, kind: StoreKind) -> Result<Vec<Entries>> {
    let mut held = vec![Entries::new(); partitions.max(0) as usize];
    let mut range = Range { limit: ROWS_MAX, ..Range::default() };
    let mut places = vec![HashMap::new(); held.len()];
    loop {
        let page = state.read(store, &Keys::Range(range.clone()))?;
        for row in page.rows {
            let partition = row.task.partition as usize;
            if let (Some(part), Some(places)) = (held.get_mut(partition), places.get_mut(partition)) {
                let value = row.value.clone();
                let mut identity = timed::identity(kind, row);
                if let StoreKind::Window { duplicates: true, .. } = kind {
                    identity = timed::next_place(&identity, places).unwrap_or(identity);
                }
                part.insert(identity, value);
            }
        }
        match page.next {
            Some(next) => range.after = Some(next),
            None => return Ok(held),
        }
    }
}

fn compare(store: &str, partition: i32, held: &Entries, folded: &Folded, codecs: Codecs) -> Verified {
    let keys: HashSet<&Vec<u8>> = held.keys().chain(folded.entries.keys()).collect();
    let differs = |key: &&Vec<u8>| {
        let (found, expected) = (held.get(*key), folded.entries.get(*key));
        let was = |values: &HashSet<Option<Vec<u8>>>| values.contains(&found.cloned());
        let meanwhile = folded.meanwhile.as_ref().and_then(|values| values.get(*key));
        let is_forgotten = found.is_none() && folded.has_forgotten(key);
        found != expected && !meanwhile.is_some_and(was) && !folded.behind.contains(*key) && !is_forgotten
    };
    let wrong: BTreeMap<&[u8], _> = keys.into_iter().filter(differs).map(|key| (key.as_slice(), key)).collect();
    let shown = |codec: Codec, bytes: Option<&Vec<u8>>| {
        serde_json::to_value(codec.show(bytes.map(Vec::as_slice), &mut 0)).unwrap_or_default()
    };
    let parts = |key: &[u8]| match timed::split(folded.kind, key) {
        Some((key, time)) => (key.to_vec(), Some(time)),
        None => (key.to_vec(), None),
    };
    let difference = |key: &&Vec<u8>| Difference {
        key: shown(codecs.key, Some(&parts(key).0)),
        time: parts(key).1,
        store: shown(codecs.value, held.get(*key)),
        changelog: shown(codecs.value, folded.entries.get(*key)),
    };
    Verified {
        store: store.to_owned(),
        partition,
        ok: wrong.is_empty(),
        entries: held.len(),
        changelog_entries: folded.entries.len(),
        differences: wrong.values().take(SHOWN_MAX).map(difference).collect(),
        more_differences: wrong.len().saturating_sub(SHOWN_MAX),
    }
}

fn not_held(store: &StoreInfo) -> Problem {
    Problem::new("NotRunning", "E0611", exit::FAILED, format!("store {} is not compared: {UNHELD}", store.name))
        .field("store", store.name.as_str())
        .why("what memory or a store provider holds is asked of the process that has it")
        .fix("start the application, and verify while it runs")
}

fn different(wrong: &[&Verified]) -> Problem {
    let mut stores: Vec<&str> = wrong.iter().map(|row| row.store.as_str()).collect();
    stores.dedup();
    let message = format!("stores do not hold what their changelogs add up to: {}", stores.join(", "));
    let partitions: Vec<String> = wrong.iter().map(|row| format!("{} {}", row.store, row.partition)).collect();
    Problem::new("StoreMismatch", "E0622", exit::FAILED, message)
        .field("stores", stores)
        .field("partitions", partitions)
        .why("the changelog is the truth: another process that takes the task restores from it, and would answer otherwise")
        .fix("stop the application and remove these tasks' directories from its state; the next start restores them")
}

#[cfg(test)]
mod tests {
    use millstream_engine::record::{Headers, Record};

    use super::*;

    fn records(of: &[(i64, &str, &str)]) -> Records {
        let mut records = Records::default();
        for (offset, key, value) in of {
            let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
            records.push(*offset, Record { key, value, headers: Headers(&[]), timestamp: 0 });
        }
        records
    }

    fn differing(folded: &Folded, held: &[(&str, &str)]) -> usize {
        let held = held.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect();
        compare("s", 0, &held, folded, Codecs { key: Codec::Utf8, value: Codec::Utf8 }).count()
    }

    /// The record of `b` that the store has is compacted away in favour of one that it does not have yet.
    #[test]
    fn a_store_that_lags_behind_a_compacted_changelog_is_no_other_one() {
        let mut folded = Folded { position: Some(5), ..Folded::default() };
        folded.take(&records(&[(3, "a", "1"), (9, "b", "2")]));
        assert_eq!(differing(&folded, &[("a", "1"), ("b", "1")]), 0);
        assert_eq!(differing(&folded, &[("b", "1")]), 1);
    }

    #[test]
    fn what_a_store_has_forgotten_for_its_age_is_no_difference_and_anything_else_is() {
        let kind = StoreKind::Window { size_ms: 10, retention_ms: 100, duplicates: false, closing: false };
        let identity = |start: i64| {
            let mut key = Vec::new();
            millstream_engine::changelog::push_window_key(b"k", start, 0, &mut key);
            key
        };
        let mut folded = Folded { kind, ..Folded::default() };
        for start in [0, 950, 1_000] {
            let mut records = Records::default();
            let key = identity(start);
            records.push(start, Record { key: Some(&key), value: Some(b"v"), headers: Headers(&[]), timestamp: start });
            folded.take(&records);
        }
        let held = |starts: &[i64]| starts.iter().map(|start| (identity(*start), b"v".to_vec())).collect::<Entries>();
        let codecs = Codecs { key: Codec::Utf8, value: Codec::Utf8 };
        assert_eq!(compare("s", 0, &held(&[950, 1_000]), &folded, codecs).count(), 0);
        let lost = compare("s", 0, &held(&[1_000]), &folded, codecs);
        assert_eq!((lost.count(), lost.differences[0].time), (1, Some(950)));
        assert_eq!(compare("s", 0, &held(&[950, 960, 1_000]), &folded, codecs).count(), 1, "nobody wrote it");
    }

    #[test]
    fn duplicates_are_compared_one_by_one_in_the_order_of_their_numbers() {
        let kind = StoreKind::Window { size_ms: 10, retention_ms: 100, duplicates: true, closing: false };
        let key = |number: u32| {
            let mut key = Vec::new();
            millstream_engine::changelog::push_window_key(b"k", 5, number, &mut key);
            key
        };
        let mut folded = Folded { kind, ..Folded::default() };
        let take = |folded: &mut Folded, number: u32, value: Option<&[u8]>| {
            let (key, mut records) = (key(number), Records::default());
            records.push(0, Record { key: Some(&key), value, headers: Headers(&[]), timestamp: 5 });
            folded.take(&records);
        };
        for (number, value) in [(9, Some(&b"second"[..])), (4, Some(b"first")), (11, None)] {
            take(&mut folded, number, value);
        }
        folded.meanwhile = Some(HashMap::new());
        take(&mut folded, 12, Some(b"third"));
        let codecs = Codecs { key: Codec::Utf8, value: Codec::Utf8 };
        let wrong = |held: &[&str]| {
            let held = held.iter().enumerate().map(|(place, value)| (key(place as u32), value.as_bytes().to_vec()));
            compare("s", 0, &held.collect(), &folded.by_place(), codecs).count()
        };
        assert_eq!((wrong(&["first", "second", "third"]), wrong(&["first", "second"])), (0, 0));
        assert_eq!((wrong(&["second", "first", "third"]), wrong(&["first"]), wrong(&["first", "third"])), (2, 1, 1));
        assert_eq!(wrong(&["first", "second", "third", "third"]), 1, "nobody wrote it");
    }

    #[test]
    fn of_a_versioned_store_the_latest_version_counts_whatever_came_last() {
        let mut folded = Folded { kind: StoreKind::Versioned { history_ms: 100 }, ..Folded::default() };
        for (offset, value, timestamp) in [(0, "new", 9), (1, "old", 5)] {
            let mut records = Records::default();
            let (key, value) = (Some(&b"a"[..]), Some(value.as_bytes()));
            records.push(offset, Record { key, value, headers: Headers(&[]), timestamp });
            folded.take(&records);
        }
        assert_eq!(differing(&folded, &[("a", "new")]), 0);
        assert_eq!(differing(&folded, &[("a", "old")]), 1);
    }

    #[test]
    fn a_version_that_the_store_has_refused_for_its_age_is_no_difference() {
        let mut folded = Folded { kind: StoreKind::Versioned { history_ms: 100 }, ..Folded::default() };
        for (key, timestamp) in [("a", 1_000), ("old", 899), ("late", 900)] {
            let mut records = Records::default();
            let (key, value) = (Some(key.as_bytes()), Some(&b"v"[..]));
            records.push(0, Record { key, value, headers: Headers(&[]), timestamp });
            folded.take(&records);
        }
        assert_eq!(differing(&folded, &[("a", "v"), ("late", "v")]), 0);
        assert_eq!(differing(&folded, &[("a", "v")]), 1);
    }

    #[test]
    fn a_store_may_hold_what_was_true_while_it_was_read_and_nothing_else() {
        let mut folded = Folded::default();
        folded.take(&records(&[(0, "a", "0"), (1, "a", "1")]));
        assert!(folded.meanwhile.is_none(), "what was before is kept");
        folded.meanwhile = Some(HashMap::new());
        folded.take(&records(&[(2, "a", "2"), (3, "a", "3")]));
        for (value, wrong) in [("0", 1), ("1", 0), ("2", 0), ("3", 0), ("4", 1)] {
            assert_eq!(differing(&folded, &[("a", value)]), wrong, "{value}");
        }
    }
}
