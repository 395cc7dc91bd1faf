//! What a manifest's values may be, and how each is written.

use std::num::{NonZeroI32, NonZeroU32};
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use toml::de::DeValue;

use super::error::nearest;

/// Something that a key of the manifest can be set to.
pub(super) trait Value: Sized {
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong>;
}

/// Why a value was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub message: String,
    pub suggestion: Option<String>,
}

impl Wrong {
    pub fn new(message: impl Into<String>) -> Wrong {
        Wrong { message: message.into(), suggestion: None }
    }

    pub fn suggest(self, suggestion: impl Into<String>) -> Wrong {
        Wrong { suggestion: Some(suggestion.into()), ..self }
    }

    /// A word that is none of the known ones.
    pub fn unknown<'a>(word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> Wrong {
        let suggestion = nearest(word, known.clone());
        let known: Vec<String> = known.into_iter().map(|word| format!("\"{word}\"")).collect();
        Wrong { message: format!("is {word:?}, and may be {}", known.join(" or ")), suggestion }
    }

    fn kind(value: &DeValue<'_>, expected: &str) -> Wrong {
        Wrong::new(format!("is {}, and should be {expected}", type_of(value)))
    }
}

impl From<String> for Wrong {
    fn from(message: String) -> Wrong {
        Wrong::new(message)
    }
}

/// A value's type, with its article.
pub(super) fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A text that `T` reads.
pub(super) fn text<T: FromStr<Err = Wrong>>(value: &DeValue<'_>, expected: &str) -> Result<T, Wrong> {
    value.as_str().ok_or_else(|| Wrong::kind(value, expected))?.parse()
}

/// A value that must be more than nothing.
pub(super) struct Positive<T>(pub T);

impl<T: Value + Default + PartialEq> Value for Positive<T> {
    fn read(value: &DeValue<'_>) -> Result<Positive<T>, Wrong> {
        match T::read(value)? {
            zero if zero == T::default() => Err(Wrong::new("must be more than zero")),
            value => Ok(Positive(value)),
        }
    }
}

impl Value for String {
    fn read(value: &DeValue<'_>) -> Result<String, Wrong> {
        match value.as_str() {
            Some("") => Err(Wrong::new("is empty")),
            Some(text) => Ok(text.to_owned()),
            None => Err(Wrong::kind(value, "a text")),
        }
    }
}

impl Value for bool {
    fn read(value: &DeValue<'_>) -> Result<bool, Wrong> {
        value.as_bool().ok_or_else(|| Wrong::kind(value, "true or false"))
    }
}

impl Value for u32 {
    fn read(value: &DeValue<'_>) -> Result<u32, Wrong> {
        integer(value, 0, u32::MAX.into()).map(|number| number as u32)
    }
}

impl Value for NonZeroU32 {
    fn read(value: &DeValue<'_>) -> Result<NonZeroU32, Wrong> {
        let number = integer(value, 1, u32::MAX.into())?;
        Ok(NonZeroU32::new(number as u32).expect("at least 1"))
    }
}

impl Value for NonZeroI32 {
    /// From 1: Kafka's counts, whose negative values mean a default, which here is the absent key.
    fn read(value: &DeValue<'_>) -> Result<NonZeroI32, Wrong> {
        let number = integer(value, 1, i32::MAX.into())?;
        Ok(NonZeroI32::new(number as i32).expect("at least 1"))
    }
}

fn integer(value: &DeValue<'_>, min: i64, max: i64) -> Result<i64, Wrong> {
    let number = value.as_integer().ok_or_else(|| Wrong::kind(value, "a whole number"))?;
    i64::from_str_radix(number.as_str(), number.radix())
        .ok()
        .filter(|number| (min..=max).contains(number))
        .ok_or_else(|| Wrong::new(format!("is {number}, and may be {min} to {max}")))
}

impl Value for Duration {
    fn read(value: &DeValue<'_>) -> Result<Duration, Wrong> {
        let expected = "a duration with its unit, such as \"100ms\" or \"5s\"";
        let text = value.as_str().ok_or_else(|| Wrong::kind(value, expected))?;
        humantime::parse_duration(text)
            .map_err(|why| Wrong::new(format!("is {text:?}, and should be {expected}: {why}")))
    }
}

impl Value for ByteSize {
    fn read(value: &DeValue<'_>) -> Result<ByteSize, Wrong> {
        let expected = "a size with its unit, such as \"900KiB\" or \"1GiB\"";
        let text = value.as_str().ok_or_else(|| Wrong::kind(value, expected))?;
        match text.parse() {
            Ok(size) if text.ends_with(|c: char| c.is_ascii_alphabetic()) => Ok(size),
            _ => Err(Wrong::new(format!("is {text:?}, and should be {expected}"))),
        }
    }
}

/// A property as Kafka has them: a text, with numbers and truth values as they are written.
pub(super) fn property(value: &DeValue<'_>) -> Result<String, Wrong> {
    match value {
        DeValue::String(text) => Ok(text.clone().into_owned()),
        DeValue::Integer(number) => Ok(number.to_string()),
        DeValue::Boolean(truth) => Ok(truth.to_string()),
        DeValue::Table(table) => match dotted(table) {
            Some(rest) => Err(Wrong::new(format!("is a table; a name with dots is written in quotes: \"….{rest}\""))),
            None => Err(Wrong::kind(value, "a text")),
        },
        other => Err(Wrong::kind(other, "a text")),
    }
}

/// The names of tables that hold one thing each, as `sasl.password = "…"` makes them without quotes.
fn dotted(table: &toml::de::DeTable<'_>) -> Option<String> {
    let (name, value) = table.iter().next().filter(|_| table.len() == 1)?;
    match value.get_ref() {
        DeValue::Table(inner) => dotted(inner).map(|rest| format!("{}.{rest}", name.get_ref())),
        _ => Some(name.get_ref().to_string()),
    }
}

/// A table of the manifest as JSON; dates become texts.
pub(super) fn json(value: &DeValue<'_>) -> Result<serde_json::Value, Wrong> {
    Ok(match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(_) => integer(value, i64::MIN, i64::MAX)?.into(),
        DeValue::Float(number) => {
            let number: Option<f64> = number.as_str().parse().ok().filter(|number: &f64| number.is_finite());
            number.ok_or_else(|| Wrong::new("is no number that JSON has"))?.into()
        }
        DeValue::Boolean(truth) => (*truth).into(),
        DeValue::Datetime(date) => date.to_string().into(),
        DeValue::Array(list) => list.iter().map(|value| json(value.get_ref())).collect::<Result<Vec<_>, _>>()?.into(),
        DeValue::Table(table) => {
            let entry = |(name, value): (&toml::Spanned<toml::de::DeString<'_>>, &toml::Spanned<DeValue<'_>>)| {
                Ok((name.get_ref().to_string(), json(value.get_ref())?))
            };
            table.iter().map(entry).collect::<Result<serde_json::Map<_, _>, Wrong>>()?.into()
        }
    })
}

impl Value for serde_json::Value {
    fn read(value: &DeValue<'_>) -> Result<serde_json::Value, Wrong> {
        json(value)
    }
}
