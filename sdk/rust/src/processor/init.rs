//! What a processor asks for when it is opened.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::codec::{self, Data};
use crate::description::{Punctuation, Time};
use crate::store::{Buffer, KeyValueStore, Store};

/// Opens a processor's stores and schedules its punctuations, once, while the topology is described.
#[derive(Default)]
pub struct Init {
    pub(crate) stores: Vec<Connected>,
    pub(crate) punctuations: Vec<Punctuation>,
}

/// A store connected to a node.
pub(crate) struct Connected {
    pub buffer: Rc<RefCell<Buffer>>,
    /// The name of its keys' codec.
    pub key: &'static str,
}

impl Init {
    /// Opens a store of the topology ([`crate::Topology::store`], [`crate::Table::store`]). In the processor it is
    /// the part of the store that belongs to the running task.
    pub fn store<K: Data, V: Data>(&mut self, store: &Store<K, V>) -> KeyValueStore<K, V> {
        let known = |connected: &Connected| Rc::ptr_eq(&connected.buffer, &store.buffer);
        if !self.stores.iter().any(known) {
            self.stores.push(Connected { buffer: store.buffer.clone(), key: codec::name::<K>() });
        }
        KeyValueStore::new(store.buffer.clone())
    }

    /// A punctuation whenever the task's stream time, the greatest timestamp of its records so far, has moved on by
    /// `every` (at least a millisecond).
    pub fn every_stream_time(&mut self, every: Duration, name: &str) {
        self.every(every, name, Time::Stream);
    }

    /// A punctuation whenever `every` (at least a millisecond) has gone by on the clock on the wall.
    pub fn every_wall_clock_time(&mut self, every: Duration, name: &str) {
        self.every(every, name, Time::WallClock);
    }

    /// The places of the connected stores in the description.
    pub(crate) fn store_places(&self) -> Vec<usize> {
        self.stores.iter().map(|store| store.buffer.borrow().store() as usize).collect()
    }

    fn every(&mut self, every: Duration, name: &str, time: Time) {
        let every_ms = every.as_millis().clamp(1, i64::MAX as u128) as u64;
        self.punctuations.push(Punctuation { name: name.to_owned(), time, every_ms });
    }
}
