//! Versioned stores: of each key the values it has had, each from its time on until the next one's (semantics.md B12).
//!
//! A version is a row, a deletion too. What a newer version took the place of is noted by the time when it did, so that
//! what nobody can ask for any more is found without a walk over all keys.

use std::ops::ControlFlow;

use super::layers::{Logged, split_timestamp};
use super::layout::{self, PASSED, ROW};
use super::task_stores::OneStore;
use super::timed::damaged;
use super::{Base, Changes, Error, KeyRange, Observed, StoreKind, TaskStores};

/// In front of a value.
const VALUE: u8 = 1;
/// In front of one that took the place of a deletion of its very time: there the time is remembered, whatever becomes of it.
const VALUE_FOR_DELETION: u8 = 3;
/// A key that had no value from then on.
const DELETED: u8 = 0;
/// The same, written when there was a later version already.
const DELETED_BETWEEN: u8 = 2;

/// A value of a key, and from when on it was valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version<'a> {
    pub value: &'a [u8],
    pub valid_from: i64,
}

/// What became of a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutVersion {
    /// Older than the store's history: nothing changed.
    Refused,
    /// It is the latest version of its key.
    Latest,
    /// It is valid until this time, when the next version begins.
    Until(i64),
}

impl PutVersion {
    /// Kafka Streams' number for it.
    pub fn code(self) -> i64 {
        match self {
            PutVersion::Refused => i64::MIN,
            PutVersion::Latest => -1,
            PutVersion::Until(time) => time,
        }
    }
}

/// A versioned store, read.
#[derive(Clone, Copy)]
pub struct Versions<'s> {
    stores: &'s TaskStores,
    place: usize,
}

/// A versioned store, written.
pub struct VersionsMut<'s> {
    stores: &'s mut TaskStores,
    place: usize,
}

impl TaskStores {
    /// Reads the versioned store at this place.
    pub fn versions(&self, place: usize) -> Versions<'_> {
        Versions { stores: self, place }
    }

    /// Writes the versioned store at this place.
    pub fn versions_mut(&mut self, place: usize) -> VersionsMut<'_> {
        VersionsMut { stores: self, place }
    }
}

impl VersionsMut<'_> {
    /// Puts the value that a key has from `time` on; `None` deletes it from then on. Raises the store's time. The caller has
    /// asked [`TaskStores::check`] before.
    pub fn put(&mut self, key: &[u8], value: Option<&[u8]>, time: i64) -> Result<PutVersion, Error> {
        let mut observed = self.stores.observed(self.place)?;
        let (one, base) = self.stores.one(self.place);
        let is_refused = is_refused(one.slot.kind, observed, time);
        let read = &mut |range: KeyRange<'_>, reverse, each: Each<'_>| {
            one.layers.scan(base, one.slot.slot, range, reverse, each)
        };
        let beside = if is_refused { Beside::default() } else { Beside::find(key, time, read)? };
        // A compacted changelog keeps what was said last of a key, and that must not be a version of the past.
        let (mut latest, mut held) = (None, Vec::new());
        if beside.next.is_some() && one.layers.logged == Logged::Last {
            latest = first_row(key, (i64::MIN, i64::MAX), true, read, &mut |stored| stored.clone_into(&mut held))?;
        }
        let (one, late, row) = self.stores.one_mut(self.place);
        one.layers.log_each(key, value, time);
        if is_refused {
            *late += 1;
            return Ok(PutVersion::Refused);
        }
        observed.raise(time);
        one.clock.set(observed);
        let logs_all = one.layers.logged == Logged::All;
        let mut write = |row: &[u8], value: Option<[&[u8]; 2]>| one.layers.put_pieces(row, value, time);
        // A changelog that has the last write only does not show it.
        if logs_all && beside.is_taken_back(value) {
            beside.take_back(key, time, row, &mut write);
            return Ok(PutVersion::Latest);
        }
        write_version(key, value, time, beside, row, &mut write);
        if let Some(latest) = latest {
            version_row(key, latest, row);
            one.layers.put_pieces(row, Some([&latest.to_be_bytes(), &held]), latest);
        }
        Ok(beside.next.map_or(PutVersion::Latest, PutVersion::Until))
    }

    /// Deletes a key from `time` on; `visit` gets the version that was valid then.
    pub fn delete(&mut self, key: &[u8], time: i64, visit: &mut dyn FnMut(Version<'_>)) -> Result<PutVersion, Error> {
        let observed = self.stores.observed(self.place)?;
        let (one, base) = self.stores.one(self.place);
        if !is_refused(one.slot.kind, observed, time) {
            let read = &mut |range: KeyRange<'_>, reverse, each: Each<'_>| {
                one.layers.scan(base, one.slot.slot, range, reverse, each)
            };
            // The store's time is the deletion's from here on.
            let observed = Observed { time: observed.time.max(time), ..observed };
            find(one.slot.kind, observed, key, Some(time), read, visit)?;
        }
        self.put(key, None, time)
    }
}

impl Versions<'_> {
    /// The latest value of a key, whatever its age.
    pub fn get(&self, key: &[u8], visit: &mut dyn FnMut(Version<'_>)) -> Result<(), Error> {
        self.get_at(key, None, visit)
    }

    /// The value that a key had at `time`. Of a time that the store no longer remembers only the latest value is known.
    pub fn get_as_of(&self, key: &[u8], time: i64, visit: &mut dyn FnMut(Version<'_>)) -> Result<(), Error> {
        self.get_at(key, Some(time), visit)
    }

    fn get_at(&self, key: &[u8], time: Option<i64>, visit: &mut dyn FnMut(Version<'_>)) -> Result<(), Error> {
        let (one, base): (&OneStore, &dyn Base) = self.stores.one(self.place);
        let observed = one.clock.now(base, &one.slot)?;
        let read = &mut |range: KeyRange<'_>, reverse, each: Each<'_>| {
            one.layers.scan(base, one.slot.slot, range, reverse, each)
        };
        find(one.slot.kind, observed, key, time, read, visit)
    }

    /// The latest value of each key in a range, in byte order of the keys, or backwards.
    pub fn scan(
        &self,
        keys: KeyRange<'_>,
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], Version<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let (one, base) = self.stores.one(self.place);
        let read = &mut |range: KeyRange<'_>, reverse, each: Each<'_>| {
            one.layers.scan(base, one.slot.slot, range, reverse, each)
        };
        scan_latest(keys, reverse, read, visit)
    }
}

/// The committed version of a key, the latest or the one of a time; see [`Versions`].
pub fn committed_version(
    (base, slot, kind): (&dyn Base, usize, StoreKind),
    key: &[u8],
    time: Option<i64>,
    visit: &mut dyn FnMut(Version<'_>),
) -> Result<(), Error> {
    let observed = Observed::read(base, slot, kind)?;
    find(kind, observed, key, time, &mut read_base(base, slot), visit)
}

/// Walks the latest committed version of each key in a range.
pub fn scan_versions(
    (base, slot): (&dyn Base, usize),
    keys: KeyRange<'_>,
    reverse: bool,
    visit: &mut dyn FnMut(&[u8], Version<'_>) -> ControlFlow<()>,
) -> Result<(), Error> {
    scan_latest(keys, reverse, &mut read_base(base, slot), visit)
}

fn read_base(base: &dyn Base, slot: usize) -> impl FnMut(KeyRange<'_>, bool, Each<'_>) -> Result<(), Error> {
    move |range, reverse, each| base.scan(slot, range, reverse, &mut |row, stored| each(row, split_timestamp(stored)))
}

pub(super) fn is_refused(kind: StoreKind, observed: Observed, time: i64) -> bool {
    time < first_remembered(kind, observed)
}

/// The earliest time that a store knows all about.
pub(super) fn first_remembered(kind: StoreKind, observed: Observed) -> i64 {
    observed.time.saturating_sub(kind.retention_ms().unwrap_or_default())
}

pub(super) type Each<'e> = &'e mut dyn FnMut(&[u8], Option<(i64, &[u8])>) -> ControlFlow<()>;
/// Walks the rows of a range, forwards or backwards.
pub(super) type Read<'r> = &'r mut dyn FnMut(KeyRange<'_>, bool, Each<'_>) -> Result<(), Error>;

/// The versions before and behind a time, and what stands there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Beside {
    before: Option<i64>,
    next: Option<i64>,
    is_deletion: bool,
    is_value: bool,
    /// Whether a deletion stands there, or stood there before the value.
    was_deleted: bool,
    /// Whether the version before would say by itself until when it is valid. In Kafka Streams a deletion that was the
    /// latest does not.
    has_end: bool,
}

impl Beside {
    pub(super) fn find(key: &[u8], time: i64, read: Read<'_>) -> Result<Beside, Error> {
        let mut beside = Beside::default();
        let mut mark = DELETED;
        let mut look = |stored: &[u8]| mark = stored.first().copied().unwrap_or(DELETED);
        beside.before = first_row(key, (i64::MIN, time), true, read, &mut look)?;
        if beside.before == Some(time) {
            beside.is_value = is_value(mark);
            beside.is_deletion = !beside.is_value;
            beside.was_deleted = mark != VALUE;
            mark = DELETED;
            let mut look = |stored: &[u8]| mark = stored.first().copied().unwrap_or(DELETED);
            beside.before = match time.checked_sub(1) {
                Some(last) => first_row(key, (i64::MIN, last), true, read, &mut look)?,
                None => None,
            };
        }
        beside.has_end = beside.before.is_some() && mark != DELETED;
        if let Some(first) = time.checked_add(1) {
            beside.next = first_row(key, (first, i64::MAX), false, read, &mut |_| {})?;
        }
        Ok(beside)
    }

    /// Whether a deletion takes back the latest version as if it had never been: one of the same time, with nothing that
    /// would remember the time, be it a version that ends there or an earlier deletion in its place. So does Kafka Streams,
    /// whose older put is the latest then.
    fn is_taken_back(&self, value: Option<&[u8]>) -> bool {
        value.is_none() && self.is_value && self.next.is_none() && !self.has_end && !self.was_deleted
    }

    /// Takes back the version of this time, and what it has noted.
    fn take_back(&self, key: &[u8], time: i64, row: &mut Vec<u8>, write: &mut dyn FnMut(&[u8], Option<[&[u8]; 2]>)) {
        version_row(key, time, row);
        write(row, None);
        if let Some(before) = self.before {
            passed_key((time, key, before), row);
            write(row, None);
        }
    }
}

/// The first row of a key between two times, or the last one: its time, and what it holds to `visit`.
fn first_row(
    key: &[u8],
    (from, to): (i64, i64),
    reverse: bool,
    read: Read<'_>,
    visit: &mut dyn FnMut(&[u8]),
) -> Result<Option<i64>, Error> {
    let (mut lower, mut upper) = (vec![ROW], vec![ROW]);
    layout::push_key(key, &mut lower);
    layout::push_time(from, &mut lower);
    layout::push_key(key, &mut upper);
    layout::push_time(to, &mut upper);
    let mut found = None;
    read(KeyRange { lower: Some(&lower), upper: Some(&upper) }, reverse, &mut |_, row| {
        let Some((time, stored)) = row else { return ControlFlow::Continue(()) };
        found = Some(time);
        visit(stored);
        ControlFlow::Break(())
    })?;
    Ok(found)
}

fn version_row(key: &[u8], time: i64, row: &mut Vec<u8>) {
    row.clear();
    row.push(ROW);
    layout::push_key(key, row);
    layout::push_time(time, row);
}

/// Writes a version, and what passes with it.
pub(super) fn write_version(
    key: &[u8],
    value: Option<&[u8]>,
    time: i64,
    beside: Beside,
    row: &mut Vec<u8>,
    write: &mut dyn FnMut(&[u8], Option<[&[u8]; 2]>),
) {
    version_row(key, time, row);
    let mut front = [0; 9];
    front[..8].copy_from_slice(&time.to_be_bytes());
    front[8] = match (value, beside.next) {
        (Some(_), _) if beside.was_deleted => VALUE_FOR_DELETION,
        (Some(_), _) => VALUE,
        (None, Some(_)) => DELETED_BETWEEN,
        (None, None) => DELETED,
    };
    write(row, Some([&front, value.unwrap_or_default()]));
    let note = [&time.to_be_bytes()[..], &[]];
    let passed = [
        beside.before.map(|before| (time, before, Some(note))),
        beside.next.map(|next| (next, time, Some(note))),
        // With everything before it a deletion means nothing once it is out of reach itself; a value in its place does.
        match value {
            None => Some((time, time, Some(note))),
            Some(_) => beside.is_deletion.then_some((time, time, None)),
        },
    ];
    for (when, from, noted) in passed.into_iter().flatten() {
        passed_key((when, key, from), row);
        write(row, noted);
    }
}

/// The row that says when the version of a key that begins at `from` passes.
fn passed_key((when, key, from): (i64, &[u8], i64), row: &mut Vec<u8>) {
    row.clear();
    row.push(PASSED);
    layout::push_time(when, row);
    layout::push_key(key, row);
    layout::push_time(from, row);
}

/// The row of the version that a row of [`PASSED`] is about.
pub(super) fn passed_row(passed: &[u8]) -> Option<Vec<u8>> {
    let (_, rest) = layout::take_time(passed.strip_prefix(&[PASSED])?)?;
    Some([&[ROW], rest].concat())
}

/// The time of a row that holds a version; the key goes into `key`.
pub(super) fn split_row(row: &[u8], key: &mut Vec<u8>) -> Option<i64> {
    let rest = layout::take_key(row.strip_prefix(&[ROW])?, key)?;
    match layout::take_time(rest)? {
        (time, []) => Some(time),
        _ => None,
    }
}

/// What a version holds; `None`: a deletion.
pub(super) fn value_of(stored: &[u8]) -> Option<&[u8]> {
    stored.split_first().filter(|(mark, _)| is_value(**mark)).map(|(_, value)| value)
}

fn is_value(mark: u8) -> bool {
    matches!(mark, VALUE | VALUE_FOR_DELETION)
}

fn find(
    kind: StoreKind,
    observed: Observed,
    key: &[u8],
    time: Option<i64>,
    read: Read<'_>,
    visit: &mut dyn FnMut(Version<'_>),
) -> Result<(), Error> {
    let time = time.unwrap_or(i64::MAX);
    if time < first_remembered(kind, observed) {
        let latest = first_row(key, (i64::MIN, i64::MAX), true, read, &mut |_| {})?;
        if latest.is_none_or(|latest| latest > time) {
            return Ok(());
        }
    }
    let mut held = None;
    let valid_from = first_row(key, (i64::MIN, time), true, read, &mut |stored| {
        held = value_of(stored).map(<[u8]>::to_vec);
    })?;
    if let (Some(value), Some(valid_from)) = (&held, valid_from) {
        visit(Version { value, valid_from });
    }
    Ok(())
}

fn scan_latest(
    keys: KeyRange<'_>,
    reverse: bool,
    read: Read<'_>,
    visit: &mut dyn FnMut(&[u8], Version<'_>) -> ControlFlow<()>,
) -> Result<(), Error> {
    if keys.is_inverted() {
        return Ok(());
    }
    let (mut lower, mut upper) = (vec![ROW], vec![ROW]);
    if let Some(key) = keys.lower {
        layout::push_key(key, &mut lower);
    }
    if let Some(key) = keys.upper {
        layout::push_key(key, &mut upper);
    }
    upper.extend_from_slice(&layout::BEHIND_ALL);
    let mut scan = Latest { reverse, held: None, key: Vec::new(), wrong: None };
    read(KeyRange { lower: Some(&lower), upper: Some(&upper) }, reverse, &mut |row, found| {
        scan.row(row, found, visit)
    })?;
    match scan.wrong.take() {
        Some(error) => Err(error),
        None => {
            let _ = scan.finish(visit);
            Ok(())
        }
    }
}

/// Of the versions of each key, which come one after the other, the latest one.
struct Latest {
    reverse: bool,
    /// Key, time and what is held, where the latest of this key is not known yet, or was seen (`None`).
    held: Option<(Vec<u8>, Option<(i64, Vec<u8>)>)>,
    key: Vec<u8>,
    wrong: Option<Error>,
}

impl Latest {
    fn row(
        &mut self,
        row: &[u8],
        found: Option<(i64, &[u8])>,
        visit: &mut dyn FnMut(&[u8], Version<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let Some((time, stored)) = found else { return ControlFlow::Continue(()) };
        let mut key = std::mem::take(&mut self.key);
        if split_row(row, &mut key).is_none() {
            self.wrong = Some(damaged(row));
            return ControlFlow::Break(());
        }
        let mut flow = ControlFlow::Continue(());
        match &mut self.held {
            Some((held, latest)) if *held == key => {
                if !self.reverse {
                    *latest = Some((time, stored.to_vec()));
                }
            }
            _ => {
                flow = self.finish(visit);
                self.held = flow.is_continue().then(|| (key.clone(), Some((time, stored.to_vec()))));
            }
        }
        self.key = key;
        flow
    }

    /// Hands over the latest of the key that is held.
    fn finish(&mut self, visit: &mut dyn FnMut(&[u8], Version<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        let Some((key, Some((valid_from, stored)))) = self.held.take() else { return ControlFlow::Continue(()) };
        match value_of(&stored) {
            Some(value) => visit(&key, Version { value, valid_from }),
            None => ControlFlow::Continue(()),
        }
    }
}

/// Writes a version straight into changes over a base, as restoring does.
pub(super) fn restore_version(
    (changes, base, slot): (&mut Changes, &dyn Base, usize),
    key: &[u8],
    value: Option<&[u8]>,
    time: i64,
    row: &mut Vec<u8>,
) -> Result<(), Error> {
    let nothing = Changes::new();
    let read = &mut |range: KeyRange<'_>, reverse, each: Each<'_>| {
        super::layers::scan_merged([changes, &nothing], base, slot, range, reverse, each)
    };
    let beside = Beside::find(key, time, read)?;
    write_version(key, value, time, beside, row, &mut |row, value| {
        changes.put(row, value, time);
    });
    Ok(())
}
