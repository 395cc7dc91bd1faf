//! The frame a call answers with: `wit/README.md`, "Frames", kind 4.

use crate::codec::{self, Data};
use crate::failure::Failure;
use crate::frame::{HEADER_LEN, MAGIC, VERSION};

const KIND_RESULT: u16 = 4;
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

    /// What became of the input element `element`, if it is not simply kept.
    pub(crate) fn outcome(&mut self, element: u32, failure: &Failure) {
        self.outcomes.extend_from_slice(&element.to_le_bytes());
        self.outcomes.extend_from_slice(&(failure.kind as u16).to_le_bytes());
        self.outcomes.extend_from_slice(&[0; 2]);
        self.outcomes.extend_from_slice(&(failure.message.len() as u32).to_le_bytes());
        self.outcomes.extend_from_slice(failure.message.as_bytes());
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
        let outcome = host::Outcome { element: 2, kind: host::OutcomeKind::DeadLetter, message: "no".to_string() };
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
