//! A batch's bytes at the guest boundary, as the host writes and reads them. The layout is documented byte by byte
//! in `wit/README.md`; the SDKs have decoders of their own.
//!
//! What a guest answers is hostile: every length is checked against the bytes that are left before it is used.

use crate::record::Headers;

const MAGIC: [u8; 4] = *b"MSF1";
const VERSION: u16 = 1;
const HEADER_LEN: usize = 32;
/// Of an element without its bytes.
pub const ELEMENT_LEN: usize = 32;
const OUTCOME_LEN: usize = 12;

/// A result's target that means all children.
pub const ALL_CHILDREN: u16 = 0xFFFF;
/// The source of a context that stands for no record: a punctuation.
pub const NO_SOURCE: u32 = u32::MAX;

const SAME_KEY: u16 = 1;
const SAME_VALUE: u16 = 2;
const SAME_HEADERS: u16 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Records = 1,
    Fold = 2,
    Punctuation = 3,
    Result = 4,
    /// Records for several stateless nodes in a row; their limits and numbers stand in place of the groups.
    Chain = 5,
    /// Elements with the rows they are joined with; the rows stand in place of the groups, without keys.
    Join = 6,
    /// Records on their way out; how many partitions each topic has stands in place of the groups, without keys.
    Route = 7,
}

/// Where an input record came from, and its place in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// Number of the source node, or [`NO_SOURCE`].
    pub source: u32,
    /// Which of that source's topics.
    pub topic: u16,
    pub partition: u32,
    pub offset: i64,
    pub timestamp: i64,
    pub stream_time: i64,
    pub seed: u64,
}

impl Context {
    /// Source and topic in one field: nodes are fewer than 65,536, and [`NO_SOURCE`] stays what it is.
    pub fn origin(&self) -> u32 {
        self.source | u32::from(self.topic) << 16
    }

    /// The source and the topic of such a field.
    pub fn of_origin(origin: u32) -> (u32, u16) {
        if origin == NO_SOURCE { (NO_SOURCE, 0) } else { (origin & 0xFFFF, (origin >> 16) as u16) }
    }
}

/// An element on its way into a guest.
#[derive(Clone, Copy, Debug)]
pub struct Element<'a> {
    pub context: u32,
    /// Rank of the parent it came from, or number of the punctuation.
    pub input: u16,
    pub group: u32,
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

/// Writes one frame into a buffer, section by section in their order: contexts, groups, elements.
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    contexts: u32,
    groups: u32,
    elements: u32,
}

impl<'a> Writer<'a> {
    pub fn new(out: &'a mut Vec<u8>, kind: Kind) -> Writer<'a> {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(kind as u16).to_le_bytes());
        out.resize(start + HEADER_LEN, 0);
        Writer { out, start, contexts: 0, groups: 0, elements: 0 }
    }

    pub fn context(&mut self, context: &Context) {
        self.contexts += 1;
        self.out.extend_from_slice(&context.origin().to_le_bytes());
        self.out.extend_from_slice(&context.partition.to_le_bytes());
        self.out.extend_from_slice(&context.offset.to_le_bytes());
        self.out.extend_from_slice(&context.timestamp.to_le_bytes());
        self.out.extend_from_slice(&context.stream_time.to_le_bytes());
        self.out.extend_from_slice(&context.seed.to_le_bytes());
    }

    pub fn group(&mut self, key: &[u8], aggregate: Option<&[u8]>) {
        self.groups += 1;
        self.out.extend_from_slice(&(key.len() as u32).to_le_bytes());
        self.out.extend_from_slice(&length(aggregate).to_le_bytes());
        self.out.extend_from_slice(key);
        self.out.extend_from_slice(aggregate.unwrap_or_default());
    }

    /// What each node of a chain may give for one element: results, and bytes. In front of the chain's links.
    pub fn chain(&mut self, outputs: u32, output_bytes: u64) {
        self.out.extend_from_slice(&outputs.to_le_bytes());
        self.out.extend_from_slice(&output_bytes.to_le_bytes());
    }

    /// The number of the next node of a chain.
    pub fn link(&mut self, node: u32) {
        self.groups += 1;
        self.out.extend_from_slice(&node.to_le_bytes());
    }

    pub fn element(&mut self, element: &Element<'_>) {
        self.elements += 1;
        self.out.extend_from_slice(&element.context.to_le_bytes());
        self.out.extend_from_slice(&element.input.to_le_bytes());
        self.out.extend_from_slice(&0u16.to_le_bytes());
        self.out.extend_from_slice(&element.group.to_le_bytes());
        self.out.extend_from_slice(&(element.headers.0.len() as u32).to_le_bytes());
        self.out.extend_from_slice(&element.timestamp.to_le_bytes());
        self.out.extend_from_slice(&length(element.key).to_le_bytes());
        self.out.extend_from_slice(&length(element.value).to_le_bytes());
        self.out.extend_from_slice(element.key.unwrap_or_default());
        self.out.extend_from_slice(element.value.unwrap_or_default());
        self.out.extend_from_slice(element.headers.0);
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> usize {
        self.out.len() - self.start
    }

    /// Fills in the counts and the length.
    pub fn finish(self) {
        let len = (self.out.len() - self.start) as u32;
        let counts = [self.contexts, self.groups, self.elements, 0, len];
        for (i, count) in counts.into_iter().enumerate() {
            let at = self.start + 8 + 4 * i;
            self.out[at..at + 4].copy_from_slice(&count.to_le_bytes());
        }
    }
}

fn length(bytes: Option<&[u8]>) -> i32 {
    bytes.map_or(-1, |b| b.len() as i32)
}

/// What is wrong with a guest's bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadFrame(pub String);

fn bad<T>(what: impl Into<String>) -> Result<T, BadFrame> {
    Err(BadFrame(what.into()))
}

/// Reads forward through bytes whose lengths cannot be trusted.
#[derive(Clone, Copy)]
pub struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], BadFrame> {
        let Some((taken, rest)) = self.0.split_at_checked(len) else {
            return bad(format!("{len} bytes announced where {} are left", self.0.len()));
        };
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BadFrame> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub fn u16(&mut self) -> Result<u16, BadFrame> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, BadFrame> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn i32(&mut self) -> Result<i32, BadFrame> {
        self.array().map(i32::from_le_bytes)
    }

    pub fn i64(&mut self) -> Result<i64, BadFrame> {
        self.array().map(i64::from_le_bytes)
    }

    /// The bytes of a field of this signed length; -1 is null, any other negative length is refused.
    pub fn nullable(&mut self, len: i32) -> Result<Option<&'a [u8]>, BadFrame> {
        match len {
            -1 => Ok(None),
            _ => match usize::try_from(len) {
                Ok(len) => self.take(len).map(Some),
                Err(_) => bad(format!("a length of {len}")),
            },
        }
    }
}

/// A field of a result element: the input's own, or new bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<T> {
    Same,
    New(T),
}

/// One element of a guest's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResultElement<'a> {
    /// Index of the input element it comes from; checked against their number.
    pub input: u32,
    /// Child it goes to, or [`ALL_CHILDREN`]; not checked.
    pub target: u16,
    pub timestamp: i64,
    pub key: Field<Option<&'a [u8]>>,
    pub value: Field<Option<&'a [u8]>>,
    pub headers: Field<Headers<'a>>,
}

/// What a guest wants done with the record an element belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutcomeKind {
    Drop,
    DeadLetter,
    Retry,
    Fail,
    /// Keeps the element's effects, and wants them committed soon.
    Commit,
    /// Keeps the element's effects, and starts a schedule: the message is its time, its interval and its name.
    Schedule,
    /// Keeps the element's effects, and ends the schedule of which the message is the name.
    Cancel,
    /// Of a punctuation: keeps its effects, and wants it called again with the message for its value.
    Again,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub element: u32,
    pub kind: OutcomeKind,
    /// Text, but for [`OutcomeKind::Again`].
    pub message: Vec<u8>,
}

impl Outcome {
    /// The message to be read; what is no UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.message).into_owned()
    }
}

/// A guest's answer, its header checked; elements and outcomes are checked while they are read.
pub struct ResultFrame<'a> {
    cursor: Cursor<'a>,
    elements: u32,
    outcomes: u32,
    /// How many elements were asked about.
    asked: u32,
    last_input: u32,
}

impl<'a> ResultFrame<'a> {
    /// `asked`: how many elements the guest was given.
    pub fn parse(bytes: &'a [u8], asked: u32) -> Result<ResultFrame<'a>, BadFrame> {
        let mut cursor = Cursor(bytes);
        if cursor.take(4)? != MAGIC {
            return bad("the frame does not begin with MSF1");
        }
        match (cursor.u16()?, cursor.u16()?) {
            (VERSION, kind) if kind == Kind::Result as u16 => {}
            (VERSION, kind) => return bad(format!("frame kind {kind} where a result (4) was due")),
            (version, _) => return bad(format!("frame version {version}; this host reads {VERSION}")),
        }
        let (contexts, groups) = (cursor.u32()?, cursor.u32()?);
        let (elements, outcomes) = (cursor.u32()?, cursor.u32()?);
        let (len, reserved) = (cursor.u32()?, cursor.u32()?);
        if contexts != 0 || groups != 0 || reserved != 0 {
            return bad("a result has no contexts and no groups");
        }
        if len as usize != bytes.len() {
            return bad(format!("the frame says {len} bytes and has {}", bytes.len()));
        }
        let least = u64::from(elements) * ELEMENT_LEN as u64 + u64::from(outcomes) * OUTCOME_LEN as u64;
        if least > cursor.0.len() as u64 {
            return bad(format!("{elements} elements and {outcomes} outcomes do not fit into {len} bytes"));
        }
        Ok(ResultFrame { cursor, elements, outcomes, asked, last_input: 0 })
    }

    /// How many elements are left to be read.
    pub fn elements(&self) -> u32 {
        self.elements
    }

    /// The next element, in order; `None` behind the last one.
    pub fn next_element(&mut self) -> Result<Option<ResultElement<'a>>, BadFrame> {
        if self.elements == 0 {
            return Ok(None);
        }
        self.elements -= 1;
        let c = &mut self.cursor;
        let (input, target, flags) = (c.u32()?, c.u16()?, c.u16()?);
        let (_, headers_len, timestamp) = (c.u32()?, c.u32()?, c.i64()?);
        let (key_len, value_len) = (c.i32()?, c.i32()?);
        if input >= self.asked {
            return bad(format!("a result for element {input} of {}", self.asked));
        }
        if input < self.last_input {
            return bad(format!("a result for element {input} behind one for {}", self.last_input));
        }
        if timestamp < 0 {
            return bad(format!("a result with timestamp {timestamp}"));
        }
        self.last_input = input;
        let key = field(flags & SAME_KEY != 0, c.nullable(key_len)?);
        let value = field(flags & SAME_VALUE != 0, c.nullable(value_len)?);
        let headers = Headers(c.take(headers_len as usize)?);
        if !headers.is_valid() {
            return bad(format!("malformed headers in a result for element {input}"));
        }
        let headers = field(flags & SAME_HEADERS != 0, headers);
        Ok(Some(ResultElement { input, target, timestamp, key, value, headers }))
    }

    /// The outcomes, behind the elements; those not read yet are.
    pub fn outcomes(mut self) -> Result<Vec<Outcome>, BadFrame> {
        while self.next_element()?.is_some() {}
        let mut outcomes = Vec::with_capacity(self.outcomes as usize);
        for _ in 0..self.outcomes {
            outcomes.push(self.outcome()?);
        }
        if !self.cursor.0.is_empty() {
            return bad(format!("{} bytes behind the last outcome", self.cursor.0.len()));
        }
        Ok(outcomes)
    }

    fn outcome(&mut self) -> Result<Outcome, BadFrame> {
        let c = &mut self.cursor;
        let (element, kind, _, len) = (c.u32()?, c.u16()?, c.u16()?, c.u32()?);
        let message = c.take(len as usize)?;
        if element >= self.asked {
            return bad(format!("an outcome for element {element} of {}", self.asked));
        }
        let kind = match kind {
            1 => OutcomeKind::Drop,
            2 => OutcomeKind::DeadLetter,
            3 => OutcomeKind::Retry,
            4 => OutcomeKind::Fail,
            5 => OutcomeKind::Commit,
            6 => OutcomeKind::Schedule,
            7 => OutcomeKind::Cancel,
            8 => OutcomeKind::Again,
            other => return bad(format!("outcome kind {other}")),
        };
        // Nobody reads why something was dropped.
        let message = if matches!(kind, OutcomeKind::Drop | OutcomeKind::Commit) { &[] } else { message };
        Ok(Outcome { element, kind, message: message.to_vec() })
    }
}

fn field<T>(same: bool, value: T) -> Field<T> {
    if same { Field::Same } else { Field::New(value) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A result frame with one element and one outcome, written by hand.
    fn sample() -> Vec<u8> {
        let mut frame = Vec::new();
        frame.extend_from_slice(b"MSF1\x01\x00\x04\x00");
        for n in [0u32, 0, 1, 1, 0, 0] {
            frame.extend_from_slice(&n.to_le_bytes());
        }
        frame.extend_from_slice(&1u32.to_le_bytes());
        frame.extend_from_slice(&ALL_CHILDREN.to_le_bytes());
        frame.extend_from_slice(&SAME_HEADERS.to_le_bytes());
        frame.extend_from_slice(&[0; 8]);
        frame.extend_from_slice(&7i64.to_le_bytes());
        frame.extend_from_slice(&1i32.to_le_bytes());
        frame.extend_from_slice(&(-1i32).to_le_bytes());
        frame.extend_from_slice(b"k");
        frame.extend_from_slice(&0u32.to_le_bytes());
        frame.extend_from_slice(&2u16.to_le_bytes());
        frame.extend_from_slice(&0u16.to_le_bytes());
        frame.extend_from_slice(&2u32.to_le_bytes());
        frame.extend_from_slice(b"no");
        let len = frame.len() as u32;
        frame[24..28].copy_from_slice(&len.to_le_bytes());
        frame
    }

    fn read(bytes: &[u8]) -> Result<(usize, Vec<Outcome>), BadFrame> {
        let mut frame = ResultFrame::parse(bytes, 2)?;
        let mut elements = 0;
        while frame.next_element()?.is_some() {
            elements += 1;
        }
        Ok((elements, frame.outcomes()?))
    }

    #[test]
    fn a_result_is_read_as_documented() {
        let bytes = sample();
        let mut frame = ResultFrame::parse(&bytes, 2).unwrap();
        let element = frame.next_element().unwrap().unwrap();
        assert_eq!((element.input, element.target, element.timestamp), (1, ALL_CHILDREN, 7));
        assert_eq!((element.key, element.value), (Field::New(Some(&b"k"[..])), Field::New(None)));
        assert_eq!(element.headers, Field::Same);
        let outcomes = frame.outcomes().unwrap();
        assert_eq!(outcomes[0].kind, OutcomeKind::DeadLetter);
        assert_eq!(outcomes[0].text(), "no");
    }

    #[test]
    fn no_cut_and_no_flipped_byte_is_read_beyond_its_end() {
        let bytes = sample();
        for cut in 0..bytes.len() {
            assert!(read(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..bytes.len() {
            for flip in [1u8, 0x80, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] ^= flip;
                let _ = read(&bytes); // must not panic
            }
        }
    }

    #[test]
    fn bytes_left_over_are_refused() {
        let mut bytes = sample();
        bytes.push(0);
        let len = bytes.len() as u32;
        bytes[24..28].copy_from_slice(&len.to_le_bytes());
        assert!(read(&bytes).is_err());
    }
}
