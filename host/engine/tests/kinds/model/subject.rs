//! The store under test, its base and its changelog, and what may befall them.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use millstream_engine::record::{Headers, Record, Records};
use millstream_engine::store::{
    Base, Error, KeyRange, Position, SizeLimits, StoreChanges, StoreKind, StoreSlot, TaskStores,
};

use super::Chance;

/// Where bases come from.
pub trait Bases {
    /// What an earlier base of this sequence has left.
    fn reopen(&mut self, kind: StoreKind) -> Box<dyn Base>;
    /// An empty one.
    fn empty(&mut self, kind: StoreKind) -> Box<dyn Base>;
    /// Whether a base outlives the process that wrote it.
    fn are_kept(&self) -> bool {
        true
    }
}

/// A base that outlives its stores.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<Box<dyn Base>>>);

impl Shared {
    pub fn new(base: impl Base + 'static) -> Shared {
        Shared(Arc::new(Mutex::new(Box::new(base))))
    }
}

impl Base for Shared {
    fn get_many(&self, store: usize, keys: &[&[u8]], visit: &mut dyn FnMut(usize, Option<&[u8]>)) -> Result<(), Error> {
        self.0.lock().unwrap().get_many(store, keys, visit)
    }

    fn scan(
        &self,
        store: usize,
        range: KeyRange<'_>,
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.0.lock().unwrap().scan(store, range, reverse, visit)
    }

    fn entries(&self, store: usize) -> Result<u64, Error> {
        self.0.lock().unwrap().entries(store)
    }

    fn bytes(&self, store: usize) -> Result<u64, Error> {
        self.0.lock().unwrap().bytes(store)
    }

    fn position(&self, store: usize) -> Result<Option<Position>, Error> {
        self.0.lock().unwrap().position(store)
    }

    fn apply(&mut self, changes: &[StoreChanges<'_>]) -> Result<(), Error> {
        self.0.lock().unwrap().apply(changes)
    }

    fn wipe(&mut self) -> Result<(), Error> {
        self.0.lock().unwrap().wipe()
    }

    fn wipe_store(&mut self, store: usize) -> Result<(), Error> {
        self.0.lock().unwrap().wipe_store(store)
    }
}

/// Key, value and timestamp of a changelog record.
pub(super) type Entry = (Vec<u8>, Option<Vec<u8>>, i64);

pub(super) struct Subject<'b> {
    pub kind: StoreKind,
    pub coalesce: bool,
    cache: Option<usize>,
    bases: &'b mut dyn Bases,
    pub stores: TaskStores,
    /// What the log has.
    pub changelog: Vec<Entry>,
    /// What is under seal says to the changelog.
    pub sealed: Vec<Entry>,
}

impl<'b> Subject<'b> {
    pub fn new(kind: StoreKind, coalesce: bool, cache: Option<usize>, bases: &'b mut dyn Bases) -> Subject<'b> {
        let (changelog, sealed, stores) = Default::default();
        let mut subject = Subject { kind, coalesce, cache, bases, stores, changelog, sealed };
        subject.begin_anew();
        subject
    }

    fn open(&mut self, base: Box<dyn Base>) {
        let kind = self.kind;
        let slot = StoreSlot { number: 0, name: "store".into(), base: 0, slot: 0, logged: true, kind };
        self.stores = TaskStores::new(vec![slot], vec![base], SizeLimits::default());
        self.stores.set_changelogs(self.coalesce, |_| usize::MAX);
        self.stores.set_caches(|_| self.cache);
    }

    // === an interval ===

    pub fn seal(&mut self) {
        let sealed = &mut self.sealed;
        self.stores.seal(&mut |_, record| {
            sealed.push((record.key.unwrap().to_vec(), record.value.map(<[u8]>::to_vec), record.timestamp));
        });
    }

    /// The log has what is under seal.
    pub fn log(&mut self) {
        self.changelog.append(&mut self.sealed);
    }

    /// And so has the base.
    pub fn apply(&mut self) {
        let position = self.changelog.len().checked_sub(1).map(|last| Position { offset: last as i64 });
        self.stores.apply_sealed(&[position]).unwrap();
    }

    /// The log refuses what is under seal, and nothing of the next interval is left.
    pub fn abort(&mut self) {
        self.stores.drop_open();
        self.stores.drop_sealed();
        self.sealed.clear();
    }

    // === ends and beginnings ===

    /// The process dies: what is not in the base is gone, and of a base that is not kept all.
    pub fn die(&mut self) {
        self.sealed.clear();
        self.stores = TaskStores::default();
        let base = self.bases.reopen(self.kind);
        self.open(base);
    }

    pub fn begin_anew(&mut self) {
        self.stores = TaskStores::default();
        let base = self.bases.empty(self.kind);
        self.open(base);
    }

    /// Where the base wants to be read on from.
    pub fn stands_at(&self) -> usize {
        self.stores.position(0).unwrap().map_or(0, |position| position.offset as usize + 1)
    }

    pub fn are_kept(&self) -> bool {
        self.bases.are_kept()
    }

    /// Reads the changelog to its end, in runs of any length. Now and then the process dies between two of them. Answers
    /// whether it was read from its beginning.
    pub fn catch_up(&mut self, chance: &mut Chance) -> bool {
        let first = self.stands_at();
        let mut from = first;
        while from < self.changelog.len() {
            let left = self.changelog.len() - from;
            let to = from + 1 + chance.below(left as u64) as usize;
            let mut records = Records::default();
            for (offset, (key, value, timestamp)) in (from as i64..).zip(&self.changelog[from..to]) {
                let (key, value) = (Some(&key[..]), value.as_deref());
                records.push(offset, Record { key, value, headers: Headers(&[]), timestamp: *timestamp });
            }
            self.stores.restore(0, &records, to as i64 - 1).unwrap();
            if chance.below(3) == 0 {
                self.stores.end_restore(0).unwrap();
            }
            from = to;
            if chance.below(8) == 0 {
                self.die();
                from = self.stands_at();
                assert!(from >= first || !self.are_kept(), "what was restored is gone");
            }
        }
        self.stores.end_restore(0).unwrap();
        assert_eq!(self.stands_at(), self.changelog.len());
        first == 0
    }
}
