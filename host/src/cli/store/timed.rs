//! What rows of stores that go by time are called in their changelogs, and when those have forgotten them.

use std::collections::HashMap;

use millstream_engine::changelog::{StoreKind, push_session_key, push_window_key, split_session_key, split_window_key};

use crate::desk::Row;

/// What a row is compared by: the key of its changelog record. Versions of a key are compared by the latest one.
pub fn identity(kind: StoreKind, row: Row) -> Vec<u8> {
    let Some(window) = row.window else { return row.key };
    let mut identity = Vec::with_capacity(row.key.len() + 2 * size_of::<i64>());
    match kind {
        StoreKind::Session { .. } => push_session_key(&row.key, window.start, window.end, &mut identity),
        _ => push_window_key(&row.key, window.start, 0, &mut identity),
    }
    identity
}

/// Names a duplicate by its place among those of the same key and start, which are counted in `places`: in the place of its
/// number. `None`: these bytes are no window's key.
pub fn next_place(identity: &[u8], places: &mut HashMap<Vec<u8>, u32>) -> Option<Vec<u8>> {
    let (key, start, _) = split_window_key(identity)?;
    let mut named = Vec::with_capacity(identity.len());
    push_window_key(key, start, 0, &mut named);
    let place = places.entry(named.clone()).or_insert(0);
    named.clear();
    push_window_key(key, start, *place, &mut named);
    *place += 1;
    Some(named)
}

/// The key, and the time that the store goes by: a window's start, a session's end. `None`: it goes by none, or the bytes
/// are no key of this kind.
pub fn split(kind: StoreKind, identity: &[u8]) -> Option<(&[u8], i64)> {
    match kind {
        StoreKind::Window { .. } => split_window_key(identity).map(|(key, start, _)| (key, start)),
        StoreKind::Session { .. } => split_session_key(identity).map(|(key, _, end)| (key, end)),
        StoreKind::KeyValue | StoreKind::Buffer | StoreKind::Versioned { .. } => None,
    }
}

/// Whether a store that has seen this time has forgotten the row.
pub fn is_forgotten(kind: StoreKind, identity: &[u8], seen: i64) -> bool {
    split(kind, identity).is_some_and(|(_, time)| time < kind.first_visible(seen))
}
