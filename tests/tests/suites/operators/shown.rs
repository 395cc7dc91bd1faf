//! Records as cases write them: `key=value@ms`, then ` name=value` for each header; `-` is null. Milliseconds count
//! from [`THEN`].

use tests::application::Entries;
use tests::logs::{Owned, THEN};

/// How bytes are shown.
pub type Shown = fn(&[u8]) -> String;

pub fn utf8(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("it is text")
}

pub fn i64(bytes: &[u8]) -> String {
    number(bytes).to_string()
}

/// A point in time if it can be one, else a number.
pub fn moment(bytes: &[u8]) -> String {
    let number = number(bytes);
    if number >= THEN { (number - THEN).to_string() } else { number.to_string() }
}

pub fn number(bytes: &[u8]) -> i64 {
    i64::from_be_bytes(bytes.try_into().expect("eight bytes"))
}

pub fn shown<'a>(records: impl IntoIterator<Item = &'a Owned>, key: Shown, value: Shown) -> Vec<String> {
    records.into_iter().map(|record| one(record, key, value)).collect()
}

/// For records whose order is nobody's promise.
pub fn sorted<'a>(records: impl IntoIterator<Item = &'a Owned>, key: Shown, value: Shown) -> Vec<String> {
    let mut shown = shown(records, key, value);
    shown.sort();
    shown
}

fn one(record: &Owned, key: Shown, value: Shown) -> String {
    let text = |bytes: &Option<Vec<u8>>, show: Shown| bytes.as_deref().map_or_else(|| "-".to_owned(), show);
    let mut shown = format!("{}={}@{}", text(&record.key, key), text(&record.value, value), record.timestamp - THEN);
    for (name, value) in &record.headers {
        shown += &format!(" {name}={}", text(value, utf8));
    }
    shown
}

/// A store's entries in the same way.
pub fn stored(entries: &Entries, key: Shown, value: Shown) -> Vec<String> {
    let one =
        |(k, (v, timestamp)): (&Vec<u8>, &(Vec<u8>, i64))| format!("{}={}@{}", key(k), value(v), timestamp - THEN);
    entries.iter().map(one).collect()
}
