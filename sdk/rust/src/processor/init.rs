//! What a processor asks for when it is opened.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::codec::{self, Data};
use crate::description::{Punctuation, Time};
use crate::store::{
    Buffer, KeyValueStore, ReadOnlyKeyValueStore, SessionStore, Sessions, Store, VersionedStore, Versions, WindowStore,
    Windows,
};
use crate::topology::GlobalTable;

/// Stands for the codec of keys that a store is not asked for ahead of a batch: no codec is called so.
const NOT_FETCHED_AHEAD: &str = "";

/// Opens a processor's stores and schedules its punctuations, once, while the topology is described.
#[derive(Default)]
pub struct Init {
    pub(crate) stores: Vec<Connected>,
    pub(crate) punctuations: Vec<Punctuation>,
    pub(crate) schedules: bool,
    pub(crate) resumes: bool,
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
        KeyValueStore::new(self.connect(&store.buffer, codec::name::<K>()))
    }

    /// Opens a global table, to be read: all of it, whatever the running task. What a record finds there depends on when it
    /// comes, as with [`crate::Stream::join_global`].
    ///
    /// ```
    /// # use millstream_sdk::prelude::*;
    /// # struct Place(ReadOnlyKeyValueStore<String, String>);
    /// # impl Processor<String, String, String, Option<String>> for Place {
    /// #     fn process(&mut self, sale: Record<String, String>, ctx: &mut Context<String, Option<String>>) -> Result<(), Failure> {
    /// #         let city = self.0.get(&sale.value)?;
    /// #         ctx.forward(sale.with_value(city));
    /// #         Ok(())
    /// #     }
    /// # }
    /// # fn topology(app: &mut Topology) {
    /// let shops = app.global_table::<String, String>("shops", "shops");
    /// app.stream("sales").process("place", |init| Place(init.global_store(&shops))).to("placed-sales");
    /// # }
    /// ```
    pub fn global_store<K: Data, V: Data>(&mut self, table: &GlobalTable<K, V>) -> ReadOnlyKeyValueStore<K, V> {
        ReadOnlyKeyValueStore::new(KeyValueStore::new(self.connect(&table.buffer, codec::name::<K>())))
    }

    /// Opens a window store of the topology ([`crate::Topology::window_store`], [`crate::Table::window_store`]).
    pub fn window_store<K: Data, V: Data>(&mut self, store: &Windows<K, V>) -> WindowStore<K, V> {
        WindowStore::new(self.connect(&store.buffer, NOT_FETCHED_AHEAD))
    }

    /// Opens a session store of the topology ([`crate::Topology::session_store`], [`crate::Table::session_store`]).
    pub fn session_store<K: Data, V: Data>(&mut self, store: &Sessions<K, V>) -> SessionStore<K, V> {
        SessionStore::new(self.connect(&store.buffer, NOT_FETCHED_AHEAD))
    }

    /// Opens a versioned store of the topology ([`crate::Topology::versioned_store`], [`crate::Table::versioned_store`]).
    pub fn versioned_store<K: Data, V: Data>(&mut self, store: &Versions<K, V>) -> VersionedStore<K, V> {
        VersionedStore::new(self.connect(&store.buffer, NOT_FETCHED_AHEAD))
    }

    fn connect(&mut self, buffer: &Rc<RefCell<Buffer>>, key: &'static str) -> Rc<RefCell<Buffer>> {
        if !self.stores.iter().any(|connected| Rc::ptr_eq(&connected.buffer, buffer)) {
            self.stores.push(Connected { buffer: buffer.clone(), key });
        }
        buffer.clone()
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

    /// Lets the processor make schedules while it runs ([`crate::Context::schedule_stream_time`]). It is then called for
    /// each record by itself, which costs: what is known beforehand is better asked for here.
    pub fn makes_schedules(&mut self) {
        self.schedules = true;
    }

    /// Lets punctuations of the processor, and schedules that it makes, go on by tokens ([`crate::Context::resume`]): what
    /// one call may not come to comes in portions.
    pub fn resumes_punctuations(&mut self) {
        self.resumes = true;
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
