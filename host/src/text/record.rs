//! A record as a line of text.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use millstream_engine::record::{Record, push_header};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Codec, Codecs, Shown};

/// A record as it is printed, one JSON object a line.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    pub timestamp: i64,
    pub key: Shown<'a>,
    pub value: Shown<'a>,
    pub headers: Vec<(&'a str, Shown<'a>)>,
}

impl<'a> Line<'a> {
    /// Keys and values that do not decode are shown as base64 and counted.
    pub fn new(
        topic: &'a str,
        partition: i32,
        (offset, record): (i64, Record<'a>),
        codecs: Codecs,
        undecodable: &mut u64,
    ) -> Line<'a> {
        let mut header = |value| Codec::Plain.show(value, undecodable);
        let headers = record.headers.iter().map(|(name, value)| (name, header(value))).collect();
        Line {
            topic,
            partition,
            offset,
            timestamp: record.timestamp,
            key: codecs.key.show(record.key, undecodable),
            value: codecs.value.show(record.value, undecodable),
            headers,
        }
    }
}

/// For a terminal: place, time, key, value and headers, with tabs between.
impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}\t{}", self.partition, self.offset, time(self.timestamp))?;
        write!(f, "\t{}\t{}", self.key, self.value)?;
        self.headers.iter().try_for_each(|(name, value)| write!(f, "\t{}={value}", name.escape_debug()))
    }
}

/// A timestamp as a date, or as it is where no calendar reaches.
pub fn time(ms: i64) -> String {
    const LAST_MS: u64 = 253_402_300_799_999; // of the year 9999
    match u64::try_from(ms) {
        Ok(known @ ..=LAST_MS) => {
            humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(known)).to_string()
        }
        _ => ms.to_string(),
    }
}

/// A record as it was read, before the log gives it a place.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// `None`: by the key.
    pub partition: Option<i32>,
    /// `None`: now.
    pub timestamp: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    /// In the layout of `millstream_engine::record::Headers`.
    pub headers: Vec<u8>,
}

/// Reads a JSON line. What `consume` prints is taken as it is: topic and offset mean nothing here.
pub fn parse_json(line: &[u8], codecs: Codecs) -> Result<Parsed, String> {
    let line: JsonLine = serde_json::from_slice(line).map_err(|error| without_line(&error))?;
    if line.timestamp.is_some_and(|timestamp| timestamp < 0) {
        return Err("`timestamp` is before the epoch".to_owned());
    }
    let read =
        |name: &str, codec: Codec, value: &RawValue| codec.read_json(value).map_err(|why| format!("`{name}`: {why}"));
    let mut headers = Vec::new();
    for (name, value) in &line.headers {
        push_header(&mut headers, name, read("headers", Codec::Plain, value)?.as_deref());
    }
    Ok(Parsed {
        partition: line.partition,
        timestamp: line.timestamp,
        key: line.key.map(|key| read("key", codecs.key, key)).transpose()?.flatten(),
        value: read("value", codecs.value, line.value)?,
        headers,
    })
}

/// Reads `key<TAB>value`; without a tab it is a value only.
pub fn parse_kv(line: &[u8], codecs: Codecs) -> Result<Parsed, String> {
    let (key, value) = match line.iter().position(|&byte| byte == b'\t') {
        Some(tab) => (Some(&line[..tab]), &line[tab + 1..]),
        None => (None, line),
    };
    let key = key.map(|key| codecs.key.read_text(key)).transpose().map_err(|why| format!("key: {why}"))?;
    let value = codecs.value.read_text(value).map_err(|why| format!("value: {why}"))?;
    Ok(Parsed { key, value: Some(value), ..Parsed::default() })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonLine<'a> {
    #[serde(default, rename = "topic")]
    _topic: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    partition: Option<i32>,
    #[serde(default, rename = "offset")]
    _offset: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    timestamp: Option<i64>,
    #[serde(default, borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    value: &'a RawValue,
    #[serde(default, borrow)]
    headers: Vec<(String, &'a RawValue)>,
}

/// serde counts lines inside of our one line: leave that out.
pub(super) fn without_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((what, _)) => format!("{what} at column {}", error.column()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use millstream_engine::record::Headers;

    fn printed(record: Record<'_>, codecs: Codecs) -> String {
        serde_json::to_string(&Line::new("in", 0, (17, record), codecs, &mut 0)).unwrap()
    }

    #[test]
    fn a_record_is_printed_as_the_contract_says_and_read_back() {
        let mut headers = Vec::new();
        push_header(&mut headers, "h", Some(b"v"));
        push_header(&mut headers, "n", None);
        let record = Record { key: Some(b"a"), value: None, headers: Headers(&headers), timestamp: 1_700_000_000_000 };
        let line = printed(record, Codecs::default());
        assert_eq!(
            line,
            r#"{"topic":"in","partition":0,"offset":17,"timestamp":1700000000000,"key":"a","value":null,"headers":[["h","v"],["n",null]]}"#
        );
        let parsed = parse_json(line.as_bytes(), Codecs::default()).unwrap();
        let expected = Parsed {
            partition: Some(0),
            timestamp: Some(record.timestamp),
            key: Some(b"a".into()),
            value: None,
            headers,
        };
        assert_eq!(parsed, expected);
    }

    #[test]
    fn only_the_value_is_needed() {
        let parsed = parse_json(br#"{"value":"v"}"#, Codecs::default()).unwrap();
        assert_eq!(parsed, Parsed { value: Some(b"v".into()), ..Parsed::default() });
        assert!(parse_json(br#"{"key":"k"}"#, Codecs::default()).unwrap_err().contains("`value`"));
    }

    #[test]
    fn a_bad_line_says_what_is_wrong_with_it() {
        for (line, part) in [
            (&b"x"[..], "column 1"),
            (br#"{"value":"v","kye":"k"}"#, "`kye`"),
            (br#"{"value":5}"#, "`value`: `5` is not a string"),
            (br#"{"value":"v","timestamp":-1}"#, "`timestamp`"),
            (br#"{"value":"v","partition":"0"}"#, "expected i32"),
            (br#"{"value":"v","headers":[["h"]]}"#, "length"),
            (br#"{"value":"v"} {}"#, "trailing"),
            (b"{\"value\":\"\xff\"}", "column"),
        ] {
            let why = parse_json(line, Codecs::default()).unwrap_err();
            assert!(why.contains(part), "{why}");
            assert!(!why.contains("line 1"), "{why}");
        }
    }

    #[test]
    fn a_kv_line_splits_at_its_first_tab() {
        let codecs = Codecs { key: Codec::Plain, value: Codec::I64 };
        let parsed = parse_kv(b"a\t5", codecs).unwrap();
        assert_eq!(parsed.key.as_deref(), Some(&b"a"[..]));
        assert_eq!(parsed.value.as_deref(), Some(&5i64.to_be_bytes()[..]));
        assert!(parse_kv(b"a\t5\t6", codecs).unwrap_err().starts_with("value: "));
        let parsed = parse_kv(b"\xff", Codecs::default()).unwrap();
        assert_eq!((parsed.key, parsed.value.as_deref()), (None, Some(&b"\xff"[..])));
    }
}
