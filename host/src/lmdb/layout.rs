//! What stands where in a task's environment.
//!
//! | database | key | value |
//! |---|---|---|
//! | `meta` | `format` | u32 little-endian |
//! | `meta` | `/` ‖ store | the position's offset, i64 big-endian; empty when nothing was applied |
//! | `store/` ‖ store | kind byte ‖ key | value |
//!
//! The kind byte makes room for other kinds of rows, and lets a user's key be empty, which LMDB's may not.
//!
//! A store without a row in `meta` is empty, whatever its database holds: that is how a store that the application
//! no longer has is forgotten, together with the position it stood at.

use std::ops::Bound;

use heed::types::Bytes;
use heed::{Result, RoTxn, RwTxn};
use millstream_engine::store::Position;

pub type Database<'t> = heed::Database<'t, Bytes, Bytes>;

/// What this file describes. Another one is not read but restored from the changelog.
const FORMAT: u32 = 1;
const FORMAT_KEY: &[u8] = b"format";

pub const META: &str = "meta";

/// Before a store's name in `meta`, for a store may be called `format`.
const NAME: u8 = b'/';

/// The kind of row that holds an entry.
const ENTRY: u8 = 1;

/// Bytes of a row's key beside the user's.
pub const ENTRY_OVERHEAD: usize = 1;

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

/// A format that is not this host's; `None`: unreadable.
pub struct Format(pub Option<u32>);

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(found) => write!(f, "has format {found}, and this host reads {FORMAT}"),
            None => f.write_str("is not Millstream's"),
        }
    }
}

/// What the environment says of its format when it is another one.
pub fn other_format(meta: &Database<'_>, txn: &RoTxn<'_>) -> Result<Option<Format>> {
    let found = meta.get(txn, FORMAT_KEY)?.and_then(|row| row.try_into().ok()).map(u32::from_le_bytes);
    Ok((found != Some(FORMAT)).then_some(Format(found)))
}

/// As [`other_format`]; a new environment gets this host's.
pub fn settle_format(meta: &Database<'_>, txn: &mut RwTxn<'_>) -> Result<Option<Format>> {
    if meta.is_empty(txn)? {
        meta.put(txn, FORMAT_KEY, &FORMAT.to_le_bytes())?;
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
    let row = meta.get(txn, &name_key(store))?;
    Ok(row.and_then(|row| row.try_into().ok()).map(|row| Position { offset: i64::from_be_bytes(row) }))
}

pub fn put_position(meta: &Database<'_>, txn: &mut RwTxn<'_>, store: &str, position: Option<Position>) -> Result<()> {
    match position {
        Some(Position { offset }) => meta.put(txn, &name_key(store), &offset.to_be_bytes()),
        None => meta.put(txn, &name_key(store), &[]),
    }
}

fn name_key(store: &str) -> Vec<u8> {
    let mut key = vec![NAME];
    key.extend_from_slice(store.as_bytes());
    key
}
