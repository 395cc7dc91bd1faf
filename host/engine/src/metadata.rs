//! The text beside a committed offset: a partition's time and a task's values, in the bytes of Kafka Streams.
//!
//! Base64 of: byte 2, partition time i64, then only where there are values: count i32 and for each the length of its
//! name i32, the name in UTF-8, the value i64. All big-endian. Version 1 ends after the time.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Which taking of the task wrote this: grows with every owner.
pub const INCARNATION: &str = "incarnation";
/// The interval inside the incarnation.
pub const SEQUENCE: &str = "sequence";
/// How far stream time has gone on without records.
pub const ADVANCED: &str = "advanced";

/// Characters of the largest text a plan may lead to: a broker takes 4,096 (`offset.metadata.max.bytes`).
pub const ENCODED_LEN_MAX: usize = 4_000;

/// Under which name the next firing of a stream-time punctuation travels.
pub fn timer_name(node: &str, punctuation: &str) -> String {
    format!("timer:{node}:{punctuation}")
}

/// Under which name travels how far the operator over a store has come in time, or one of its inputs.
pub fn reached_name(store: &str, input: u16) -> String {
    if input == 0 { format!("reached:{store}") } else { format!("reached:{store}:{input}") }
}

/// Schedules that one task may make while it runs: they travel beside its offsets.
pub const SCHEDULES_MAX: usize = 8;

/// Longest name of such a schedule, for the same reason.
pub const SCHEDULE_NAME_BYTES_MAX: usize = 40;

/// A schedule that was made while a task ran, as it travels: all of it but when it fires next is in the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule<'a> {
    pub by_stream_time: bool,
    pub every_ms: i64,
    pub node: &'a str,
    pub name: &'a str,
}

impl<'a> Schedule<'a> {
    pub fn text(&self) -> String {
        let time = if self.by_stream_time { "s" } else { "w" };
        format!("schedule:{time}:{}:{}:{}", self.every_ms, self.node, self.name)
    }

    /// `None`: it is another value.
    pub fn parse(text: &'a str) -> Option<Schedule<'a>> {
        let mut parts = text.strip_prefix("schedule:")?.split(':');
        let by_stream_time = match parts.next()? {
            "s" => true,
            "w" => false,
            _ => return None,
        };
        let every_ms = parts.next()?.parse().ok().filter(|every| *every >= 1)?;
        Some(Schedule { by_stream_time, every_ms, node: parts.next()?, name: parts.next()? })
    }

    /// The longest texts that a node's may have.
    pub fn longest(node: &str) -> impl Iterator<Item = String> {
        let name = |number: usize| format!("{number}{}", "n".repeat(SCHEDULE_NAME_BYTES_MAX - 1));
        let text =
            move |number| Schedule { by_stream_time: true, every_ms: i64::MAX, node, name: &name(number) }.text();
        (0..SCHEDULES_MAX).map(text)
    }
}

/// Longest token of a punctuation that goes on: a key as long as keys may be by default (`[limits] key_bytes`), so that the
/// one up to which a store was walked is a token. It travels beside the offsets too, where there is no room for more.
pub const TOKEN_BYTES_MAX: usize = 1 << 10;

/// A punctuation that is to go on, as it travels: all of it but the time it fires for is in the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumption<'a> {
    /// Whether it was made while the task ran.
    pub is_scheduled: bool,
    /// Portions that are done.
    pub portion: u32,
    pub node: &'a str,
    pub name: &'a str,
    pub token: Cow<'a, [u8]>,
}

impl<'a> Resumption<'a> {
    pub fn text(&self) -> String {
        let kind = if self.is_scheduled { "s" } else { "d" };
        format!("again:{kind}:{}:{}:{}:{}", self.portion, self.node, self.name, STANDARD.encode(&self.token))
    }

    /// `None`: it is another value.
    pub fn parse(text: &'a str) -> Option<Resumption<'a>> {
        let mut parts = text.strip_prefix("again:")?.split(':');
        let is_scheduled = match parts.next()? {
            "s" => true,
            "d" => false,
            _ => return None,
        };
        let portion = parts.next()?.parse().ok()?;
        let (node, name) = (parts.next()?, parts.next()?);
        let token = STANDARD.decode(parts.next()?).ok().filter(|token| token.len() <= TOKEN_BYTES_MAX)?;
        Some(Resumption { is_scheduled, portion, node, name, token: token.into() })
    }

    /// The longest text that one with names of these lengths may have.
    pub fn longest(node: &str, name_bytes: usize) -> String {
        let (name, token) = ("n".repeat(name_bytes), [0; TOKEN_BYTES_MAX]);
        let token = Cow::from(&token[..]);
        Resumption { is_scheduled: true, portion: u32::MAX, node, name: &name, token }.text()
    }
}

/// How long the text of a task's first input is: every value takes the same eight bytes, so that it never grows.
pub fn encoded_len(values: impl Iterator<Item = String>) -> usize {
    let names = values.chain([INCARNATION.to_owned(), SEQUENCE.to_owned()]);
    Metadata { partition_time: 0, values: names.map(|name| (name, 0)).collect() }.encode().len()
}

const VERSION_TIME_ONLY: u8 = 1;
const VERSION: u8 = 2;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Highest timestamp of the partition, [`crate::record::NO_TIMESTAMP`] before the first record.
    pub partition_time: i64,
    /// The task's values by name: incarnation, sequence, clocks, timers.
    pub values: BTreeMap<String, i64>,
}

impl Metadata {
    pub fn encode(&self) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.partition_time.to_be_bytes());
        if !self.values.is_empty() {
            bytes.extend_from_slice(&(self.values.len() as i32).to_be_bytes());
        }
        for (name, value) in &self.values {
            bytes.extend_from_slice(&(name.len() as i32).to_be_bytes());
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(&value.to_be_bytes());
        }
        STANDARD.encode(bytes)
    }

    /// Whether a punctuation is to go on where this was written.
    pub fn is_punctuating(&self) -> bool {
        self.values.keys().any(|name| Resumption::parse(name).is_some())
    }

    /// `None` when another program wrote it, or nobody.
    pub fn decode(text: &str) -> Option<Metadata> {
        let bytes = STANDARD.decode(text).ok()?;
        let (version, rest) = bytes.split_first()?;
        let (time, rest) = rest.split_first_chunk::<8>()?;
        let partition_time = i64::from_be_bytes(*time);
        match (*version, rest) {
            (VERSION_TIME_ONLY, []) | (VERSION, []) => Some(Metadata { partition_time, values: BTreeMap::new() }),
            (VERSION, rest) => Some(Metadata { partition_time, values: values(rest)? }),
            _ => None,
        }
    }
}

fn values(bytes: &[u8]) -> Option<BTreeMap<String, i64>> {
    let (count, mut rest) = bytes.split_first_chunk::<4>()?;
    let mut values = BTreeMap::new();
    for _ in 0..u32::try_from(i32::from_be_bytes(*count)).ok()? {
        let (len, after) = rest.split_first_chunk::<4>()?;
        let len = usize::try_from(i32::from_be_bytes(*len)).ok()?;
        let (name, after) = after.split_at_checked(len)?;
        let (value, after) = after.split_first_chunk::<8>()?;
        values.insert(std::str::from_utf8(name).ok()?.to_owned(), i64::from_be_bytes(*value));
        rest = after;
    }
    rest.is_empty().then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(partition_time: i64, values: &[(&str, i64)]) -> Metadata {
        Metadata { partition_time, values: values.iter().map(|(name, value)| (name.to_string(), *value)).collect() }
    }

    /// The texts are Kafka Streams' own, from the format vectors of kind `commit-metadata`.
    #[test]
    fn the_bytes_are_those_of_kafka_streams() {
        let cases = [
            (metadata(0, &[]), "AgAAAAAAAAAA"),
            (metadata(-1, &[]), "Av//////////"),
            (metadata(5, &[("emit-final-x", 42)]), "AgAAAAAAAAAFAAAAAQAAAAxlbWl0LWZpbmFsLXgAAAAAAAAAKg=="),
        ];
        for (metadata, text) in cases {
            assert_eq!(metadata.encode(), text);
            assert_eq!(Metadata::decode(text), Some(metadata));
        }
    }

    #[test]
    fn a_token_of_any_bytes_travels() {
        let longest: Vec<u8> = (0..TOKEN_BYTES_MAX).map(|at| at as u8).collect();
        for token in [&b""[..], b"a:b", &[0, 255, 10], &longest] {
            let sent = Resumption { is_scheduled: false, portion: 7, node: "n.1", name: "t-1", token: token.into() };
            let text = sent.text();
            assert_eq!(Resumption::parse(&text), Some(sent));
            assert!(text.len() <= Resumption::longest("n.1", 3).len());
            assert!(metadata(0, &[(&text, 5)]).is_punctuating());
        }
        let longer = Resumption { is_scheduled: true, portion: 0, node: "n", name: "t", token: vec![0; 1_025].into() };
        for other in [&*longer.text(), "again:x:0:n:t:", "again:s:0:n:t:?", "again:s:0:n:t", "timer:n:t"] {
            assert_eq!(Resumption::parse(other), None, "{other}");
            assert!(!metadata(0, &[(other, 5)]).is_punctuating());
        }
    }

    #[test]
    fn version_one_has_the_time_alone() {
        assert_eq!(Metadata::decode("AQAAAAAAAAAH"), Some(metadata(7, &[])));
    }

    #[test]
    fn what_is_torn_or_foreign_is_not_read() {
        let whole = metadata(1, &[(INCARNATION, 7), (SEQUENCE, 3)]).encode();
        let bytes = STANDARD.decode(&whole).unwrap_or_default();
        assert!(Metadata::decode(&whole).is_some());
        // A cut right behind the time is a metadata of its own.
        for len in (0..bytes.len()).filter(|len| *len != 9) {
            assert_eq!(Metadata::decode(&STANDARD.encode(&bytes[..len])), None, "cut at {len}");
        }
        let longer: Vec<u8> = bytes.iter().copied().chain([0]).collect();
        assert_eq!(Metadata::decode(&STANDARD.encode(longer)), None, "bytes behind the end");
        let mut lying = bytes.clone();
        lying[9..13].copy_from_slice(&i32::MAX.to_be_bytes());
        assert_eq!(Metadata::decode(&STANDARD.encode(&lying)), None, "a count beyond the bytes");
        for foreign in ["", "not base64!", "BwAAAAAAAAAA", "hello"] {
            assert_eq!(Metadata::decode(foreign), None, "{foreign:?}");
        }
    }
}
