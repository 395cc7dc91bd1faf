//! The keys a batch will read.

use crate::codec::{self, Data};
use crate::processor::init::Connected;
use crate::store::KeyValueStore;

/// Collects keys to be read together, store by store ([`super::Processor::prefetch`]).
pub struct Prefetch<'a> {
    stores: &'a [Connected],
    /// By connected store.
    keys: Vec<Vec<Vec<u8>>>,
    record_key: Option<&'a [u8]>,
    record_codec: &'static str,
}

impl<'a> Prefetch<'a> {
    /// For records whose keys travel in the codec of that name.
    pub(crate) fn new(stores: &'a [Connected], record_codec: &'static str) -> Prefetch<'a> {
        Prefetch { stores, keys: stores.iter().map(|_| Vec::new()).collect(), record_key: None, record_codec }
    }

    pub(crate) fn begin(&mut self, record_key: Option<&'a [u8]>) {
        self.record_key = record_key;
    }

    /// The record's own key, in all connected stores whose keys have the same codec.
    pub fn record_key(&mut self) {
        let Some(key) = self.record_key else { return };
        for (store, keys) in self.stores.iter().zip(&mut self.keys) {
            if store.key == self.record_codec {
                keys.push(key.to_vec());
            }
        }
    }

    /// One key of one store.
    pub fn key<K: Data, V: Data>(&mut self, store: &KeyValueStore<K, V>, key: &K) {
        let place = self.stores.iter().position(|connected| std::rc::Rc::ptr_eq(&connected.buffer, &store.buffer));
        if let (Some(place), Some(key)) = (place, codec::to_bytes(key)) {
            self.keys[place].push(key);
        }
    }

    /// Reads them all, with one call for each store.
    pub(crate) fn fetch(self) {
        for (store, keys) in self.stores.iter().zip(self.keys) {
            store.buffer.borrow_mut().prefetch(&keys);
        }
    }
}
