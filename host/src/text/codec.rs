//! The named codecs, between bytes and JSON.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

/// How bytes are read and shown. Numbers are big-endian, as Kafka's serialisers write them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    /// Nobody named one: a string where the bytes are UTF-8, else base64.
    #[default]
    Plain,
    Bytes,
    Utf8,
    Json,
    I64,
    I32,
    F64,
}

/// The codecs of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Codecs {
    pub key: Codec,
    pub value: Codec,
}

/// What users call them.
pub const NAMES: [(&str, Codec); 6] = [
    ("bytes", Codec::Bytes),
    ("utf8", Codec::Utf8),
    ("json", Codec::Json),
    ("i64", Codec::I64),
    ("i32", Codec::I32),
    ("f64", Codec::F64),
];

/// Bytes as they are shown, with `null` for absent ones.
#[derive(Clone, Debug)]
pub enum Shown<'a> {
    Null,
    Text(Cow<'a, str>),
    Base64(Cow<'a, [u8]>),
    /// Exactly the document in the bytes, on one line: no number is rounded, no key is moved.
    Json(Cow<'a, RawValue>),
    Integer(i64),
    Float(f64),
}

impl FromStr for Codec {
    type Err = String;

    fn from_str(name: &str) -> Result<Codec, String> {
        let known = || NAMES.map(|(name, _)| name).join(", ");
        let found = NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, codec)| *codec).ok_or_else(|| format!("no such codec; there are {}", known()))
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES.iter().find(|(_, codec)| codec == self).map_or("plain", |(name, _)| name))
    }
}

impl Codec {
    /// The codec a component declared; one of its own is shown as plain bytes.
    pub fn declared(name: &str) -> Codec {
        name.parse().unwrap_or_default()
    }

    /// Bytes as text. What does not decode is shown as base64 and counted in `undecodable`.
    pub fn show<'a>(self, bytes: Option<&'a [u8]>, undecodable: &mut u64) -> Shown<'a> {
        let Some(bytes) = bytes else { return Shown::Null };
        self.decode(bytes).unwrap_or_else(|| {
            *undecodable += 1;
            Shown::Base64(bytes.into())
        })
    }

    fn decode(self, bytes: &[u8]) -> Option<Shown<'_>> {
        let text = || std::str::from_utf8(bytes).ok();
        Some(match self {
            Codec::Plain => text().map_or(Shown::Base64(bytes.into()), |text| Shown::Text(text.into())),
            Codec::Bytes => Shown::Base64(bytes.into()),
            Codec::Utf8 => Shown::Text(text()?.into()),
            Codec::Json => Shown::Json(one_line(serde_json::from_slice(bytes).ok()?)),
            Codec::I64 => Shown::Integer(i64::from_be_bytes(bytes.try_into().ok()?)),
            Codec::I32 => Shown::Integer(i32::from_be_bytes(bytes.try_into().ok()?).into()),
            Codec::F64 => Shown::Float(f64::from_be_bytes(bytes.try_into().ok()?)),
        })
    }

    /// The bytes of a value in a JSON line; `None` for null. The error says what was expected.
    pub fn read_json(self, value: &RawValue) -> Result<Option<Vec<u8>>, String> {
        let text = value.get();
        if text == "null" {
            return Ok(None);
        }
        let is_number = matches!(self, Codec::I64 | Codec::I32 | Codec::F64);
        let is_string = matches!(self, Codec::Plain | Codec::Utf8 | Codec::F64);
        let expected = || format!("{} is not {}", shortened(text), self.expectation());
        let bytes = if self == Codec::Json {
            Ok(text.as_bytes().to_vec())
        } else if text.starts_with('{') {
            let object: Base64Object = serde_json::from_str(text).map_err(|_| expected())?;
            read_base64(&object.base64)
        } else if text.starts_with('"') && is_string {
            let string: String = serde_json::from_str(text).map_err(|_| expected())?;
            self.read_text(string.as_bytes())
        } else if is_number && !text.starts_with('"') {
            self.read_text(text.as_bytes())
        } else {
            Err(expected())
        };
        bytes.map(Some)
    }

    /// The bytes of a bare text: a field of a `kv` line, an argument, a part of a path.
    pub fn read_text(self, text: &[u8]) -> Result<Vec<u8>, String> {
        let utf8 = || std::str::from_utf8(text).map_err(|_| "it is not UTF-8".to_owned());
        let expected = || format!("{} is not {}", shortened(&String::from_utf8_lossy(text)), self.expectation());
        match self {
            Codec::Plain => Ok(text.to_vec()),
            Codec::Utf8 => utf8().map(|_| text.to_vec()),
            Codec::Bytes => {
                let text = utf8()?;
                read_base64(text.strip_prefix(BASE64_PREFIX).unwrap_or(text))
            }
            Codec::Json => match serde_json::from_slice::<&RawValue>(text) {
                Ok(value) => Ok(value.get().as_bytes().to_vec()),
                Err(_) => Err(expected()),
            },
            Codec::I64 => parse::<i64>(text).map(|n| n.to_be_bytes().to_vec()).ok_or_else(expected),
            Codec::I32 => parse::<i32>(text).map(|n| n.to_be_bytes().to_vec()).ok_or_else(expected),
            Codec::F64 => parse::<f64>(text).map(|n| n.to_be_bytes().to_vec()).ok_or_else(expected),
        }
    }

    /// The bytes of a key as it stands in a path or on the command line: its text, or `base64:…`.
    pub fn read_key(self, text: &str) -> Result<Vec<u8>, String> {
        match text.strip_prefix(BASE64_PREFIX) {
            Some(base64) => read_base64(base64),
            None => self.read_text(text.as_bytes()),
        }
    }

    fn expectation(self) -> &'static str {
        match self {
            Codec::Plain => "a string, {\"base64\":…} or null; name a codec for anything else (--value json)",
            Codec::Bytes => "{\"base64\":…} or null",
            Codec::Utf8 => "a string or null",
            Codec::Json => "JSON",
            Codec::I64 => "an integer of 64 bits",
            Codec::I32 => "an integer of 32 bits",
            Codec::F64 => "a number",
        }
    }
}

/// Marks a key given as base64 instead of in its codec.
pub const BASE64_PREFIX: &str = "base64:";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Base64Object {
    base64: String,
}

fn read_base64(text: &str) -> Result<Vec<u8>, String> {
    BASE64.decode(text).map_err(|error| format!("{} is not base64: {error}", shortened(text)))
}

fn parse<T: FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A value in an error message: enough to find it by, not a page.
fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 40;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("`{}…`", &text[..end]),
        None => format!("`{text}`"),
    }
}

/// The same document without line breaks; strings in JSON cannot hold any.
fn one_line(json: &RawValue) -> Cow<'_, RawValue> {
    if !json.get().contains(['\n', '\r']) {
        return Cow::Borrowed(json);
    }
    let (mut in_string, mut escaped) = (false, false);
    let compact: String = json
        .get()
        .chars()
        .filter(|&c| {
            let keep = in_string || !c.is_ascii_whitespace();
            in_string = if in_string { c != '"' || escaped } else { c == '"' };
            escaped = in_string && c == '\\' && !escaped;
            keep
        })
        .collect();
    Cow::Owned(RawValue::from_string(compact).expect("whitespace outside of strings means nothing in JSON"))
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Shown::Null => serializer.serialize_unit(),
            Shown::Text(text) => serializer.serialize_str(text),
            Shown::Base64(bytes) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("base64", &BASE64.encode(bytes))?;
                map.end()
            }
            Shown::Json(json) => json.serialize(serializer),
            Shown::Integer(n) => serializer.serialize_i64(*n),
            Shown::Float(n) if n.is_finite() => serializer.serialize_f64(*n),
            // JSON has no word for them; these are Protobuf's, and `read_json` takes them back.
            Shown::Float(n) if n.is_nan() => serializer.serialize_str("NaN"),
            Shown::Float(n) => serializer.serialize_str(if *n > 0.0 { "Infinity" } else { "-Infinity" }),
        }
    }
}

/// For a terminal: without quotes, and with control characters escaped, so that a record cannot steer the screen.
impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shown::Null => f.write_str("null"),
            Shown::Text(text) => escape_controls(text, f),
            Shown::Base64(bytes) => write!(f, "{BASE64_PREFIX}{}", BASE64.encode(bytes)),
            Shown::Json(json) => escape_controls(json.get(), f),
            Shown::Integer(n) => n.fmt(f),
            Shown::Float(n) => n.fmt(f),
        }
    }
}

fn escape_controls(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use fmt::Write as _;
    text.chars().try_for_each(|c| if c.is_control() { write!(f, "{}", c.escape_default()) } else { f.write_char(c) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shown(codec: Codec, bytes: &[u8]) -> (String, u64) {
        let mut undecodable = 0;
        let shown = codec.show(Some(bytes), &mut undecodable);
        (serde_json::to_string(&shown).unwrap(), undecodable)
    }

    fn read(codec: Codec, json: &str) -> Result<Option<Vec<u8>>, String> {
        codec.read_json(&RawValue::from_string(json.to_owned()).unwrap())
    }

    #[test]
    fn every_codec_reads_back_what_it_shows() {
        let nan = f64::NAN.to_be_bytes();
        for (codec, bytes, text) in [
            (Codec::Plain, &b"a\"\n"[..], r#""a\"\n""#),
            (Codec::Plain, b"\xff\x00", r#"{"base64":"/wA="}"#),
            (Codec::Bytes, b"a", r#"{"base64":"YQ=="}"#),
            (Codec::Utf8, "grün".as_bytes(), r#""grün""#),
            (Codec::Json, br#"{"b":1.10,"a":[9007199254740993]}"#, r#"{"b":1.10,"a":[9007199254740993]}"#),
            (Codec::I64, &i64::MIN.to_be_bytes(), "-9223372036854775808"),
            (Codec::I32, &(-2i32).to_be_bytes(), "-2"),
            (Codec::F64, &0.1f64.to_be_bytes(), "0.1"),
            (Codec::F64, &(-1e300f64).to_be_bytes(), "-1e+300"),
            (Codec::F64, &f64::NEG_INFINITY.to_be_bytes(), r#""-Infinity""#),
            (Codec::F64, &nan, r#""NaN""#),
        ] {
            assert_eq!(shown(codec, bytes), (text.to_owned(), 0), "{codec:?}");
            assert_eq!(read(codec, text).unwrap().as_deref(), Some(bytes), "{codec:?} {text}");
        }
    }

    #[test]
    fn what_does_not_decode_is_base64_and_counted() {
        for codec in [Codec::I64, Codec::I32, Codec::F64, Codec::Json] {
            assert_eq!(shown(codec, b"{1}"), (r#"{"base64":"ezF9"}"#.to_owned(), 1), "{codec:?}");
        }
        assert_eq!(shown(Codec::Utf8, b"\xff").1, 1);
    }

    #[test]
    fn a_value_of_another_type_is_refused_with_what_was_expected() {
        for (codec, json) in [
            (Codec::Plain, "5"),
            (Codec::Plain, r#"{"a":1}"#),
            (Codec::Bytes, r#""a""#),
            (Codec::Utf8, "true"),
            (Codec::I64, r#""5""#),
            (Codec::I64, "9223372036854775808"),
            (Codec::I64, "1.5"),
            (Codec::I32, "2147483648"),
            (Codec::F64, "[]"),
            (Codec::Bytes, r#"{"base64":"*"}"#),
        ] {
            assert!(read(codec, json).unwrap_err().contains(" is not "), "{codec:?} {json}");
        }
    }

    #[test]
    fn null_is_absent_under_every_codec() {
        for codec in NAMES.map(|(_, codec)| codec).into_iter().chain([Codec::Plain]) {
            assert_eq!(read(codec, "null"), Ok(None));
            assert!(matches!(codec.show(None, &mut 0), Shown::Null));
        }
    }

    #[test]
    fn a_json_document_of_many_lines_becomes_one_line() {
        let (text, _) = shown(Codec::Json, b"{\n  \"a b\": \"x \\\" y\\\\\",\r\n\t\"c\": [ 1, 2 ]\n}");
        assert_eq!(text, r#"{"a b":"x \" y\\","c":[1,2]}"#);
    }

    #[test]
    fn a_key_is_its_text_or_base64() {
        assert_eq!(Codec::Utf8.read_key("a/b").unwrap(), b"a/b");
        assert_eq!(Codec::Utf8.read_key("base64:YQ==").unwrap(), b"a");
        assert_eq!(Codec::I32.read_key("-2").unwrap(), (-2i32).to_be_bytes());
        assert_eq!(Codec::Bytes.read_key("YQ==").unwrap(), b"a");
        assert!(Codec::I64.read_key("x").is_err());
    }

    #[test]
    fn a_terminal_sees_no_control_characters() {
        let shown = Codec::Utf8.show(Some(b"\x1b[2Jx\n"), &mut 0);
        assert_eq!(shown.to_string(), "\\u{1b}[2Jx\\n");
    }
}
