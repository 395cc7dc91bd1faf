//! Records as a processor sees them.

/// A typed record. A null key or value is an `Option` that is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<K, V> {
    pub key: K,
    pub value: V,
    /// Milliseconds since the epoch; never negative on its way out.
    pub timestamp: i64,
    pub headers: Headers,
}

impl<K, V> Record<K, V> {
    /// A record without headers.
    pub fn new(key: K, value: V, timestamp: i64) -> Record<K, V> {
        Record { key, value, timestamp, headers: Headers::default() }
    }

    pub fn with_key<K2>(self, key: K2) -> Record<K2, V> {
        Record { key, value: self.value, timestamp: self.timestamp, headers: self.headers }
    }

    pub fn with_value<V2>(self, value: V2) -> Record<K, V2> {
        Record { key: self.key, value, timestamp: self.timestamp, headers: self.headers }
    }

    pub fn with_timestamp(self, timestamp: i64) -> Record<K, V> {
        Record { timestamp, ..self }
    }

    pub fn with_headers(self, headers: Headers) -> Record<K, V> {
        Record { headers, ..self }
    }
}

/// A record's headers, in order; a name may occur more than once, a value may be null.
///
/// Kept as the bytes they travel in: `name_len u32, value_len i32 (-1 = null), name, value` for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<u8>);

impl Headers {
    pub(crate) fn from_bytes(bytes: &[u8]) -> Headers {
        Headers(bytes.to_vec())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends a header.
    pub fn add(&mut self, name: &str, value: Option<&[u8]>) {
        self.0.extend_from_slice(&(name.len() as u32).to_le_bytes());
        self.0.extend_from_slice(&value.map_or(-1, |value| value.len() as i32).to_le_bytes());
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(value.unwrap_or_default());
    }

    /// Takes out all headers of this name.
    pub fn remove(&mut self, name: &str) {
        let mut kept = Headers::default();
        self.iter().filter(|(found, _)| *found != name).for_each(|(found, value)| kept.add(found, value));
        *self = kept;
    }

    /// The last header of this name, as Kafka's `lastHeader`.
    pub fn last(&self, name: &str) -> Option<Option<&[u8]>> {
        self.iter().filter(|(found, _)| *found == name).last().map(|(_, value)| value)
    }

    /// Every header in order; ends where the bytes are not headers.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || take_header(&mut rest))
    }
}

fn take_header<'a>(rest: &mut &'a [u8]) -> Option<(&'a str, Option<&'a [u8]>)> {
    let (name_len, bytes) = rest.split_first_chunk::<4>()?;
    let (value_len, bytes) = bytes.split_first_chunk::<4>()?;
    let (name, bytes) = bytes.split_at_checked(u32::from_le_bytes(*name_len) as usize)?;
    let (value, bytes) = match i32::from_le_bytes(*value_len) {
        -1 => (None, bytes),
        len => bytes.split_at_checked(usize::try_from(len).ok()?).map(|(value, bytes)| (Some(value), bytes))?,
    };
    *rest = bytes;
    Some((std::str::from_utf8(name).ok()?, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_header_of_a_name_wins() {
        let mut headers = Headers::default();
        headers.add("a", Some(b"1"));
        headers.add("b", None);
        headers.add("a", Some(b"2"));
        assert_eq!(headers.last("a"), Some(Some(&b"2"[..])));
        assert_eq!(headers.last("b"), Some(None));
        assert_eq!(headers.last("c"), None);
        headers.remove("a");
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("b", None)]);
    }

    #[test]
    fn headers_that_lie_about_their_length_end_early() {
        let mut headers = Headers::default();
        headers.add("a", Some(b"1"));
        headers.0[4] = 200;
        assert_eq!(headers.iter().count(), 0);
    }
}
