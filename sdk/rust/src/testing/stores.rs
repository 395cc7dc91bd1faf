//! Looking into stores: what is committed, as a processor would see it.

use std::ops::ControlFlow;

use millstream_engine::store::{KeyRange, KeySpan, StoreKind, TaskStores, TimeSpan, Version};

use super::driver::{check, find};
use super::{Driver, Error};
use crate::codec::{self, Data, DecodeError};
use crate::store::{TimedEntry, ValueAndTimestamp, Versioned};

impl Driver {
    /// The committed value of a key in a key-value store.
    pub fn get<K: Data, V: Data>(&self, store: &str, key: &K) -> Result<Option<V>, Error> {
        Ok(self.get_with_timestamp(store, key)?.map(|found| found.value))
    }

    /// The committed value of a key in a key-value store, and its timestamp.
    pub fn get_with_timestamp<K: Data, V: Data>(
        &self,
        store: &str,
        key: &K,
    ) -> Result<Option<ValueAndTimestamp<V>>, Error> {
        let number = self.store::<K, V>(store, Asked::Entries)?;
        let key = codec::to_bytes(key).unwrap_or_default();
        for (stores, place) in self.parts(number) {
            if let Some(found) = stores.get(place, &key).map_err(Error::new)? {
                return timestamped(found.timestamp, &found.value).map(Some).map_err(Error::new);
            }
        }
        Ok(None)
    }

    /// All entries of a key-value store, task by task in byte order of their keys.
    pub fn entries<K: Data, V: Data>(&self, store: &str) -> Result<Vec<(K, V)>, Error> {
        let entries = self.timestamped_entries(store)?;
        Ok(entries.into_iter().map(|(key, ValueAndTimestamp { value, .. })| (key, value)).collect())
    }

    /// [`Driver::entries`], each with its timestamp.
    pub fn timestamped_entries<K: Data, V: Data>(&self, store: &str) -> Result<Vec<(K, ValueAndTimestamp<V>)>, Error> {
        let number = self.store::<K, V>(store, Asked::Entries)?;
        let mut entries = Found::default();
        for (stores, place) in self.parts(number) {
            let mut visit =
                |found: &[u8], at: i64, bytes: &[u8]| entries.push(|| Ok((key(found)?, timestamped(at, bytes)?)));
            stores.scan(place, KeyRange::default(), false, &mut visit).map_err(Error::new)?;
        }
        entries.all()
    }

    /// All windows of a window store that have not expired, by key in byte order, and of each key by their starts.
    ///
    /// ```
    /// # use millstream_sdk::prelude::*;
    /// # use millstream_sdk::testing::Driver;
    /// fn topology(app: &mut Topology) {
    ///     let minutes = TimeWindows::of(Duration::from_secs(60));
    ///     app.stream::<String, i64>("in").group_by_key().windowed_by(minutes).count("counts");
    /// }
    ///
    /// # fn main() -> Result<(), millstream_sdk::testing::Error> {
    /// let mut driver = Driver::new(topology)?;
    /// driver.pipe("in", Record::new("a".to_string(), 7i64, 61_000))?;
    /// let counts = driver.window_entries::<String, i64>("counts")?;
    /// assert_eq!((counts[0].start, counts[0].end, counts[0].value), (60_000, 120_000, 1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn window_entries<K: Data, V: Data>(&self, store: &str) -> Result<Vec<TimedEntry<K, V>>, Error> {
        let number = self.store::<K, V>(store, Asked::Windows)?;
        let mut entries = Found::default();
        for (stores, place) in self.parts(number) {
            let StoreKind::Window { size_ms, .. } = stores.kind(place) else { continue };
            let windows = stores.windows(place);
            let scanned = windows.scan(KeySpan::ALL, TimeSpan::ALL, false, &mut |row| {
                let (start, end) = (row.start, row.start.saturating_add(size_ms));
                entries.push(|| timed(row.key, (start, end), row.timestamp, row.value))
            });
            scanned.map_err(Error::new)?;
        }
        entries.by_key_and_time()
    }

    /// All sessions of a session store that have not expired, in the order of [`Driver::window_entries`].
    pub fn session_entries<K: Data, V: Data>(&self, store: &str) -> Result<Vec<TimedEntry<K, V>>, Error> {
        let number = self.store::<K, V>(store, Asked::Sessions)?;
        let mut entries = Found::default();
        for (stores, place) in self.parts(number) {
            let sessions = stores.sessions(place);
            let found = sessions.find(KeySpan::ALL, i64::MIN, i64::MAX, false, &mut |row| {
                entries.push(|| timed(row.key, (row.start, row.end), row.timestamp, row.value))
            });
            found.map_err(Error::new)?;
        }
        entries.by_key_and_time()
    }

    /// The latest version of a key in a versioned store.
    pub fn version<K: Data, V: Data>(&self, store: &str, key: &K) -> Result<Option<Versioned<V>>, Error> {
        self.version_as_of(store, key, i64::MAX)
    }

    /// The version of a key that was valid at `timestamp`. Of a time before the history only the latest version is known.
    pub fn version_as_of<K: Data, V: Data>(
        &self,
        store: &str,
        key: &K,
        timestamp: i64,
    ) -> Result<Option<Versioned<V>>, Error> {
        let number = self.store::<K, V>(store, Asked::Versions)?;
        let key = codec::to_bytes(key).unwrap_or_default();
        for (stores, place) in self.parts(number) {
            let mut version = None;
            let mut visit = |found: Version<'_>| version = Some(versioned(found));
            stores.versions(place).get_as_of(&key, timestamp, &mut visit).map_err(Error::new)?;
            if let Some(version) = version {
                return version.map(Some).map_err(Error::new);
            }
        }
        Ok(None)
    }

    /// The latest version of each key of a versioned store, task by task in byte order of the keys.
    pub fn versions<K: Data, V: Data>(&self, store: &str) -> Result<Vec<(K, Versioned<V>)>, Error> {
        let number = self.store::<K, V>(store, Asked::Versions)?;
        let mut entries = Found::default();
        for (stores, place) in self.parts(number) {
            let mut visit =
                |found: &[u8], version: Version<'_>| entries.push(|| Ok((key(found)?, versioned(version)?)));
            stores.versions(place).scan(KeyRange::default(), false, &mut visit).map_err(Error::new)?;
        }
        entries.all()
    }

    /// What the tasks have of a store.
    fn parts(&self, number: u32) -> impl Iterator<Item = (&TaskStores, usize)> {
        let holders = self.inner.holders(number).into_iter();
        holders.filter_map(move |(_, stores)| Some((stores, stores.place(number)?)))
    }

    /// A store by name, if it has these types and is of the kind that the call is for.
    fn store<K: Data, V: Data>(&self, name: &str, asked: Asked) -> Result<u32, Error> {
        let stores = self.inner.plan().stores.iter().map(|store| store.description.name.as_str());
        let number = find("store", name, stores)?;
        let plan = &self.inner.plan().stores[number as usize];
        asked.check(name, plan.kind)?;
        check::<K>(&format!("keys of the store `{name}`"), Some(&plan.description.key))?;
        check::<V>(&format!("values of the store `{name}`"), Some(&plan.description.value))?;
        Ok(number)
    }
}

/// What a call looks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Entries,
    Windows,
    Sessions,
    Versions,
}

impl Asked {
    fn check(self, store: &str, kind: StoreKind) -> Result<(), Error> {
        let (has, calls) = match kind {
            StoreKind::KeyValue => (Asked::Entries, "`get` and `entries`"),
            StoreKind::Window { .. } => (Asked::Windows, "`window_entries`"),
            StoreKind::Session { .. } => (Asked::Sessions, "`session_entries`"),
            StoreKind::Versioned { .. } => (Asked::Versions, "`version`, `version_as_of` and `versions`"),
            StoreKind::Buffer => {
                let what = "has what a `suppress` holds back, in the host's own bytes; read the topics behind it";
                return Err(Error(format!("the store `{store}` {what}")));
            }
        };
        match has == self {
            true => Ok(()),
            false => Err(Error(format!("the store `{store}` is a {} store: it is read with {calls}", kind.name()))),
        }
    }
}

/// What a walk has found so far, up to the first that does not decode.
struct Found<T> {
    found: Vec<T>,
    wrong: Option<DecodeError>,
}

impl<T> Default for Found<T> {
    fn default() -> Found<T> {
        Found { found: Vec::new(), wrong: None }
    }
}

impl<T> Found<T> {
    fn push(&mut self, decode: impl FnOnce() -> Result<T, DecodeError>) -> ControlFlow<()> {
        match decode() {
            Ok(entry) => {
                self.found.push(entry);
                ControlFlow::Continue(())
            }
            Err(error) => {
                self.wrong = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    fn all(self) -> Result<Vec<T>, Error> {
        self.wrong.map_or(Ok(self.found), |error| Err(Error::new(error)))
    }
}

impl<K: Data, V> Found<TimedEntry<K, V>> {
    /// Stores walk segments of time; a test wants one order.
    fn by_key_and_time(self) -> Result<Vec<TimedEntry<K, V>>, Error> {
        let mut entries = self.all()?;
        entries.sort_by_cached_key(|entry| (codec::to_bytes(&entry.key), entry.start, entry.end));
        Ok(entries)
    }
}

fn key<K: Data>(bytes: &[u8]) -> Result<K, DecodeError> {
    codec::decode("key", Some(bytes))
}

fn value<V: Data>(bytes: &[u8]) -> Result<V, DecodeError> {
    codec::decode("value", Some(bytes))
}

fn timestamped<V: Data>(timestamp: i64, bytes: &[u8]) -> Result<ValueAndTimestamp<V>, DecodeError> {
    Ok(ValueAndTimestamp { value: value(bytes)?, timestamp })
}

fn versioned<V: Data>(found: Version<'_>) -> Result<Versioned<V>, DecodeError> {
    Ok(Versioned { value: value(found.value)?, timestamp: found.valid_from })
}

fn timed<K: Data, V: Data>(
    found: &[u8],
    (start, end): (i64, i64),
    timestamp: i64,
    bytes: &[u8],
) -> Result<TimedEntry<K, V>, DecodeError> {
    Ok(TimedEntry { key: key(found)?, start, end, value: value(bytes)?, timestamp })
}
