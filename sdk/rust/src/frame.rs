//! The frames the host sends: `wit/README.md`, "Frames". No length in them is trusted.

use std::fmt;

/// What stands in every frame's first four bytes.
pub(crate) const MAGIC: [u8; 4] = *b"MSF1";
/// The layout this SDK reads and writes.
pub(crate) const VERSION: u16 = 1;
pub(crate) const HEADER_LEN: usize = 32;
const CONTEXT_LEN: usize = 40;
const ELEMENT_LEN: usize = 32;
/// The least a group takes: its two lengths.
const GROUP_LEN_MIN: usize = 8;
/// The source of a punctuation's context.
pub(crate) const NO_SOURCE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Records = 1,
    Fold = 2,
    Punctuation = 3,
    Chain = 5,
    /// Elements with the rows they are joined with, which stand in place of the groups.
    Join = 6,
    /// Records for one of several topics; how many partitions each has stands in place of the groups.
    Route = 7,
}

/// A frame from the host, every length checked.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    pub kind: Kind,
    pub contexts: Vec<Origin>,
    pub groups: Vec<Group<'a>>,
    pub chain: Chain,
    pub elements: Vec<Element<'a>>,
}

/// The nodes that a chain's elements go through, and what each may give for one element; empty in other frames.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    pub nodes: Vec<u32>,
    pub outputs: u32,
    pub output_bytes: u64,
}

/// Where an input record came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The source's place in the description's nodes, [`NO_SOURCE`] in a punctuation.
    pub source: u32,
    /// Which of its topics.
    pub topic: u16,
    pub partition: u32,
    /// -1 in a punctuation.
    pub offset: i64,
    /// Milliseconds; of a punctuation: the time it fires for.
    pub timestamp: i64,
    /// Milliseconds; -1 before the task's first record.
    pub stream_time: i64,
    pub seed: u64,
}

/// A key and its aggregate so far; in a join, a row without its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group<'a> {
    pub key: &'a [u8],
    pub aggregate: Option<&'a [u8]>,
}

/// One record at one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    /// Below the number of contexts.
    pub context: usize,
    /// In a punctuation: which of the node's.
    pub input: u16,
    /// In a join below the number of groups; in a fold an [`Aggregate`].
    pub group: usize,
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [u8],
}

/// What an element of a fold goes on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aggregate {
    Group(usize),
    /// The result of an element in front.
    Result(usize),
}

/// In place of a group's number: the number behind is an element's.
const RESULT_OF: u32 = 1 << 31;

impl Aggregate {
    /// As the element at `place` of a frame with this many groups names it.
    pub(crate) fn of(number: u32, groups: usize, place: usize) -> Option<Aggregate> {
        let (is_result, of) = (number & RESULT_OF != 0, (number & !RESULT_OF) as usize);
        match is_result {
            true => (of < place).then_some(Aggregate::Result(of)),
            false => (of < groups).then_some(Aggregate::Group(of)),
        }
    }
}

/// What is wrong with a frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Error {
    /// It ends inside of something.
    Short,
    /// Bytes are left over.
    Long,
    /// A field has a value it cannot have.
    Field(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Short => f.write_str("the frame ends too early"),
            Error::Long => f.write_str("the frame has bytes left over"),
            Error::Field(field) => write!(f, "the frame's {field} is not one this SDK knows"),
        }
    }
}

impl<'a> Frame<'a> {
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Frame<'a>, Error> {
        let mut reader = Reader(bytes);
        let header = Header::read(&mut reader, bytes.len())?;
        let contexts = reader.many(header.contexts, CONTEXT_LEN, Origin::read)?;
        let (groups, chain) = match header.kind {
            Kind::Chain => (Vec::new(), Chain::read(&mut reader, header.groups)?),
            _ => (reader.many(header.groups, GROUP_LEN_MIN, Group::read)?, Chain::default()),
        };
        let elements = reader.many(header.elements, ELEMENT_LEN, Element::read)?;
        if !reader.0.is_empty() {
            return Err(Error::Long);
        }
        for (place, element) in elements.iter().enumerate() {
            if element.context >= contexts.len() {
                return Err(Error::Field("element's context"));
            }
            let is_known = match header.kind {
                Kind::Fold => Aggregate::of(element.group as u32, groups.len(), place).is_some(),
                Kind::Join => element.group < groups.len(),
                _ => true,
            };
            if !is_known {
                return Err(Error::Field("element's group"));
            }
        }
        Ok(Frame { kind: header.kind, contexts, groups, chain, elements })
    }

    /// The origin of one of the frame's own elements.
    pub(crate) fn origin(&self, element: &Element<'_>) -> &Origin {
        &self.contexts[element.context]
    }
}

struct Header {
    kind: Kind,
    contexts: u32,
    groups: u32,
    elements: u32,
}

impl Header {
    fn read(reader: &mut Reader<'_>, frame_len: usize) -> Result<Header, Error> {
        if reader.array()? != MAGIC {
            return Err(Error::Field("magic"));
        }
        if reader.u16()? != VERSION {
            return Err(Error::Field("version"));
        }
        let kind = match reader.u16()? {
            1 => Kind::Records,
            2 => Kind::Fold,
            3 => Kind::Punctuation,
            5 => Kind::Chain,
            6 => Kind::Join,
            7 => Kind::Route,
            _ => return Err(Error::Field("kind")),
        };
        let header = Header { kind, contexts: reader.u32()?, groups: reader.u32()?, elements: reader.u32()? };
        if reader.u32()? != 0 {
            return Err(Error::Field("number of outcomes"));
        }
        if reader.u32()? as usize != frame_len {
            return Err(Error::Field("length"));
        }
        if reader.u32()? != 0 {
            return Err(Error::Field("reserved field"));
        }
        Ok(header)
    }
}

impl Chain {
    fn read(reader: &mut Reader<'_>, nodes: u32) -> Result<Chain, Error> {
        let (outputs, output_bytes) = (reader.u32()?, reader.i64()? as u64);
        Ok(Chain { nodes: reader.many(nodes, size_of::<u32>(), Reader::u32)?, outputs, output_bytes })
    }
}

impl Origin {
    fn read(reader: &mut Reader<'_>) -> Result<Origin, Error> {
        let (source, topic) = match reader.u32()? {
            NO_SOURCE => (NO_SOURCE, 0),
            both => (both & 0xFFFF, (both >> 16) as u16),
        };
        Ok(Origin {
            source,
            topic,
            partition: reader.u32()?,
            offset: reader.i64()?,
            timestamp: reader.i64()?,
            stream_time: reader.i64()?,
            seed: reader.i64()? as u64,
        })
    }
}

impl<'a> Group<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Group<'a>, Error> {
        let (key_len, value_len) = (reader.u32()?, reader.i32()?);
        Ok(Group { key: reader.take(key_len as usize)?, aggregate: reader.nullable(value_len)? })
    }
}

impl<'a> Element<'a> {
    /// Bytes it brings.
    pub(crate) fn len(&self) -> usize {
        ELEMENT_LEN + self.carries()
    }

    /// Bytes of its key, value and headers.
    pub(crate) fn carries(&self) -> usize {
        self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len) + self.headers.len()
    }

    fn read(reader: &mut Reader<'a>) -> Result<Element<'a>, Error> {
        let context = reader.u32()? as usize;
        let input = reader.u16()?;
        if reader.u16()? != 0 {
            return Err(Error::Field("element's flags"));
        }
        let group = reader.u32()? as usize;
        let headers_len = reader.u32()? as usize;
        let timestamp = reader.i64()?;
        let (key_len, value_len) = (reader.i32()?, reader.i32()?);
        Ok(Element {
            context,
            input,
            group,
            timestamp,
            key: reader.nullable(key_len)?,
            value: reader.nullable(value_len)?,
            headers: reader.take(headers_len)?,
        })
    }
}

/// The bytes that are left.
pub(crate) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Error::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    /// Nothing for a length of -1; any other negative one is refused.
    pub(crate) fn nullable(&mut self, len: i32) -> Result<Option<&'a [u8]>, Error> {
        match len {
            -1 => Ok(None),
            _ => usize::try_from(len)
                .map_err(|_| Error::Field("length of a key or value"))
                .and_then(|len| self.take(len))
                .map(Some),
        }
    }

    /// `count` of something that takes at least `len_min` bytes each, so that a lying count reserves no memory.
    pub(crate) fn many<T>(
        &mut self,
        count: u32,
        len_min: usize,
        read: impl Fn(&mut Reader<'a>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let count = count as usize;
        if count > self.0.len() / len_min {
            return Err(Error::Short);
        }
        (0..count).map(|_| read(self)).collect()
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Error::Short)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, Error> {
        self.array().map(i32::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Error> {
        self.array().map(i64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use millstream_engine::frame as host;
    use millstream_engine::record::Headers;

    use super::*;
    use crate::processor::Random;

    const CONTEXT: host::Context = host::Context {
        source: 3,
        topic: 1,
        partition: 2,
        offset: 17,
        timestamp: 1_000,
        stream_time: -1,
        seed: u64::MAX - 1,
    };

    /// Two elements of one context, as the host writes them.
    fn sample(kind: host::Kind) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = host::Writer::new(&mut bytes, kind);
        writer.context(&CONTEXT);
        if kind == host::Kind::Chain {
            writer.chain(1_000, 1 << 40);
            [7, 8].into_iter().for_each(|node| writer.link(node));
        } else {
            writer.group(b"k", Some(b"so far"));
            writer.group(b"", None);
        }
        for (group, key, value) in [(0, Some(&b"k"[..]), Some(&b""[..])), (1, None, None)] {
            let headers = Headers(b"");
            writer.element(&host::Element { context: 0, input: 1, group, timestamp: -5, key, value, headers });
        }
        writer.finish();
        bytes
    }

    #[test]
    fn what_the_host_writes_is_read_as_documented() {
        let bytes = sample(host::Kind::Fold);
        let frame = Frame::decode(&bytes).unwrap();
        assert_eq!(frame.kind, Kind::Fold);
        let origin = Origin {
            source: 3,
            topic: 1,
            partition: 2,
            offset: 17,
            timestamp: 1_000,
            stream_time: -1,
            seed: u64::MAX - 1,
        };
        assert_eq!(frame.contexts, [origin]);
        let (k, empty) = (Group { key: b"k", aggregate: Some(b"so far") }, Group { key: b"", aggregate: None });
        assert_eq!(frame.groups, [k, empty]);
        let element =
            |group, key, value| Element { context: 0, input: 1, group, timestamp: -5, key, value, headers: b"" };
        assert_eq!(frame.elements, [element(0, Some(&b"k"[..]), Some(&b""[..])), element(1, None, None)]);
    }

    #[test]
    fn a_chain_names_its_nodes() {
        let bytes = sample(host::Kind::Chain);
        let frame = Frame::decode(&bytes).unwrap();
        assert_eq!((frame.kind, frame.groups.len(), frame.elements.len()), (Kind::Chain, 0, 2));
        assert_eq!(frame.chain, Chain { nodes: vec![7, 8], outputs: 1_000, output_bytes: 1 << 40 });
        for cut in 0..bytes.len() {
            assert!(Frame::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_frame_that_is_cut_or_longer_is_refused() {
        let bytes = sample(host::Kind::Records);
        for cut in 0..bytes.len() {
            assert!(Frame::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        let len = longer.len() as u32;
        longer[24..28].copy_from_slice(&len.to_le_bytes());
        assert_eq!(Frame::decode(&longer).unwrap_err(), Error::Long);
    }

    #[test]
    fn a_count_that_lies_reserves_nothing() {
        for at in [8, 12, 16] {
            let mut bytes = sample(host::Kind::Records);
            bytes[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
            assert_eq!(Frame::decode(&bytes).unwrap_err(), Error::Short, "count at {at}");
        }
    }

    #[test]
    fn an_element_of_no_context_or_group_is_refused() {
        let element = HEADER_LEN + CONTEXT_LEN + 2 * GROUP_LEN_MIN + "kso far".len();
        for (at, error) in [(0, "element's context"), (8, "element's group")] {
            let mut bytes = sample(host::Kind::Fold);
            bytes[element + at] = 9;
            assert_eq!(Frame::decode(&bytes).unwrap_err(), Error::Field(error));
        }
    }

    #[test]
    fn mutated_frames_never_panic() {
        let samples = [host::Kind::Fold, host::Kind::Chain].map(sample);
        let mut random = Random::new(3);
        for round in 0..40_000 {
            let mut mutated = samples[round % 2].clone();
            for _ in 0..=random.below(3) {
                let at = random.below(mutated.len() as u64) as usize;
                mutated[at] = random.next_u64() as u8;
            }
            if let Ok(frame) = Frame::decode(&mutated) {
                frame.elements.iter().for_each(|element| assert_eq!(frame.origin(element), &frame.contexts[0]));
            }
        }
    }
}
