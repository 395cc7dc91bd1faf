//! The engine's committed state over a provider: the stores of one task, each with its own position.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::sync::Arc;

use millstream_engine::error::{Problem, exit};
use millstream_engine::store::{Base, Changes, Error, KeyRange, Position, StoreChanges, StoreKind};

use super::super::fault;
use super::super::runtime::GuestLog;
use super::bindings::exports::millstream::plugin::provider::{
    Capabilities, Failure, Options, ScanRequest, StoreKind as Kind,
};
use super::component::Provider;
use super::frame::{Frame, KEYS_MAX, Lie, Rows, Wanted, read_values};
use super::guest::{Called, Guest};
use super::position::{Changelog, Stand};

/// Rows of a scan's first page, and of those behind it: most scans want few, and a long one crosses seldom.
const FIRST_ROWS: u32 = 100;
const MORE_ROWS: u32 = 1_000;

/// One store of a task, as its provider is told of it.
#[derive(Clone, Debug)]
pub struct ProviderStore {
    /// Of application, task and store.
    pub id: String,
    pub kind: StoreKind,
    /// What it is restored from, if that is known.
    pub changelog: Option<Changelog>,
}

/// The committed state of one task's stores in one provider.
///
/// Several stores are written one after the other: each stands where its own position says, and a restart reads on from
/// there. So does a write that is too large for one call: what is in front moves the number of the position and not its
/// offset.
pub struct ProviderBase {
    provider: Provider,
    stores: Vec<Kept>,
    epoch: u64,
    log: Arc<GuestLog>,
    /// `None` after a trap, until the next call.
    guest: RefCell<Option<Guest>>,
    is_persistent: Cell<bool>,
    /// Writes so far; each gets its number.
    number: Cell<u64>,
    /// The room of the last frame.
    room: Cell<Vec<u8>>,
}

struct Kept {
    store: ProviderStore,
    /// Where it stands: what every read must say.
    expected: RefCell<Vec<u8>>,
    /// Where it stands if the last write was done, whose outcome nobody knows.
    unsettled: RefCell<Option<Vec<u8>>>,
    /// An instance that held it alone is gone: that it is empty now is no lie.
    is_lost: Cell<bool>,
    /// Why what was there when it was opened is gone.
    emptied: Cell<Option<&'static str>>,
    /// A call has found that nothing of it can be trusted.
    is_damaged: Cell<bool>,
}

/// Why a store is opened empty.
const FOREIGN: &str = "it stood where no host had put it, or its provider had to empty it";
const REPLACED: &str = "it belongs to another changelog than the one that is there, or to a store of another kind";

impl Kept {
    fn new(store: ProviderStore) -> Kept {
        let (expected, unsettled) = Default::default();
        let (is_lost, is_damaged) = Default::default();
        Kept { store, expected, unsettled, is_lost, emptied: Cell::default(), is_damaged }
    }

    fn stand(&self) -> Option<Stand> {
        Stand::decode(&self.expected.borrow())
    }

    /// Why what stands there is of no use; `None`: it is.
    fn distrust(&self, stand: Option<Stand>) -> Option<&'static str> {
        let Some(stand) = stand else { return Some(FOREIGN) };
        let is_other = |(was, is): (Changelog, Changelog)| was != is;
        stand.changelog.zip(self.store.changelog).is_some_and(is_other).then_some(REPLACED)
    }

    fn settle_at(&self, position: Vec<u8>) {
        self.expected.replace(position);
        self.unsettled.take();
        self.is_lost.set(false);
    }
}

/// Why a call has no answer.
enum Undone {
    /// The provider's word.
    Failed(Failure),
    /// A trap or an overrun: the instance is gone.
    Lost(String),
    Error(Error),
}

impl ProviderBase {
    /// Opens the stores of one task for the owner of this epoch. One whose position no host has written is emptied, and so
    /// is one that stands in another changelog: one that was deleted and created anew, say.
    pub fn open(provider: Provider, stores: Vec<ProviderStore>, epoch: u64) -> Result<ProviderBase, Error> {
        let base = ProviderBase {
            log: provider.log(),
            provider,
            stores: stores.into_iter().map(Kept::new).collect(),
            epoch,
            guest: RefCell::default(),
            is_persistent: Cell::new(false),
            number: Cell::new(0),
            room: Cell::default(),
        };
        for number in 0..base.stores.len() {
            let position = base.call(number, |guest| guest.position(number as u32))?;
            if position.is_empty() {
                continue;
            }
            let (kept, stand) = (&base.stores[number], Stand::decode(&position));
            base.number.set(base.number.get().max(stand.map_or(0, |stand| stand.number)));
            match kept.distrust(stand) {
                None => kept.settle_at(position),
                Some(why) => {
                    tracing::warn!(provider = base.provider.name(), store = kept.store.id, why, "a store is emptied");
                    base.empty(number)?;
                    kept.emptied.set(Some(why));
                }
            }
        }
        Ok(base)
    }

    // === calls ===

    /// Whether what it keeps is there for the next process: the component's word, given when its stores were opened.
    pub fn is_persistent(&self) -> bool {
        self.is_persistent.get()
    }

    /// One call in a guest that is there or is started; a trap ends the guest.
    fn attempt<T>(&self, run: impl FnOnce(&mut Guest) -> Called<T>) -> Result<T, Undone> {
        let mut guest = match self.guest.take() {
            Some(guest) => guest,
            None => self.start()?,
        };
        match run(&mut guest) {
            Ok(answer) => {
                self.guest.replace(Some(guest));
                answer.map_err(Undone::Failed)
            }
            Err(error) => Err(self.lost(&error, guest.last_words())),
        }
    }

    /// About one store.
    fn call<T>(&self, number: usize, run: impl FnOnce(&mut Guest) -> Called<T>) -> Result<T, Error> {
        self.attempt(run).map_err(|undone| self.error(number, undone))
    }

    fn start(&self) -> Result<Guest, Undone> {
        let mut guest = Guest::start(&self.provider, &self.log).map_err(|error| self.lost(&error, None))?;
        for (number, kept) in self.stores.iter().enumerate() {
            let options = Options {
                id: kept.store.id.clone(),
                kind: kind(kept.store.kind),
                config: self.provider.config().to_owned(),
                epoch: self.epoch,
            };
            match guest.open(number as u32, &options) {
                Ok(Ok(Capabilities { persistent })) => self.is_persistent.set(persistent),
                Ok(Err(failure)) => return Err(Undone::Error(self.error(number, Undone::Failed(failure)))),
                Err(error) => return Err(self.lost(&error, guest.last_words())),
            }
        }
        Ok(guest)
    }

    fn lost(&self, error: &wasmtime::Error, last_words: Option<String>) -> Undone {
        self.stores.iter().for_each(|kept| kept.is_lost.set(!self.is_persistent.get()));
        let fault = fault::guest(error, self.provider.limits(), last_words);
        let said = format!("{}: {}", fault.kind, fault.message);
        match self.fault(&said) {
            Some(error) => Undone::Error(error),
            None => Undone::Lost(said),
        }
    }

    /// Counts a fault; one too many stops the application.
    fn fault(&self, what: &str) -> Option<Error> {
        self.provider.faults().add().then(|| {
            let name = self.provider.name();
            let problem = Problem::new("ProviderFailed", "E0808", exit::FAILED, format!("provider {name}: {what}"))
                .field("provider", name)
                .why("it has trapped, stalled or lied again and again, and restoring its state has not mended it")
                .fix(
                    "`millstream provider check FILE` names what it does wrong; every store can have another provider",
                );
            Error::Refused(Box::new(problem))
        })
    }

    /// What became of a call about this store.
    fn error(&self, number: usize, undone: Undone) -> Error {
        let name = self.provider.name();
        match undone {
            Undone::Error(error) => error,
            Undone::Lost(what) => Error::Retry(format!("provider {name}: {what}")),
            Undone::Failed(Failure::Retry(why)) => Error::Retry(format!("provider {name}: {why}")),
            Undone::Failed(Failure::Conflict(why)) => {
                Error::Retry(format!("provider {name}: another owner has the store: {why}"))
            }
            Undone::Failed(Failure::Corrupted(why)) => self.damaged(number, &why),
            Undone::Failed(Failure::Refused(why)) => {
                let problem = Problem::new("ProviderRefused", "E0807", exit::FAILED, format!("provider {name}: {why}"))
                    .field("provider", name)
                    .why("it has said that it will never do what it was asked for")
                    .fix("mend [providers.NAME] of the manifest as it says, or give the store another provider");
                Error::Refused(Box::new(problem))
            }
        }
    }

    fn lied(&self, number: usize, lie: &Lie) -> Error {
        let what = format!("store {} {lie}", self.stores[number].store.id);
        self.fault(&what).unwrap_or_else(|| self.damaged(number, &what))
    }

    fn damaged(&self, number: usize, why: &str) -> Error {
        self.stores[number].is_damaged.set(true);
        Error::Corrupted(format!("provider {}: {why}", self.provider.name()))
    }

    /// Holds a position that came with an answer against the expected one.
    fn check(&self, number: usize, position: &[u8]) -> Result<(), Error> {
        let kept = &self.stores[number];
        if *position == **kept.expected.borrow() {
            return Ok(());
        }
        let what = Lie(format!("stands at {}, and was left at {}", shown(position), shown(&kept.expected.borrow())));
        match kept.is_lost.get() {
            true => {
                // All that it held.
                self.stores.iter().for_each(|kept| kept.is_damaged.set(kept.is_damaged.get() || kept.is_lost.get()));
                Err(self.damaged(number, "what its instance held is gone"))
            }
            false => Err(self.lied(number, &what)),
        }
    }

    /// Finds out what became of the last write, if nobody knows.
    fn settle(&self, number: usize) -> Result<(), Error> {
        let kept = &self.stores[number];
        if kept.unsettled.borrow().is_none() {
            return Ok(());
        }
        let position = self.call(number, |guest| guest.position(number as u32))?;
        if kept.unsettled.take().as_ref() == Some(&position) {
            kept.settle_at(position);
            return Ok(());
        }
        self.check(number, &position)
    }

    // === writes ===

    /// Writes a frame and moves the position.
    fn write(&self, number: usize, frame: Frame, to: Stand) -> Result<(), Error> {
        self.settle(number)?;
        let kept = &self.stores[number];
        let (from, to) = (kept.expected.borrow().clone(), to.encode());
        let writes = frame.finish();
        let done = self.attempt(|guest| guest.apply(number as u32, self.epoch, &from, &to, &writes));
        self.room.set(writes);
        match done {
            Ok(()) => {
                kept.settle_at(to);
                Ok(())
            }
            Err(undone @ Undone::Failed(Failure::Refused(_) | Failure::Corrupted(_))) => {
                Err(self.error(number, undone))
            }
            Err(Undone::Error(error)) => Err(error),
            Err(undone) => {
                kept.unsettled.replace(Some(to.clone()));
                self.settle(number)?;
                if *kept.expected.borrow() == to { Ok(()) } else { Err(self.error(number, undone)) }
            }
        }
    }

    fn write_changes(&self, number: usize, changes: &Changes, position: Option<Position>) -> Result<(), Error> {
        let kept = &self.stores[number];
        let mut frame = Frame::in_place_of(self.room.take());
        for change in changes.iter() {
            if frame.is_full() {
                self.write(number, frame, self.next(kept, None, None))?;
                frame = Frame::in_place_of(self.room.take());
            }
            frame.push_write(change.key, change.value);
        }
        self.write(number, frame, self.next(kept, position, None))
    }

    /// The position behind the next write.
    fn next(&self, kept: &Kept, position: Option<Position>, whole_at: Option<i64>) -> Stand {
        self.number.set(self.number.get() + 1);
        let before = kept.stand();
        let offset = position.map(|position| position.offset).or_else(|| before?.offset);
        let whole_at = whole_at.or_else(|| before?.whole_at);
        let changelog = kept.store.changelog.or_else(|| before?.changelog);
        Stand { offset, whole_at, epoch: self.epoch, number: self.number.get(), changelog }
    }

    /// Empties a store, and looks whether it is.
    fn empty(&self, number: usize) -> Result<(), Error> {
        self.call(number, |guest| guest.wipe(number as u32, self.epoch))?;
        let position = self.call(number, |guest| guest.position(number as u32))?;
        self.stores[number].settle_at(Vec::new());
        self.stores[number].is_damaged.set(false);
        match position.is_empty() {
            true => Ok(()),
            false => Err(self.lied(number, &Lie(format!("was wiped and stands at {}", shown(&position))))),
        }
    }
}

impl Base for ProviderBase {
    fn emptied_at_open(&self, store: usize) -> Option<&str> {
        self.stores.get(store)?.emptied.get()
    }

    fn is_damaged(&self, store: usize) -> bool {
        self.stores.get(store).is_some_and(|kept| kept.is_damaged.get())
    }

    /// One call for a batch's keys, as long as they fit.
    fn get_many(&self, store: usize, keys: &[&[u8]], visit: &mut dyn FnMut(usize, Option<&[u8]>)) -> Result<(), Error> {
        self.settle(store)?;
        let mut done = 0;
        while done < keys.len() {
            let mut frame = Frame::in_place_of(self.room.take());
            for key in keys[done..].iter().take(KEYS_MAX) {
                if frame.is_full() {
                    break;
                }
                frame.push_key(key);
            }
            let asked = frame.len();
            let frame = frame.finish();
            let answer = self.call(store, |guest| guest.get_many(store as u32, &frame));
            self.room.set(frame);
            let answer = answer?;
            self.check(store, &answer.position)?;
            let read = read_values(&answer.values, asked, &mut |at, value| visit(done + at, value));
            done += read.map_err(|lie| self.lied(store, &lie))?;
        }
        Ok(())
    }

    fn scan(
        &self,
        store: usize,
        range: KeyRange<'_>,
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        if range.is_inverted() {
            return Ok(());
        }
        self.settle(store)?;
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let (lower, upper, limit) = (owned(range.lower), owned(range.upper), FIRST_ROWS);
        let mut request = ScanRequest { lower, upper, after: None, reverse, limit };
        loop {
            let page = self.call(store, |guest| guest.scan(store as u32, &request))?;
            self.check(store, &page.position)?;
            let wanted = Wanted { range, reverse, limit: request.limit };
            let lied = |lie: Lie| self.lied(store, &lie);
            let mut last = None;
            let mut rows = Rows::read(&page.entries, &wanted, request.after.as_deref(), page.more).map_err(lied)?;
            while let Some((key, value)) = rows.next().map_err(lied)? {
                if visit(key, value).is_break() {
                    return Ok(());
                }
                last = Some(key);
            }
            let Some(last) = last.filter(|_| page.more).map(<[u8]>::to_vec) else { return Ok(()) };
            (request.after, request.limit) = (Some(last), MORE_ROWS);
        }
    }

    fn entries(&self, store: usize) -> Result<u64, Error> {
        self.call(store, |guest| guest.size(store as u32)).map(|extent| extent.entries)
    }

    fn bytes(&self, store: usize) -> Result<u64, Error> {
        self.call(store, |guest| guest.size(store as u32)).map(|extent| extent.bytes)
    }

    fn position(&self, store: usize) -> Result<Option<Position>, Error> {
        self.settle(store)?;
        let position = self.call(store, |guest| guest.position(store as u32))?;
        self.check(store, &position)?;
        Ok(self.stores[store].stand().and_then(|stand| stand.offset).map(|offset| Position { offset }))
    }

    fn apply(&mut self, changes: &[StoreChanges<'_>]) -> Result<(), Error> {
        changes.iter().try_for_each(|of| self.write_changes(of.store, of.changes, of.position))
    }

    fn wipe(&mut self) -> Result<(), Error> {
        (0..self.stores.len()).try_for_each(|store| self.empty(store))
    }

    fn wipe_store(&mut self, store: usize) -> Result<(), Error> {
        self.empty(store)
    }

    fn whole_at(&self) -> Result<Option<i64>, Error> {
        if !self.is_persistent.get() {
            return Ok(None);
        }
        // One that was never marked is as old as can be.
        let held = self.stores.iter().filter_map(Kept::stand).filter(|stand| stand.offset.is_some());
        Ok(held.map(|stand| stand.whole_at.unwrap_or(0)).min())
    }

    fn mark_whole(&mut self, now: i64) -> Result<(), Error> {
        if !self.is_persistent.get() {
            return Ok(());
        }
        (0..self.stores.len()).try_for_each(|store| {
            let to = self.next(&self.stores[store], None, Some(now));
            self.write(store, Frame::in_place_of(self.room.take()), to)
        })
    }

    fn close(&mut self) -> Result<(), Error> {
        for store in 0..self.stores.len() {
            self.call(store, |guest| guest.flush(store as u32, self.epoch))?;
            self.call(store, |guest| guest.close(store as u32))?;
        }
        self.guest.take();
        Ok(())
    }
}

fn kind(kind: StoreKind) -> Kind {
    match kind {
        StoreKind::KeyValue | StoreKind::Buffer => Kind::KeyValue,
        StoreKind::Window { .. } => Kind::Window,
        StoreKind::Session { .. } => Kind::Session,
        StoreKind::Versioned { .. } => Kind::Versioned,
    }
}

fn shown(position: &[u8]) -> String {
    match Stand::decode(position) {
        None if position.is_empty() => "no position".to_owned(),
        None => format!("a position that is not the host's ({} bytes)", position.len()),
        Some(Stand { offset, epoch, number, .. }) => {
            let offset = offset.map_or("no offset".to_owned(), |offset| format!("offset {offset}"));
            format!("{offset}, write {number} of epoch {epoch}")
        }
    }
}
