//! Versioned stores.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;

use super::buffer::Buffer;
use super::key_bytes;
use super::timed::{self, Thing};
use crate::codec::{self, Data};
use crate::failure::Failure;

/// A versioned store of the topology, to be opened in the processors that use it ([`crate::Init::versioned_store`]).
pub struct Versions<K, V> {
    pub(crate) buffer: Rc<RefCell<Buffer>>,
    types: PhantomData<(K, V)>,
}

impl<K, V> Versions<K, V> {
    pub(crate) fn new(buffer: Rc<RefCell<Buffer>>) -> Versions<K, V> {
        Versions { buffer, types: PhantomData }
    }
}

impl<K, V> Clone for Versions<K, V> {
    fn clone(&self) -> Versions<K, V> {
        Versions::new(self.buffer.clone())
    }
}

/// A value, and since when its key has it, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned<V> {
    pub value: V,
    pub timestamp: i64,
}

/// What became of a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValidTo {
    /// Older than the store's history: nothing changed.
    NotPut,
    /// It is the latest version of its key.
    Latest,
    /// It is valid until this time, when the next version begins.
    Until(i64),
}

impl ValidTo {
    /// Kafka Streams' number: `i64::MIN` where it was not put, -1 for the latest.
    pub fn code(self) -> i64 {
        match self {
            ValidTo::NotPut => i64::MIN,
            ValidTo::Latest => -1,
            ValidTo::Until(time) => time,
        }
    }
}

/// An open versioned store of the task that runs: of each key the values it has had, as far back as the retention, and the
/// latest one whatever its age. A write is seen by every later read, and undone with its record.
pub struct VersionedStore<K, V> {
    buffer: Rc<RefCell<Buffer>>,
    types: PhantomData<(K, V)>,
}

impl<K: Data, V: Data> VersionedStore<K, V> {
    pub(crate) fn new(buffer: Rc<RefCell<Buffer>>) -> VersionedStore<K, V> {
        VersionedStore { buffer, types: PhantomData }
    }

    /// Puts the value that a key has from `timestamp` on, until the next version; a null value deletes it from then on.
    pub fn put(&self, key: &K, value: &V, timestamp: i64) -> Result<ValidTo, Failure> {
        self.write(key, codec::to_bytes(value).as_deref(), timestamp)
    }

    /// Deletes a key from `timestamp` on and answers the version that was valid then.
    pub fn delete(&self, key: &K, timestamp: i64) -> Result<Option<Versioned<V>>, Failure> {
        let old = self.get_as_of(key, timestamp)?;
        let became = self.write(key, None, timestamp)?;
        Ok(old.filter(|_| became != ValidTo::NotPut))
    }

    /// The latest version of a key.
    pub fn get(&self, key: &K) -> Result<Option<Versioned<V>>, Failure> {
        self.get_as_of(key, i64::MAX)
    }

    /// The version of a key that was valid at `timestamp`. Of a time before the history only the latest version is known.
    pub fn get_as_of(&self, key: &K, timestamp: i64) -> Result<Option<Versioned<V>>, Failure> {
        let thing = Thing { key: &key_bytes(key), time: timestamp, start: timestamp };
        Ok(timed::get(&self.buffer, thing)?.map(|(value, timestamp)| Versioned { value, timestamp }))
    }

    fn write(&self, key: &K, value: Option<&[u8]>, time: i64) -> Result<ValidTo, Failure> {
        let thing = Thing { key: &key_bytes(key), time, start: time };
        Ok(match timed::put(&self.buffer, thing, value)? {
            i64::MIN => ValidTo::NotPut,
            -1 => ValidTo::Latest,
            time => ValidTo::Until(time),
        })
    }
}
