//! A provider under test: its stores, and a model of what they must hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_engine::config::Limits;
use millstream_engine::store::KeyRange;

use super::super::super::fault;
use super::super::super::runtime::GuestLog;
use super::super::bindings::exports::millstream::plugin::provider::{Failure, Options, Page, ScanRequest, StoreKind};
use super::super::component::Provider;
use super::super::frame::{Frame, KEYS_MAX, Rows, Wanted, read_values};
use super::super::guest::{Called, Guest};

/// What was seen, or what is wrong.
pub(super) type Found = Result<String, String>;

/// What a store must hold.
pub(super) type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// A write: `None` deletes.
pub(super) type Write<'w> = (&'w [u8], Option<&'w [u8]>);

/// The epoch of the first owner.
pub(super) const EPOCH: u64 = 1_000;

/// Stores of one clause.
const STORES: u32 = 2;

pub(super) struct Bench {
    provider: Provider,
    log: Arc<GuestLog>,
    /// Begins the ids of the clause's stores.
    id: String,
    pub seed: u64,
    guest: Option<Guest>,
    pub epoch: u64,
    /// By store.
    positions: [Vec<u8>; STORES as usize],
    number: u64,
}

impl Bench {
    pub fn new(provider: &Provider, log: Arc<GuestLog>, id: String, seed: u64) -> Bench {
        let (provider, positions) = (provider.clone(), Default::default());
        Bench { provider, log, id, seed, guest: None, epoch: EPOCH, positions, number: 0 }
    }

    pub fn limits(&self) -> &Limits {
        self.provider.limits()
    }

    // === calls ===

    /// One call, whose failure is the clause's.
    pub fn call<T>(&mut self, name: &str, run: impl FnOnce(&mut Guest) -> Called<T>) -> Result<T, String> {
        self.attempt(name, run)?.map_err(|failure| format!("{name} failed: {}", shown(&failure)))
    }

    /// One call, whose failure is looked at.
    pub fn attempt<T>(
        &mut self,
        name: &str,
        run: impl FnOnce(&mut Guest) -> Called<T>,
    ) -> Result<Result<T, Failure>, String> {
        let mut guest = match self.guest.take() {
            Some(guest) => guest,
            None => Guest::start(&self.provider, &self.log).map_err(|error| self.trapped("its start", &error, None))?,
        };
        match run(&mut guest) {
            Ok(answer) => {
                self.guest = Some(guest);
                Ok(answer)
            }
            Err(error) => Err(self.trapped(name, &error, guest.last_words())),
        }
    }

    fn trapped(&self, name: &str, error: &wasmtime::Error, last_words: Option<String>) -> String {
        let fault = fault::guest(error, self.limits(), last_words);
        format!("{name}: {}: {}", fault.kind, fault.message)
    }

    /// Opens both stores for the bench's epoch; answers whether what is flushed outlives the instance.
    pub fn open(&mut self) -> Result<bool, String> {
        let mut is_persistent = false;
        for store in 0..STORES {
            let options = self.options(store);
            is_persistent = self.call("open", |guest| guest.open(store, &options))?.persistent;
        }
        Ok(is_persistent)
    }

    pub fn options(&self, store: u32) -> Options {
        let (id, config) = (format!("{}/{store}", self.id), self.provider.config().to_owned());
        Options { id, kind: StoreKind::KeyValue, config, epoch: self.epoch }
    }

    /// The instance goes, as in a crash.
    pub fn crash(&mut self) {
        self.guest = None;
    }

    /// Writes, as the owner of the epoch, from where the store was left.
    pub fn write(&mut self, store: u32, writes: &[Write<'_>]) -> Result<(), String> {
        let (from, to, epoch) = (self.position_of(store), self.next(), self.epoch);
        self.call("apply", |guest| guest.apply(store, epoch, &from, &to, &frame(writes)))?;
        self.positions[store as usize] = to;
        Ok(())
    }

    /// Where the store was left.
    pub fn position_of(&self, store: u32) -> Vec<u8> {
        self.positions[store as usize].clone()
    }

    pub fn leave_at(&mut self, store: u32, position: Vec<u8>) {
        self.positions[store as usize] = position;
    }

    /// A position that there was none like.
    pub fn next(&mut self) -> Vec<u8> {
        self.number += 1;
        format!("position-{}", self.number).into_bytes()
    }

    /// Values in the order of the keys, read at the position that the store was left at.
    pub fn get(&mut self, store: u32, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, String> {
        let mut found = Vec::new();
        while found.len() < keys.len() {
            let mut asked = Frame::in_place_of(Vec::new());
            keys[found.len()..].iter().take(KEYS_MAX).for_each(|key| asked.push_key(key));
            let (count, asked) = (asked.len(), asked.finish());
            let answer = self.call("get-many", |guest| guest.get_many(store, &asked))?;
            self.check_position("get-many", store, &answer.position)?;
            read_values(&answer.values, count, &mut |_, value| found.push(value.map(<[u8]>::to_vec)))
                .map_err(|lie| format!("get-many {lie}"))?;
        }
        Ok(found)
    }

    /// One page, checked against what was asked for.
    pub fn page(&mut self, store: u32, request: &ScanRequest) -> Result<(Vec<(Vec<u8>, Vec<u8>)>, bool), String> {
        let Page { position, entries, more } = self.call("scan", |guest| guest.scan(store, request))?;
        self.check_position("scan", store, &position)?;
        let range = KeyRange { lower: request.lower.as_deref(), upper: request.upper.as_deref() };
        let wanted = Wanted { range, reverse: request.reverse, limit: request.limit };
        let lied = |lie| format!("scan {lie}");
        let mut rows = Rows::read(&entries, &wanted, request.after.as_deref(), more).map_err(lied)?;
        let mut found = Vec::new();
        while let Some((key, value)) = rows.next().map_err(lied)? {
            found.push((key.to_vec(), value.to_vec()));
        }
        Ok((found, more))
    }

    /// All rows of a range, in pages of so many.
    pub fn scan(&mut self, store: u32, mut request: ScanRequest) -> Result<Vec<(Vec<u8>, Vec<u8>)>, String> {
        let mut all = Vec::new();
        loop {
            let (rows, more) = self.page(store, &request)?;
            request.after = rows.last().map(|(key, _)| key.clone());
            all.extend(rows);
            if !more {
                return Ok(all);
            }
        }
    }

    /// Holds all rows of a store against what they must be, forwards and backwards.
    pub fn expect(&mut self, store: u32, model: &Model) -> Result<(), String> {
        for reverse in [false, true] {
            let mut found = self.scan(store, everything(reverse, 1_000))?;
            if reverse {
                found.reverse();
            }
            let expected = model.iter().map(|(key, value)| (key.clone(), value.clone()));
            if let Some(wrong) = difference(&found, &expected.collect::<Vec<_>>()) {
                return Err(format!("a scan {}: {wrong}", if reverse { "backwards" } else { "forwards" }));
            }
        }
        Ok(())
    }

    pub fn check_position(&self, call: &str, store: u32, position: &[u8]) -> Result<(), String> {
        let left = &self.positions[store as usize];
        match position == left {
            true => Ok(()),
            false => Err(format!("{call} was served at {}, and was left at {}", text(position), text(left))),
        }
    }

    /// Wipes both stores; nothing of a clause stays behind it. A store that was never open has nothing.
    pub fn clean_up(&mut self) -> Result<(), String> {
        if self.guest.is_none() {
            return Ok(());
        }
        let epoch = self.epoch;
        (0..STORES).try_for_each(|store| self.call("wipe", |guest| guest.wipe(store, epoch)))
    }
}

pub(super) fn frame(writes: &[Write<'_>]) -> Vec<u8> {
    let mut frame = Frame::in_place_of(Vec::new());
    writes.iter().for_each(|(key, value)| frame.push_write(key, *value));
    frame.finish()
}

pub(super) fn everything(reverse: bool, limit: u32) -> ScanRequest {
    ScanRequest { lower: None, upper: None, after: None, reverse, limit }
}

/// The first place where rows differ.
pub(super) fn difference(found: &[(Vec<u8>, Vec<u8>)], expected: &[(Vec<u8>, Vec<u8>)]) -> Option<String> {
    let at = (0..found.len().max(expected.len())).find(|at| found.get(*at) != expected.get(*at))?;
    Some(match (found.get(at), expected.get(at)) {
        (None, Some((key, _))) => format!("row {at} is missing: {}", text(key)),
        (Some((key, _)), None) => format!("row {at} should not be there: {}", text(key)),
        (Some((key, _)), Some((other, _))) if key != other => format!("row {at} is {}, not {}", text(key), text(other)),
        (Some((key, value)), Some((_, other))) => {
            format!("{} is {} bytes {}, not {}", text(key), value.len(), text(value), text(other))
        }
        (None, None) => return None,
    })
}

/// Bytes as a person reads them, cut short.
pub(super) fn text(bytes: &[u8]) -> String {
    const SHOWN: usize = 32;
    let cut = if bytes.len() > SHOWN { "…" } else { "" };
    format!("\"{}\"{cut}", bytes[..bytes.len().min(SHOWN)].escape_ascii())
}

pub(super) fn shown(failure: &Failure) -> String {
    let (kind, why) = match failure {
        Failure::Retry(why) => ("retry", why),
        Failure::Corrupted(why) => ("corrupted", why),
        Failure::Conflict(why) => ("conflict", why),
        Failure::Refused(why) => ("refused", why),
    };
    format!("{kind}: {why}")
}
