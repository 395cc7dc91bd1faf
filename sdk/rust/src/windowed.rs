//! Keys of windows.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use crate::codec::{self, Codec, Data, DecodeError};

/// A key and one of its windows, in ms since the epoch. The end of a [`Time`] window is excluded; that of a sliding window and
/// of a [`Session`] is included.
///
/// Between nodes it travels whole. On topics it has the bytes that Kafka Streams' windowed serialisers write: a session its
/// key, end and start, another window its key and start alone ([`Windowed::from_topic`] adds the end).
pub struct Windowed<K, W = Time> {
    pub key: K,
    pub start: i64,
    pub end: i64,
    kind: PhantomData<W>,
}

/// Of windows that are equally long.
pub struct Time;

/// Of sessions.
pub struct Session;

impl<K, W> Windowed<K, W> {
    pub fn new(key: K, start: i64, end: i64) -> Windowed<K, W> {
        Windowed { key, start, end, kind: PhantomData }
    }
}

impl<K: Data> Windowed<K> {
    /// Reads what a sink has written, for windows of this size (sliding ones: of this difference).
    pub fn from_topic(bytes: &[u8], size: Duration) -> Result<Windowed<K>, DecodeError> {
        let (key, start) = split(bytes)?;
        let size = i64::try_from(size.as_millis()).unwrap_or(i64::MAX);
        Ok(Windowed::new(codec::decode("key of the window", Some(key))?, start, start.saturating_add(size)))
    }
}

impl<K: PartialEq, W> PartialEq for Windowed<K, W> {
    fn eq(&self, other: &Windowed<K, W>) -> bool {
        (&self.key, self.start, self.end) == (&other.key, other.start, other.end)
    }
}

impl<K: Eq, W> Eq for Windowed<K, W> {}

impl<K: Clone, W> Clone for Windowed<K, W> {
    fn clone(&self) -> Windowed<K, W> {
        Windowed::new(self.key.clone(), self.start, self.end)
    }
}

impl<K: fmt::Debug, W> fmt::Debug for Windowed<K, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} [{}, {}]", self.key, self.start, self.end)
    }
}

/// Key, start and end, both i64 big-endian; the host leaves the end out on a topic.
pub struct TimeWindowedKey<K>(PhantomData<K>);

/// Key, end and start, both i64 big-endian.
pub struct SessionWindowedKey<K>(PhantomData<K>);

impl<K: Data> Codec for TimeWindowedKey<K> {
    type Data = Windowed<K>;
    const NAME: &'static str = "time-windowed";

    fn encode(data: &Windowed<K>, out: &mut Vec<u8>) {
        codec::encode(&data.key, out);
        out.extend_from_slice(&data.start.to_be_bytes());
        out.extend_from_slice(&data.end.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Result<Windowed<K>, DecodeError> {
        let (rest, end) = split(bytes)?;
        let (key, start) = split(rest)?;
        Ok(Windowed::new(codec::decode("key of the window", Some(key))?, start, end))
    }
}

impl<K: Data> Codec for SessionWindowedKey<K> {
    type Data = Windowed<K, Session>;
    const NAME: &'static str = "session-windowed";

    fn encode(data: &Windowed<K, Session>, out: &mut Vec<u8>) {
        codec::encode(&data.key, out);
        out.extend_from_slice(&data.end.to_be_bytes());
        out.extend_from_slice(&data.start.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Result<Windowed<K, Session>, DecodeError> {
        let (rest, start) = split(bytes)?;
        let (key, end) = split(rest)?;
        Ok(Windowed::new(codec::decode("key of the window", Some(key))?, start, end))
    }
}

impl<K: Data> Data for Windowed<K> {
    type Codec = TimeWindowedKey<K>;
}

impl<K: Data> Data for Windowed<K, Session> {
    type Codec = SessionWindowedKey<K>;
}

/// Takes a time off the end.
fn split(bytes: &[u8]) -> Result<(&[u8], i64), DecodeError> {
    let (rest, time) = bytes.split_last_chunk::<8>().ok_or_else(|| DecodeError::new("too short for a window"))?;
    Ok((rest, i64::from_be_bytes(*time)))
}
