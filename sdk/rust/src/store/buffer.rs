//! What a call has read of one store and not yet written to it.
//!
//! Lives for one call of `process`: reads are asked for once, writes wait and leave in one `apply`.

use std::collections::HashMap;

use crate::failure::Failure;
use crate::frame::{Error, Reader};
use crate::host;

/// Writes wait up to this many bytes of keys and values: bounds the plugin's memory and stays below what the host
/// takes in one call. Beyond it they are applied before the end of the batch.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// Added to a write's element: a timestamp of its own follows the lengths.
const DATED: u32 = 1 << 31;

/// One store during one call.
pub(crate) struct Buffer {
    store: u32,
    name: String,
    slots: HashMap<Vec<u8>, Slot>,
    writes: Vec<Write>,
    waiting_bytes: usize,
    /// How often the writes were applied.
    flushes: u32,
    /// The element that is being processed.
    element: u32,
    /// Its timestamp: that of what is written for it, where nothing else is said.
    element_time: i64,
    /// What a write met when it could not be told: fails the whole call.
    failure: Option<Failure>,
}

/// What is known of a key.
enum Slot {
    /// What the store holds: a value and its timestamp.
    Stored(Option<(Vec<u8>, i64)>),
    /// The place of its latest write that waits.
    Written(usize),
}

struct Write {
    element: u32,
    key: Vec<u8>,
    /// `None` deletes.
    value: Option<Vec<u8>>,
    timestamp: i64,
    /// Whether the timestamp is the write's own and not its element's.
    is_dated: bool,
    /// What was known of the key before.
    before: Option<Slot>,
}

/// A place to which a buffer can be rolled back.
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    writes: usize,
    flushes: u32,
}

impl Buffer {
    /// Of the store at place `store` of the description.
    pub(crate) fn new(store: u32, name: String) -> Buffer {
        Buffer {
            store,
            name,
            slots: HashMap::new(),
            writes: Vec::new(),
            waiting_bytes: 0,
            flushes: 0,
            element: 0,
            element_time: 0,
            failure: None,
        }
    }

    pub(crate) fn store(&self) -> u32 {
        self.store
    }

    pub(crate) fn element(&self) -> u32 {
        self.element
    }

    pub(crate) fn rename(&mut self, name: &str) {
        self.name = name.to_owned();
    }

    /// All later writes are made for this element of the frame, which has this timestamp.
    pub(crate) fn begin(&mut self, element: u32, timestamp: i64) -> Mark {
        self.element = element;
        self.element_time = timestamp;
        Mark { writes: self.writes.len(), flushes: self.flushes }
    }

    /// Forgets the writes behind the mark. Those already applied are the host's to undo; what was read since is
    /// forgotten with them.
    pub(crate) fn rollback(&mut self, mark: Mark) {
        if mark.flushes != self.flushes {
            return self.clear();
        }
        while self.writes.len() > mark.writes {
            let Some(Write { key, value, before, .. }) = self.writes.pop() else { break };
            self.waiting_bytes -= key.len() + value.map_or(0, |value| value.len());
            match before {
                Some(slot) => drop(self.slots.insert(key, slot)),
                None => drop(self.slots.remove(&key)),
            }
        }
    }

    /// Reads many keys with one call. A refusal is no failure: the keys are then read one by one.
    pub(crate) fn prefetch(&mut self, keys: &[Vec<u8>]) {
        let mut unknown: Vec<&[u8]> = Vec::with_capacity(keys.len());
        unknown.extend(keys.iter().map(Vec::as_slice).filter(|key| !self.slots.contains_key(*key)));
        unknown.sort_unstable();
        unknown.dedup();
        if !unknown.is_empty() {
            let _ = self.fetch(&unknown);
        }
    }

    /// A key's value and its timestamp.
    pub(crate) fn get(&mut self, key: &[u8]) -> Result<Option<(&[u8], i64)>, Failure> {
        if !self.slots.contains_key(key) {
            self.fetch(&[key])?;
        }
        Ok(match self.slots.get(key) {
            Some(Slot::Stored(stored)) => stored.as_ref().map(|(value, timestamp)| (&value[..], *timestamp)),
            Some(Slot::Written(place)) => {
                let write = &self.writes[*place];
                write.value.as_deref().map(|value| (value, write.timestamp))
            }
            None => None,
        })
    }

    /// Writes, or deletes when `value` is `None`: as of the element, or of a timestamp of its own.
    pub(crate) fn put(&mut self, key: Vec<u8>, value: Option<Vec<u8>>, own: Option<i64>) {
        self.waiting_bytes += key.len() + value.as_ref().map_or(0, Vec::len);
        let before = self.slots.insert(key.clone(), Slot::Written(self.writes.len()));
        let (timestamp, is_dated) = (own.unwrap_or(self.element_time), own.is_some());
        self.writes.push(Write { element: self.element, key, value, timestamp, is_dated, before });
        if self.waiting_bytes > WAITING_BYTES_MAX
            && let Err(failure) = self.flush()
        {
            self.failure.get_or_insert(failure);
        }
    }

    /// Applies what waits, in its order. What was written is known as stored from then on.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        if self.writes.is_empty() {
            return Ok(());
        }
        let bytes = encode_writes(&self.writes, self.waiting_bytes);
        self.flushes += 1;
        self.waiting_bytes = 0;
        for (place, write) in std::mem::take(&mut self.writes).into_iter().enumerate() {
            if let Some(slot) = self.slots.get_mut(&write.key)
                && matches!(slot, Slot::Written(latest) if *latest == place)
            {
                *slot = Slot::Stored(write.value.map(|value| (value, write.timestamp)));
            }
        }
        host::apply(self.store, &bytes).map_err(|refusal| self.refused("write to", refusal))
    }

    /// Ends the call: applies what waits and forgets everything, since others may write before the next one.
    pub(crate) fn finish(&mut self) -> Result<(), Failure> {
        let applied = self.flush();
        self.clear();
        self.failure.take().map_or(applied, Err)
    }

    /// Forgets everything, applied or not.
    pub(crate) fn clear(&mut self) {
        self.slots.clear();
        self.writes.clear();
        self.waiting_bytes = 0;
    }

    /// The message of a call that the host refused.
    pub(crate) fn refused(&self, verb: &str, why: impl std::fmt::Display) -> Failure {
        Failure::fail(format!("cannot {verb} the store `{}`: {why}", self.name))
    }

    fn fetch(&mut self, keys: &[&[u8]]) -> Result<(), Failure> {
        let answer = host::get_many(self.store, &encode_keys(keys)).map_err(|refusal| self.refused("read", refusal))?;
        let values = decode_values(&answer, keys.len()).map_err(|error| self.refused("read", error))?;
        let slots = keys.iter().zip(values).map(|(key, value)| (key.to_vec(), Slot::Stored(value)));
        self.slots.extend(slots);
        Ok(())
    }
}

/// `count u32`, then per key `len u32, key`.
fn encode_keys(keys: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + keys.iter().map(|key| 4 + key.len()).sum::<usize>());
    out.extend_from_slice(&(keys.len() as u32).to_le_bytes());
    for key in keys {
        out.extend_from_slice(&(key.len() as u32).to_le_bytes());
        out.extend_from_slice(key);
    }
    out
}

/// `count u32`, then per write `element u32, key_len u32, value_len i32` (-1 = delete), of one that is dated
/// `timestamp i64`, key, value.
fn encode_writes(writes: &[Write], bytes: usize) -> Vec<u8> {
    let dated = writes.iter().filter(|write| write.is_dated).count();
    let mut out = Vec::with_capacity(4 + 12 * writes.len() + 8 * dated + bytes);
    out.extend_from_slice(&(writes.len() as u32).to_le_bytes());
    for write in writes {
        let flag = if write.is_dated { DATED } else { 0 };
        out.extend_from_slice(&(write.element | flag).to_le_bytes());
        out.extend_from_slice(&(write.key.len() as u32).to_le_bytes());
        out.extend_from_slice(&write.value.as_ref().map_or(-1, |value| value.len() as i32).to_le_bytes());
        if write.is_dated {
            out.extend_from_slice(&write.timestamp.to_le_bytes());
        }
        out.extend_from_slice(&write.key);
        out.extend_from_slice(write.value.as_deref().unwrap_or_default());
    }
    out
}

/// The least a value takes in an answer: its length and its timestamp.
const VALUE_LEN_MIN: usize = 12;

/// `count u32`, then per key `len i32` (-1 = absent), `timestamp i64`, value.
fn decode_values(bytes: &[u8], n_keys: usize) -> Result<Vec<Option<(Vec<u8>, i64)>>, Error> {
    let mut reader = Reader(bytes);
    let count = reader.u32()?;
    if count as usize != n_keys {
        return Err(Error::Field("number of values"));
    }
    let values = reader.many(count, VALUE_LEN_MIN, |reader| {
        let len = reader.i32()?;
        let timestamp = reader.i64()?;
        Ok(reader.nullable(len)?.map(|value| (value.to_vec(), timestamp)))
    })?;
    if reader.0.is_empty() { Ok(values) } else { Err(Error::Long) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A buffer whose store holds nothing; there is no host to ask.
    fn buffer(keys: &[&[u8]]) -> Buffer {
        let mut buffer = Buffer::new(0, "s".into());
        buffer.slots.extend(keys.iter().map(|key| (key.to_vec(), Slot::Stored(None))));
        buffer
    }

    fn put(buffer: &mut Buffer, key: &[u8], value: &[u8]) {
        buffer.put(key.to_vec(), Some(value.to_vec()), None);
    }

    #[test]
    fn a_rollback_brings_back_what_was_known_before() {
        let mut buffer = buffer(&[b"a", b"b"]);
        buffer.begin(0, 10);
        put(&mut buffer, b"a", b"1");
        let mark = buffer.begin(1, 11);
        put(&mut buffer, b"a", b"2");
        put(&mut buffer, b"a", b"3");
        buffer.put(b"b".to_vec(), None, None);
        put(&mut buffer, b"c", b"4");
        buffer.rollback(mark);
        assert_eq!(buffer.get(b"a").unwrap(), Some((&b"1"[..], 10)));
        assert_eq!(buffer.get(b"b").unwrap(), None);
        assert!(!buffer.slots.contains_key(&b"c"[..]));
        assert_eq!((buffer.writes.len(), buffer.waiting_bytes), (1, 2));
    }

    #[test]
    fn writes_carry_the_element_they_are_made_for() {
        let mut buffer = buffer(&[]);
        for element in [3, 5] {
            buffer.begin(element, 10);
            buffer.put(b"k".to_vec(), (element == 3).then(|| b"v".to_vec()), None);
        }
        let mut expected = vec![2, 0, 0, 0];
        expected.extend_from_slice(&[3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, b'k', b'v']);
        expected.extend_from_slice(&[5, 0, 0, 0, 1, 0, 0, 0, 255, 255, 255, 255, b'k']);
        assert_eq!(encode_writes(&buffer.writes, buffer.waiting_bytes), expected);
    }

    #[test]
    fn a_write_with_a_time_of_its_own_says_so_and_is_read_with_it() {
        let mut buffer = buffer(&[]);
        buffer.begin(2, 10);
        put(&mut buffer, b"k", b"v");
        assert_eq!(buffer.get(b"k").unwrap(), Some((&b"v"[..], 10)));
        buffer.put(b"k".to_vec(), Some(b"w".to_vec()), Some(7));
        assert_eq!(buffer.get(b"k").unwrap(), Some((&b"w"[..], 7)));
        let mut expected = vec![2, 0, 0, 0];
        expected.extend_from_slice(&[2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, b'k', b'v']);
        expected.extend_from_slice(&[2, 0, 0, 128, 1, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, b'k', b'w']);
        assert_eq!(encode_writes(&buffer.writes, buffer.waiting_bytes), expected);
    }

    #[test]
    fn a_write_that_cannot_be_applied_early_fails_the_call() {
        let mut buffer = buffer(&[]);
        put(&mut buffer, b"k", &vec![0; WAITING_BYTES_MAX]);
        let failure = buffer.finish().unwrap_err();
        assert!(failure.to_string().starts_with("fail: cannot write to the store `s`: "), "{failure}");
        assert!(buffer.finish().is_ok());
    }

    #[test]
    fn answers_that_lie_are_refused() {
        let value = |len: i32| [&1u32.to_le_bytes()[..], &len.to_le_bytes(), &7i64.to_le_bytes(), b"v"].concat();
        assert_eq!(decode_values(&value(1), 1).unwrap(), [Some((b"v".to_vec(), 7))]);
        assert_eq!(decode_values(&value(1), 2), Err(Error::Field("number of values")));
        assert_eq!(decode_values(&value(2), 1), Err(Error::Short));
        assert_eq!(decode_values(&value(-1), 1), Err(Error::Long));
        assert!(decode_values(&value(-2), 1).is_err());
        assert_eq!(decode_values(&u32::MAX.to_le_bytes(), usize::MAX), Err(Error::Field("number of values")));
    }
}
