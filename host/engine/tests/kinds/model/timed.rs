//! Windows, sessions and versions against a model that keeps everything in a list.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use millstream_engine::store::{Gone, HandedOver, KeyRange, KeySpan, PutVersion, StoreKind, TimeSpan};

use super::subject::{Bases, Subject};
use super::{Chance, KEYS};

/// One thing the model knows: a window with its start twice, a session, a version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Thing {
    key: Vec<u8>,
    time: i64,
    start: i64,
    order: u64,
    value: Option<Vec<u8>>,
    timestamp: i64,
    /// A deletion that was put before a later version.
    between: bool,
    /// A deletion, or a value in the place of one.
    deleted: bool,
}

impl Thing {
    fn in_place_of(&self, things: &[Thing]) -> Thing {
        let was_deleted = things.iter().any(|t| (&t.key, t.time) == (&self.key, self.time) && t.deleted);
        Thing { deleted: was_deleted || self.value.is_none(), ..self.clone() }
    }
}

#[derive(Clone, Default)]
struct Model {
    observed: i64,
    things: Vec<Thing>,
    /// Versions with those that were taken back: what a changelog makes of them.
    logged: Vec<Thing>,
    takes_back: bool,
    order: u64,
}

impl Model {
    fn put(&mut self, kind: StoreKind, thing: Thing) -> bool {
        let duplicates = matches!(kind, StoreKind::Window { duplicates: true, .. });
        if duplicates && thing.value.is_none() {
            return true;
        }
        let (retention, segment) = (kind.retention_ms().unwrap(), kind.segment_ms());
        if matches!(kind, StoreKind::Versioned { .. }) && thing.time < self.observed - retention {
            return false;
        }
        self.observed = self.observed.max(thing.time);
        if !matches!(kind, StoreKind::Versioned { .. }) && thing.time / segment < (self.observed - retention) / segment
        {
            return false;
        }
        let is_taken_back = self.takes_back && self.is_taken_back(&thing);
        let logged = thing.in_place_of(&self.logged);
        let thing = thing.in_place_of(&self.things);
        if !duplicates {
            self.things.retain(|old| (&old.key, old.time, old.start) != (&thing.key, thing.time, thing.start));
        }
        self.order += 1;
        if matches!(kind, StoreKind::Versioned { .. }) {
            self.logged.retain(|old| (&old.key, old.time) != (&thing.key, thing.time));
            self.logged.push(logged);
        }
        if is_taken_back {
            return true;
        }
        if thing.value.is_some() || matches!(kind, StoreKind::Versioned { .. }) {
            self.things.push(Thing { order: self.order, ..thing });
        }
        true
    }

    /// What is seen, in the order of the store: by segment, key, time, rest.
    fn seen(&self, kind: StoreKind, keep: impl Fn(&Thing) -> bool) -> Vec<Thing> {
        let first = kind.first_visible(self.observed);
        let mut seen: Vec<Thing> = self.things.iter().filter(|t| t.time >= first && keep(t)).cloned().collect();
        let segment = kind.segment_ms();
        seen.sort_by_key(|t| (t.time / segment, t.key.clone(), t.time, t.start, t.order));
        seen
    }

    fn version(&self, kind: StoreKind, key: &[u8], time: Option<i64>) -> Option<(Vec<u8>, i64)> {
        let of_key = || self.things.iter().filter(|t| t.key == key);
        let latest = of_key().max_by_key(|t| t.time)?;
        let time = time.unwrap_or(i64::MAX);
        if time < self.observed - kind.retention_ms().unwrap() && latest.time > time {
            return None;
        }
        let valid = of_key().filter(|t| t.time <= time).max_by_key(|t| t.time)?;
        Some((valid.value.clone()?, valid.time))
    }

    /// Whether it deletes the latest version at its very time, behind nothing that remembers that time.
    fn is_taken_back(&self, thing: &Thing) -> bool {
        let of_key = || self.things.iter().filter(|t| t.key == thing.key);
        let before = of_key().filter(|t| t.time < thing.time).max_by_key(|t| t.time);
        thing.value.is_none()
            && of_key().any(|t| t.time == thing.time && !t.deleted)
            && self.next_version(&thing.key, thing.time).is_none()
            && before.is_none_or(|before| before.value.is_none() && !before.between)
    }

    fn next_version(&self, key: &[u8], time: i64) -> Option<i64> {
        self.things.iter().filter(|t| t.key == key && t.time > time).map(|t| t.time).min()
    }
}

/// One store under test and what it should be.
pub struct Timed<'b> {
    kind: StoreKind,
    chance: Chance,
    subject: Subject<'b>,
    batch: Model,
    open: Model,
    committed: Model,
    late: u64,
    now: i64,
}

impl<'b> Timed<'b> {
    pub fn new(kind: StoreKind, seed: u64, bases: &'b mut dyn Bases) -> Timed<'b> {
        let mut chance = Chance(seed);
        let coalesce = chance.below(2) == 0;
        let takes_back = !coalesce && matches!(kind, StoreKind::Versioned { .. });
        let model = Model { observed: -1, takes_back, ..Model::default() };
        let subject = Subject::new(kind, coalesce, None, bases);
        let (batch, committed) = (model.clone(), model.clone());
        Timed { kind, chance, subject, batch, open: model, committed, late: 0, now: 0 }
    }

    pub fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            match self.chance.below(100) {
                0..46 => self.put(),
                46..50 => self.put_some_apart(),
                50..80 => self.compare(),
                80..85 => self.keep_batch(),
                85..89 => self.drop_batch(),
                89..94 => self.commit(),
                94..96 => self.abort(),
                96 => self.reopen(),
                97..99 => self.die(),
                _ => self.restore(),
            }
        }
        self.commit();
        self.restore();
        self.compare();
    }

    fn key(&mut self) -> Vec<u8> {
        self.chance.one_of(&KEYS).to_vec()
    }

    fn time(&mut self) -> i64 {
        let retention = self.kind.retention_ms().unwrap().max(1) as u64;
        self.now += match self.chance.below(10) {
            0 => retention as i64 / 2,
            1..5 => self.chance.below(retention / 8 + 2) as i64,
            _ => 0,
        };
        let back = match self.chance.below(4) {
            0 => self.chance.below(2 * retention + 3) as i64,
            1 => self.chance.one_of(&[retention as i64 - 1, retention as i64, retention as i64 + 1]),
            _ => self.chance.below(retention / 4 + 2) as i64,
        };
        (self.now - back).max(0)
    }

    fn put(&mut self) {
        let (key, time) = (self.key(), self.time());
        let value = (self.chance.below(5) > 0).then(|| self.chance.next().to_be_bytes()[..3].to_vec());
        let timestamp = time + self.chance.below(3) as i64;
        let start = match self.kind {
            StoreKind::Session { .. } => (time - self.chance.one_of(&[0, 0, 1, 70_000])).max(0),
            _ => time,
        };
        let is_versioned = matches!(self.kind, StoreKind::Versioned { .. });
        let timestamp = if is_versioned { time } else { timestamp };
        let (before, next) = (self.batch.clone(), self.batch.next_version(&key, time));
        let between = value.is_none() && next.is_some();
        let thing =
            Thing { key: key.clone(), time, start, order: 0, value: value.clone(), timestamp, between, deleted: false };
        let expected = self.batch.put(self.kind, thing);
        let value = value.as_deref();
        let taken = match self.kind {
            StoreKind::Window { .. } => self.subject.stores.windows_mut(0).put(&key, time, value, timestamp).unwrap(),
            StoreKind::Session { .. } => {
                self.subject.stores.sessions_mut(0).put(&key, (start, time), value, timestamp).unwrap()
            }
            _ => {
                let put = match value {
                    Some(_) => self.subject.stores.versions_mut(0).put(&key, value, time).unwrap(),
                    None => {
                        let mut old = None;
                        let mut visit =
                            |v: millstream_engine::store::Version<'_>| old = Some((v.value.to_vec(), v.valid_from));
                        let put = self.subject.stores.versions_mut(0).delete(&key, time, &mut visit).unwrap();
                        let raised = Model { observed: before.observed.max(time), ..before };
                        assert_eq!(old, raised.version(self.kind, &key, Some(time)).filter(|_| expected), "delete");
                        put
                    }
                };
                let as_latest = next.map_or(PutVersion::Latest, PutVersion::Until);
                assert_eq!(put, if expected { as_latest } else { PutVersion::Refused });
                put != PutVersion::Refused
            }
        };
        assert_eq!(taken, expected, "whether {key:?} at {time} was taken");
        let counts = !matches!(self.kind, StoreKind::Session { .. }) || value.is_some();
        self.late += u64::from(!taken && counts);
    }

    fn compare(&mut self) {
        let reverse = self.chance.below(2) == 0;
        let (a, b) = (self.key(), self.key());
        let (from, to) = (self.time(), self.time());
        let (from, to) = self.chance.one_of(&[(from, to), (from.min(to), from.max(to)), (i64::MIN, i64::MAX)]);
        if let StoreKind::Versioned { .. } = self.kind {
            return self.compare_versions(&a, &b, from, reverse);
        }
        let range = KeyRange { lower: Some(&a), upper: Some(&b) };
        for keys in [KeySpan::One(&a), KeySpan::ALL, KeySpan::Range(range)] {
            let within = |t: &Thing| match keys {
                KeySpan::One(key) => t.key == key,
                KeySpan::Range(range) => !range.is_inverted() && range.contains(&t.key),
            };
            let is_session = matches!(self.kind, StoreKind::Session { .. });
            let mut expected = self.batch.seen(self.kind, |t| {
                within(t) && t.time >= from && if is_session { t.start <= to } else { t.time <= to }
            });
            let mut found = Vec::new();
            if is_session {
                let mut visit = |row: millstream_engine::store::SessionRow<'_>| {
                    found.push((row.key.to_vec(), row.end, row.start, row.value.to_vec(), row.timestamp));
                    ControlFlow::Continue(())
                };
                self.subject.stores.sessions(0).find(keys, from, to, reverse, &mut visit).unwrap();
            } else {
                let mut visit = |row: millstream_engine::store::WindowRow<'_>| {
                    found.push((row.key.to_vec(), row.start, row.start, row.value.to_vec(), row.timestamp));
                    ControlFlow::Continue(())
                };
                self.subject.stores.windows(0).scan(keys, TimeSpan::new(from, to), reverse, &mut visit).unwrap();
            }
            if reverse {
                expected.reverse();
            }
            let expected: Vec<_> =
                expected.into_iter().map(|t| (t.key, t.time, t.start, t.value.unwrap(), t.timestamp)).collect();
            assert_eq!(found, expected, "{keys:?} from {from} to {to}, reverse {reverse}");
        }
        self.compare_one(&a);
        if self.kind.is_closing() {
            self.compare_closed(from, to);
        }
    }

    /// In the order of time. Sessions are found as long as their segment is there.
    fn compare_closed(&mut self, from: i64, to: i64) {
        let is_session = matches!(self.kind, StoreKind::Session { .. });
        let segment = self.kind.segment_ms();
        let first = match is_session {
            true => (self.batch.observed - self.kind.retention_ms().unwrap()) / segment * segment,
            false => self.kind.first_visible(self.batch.observed),
        };
        let mut rows = self.batch.things.clone();
        rows.sort_by(|a, b| (a.time, a.start, &a.key).cmp(&(b.time, b.start, &b.key)));
        rows.retain(|t| t.time >= first.max(from));
        let behind = rows.iter().find(|t| t.time > to).map_or(i64::MAX, |t| t.time);
        let expected: Vec<_> = rows.into_iter().filter(|t| t.time <= to).collect();
        // Of one of the times some have gone.
        let time = expected.first().map_or(from, |t| t.time);
        let gone = Gone { time, rows: self.chance.below(3) };
        let mut left = gone.rows;
        let mut has_gone = |t: &Thing| {
            let has = t.time == time && left > 0;
            left -= u64::from(has);
            has
        };
        let expected: Vec<_> = expected.into_iter().filter(|t| !has_gone(t)).collect();
        let expected: Vec<_> =
            expected.into_iter().map(|t| (t.key, t.start, t.time, t.value.unwrap(), t.timestamp)).collect();
        let mut found = Vec::new();
        let next = self.subject.stores.closed(0, TimeSpan::new(from, to), gone, &mut |row| {
            found.push((row.key.to_vec(), row.start, row.end, row.value.to_vec(), row.timestamp));
            ControlFlow::Continue(())
        });
        assert_eq!((found, next.unwrap()), (expected, HandedOver::All(behind)), "closed from {from} to {to}");
    }

    fn compare_one(&mut self, key: &[u8]) {
        let of_key: Vec<Thing> = self.batch.things.iter().filter(|t| t.key == key).cloned().collect();
        let other = Thing {
            key: key.into(),
            time: 3,
            start: 3,
            order: 0,
            value: None,
            timestamp: 0,
            between: false,
            deleted: false,
        };
        let thing = if of_key.is_empty() { other } else { self.chance.one_of(&of_key) };
        let same = |t: &Thing| (&*t.key, t.time, t.start) == (key, thing.time, thing.start);
        let expected = self.batch.seen(self.kind, same).into_iter().next();
        let mut found = None;
        let mut visit = |timestamp, value: &[u8]| found = Some((timestamp, value.to_vec()));
        match self.kind {
            StoreKind::Session { .. } => {
                self.subject.stores.sessions(0).fetch_one(key, (thing.start, thing.time), &mut visit)
            }
            _ => self.subject.stores.windows(0).fetch_one(key, thing.time, &mut visit),
        }
        .unwrap();
        assert_eq!(found, expected.map(|t| (t.timestamp, t.value.unwrap())));
    }

    fn compare_versions(&mut self, key: &[u8], other: &[u8], time: i64, reverse: bool) {
        for time in [None, Some(time)] {
            let mut found = None;
            let mut visit = |v: millstream_engine::store::Version<'_>| found = Some((v.value.to_vec(), v.valid_from));
            match time {
                None => self.subject.stores.versions(0).get(key, &mut visit).unwrap(),
                Some(time) => self.subject.stores.versions(0).get_as_of(key, time, &mut visit).unwrap(),
            }
            assert_eq!(found, self.batch.version(self.kind, key, time), "{key:?} as of {time:?}");
        }
        let range = KeyRange { lower: Some(key), upper: Some(other) };
        let mut found = Vec::new();
        let mut visit = |key: &[u8], version: millstream_engine::store::Version<'_>| {
            found.push((key.to_vec(), version.value.to_vec(), version.valid_from));
            ControlFlow::Continue(())
        };
        self.subject.stores.versions(0).scan(range, reverse, &mut visit).unwrap();
        let keys: BTreeMap<Vec<u8>, ()> = self.batch.things.iter().map(|t| (t.key.clone(), ())).collect();
        let of_key = |key: &Vec<u8>| {
            let (value, from) = self.batch.version(self.kind, key, None)?;
            Some((key.clone(), value, from))
        };
        let mut expected: Vec<_> = keys.keys().filter(|key| range.contains(key)).filter_map(of_key).collect();
        if reverse {
            expected.reverse();
        }
        assert_eq!(found, expected);
    }

    /// A part of a batch, which is kept with it or goes by itself.
    fn put_some_apart(&mut self) {
        let (saved, before) = (self.subject.stores.save(), (self.batch.clone(), self.late));
        for _ in 0..self.chance.below(3) {
            self.put();
        }
        self.compare();
        if self.chance.below(2) == 0 {
            return self.subject.stores.keep_saved(saved);
        }
        self.subject.stores.back_to_saved(saved);
        (self.batch, self.late) = before;
        self.compare();
    }

    fn keep_batch(&mut self) {
        assert_eq!(self.subject.stores.take_late(), self.late);
        self.late = 0;
        self.subject.stores.keep_batch();
        self.open = self.batch.clone();
    }

    fn drop_batch(&mut self) {
        self.subject.stores.drop_batch();
        self.batch = self.open.clone();
        self.late = 0;
    }

    fn commit(&mut self) {
        self.keep_batch();
        self.subject.seal();
        // A batch between a seal and its commit sees what is under seal.
        self.compare();
        self.put();
        self.keep_batch();
        self.subject.log();
        self.subject.apply();
        self.compare();
        self.committed = self.open.clone();
        self.subject.seal();
        self.subject.log();
        self.subject.apply();
    }

    /// The model of what the base has; of what the interval said there is nothing.
    fn forget_uncommitted(&mut self) {
        self.batch = self.committed.clone();
        self.open = self.committed.clone();
        self.late = 0;
    }

    fn abort(&mut self) {
        if self.chance.below(2) == 0 {
            self.keep_batch();
            self.subject.seal();
            self.put();
        }
        self.subject.abort();
        self.forget_uncommitted();
        self.compare();
    }

    fn reopen(&mut self) {
        self.commit();
        self.subject.die();
        let whole = self.subject.stands_at() == self.subject.changelog.len();
        assert!(whole || !self.subject.are_kept(), "what was committed is gone");
        self.catch_up();
    }

    /// In the middle of an interval: before the log has it, or behind that and before the base has it.
    fn die(&mut self) {
        let is_logged = match self.chance.below(3) {
            0 => false,
            under_seal => {
                self.keep_batch();
                self.subject.seal();
                under_seal == 1
            }
        };
        if is_logged {
            self.subject.log();
            self.committed = self.open.clone();
        }
        self.put();
        self.subject.die();
        if is_logged && self.batch.takes_back {
            // What was taken back is a version in the changelog: the model knows all of one or all of the other.
            self.subject.begin_anew();
        }
        self.forget_uncommitted();
        self.catch_up();
    }

    /// From nothing.
    fn restore(&mut self) {
        self.commit();
        self.subject.begin_anew();
        self.catch_up();
    }

    fn catch_up(&mut self) {
        let from_nothing = self.subject.catch_up(&mut self.chance);
        if let (true, StoreKind::Versioned { .. }) = (from_nothing, self.kind) {
            for model in [&mut self.batch, &mut self.open, &mut self.committed] {
                model.things = model.logged.clone();
            }
        }
        self.compare();
    }
}
