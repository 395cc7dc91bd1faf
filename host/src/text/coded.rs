//! Rust types for the named codecs.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Codec;

/// A type that one of the named codecs writes.
pub trait Coded: Sized {
    /// `None`: the bytes as they are, whatever codec wrote them.
    const CODEC: Option<Codec>;

    fn encode(&self) -> Vec<u8>;

    /// The error says what the bytes are not.
    fn decode(bytes: &[u8]) -> Result<Self, String>;
}

/// A type that serde reads and writes, under the codec `json`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl Coded for Vec<u8> {
    const CODEC: Option<Codec> = None;

    fn encode(&self) -> Vec<u8> {
        self.clone()
    }

    fn decode(bytes: &[u8]) -> Result<Vec<u8>, String> {
        Ok(bytes.to_vec())
    }
}

impl Coded for String {
    const CODEC: Option<Codec> = Some(Codec::Utf8);

    fn encode(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<String, String> {
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|error| error.to_string())
    }
}

impl<T: Serialize + DeserializeOwned> Coded for Json<T> {
    const CODEC: Option<Codec> = Some(Codec::Json);

    /// A key is found by its bytes: the ones that serde_json writes without spaces, as the SDK does. What serde cannot
    /// write as JSON is written as nothing, and found nowhere.
    fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(&self.0).unwrap_or_default()
    }

    fn decode(bytes: &[u8]) -> Result<Json<T>, String> {
        serde_json::from_slice(bytes).map(Json).map_err(|error| error.to_string())
    }
}

macro_rules! big_endian {
    ($($number:ty, $codec:expr;)*) => {$(
        impl Coded for $number {
            const CODEC: Option<Codec> = Some($codec);

            fn encode(&self) -> Vec<u8> {
                self.to_be_bytes().to_vec()
            }

            fn decode(bytes: &[u8]) -> Result<$number, String> {
                let exact = bytes.try_into().map_err(|_| format!("{} bytes are no {}", bytes.len(), stringify!($number)));
                exact.map(<$number>::from_be_bytes)
            }
        }
    )*};
}

big_endian! {
    i64, Codec::I64;
    i32, Codec::I32;
    f64, Codec::F64;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check<T: Coded + PartialEq + std::fmt::Debug>(value: T, bytes: &[u8]) {
        assert_eq!(value.encode(), bytes);
        assert_eq!(T::decode(bytes).unwrap(), value);
    }

    #[test]
    fn a_type_is_written_as_its_codec_writes_it() {
        check(b"\xff".to_vec(), b"\xff");
        check("grün".to_owned(), "grün".as_bytes());
        check(-2i32, &[0xff, 0xff, 0xff, 0xfe]);
        check(1i64, &[0, 0, 0, 0, 0, 0, 0, 1]);
        check(0.5f64, &0.5f64.to_be_bytes());
        check(Json(vec![1, 2]), b"[1,2]");
    }

    #[test]
    fn other_bytes_do_not_decode() {
        assert!(String::decode(b"\xff").is_err());
        assert!(i64::decode(b"1").unwrap_err().contains("1 bytes are no i64"));
        assert!(Json::<u8>::decode(b"-1").is_err());
    }
}
