//! The frame a call answers with: `wit/README.md`, "Frames", kind 4.

use crate::codec::{self, Data};
use crate::failure::{Failure, Kind};
use crate::frame::{Error, HEADER_LEN, MAGIC, Reader, VERSION};

const KIND_RESULT: u16 = 4;
/// Of an outcome that is no failure.
const KIND_COMMIT: u16 = 5;
const KIND_SCHEDULE: u16 = 6;
const KIND_CANCEL: u16 = 7;
const KIND_AGAIN: u16 = 8;
/// Elements that go to all children.
pub(crate) const ALL: u16 = u16::MAX;
const SAME_KEY: u16 = 1;
const SAME_VALUE: u16 = 2;
const SAME_HEADERS: u16 = 4;
/// Where an element's flags and lengths stand, to be filled in behind its bytes.
const FLAGS_AT: usize = 6;
const HEADERS_LEN_AT: usize = 12;
const KEY_LEN_AT: usize = 24;
const VALUE_LEN_AT: usize = 28;

/// A key or value on its way out.
pub(crate) enum Field<'a, T> {
    /// The input element's own bytes.
    Same,
    New(&'a T),
}

/// The input element's own key or value, of whatever type.
pub(crate) const SAME: Field<'static, Vec<u8>> = Field::Same;

/// An element of an answer, as it was written.
pub(crate) struct Written<'a> {
    /// The input element it comes from.
    pub from: u32,
    pub timestamp: i64,
    /// `None`: the input element's own.
    pub key: Option<Option<&'a [u8]>>,
    pub value: Option<Option<&'a [u8]>>,
    pub headers: Option<&'a [u8]>,
}

/// What a processor asks of its schedules.
pub(crate) enum Schedule {
    /// By which clock, every how many ms, under which name.
    Every(&'static str, u64, String),
    Cancel(String),
}

/// A result frame that is being written.
pub(crate) struct Answer {
    /// The header's place and the elements.
    bytes: Vec<u8>,
    elements: u32,
    outcomes: Vec<u8>,
    n_outcomes: u32,
}

/// A place in an answer to which its elements can be cut back.
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    bytes: usize,
    elements: u32,
}

impl Answer {
    /// `bytes_expected` is a guess that saves growing.
    pub(crate) fn new(bytes_expected: usize) -> Answer {
        let mut bytes = Vec::with_capacity(HEADER_LEN + bytes_expected);
        bytes.resize(HEADER_LEN, 0);
        Answer { bytes, elements: 0, outcomes: Vec::new(), n_outcomes: 0 }
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), elements: self.elements }
    }

    /// Forgets the elements behind the mark.
    pub(crate) fn truncate(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        self.elements = mark.elements;
    }

    /// One element that comes from the input element `from`; `headers` of `None` are the input element's.
    pub(crate) fn element<K: Data, V: Data>(
        &mut self,
        from: u32,
        child: u16,
        timestamp: i64,
        (key, value): (Field<'_, K>, Field<'_, V>),
        headers: Option<&[u8]>,
    ) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&from.to_le_bytes());
        self.bytes.extend_from_slice(&child.to_le_bytes());
        self.bytes.extend_from_slice(&[0; 10]);
        self.bytes.extend_from_slice(&timestamp.to_le_bytes());
        self.bytes.extend_from_slice(&[0; 8]);
        let same_key = self.field(start + KEY_LEN_AT, key);
        let same_value = self.field(start + VALUE_LEN_AT, value);
        self.bytes.extend_from_slice(headers.unwrap_or_default());
        self.patch(start + HEADERS_LEN_AT, &(headers.unwrap_or_default().len() as u32).to_le_bytes());
        let flags = [(same_key, SAME_KEY), (same_value, SAME_VALUE), (headers.is_none(), SAME_HEADERS)];
        let flags: u16 = flags.into_iter().filter_map(|(set, flag)| set.then_some(flag)).sum();
        self.patch(start + FLAGS_AT, &flags.to_le_bytes());
        self.elements += 1;
    }

    /// The input element itself.
    pub(crate) fn same(&mut self, from: u32, child: u16, timestamp: i64) {
        self.element(from, child, timestamp, (SAME, SAME), None);
    }

    /// One element for all children from bytes; what is `None` is the input element's.
    pub(crate) fn raw(&mut self, element: &Written<'_>) {
        let Written { from, timestamp, key, value, headers } = *element;
        let set = |is_same: bool, flag: u16| if is_same { flag } else { 0 };
        let flags =
            set(key.is_none(), SAME_KEY) | set(value.is_none(), SAME_VALUE) | set(headers.is_none(), SAME_HEADERS);
        let (key, value, headers) = (key.flatten(), value.flatten(), headers.unwrap_or_default());
        let len = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i32);
        self.bytes.extend_from_slice(&from.to_le_bytes());
        self.bytes.extend_from_slice(&ALL.to_le_bytes());
        self.bytes.extend_from_slice(&flags.to_le_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&(headers.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(&timestamp.to_le_bytes());
        self.bytes.extend_from_slice(&len(key).to_le_bytes());
        self.bytes.extend_from_slice(&len(value).to_le_bytes());
        for part in [key.unwrap_or_default(), value.unwrap_or_default(), headers] {
            self.bytes.extend_from_slice(part);
        }
        self.elements += 1;
    }

    /// The elements so far.
    pub(crate) fn written(&self) -> impl Iterator<Item = Written<'_>> {
        let mut reader = Reader(&self.bytes[HEADER_LEN..]);
        (0..self.elements).map_while(move |_| reader.written().ok())
    }

    /// The outcomes so far: of which element, whether its record is undone, and the rest of the outcome as it stands in a frame.
    pub(crate) fn outcomes(&self) -> impl Iterator<Item = (u32, bool, &[u8])> {
        let mut reader = Reader(&self.outcomes);
        (0..self.n_outcomes).map_while(move |_| reader.outcome().ok())
    }

    /// An outcome of an element from the bytes of another one's.
    pub(crate) fn raw_outcome(&mut self, element: u32, rest: &[u8]) {
        self.outcomes.extend_from_slice(&element.to_le_bytes());
        self.outcomes.extend_from_slice(rest);
        self.n_outcomes += 1;
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.bytes.truncate(HEADER_LEN);
        self.outcomes.clear();
        (self.elements, self.n_outcomes) = (0, 0);
    }

    /// What became of the input element `element`, if it is not simply kept.
    pub(crate) fn outcome(&mut self, element: u32, failure: &Failure) {
        self.said(element, failure.kind as u16, failure.message.as_bytes());
    }

    /// The input element `element` wants what was done committed soon.
    pub(crate) fn commit(&mut self, element: u32) {
        self.outcomes.extend_from_slice(&element.to_le_bytes());
        self.outcomes.extend_from_slice(&KIND_COMMIT.to_le_bytes());
        self.outcomes.extend_from_slice(&[0; 6]);
        self.n_outcomes += 1;
    }

    /// The input element `element` makes a schedule, or ends one.
    pub(crate) fn schedule(&mut self, element: u32, schedule: &Schedule) {
        let (kind, message) = match schedule {
            Schedule::Every(time, every_ms, name) => (KIND_SCHEDULE, format!("{time} {every_ms} {name}")),
            Schedule::Cancel(name) => (KIND_CANCEL, name.clone()),
        };
        self.said(element, kind, message.as_bytes());
    }

    /// The punctuation `element` wants to be called again with this token.
    pub(crate) fn again(&mut self, element: u32, token: &[u8]) {
        self.said(element, KIND_AGAIN, token);
    }

    fn said(&mut self, element: u32, kind: u16, message: &[u8]) {
        self.outcomes.extend_from_slice(&element.to_le_bytes());
        self.outcomes.extend_from_slice(&kind.to_le_bytes());
        self.outcomes.extend_from_slice(&[0; 2]);
        self.outcomes.extend_from_slice(&(message.len() as u32).to_le_bytes());
        self.outcomes.extend_from_slice(message);
        self.n_outcomes += 1;
    }

    /// The whole frame.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&self.outcomes);
        let mut header = Vec::with_capacity(HEADER_LEN);
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&KIND_RESULT.to_le_bytes());
        for number in [0, 0, self.elements, self.n_outcomes, self.bytes.len() as u32, 0] {
            header.extend_from_slice(&number.to_le_bytes());
        }
        self.patch(0, &header);
        self.bytes
    }

    /// Appends a key or value and writes its length at `at`; says whether it is the input element's.
    fn field<T: Data>(&mut self, at: usize, field: Field<'_, T>) -> bool {
        let start = self.bytes.len();
        let len = match &field {
            Field::New(data) if codec::encode(*data, &mut self.bytes) => (self.bytes.len() - start) as i32,
            Field::New(_) | Field::Same => -1,
        };
        self.patch(at, &len.to_le_bytes());
        matches!(field, Field::Same)
    }

    fn patch(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

impl<'a> Reader<'a> {
    fn written(&mut self) -> Result<Written<'a>, Error> {
        let (from, ways) = (self.u32()?, self.u32()?);
        let (_, headers_len, timestamp) = (self.u32()?, self.u32()?, self.i64()?);
        let (key_len, value_len) = (self.i32()?, self.i32()?);
        let flags = (ways >> 16) as u16;
        let new = |flag: u16| flags & flag == 0;
        let (key, value) = (self.nullable(key_len)?, self.nullable(value_len)?);
        let headers = self.take(headers_len as usize)?;
        Ok(Written {
            from,
            timestamp,
            key: new(SAME_KEY).then_some(key),
            value: new(SAME_VALUE).then_some(value),
            headers: new(SAME_HEADERS).then_some(headers),
        })
    }

    fn outcome(&mut self) -> Result<(u32, bool, &'a [u8]), Error> {
        let element = self.u32()?;
        let rest = self.0;
        let (kind, len) = (self.u32()?, self.u32()?);
        self.take(len as usize)?;
        Ok((element, kind != Kind::Drop as u32, &rest[..8 + len as usize]))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use millstream_engine::frame::{self as host, ResultFrame};
    use millstream_engine::record::Headers;

    use super::*;

    #[test]
    fn the_host_reads_what_is_written() {
        let mut answer = Answer::new(0);
        answer.same(0, 2, 7);
        answer.element(1, ALL, 8, (Field::New(&"k".to_string()), Field::New(&None::<i64>)), Some(b""));
        answer.outcome(2, &Failure::dead_letter("no"));
        let bytes = answer.finish();
        let mut frame = ResultFrame::parse(&bytes, 3).unwrap();
        let same = host::ResultElement {
            input: 0,
            target: 2,
            timestamp: 7,
            key: host::Field::Same,
            value: host::Field::Same,
            headers: host::Field::Same,
        };
        assert_eq!(frame.next_element().unwrap(), Some(same));
        let new = host::ResultElement {
            input: 1,
            target: host::ALL_CHILDREN,
            timestamp: 8,
            key: host::Field::New(Some(&b"k"[..])),
            value: host::Field::New(None),
            headers: host::Field::New(Headers(b"")),
        };
        assert_eq!(frame.next_element().unwrap(), Some(new));
        let outcome = host::Outcome { element: 2, kind: host::OutcomeKind::DeadLetter, message: b"no".to_vec() };
        assert_eq!(frame.outcomes().unwrap(), [outcome]);
    }

    #[test]
    fn what_is_cut_back_is_gone() {
        let mut answer = Answer::new(0);
        answer.same(0, ALL, 1);
        let mark = answer.mark();
        answer.same(1, ALL, 2);
        answer.truncate(mark);
        let bytes = answer.finish();
        let mut frame = ResultFrame::parse(&bytes, 2).unwrap();
        assert_eq!(frame.next_element().unwrap().unwrap().input, 0);
        assert_eq!(frame.next_element().unwrap(), None);
    }
}
