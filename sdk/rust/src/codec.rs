//! How typed keys and values become bytes and back.
//!
//! The host sees bytes only. A codec's name travels in the plugin's description, so that the command line and HTTP
//! show `utf8`, `json`, `i64`, `i32`, `f64` and `bytes` typed; a plugin's own codec is shown as bytes.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Turns data of one type into bytes and back.
pub trait Codec {
    type Data;

    /// As it stands in the plugin's description.
    const NAME: &'static str;

    /// Appends the bytes of `data`.
    fn encode(data: &Self::Data, out: &mut Vec<u8>);

    fn decode(bytes: &[u8]) -> Result<Self::Data, DecodeError>;

    /// What a missing key or value (a tombstone) decodes to; `None`: it does not decode. Only `Option<T>` knows one.
    fn null() -> Option<Self::Data> {
        None
    }

    /// Whether `data` is the missing key or value.
    fn is_null(_data: &Self::Data) -> bool {
        false
    }
}

/// A type that can be the key or the value of a record: it names the codec it travels in.
///
/// `String` travels as `utf8`, `Vec<u8>` as `bytes`, `i64`, `i32` and `f64` as themselves, whatever is [`Json`] as
/// `json`, `Option<T>` as `T` with `None` for null, and `()` is whatever nobody looks at, written as null.
pub trait Data: Sized + 'static {
    type Codec: Codec<Data = Self>;
}

/// A type that travels as JSON: `impl Json for Order {}`.
pub trait Json: Serialize + DeserializeOwned + 'static {}

impl Json for serde_json::Value {}
impl Json for bool {}
impl Json for Vec<String> {}
impl<T: Json> Json for Vec<T> {}

/// Why bytes are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError(String);

impl DecodeError {
    pub fn new(why: impl Into<String>) -> DecodeError {
        DecodeError(why.into())
    }
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DecodeError {}

/// The name of the codec that `T` travels in.
pub(crate) const fn name<T: Data>() -> &'static str {
    T::Codec::NAME
}

/// Appends the bytes of `data`; `false`, and nothing appended, when it is null.
pub(crate) fn encode<T: Data>(data: &T, out: &mut Vec<u8>) -> bool {
    if T::Codec::is_null(data) {
        return false;
    }
    T::Codec::encode(data, out);
    true
}

/// The bytes of `data`, or `None` when it is null.
pub(crate) fn to_bytes<T: Data>(data: &T) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    encode(data, &mut bytes).then_some(bytes)
}

/// Decodes a key or a value (`field` says which, for the message).
pub(crate) fn decode<T: Data>(field: &str, bytes: Option<&[u8]>) -> Result<T, DecodeError> {
    let decoded = match bytes {
        Some(bytes) => T::Codec::decode(bytes),
        None => T::Codec::null().ok_or_else(|| DecodeError::new("it is null, and its type is not an Option")),
    };
    decoded.map_err(|why| DecodeError(format!("the {field} does not decode as {}: {why}", name::<T>())))
}

/// UTF-8 text.
pub struct Utf8;

impl Codec for Utf8 {
    type Data = String;
    const NAME: &'static str = "utf8";

    fn encode(data: &String, out: &mut Vec<u8>) {
        out.extend_from_slice(data.as_bytes());
    }

    fn decode(bytes: &[u8]) -> Result<String, DecodeError> {
        let text = std::str::from_utf8(bytes).map_err(|error| DecodeError::new(error.to_string()))?;
        Ok(text.to_owned())
    }
}

/// The bytes themselves.
pub struct Bytes;

impl Codec for Bytes {
    type Data = Vec<u8>;
    const NAME: &'static str = "bytes";

    fn encode(data: &Vec<u8>, out: &mut Vec<u8>) {
        out.extend_from_slice(data);
    }

    fn decode(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
        Ok(bytes.to_vec())
    }
}

/// JSON by serde.
pub struct JsonText<T>(PhantomData<T>);

impl<T: Json> Codec for JsonText<T> {
    type Data = T;
    const NAME: &'static str = "json";

    /// # Panics
    /// When serde refuses `data` (a map whose keys are not text): a fault of the type, not of the record.
    fn encode(data: &T, out: &mut Vec<u8>) {
        if let Err(error) = serde_json::to_writer(out, data) {
            panic!("{} cannot be written as JSON: {error}", std::any::type_name::<T>());
        }
    }

    fn decode(bytes: &[u8]) -> Result<T, DecodeError> {
        serde_json::from_slice(bytes).map_err(|error| DecodeError::new(error.to_string()))
    }
}

/// `C`, with null as `None`.
pub struct Nullable<C>(PhantomData<C>);

impl<C: Codec> Codec for Nullable<C> {
    type Data = Option<C::Data>;
    const NAME: &'static str = C::NAME;

    fn encode(data: &Option<C::Data>, out: &mut Vec<u8>) {
        if let Some(data) = data {
            C::encode(data, out);
        }
    }

    fn decode(bytes: &[u8]) -> Result<Option<C::Data>, DecodeError> {
        C::decode(bytes).map(Some)
    }

    fn null() -> Option<Option<C::Data>> {
        Some(None)
    }

    fn is_null(data: &Option<C::Data>) -> bool {
        data.is_none()
    }
}

/// Whatever was there, unread; written as null.
pub struct Nothing;

impl Codec for Nothing {
    type Data = ();
    const NAME: &'static str = "bytes";

    fn encode(_data: &(), _out: &mut Vec<u8>) {}

    fn decode(_bytes: &[u8]) -> Result<(), DecodeError> {
        Ok(())
    }

    fn null() -> Option<()> {
        Some(())
    }

    fn is_null(_data: &()) -> bool {
        true
    }
}

/// Numbers as Kafka's serialisers write them: big-endian, of fixed width.
macro_rules! number_codec {
    ($codec:ident, $number:ty, $name:literal) => {
        #[doc = concat!("`", $name, "`, big-endian.")]
        pub struct $codec;

        impl Codec for $codec {
            type Data = $number;
            const NAME: &'static str = $name;

            fn encode(data: &$number, out: &mut Vec<u8>) {
                out.extend_from_slice(&data.to_be_bytes());
            }

            fn decode(bytes: &[u8]) -> Result<$number, DecodeError> {
                bytes
                    .try_into()
                    .map(<$number>::from_be_bytes)
                    .map_err(|_| DecodeError::new(format!("{} bytes instead of {}", bytes.len(), size_of::<$number>())))
            }
        }

        impl Data for $number {
            type Codec = $codec;
        }
    };
}

number_codec!(I64, i64, "i64");
number_codec!(I32, i32, "i32");
number_codec!(F64, f64, "f64");

impl Data for String {
    type Codec = Utf8;
}

impl Data for () {
    type Codec = Nothing;
}

impl Data for Vec<u8> {
    type Codec = Bytes;
}

impl<T: Json> Data for T {
    type Codec = JsonText<T>;
}

impl<T: Data> Data for Option<T> {
    type Codec = Nullable<T::Codec>;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check<T: Data + PartialEq + std::fmt::Debug>(data: T, codec: &str, bytes: Option<&[u8]>) {
        assert_eq!(name::<T>(), codec);
        assert_eq!(to_bytes(&data).as_deref(), bytes);
        assert_eq!(decode::<T>("value", bytes).unwrap(), data);
    }

    #[test]
    fn numbers_are_written_as_kafkas_serialisers_do() {
        check(-2i64, "i64", Some(&[255, 255, 255, 255, 255, 255, 255, 254]));
        check(258i32, "i32", Some(&[0, 0, 1, 2]));
        check(1.5f64, "f64", Some(&[0x3f, 0xf8, 0, 0, 0, 0, 0, 0]));
    }

    #[test]
    fn text_bytes_and_json_are_written_plainly() {
        check("né".to_string(), "utf8", Some("né".as_bytes()));
        check(vec![0u8, 255], "bytes", Some(&[0, 255]));
        check(serde_json::json!({"a": [1, null]}), "json", Some(br#"{"a":[1,null]}"#));
        check(vec!["a".to_string()], "json", Some(br#"["a"]"#));
    }

    #[test]
    fn null_is_none_and_not_empty() {
        check(None::<String>, "utf8", None);
        check(Some(String::new()), "utf8", Some(b""));
    }

    #[test]
    fn what_does_not_decode_says_codec_field_and_why() {
        let message = |result: Result<(), DecodeError>| result.unwrap_err().to_string();
        assert_eq!(
            message(decode::<i64>("key", Some(b"abc")).map(drop)),
            "the key does not decode as i64: 3 bytes instead of 8"
        );
        assert_eq!(
            message(decode::<String>("value", None).map(drop)),
            "the value does not decode as utf8: it is null, and its type is not an Option"
        );
        assert!(
            message(decode::<bool>("value", Some(b"{")).map(drop)).starts_with("the value does not decode as json: ")
        );
        assert!(message(decode::<String>("value", Some(&[255])).map(drop)).contains("as utf8: "));
    }
}
