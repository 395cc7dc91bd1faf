//! What stands where in a task's environment.
//!
//! | database | key | value |
//! |---|---|---|
//! | `meta` | `format` | u32 little-endian |
//! | `meta` | `host` | version of the host that made it, text; checksum |
//! | `meta` | `/` ‖ store | the position's offset, i64 big-endian; nothing when nothing was applied; checksum |
//! | `meta` | `whole-at` | when it last stood where its changelogs end, ms since the epoch, i64 big-endian; checksum |
//! | `store/` ‖ store | kind byte ‖ key | value ‖ checksum |
//!
//! The checksum is the CRC-32 (IEEE) of the row's key and of what stands before it in the value, u32 little-endian. It
//! is looked at whenever a row is read: bytes that a disk or a memory has changed are damage, and never an answer.
//!
//! The kind byte makes room for other kinds of rows, and lets a user's key be empty, which LMDB's may not.
//!
//! A store without a row in `meta` is empty, whatever its database holds: that is how a store that the application
//! no longer has is forgotten, together with the position it stood at.

use std::ops::Bound;

use heed::types::Bytes;
use heed::{MdbError, Result, RoTxn, RwTxn};
use millstream_engine::store::Position;

use super::other_format::HOST;

pub type Database<'t> = heed::Database<'t, Bytes, Bytes>;

/// What this file describes. State in another one is refused: the host that wrote it can read it.
pub const FORMAT: u32 = 2;
pub const FORMAT_KEY: &[u8] = b"format";
const HOST_KEY: &[u8] = b"host";
const WHOLE_AT_KEY: &[u8] = b"whole-at";

pub const META: &str = "meta";

/// Before a store's name in `meta`, for a store may be called `format`.
const NAME: u8 = b'/';

/// The kind of row that holds an entry.
const ENTRY: u8 = 1;

/// Bytes of a row's key beside the user's.
pub const ENTRY_OVERHEAD: usize = 1;

/// Bytes of a row's value beside the user's: its checksum.
const CHECKSUM: usize = 4;

/// Puts a value with its checksum into `sealed`.
pub fn seal(row: &[u8], value: &[u8], sealed: &mut Vec<u8>) {
    sealed.clear();
    sealed.extend_from_slice(value);
    sealed.extend_from_slice(&checksum(row, value).to_le_bytes());
}

/// The value that was put under a row's key; `None`: one of the two has changed since.
pub fn unseal<'v>(row: &[u8], sealed: &'v [u8]) -> Option<&'v [u8]> {
    let (value, found) = sealed.split_last_chunk::<CHECKSUM>()?;
    (checksum(row, value) == u32::from_le_bytes(*found)).then_some(value)
}

/// As [`unseal`], as LMDB says that something is damaged.
pub fn checked<'v>(row: &[u8], sealed: &'v [u8]) -> Result<&'v [u8]> {
    unseal(row, sealed).ok_or(heed::Error::Mdb(MdbError::Corrupted))
}

/// The key's length needs no bytes of its own: every database has keys of one shape, and LMDB keeps their lengths.
fn checksum(row: &[u8], value: &[u8]) -> u32 {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(row);
    checksum.update(value);
    checksum.finalize()
}

pub fn database_name(store: &str) -> String {
    format!("store/{store}")
}

/// The key of the row that holds an entry.
pub fn entry_key(key: &[u8], row: &mut Vec<u8>) {
    row.clear();
    row.push(ENTRY);
    row.extend_from_slice(key);
}

/// The user's part of a row's key.
pub fn user_key(row: &[u8]) -> &[u8] {
    row.get(ENTRY_OVERHEAD..).unwrap_or_default()
}

/// Where a scan of entries ends.
pub fn upper_bound<'a>(upper: Option<&[u8]>, row: &'a mut Vec<u8>) -> Bound<&'a [u8]> {
    match upper {
        Some(upper) => {
            entry_key(upper, row);
            Bound::Included(row)
        }
        None => {
            row.push(ENTRY + 1);
            Bound::Excluded(row)
        }
    }
}

/// What is in an environment instead of this host's state.
pub enum Other {
    /// State in another format.
    Format {
        found: u32,
        /// The version of the host that wrote it, where it says so.
        host: Option<String>,
    },
    /// Nothing that says what it is.
    Unknown,
}

/// What the environment holds when it is not this host's format.
pub fn other_format(meta: &Database<'_>, txn: &RoTxn<'_>) -> Result<Option<Other>> {
    let found = meta.get(txn, FORMAT_KEY)?.and_then(|row| row.try_into().ok()).map(u32::from_le_bytes);
    match found {
        Some(FORMAT) => Ok(None),
        Some(found) => {
            let host = meta.get(txn, HOST_KEY)?.and_then(|row| unseal(HOST_KEY, row));
            let host = host.and_then(|host| Some(std::str::from_utf8(host).ok()?.to_owned()));
            Ok(Some(Other::Format { found, host }))
        }
        None => Ok(Some(Other::Unknown)),
    }
}

/// As [`other_format`]; a new environment gets this host's.
pub fn settle_format(meta: &Database<'_>, txn: &mut RwTxn<'_>) -> Result<Option<Other>> {
    if meta.is_empty(txn)? {
        meta.put(txn, FORMAT_KEY, &FORMAT.to_le_bytes())?;
        let mut host = Vec::new();
        seal(HOST_KEY, HOST.as_bytes(), &mut host);
        meta.put(txn, HOST_KEY, &host)?;
    }
    other_format(meta, txn)
}

/// The stores that have a row.
pub fn stores(meta: &Database<'_>, txn: &RoTxn<'_>) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for row in meta.prefix_iter(txn, &[NAME])? {
        let (key, _) = row?;
        names.extend(std::str::from_utf8(user_key(key)).map(str::to_owned));
    }
    Ok(names)
}

/// Takes away the rows of all stores but these, and says whose they were.
pub fn forget_others(meta: &Database<'_>, txn: &mut RwTxn<'_>, kept: &[&str]) -> Result<Vec<String>> {
    let mut forgotten = stores(meta, txn)?;
    forgotten.retain(|name| !kept.contains(&name.as_str()));
    for name in &forgotten {
        meta.delete(txn, &name_key(name))?;
    }
    Ok(forgotten)
}

pub fn is_known(meta: &Database<'_>, txn: &RoTxn<'_>, store: &str) -> Result<bool> {
    Ok(meta.get(txn, &name_key(store))?.is_some())
}

pub fn position(meta: &Database<'_>, txn: &RoTxn<'_>, store: &str) -> Result<Option<Position>> {
    let key = name_key(store);
    let Some(row) = meta.get(txn, &key)? else { return Ok(None) };
    let offset = checked(&key, row)?.try_into().ok().map(i64::from_be_bytes);
    Ok(offset.map(|offset| Position { offset }))
}

pub fn put_position(meta: &Database<'_>, txn: &mut RwTxn<'_>, store: &str, position: Option<Position>) -> Result<()> {
    let (key, mut sealed) = (name_key(store), Vec::new());
    match position {
        Some(Position { offset }) => seal(&key, &offset.to_be_bytes(), &mut sealed),
        None => seal(&key, &[], &mut sealed),
    }
    meta.put(txn, &key, &sealed)
}

pub fn whole_at(meta: &Database<'_>, txn: &RoTxn<'_>) -> Result<Option<i64>> {
    let Some(row) = meta.get(txn, WHOLE_AT_KEY)? else { return Ok(None) };
    Ok(checked(WHOLE_AT_KEY, row)?.try_into().ok().map(i64::from_be_bytes))
}

pub fn put_whole_at(meta: &Database<'_>, txn: &mut RwTxn<'_>, at: i64) -> Result<()> {
    let mut sealed = Vec::new();
    seal(WHOLE_AT_KEY, &at.to_be_bytes(), &mut sealed);
    meta.put(txn, WHOLE_AT_KEY, &sealed)
}

fn name_key(store: &str) -> Vec<u8> {
    let mut key = vec![NAME];
    key.extend_from_slice(store.as_bytes());
    key
}
