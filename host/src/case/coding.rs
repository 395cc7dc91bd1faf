//! How keys and values stand in a case file.

use millstream_engine::topology::{Blueprint, Window};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::text::Codec;

/// Between the bytes of a key or value and what a person writes for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// A text is the value's own text in this codec (JSON: the document), `{"base64":…}` its bytes.
    Of(Codec),
    /// The key of a window on a topic, whose size is not among its bytes; `None`: nobody knows it.
    Window { size_ms: Option<i64> },
    /// The key of a session on a topic.
    Session,
}

/// Those of a topic or a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codings {
    pub key: Coding,
    pub value: Coding,
}

impl Coding {
    /// Of a codec as the component declared it. Nobody writes base64 for a text, so plain bytes are text where they can be.
    pub fn declared(name: Option<&str>) -> Coding {
        match name.map(Codec::declared) {
            None | Some(Codec::Bytes) => Coding::Of(Codec::Plain),
            Some(codec) => Coding::Of(codec),
        }
    }

    /// Of a key on a topic that this node writes.
    pub fn of_key(blueprint: &Blueprint, node: usize) -> Coding {
        match blueprint.graph.nodes[node].key.as_deref() {
            Some("time-windowed") => Coding::Window { size_ms: size_ms(blueprint, node) },
            Some("session-windowed") => Coding::Session,
            name => Coding::declared(name),
        }
    }

    /// The bytes of what is written; `None` for null. The error says what was expected.
    pub fn read(self, value: &Value) -> Result<Option<Vec<u8>>, String> {
        match (self, value) {
            (_, Value::Null) => Ok(None),
            (Coding::Of(codec), Value::String(text)) => codec.read_text(text.as_bytes()).map(Some),
            (_, Value::Object(fields)) if fields.len() == 1 && fields.contains_key("base64") => {
                read_json(Codec::Bytes, value)
            }
            (Coding::Of(codec), _) => read_json(codec, value),
            (_, Value::Object(fields)) => {
                if let Some(other) = fields.keys().find(|field| !["key", "start", "end"].contains(&field.as_str())) {
                    return Err(format!("`{other}` is none of key, start and end of a window"));
                }
                let time = |field: &str| match fields.get(field).map(Value::as_i64) {
                    Some(Some(time)) => Ok(Some(time)),
                    Some(None) => Err(format!("`{field}` of the window is no time in ms")),
                    None => Ok(None),
                };
                let key = fields.get("key").unwrap_or(&Value::Null);
                let key = Coding::Of(Codec::Plain).read(key)?.ok_or("the window has no `key`")?;
                self.window(key, time("start")?, time("end")?).map(Some)
            }
            _ => Err("a window is { key, start, end }".to_owned()),
        }
    }

    fn window(self, mut key: Vec<u8>, start: Option<i64>, end: Option<i64>) -> Result<Vec<u8>, String> {
        let start = start.ok_or("the window has no `start`")?;
        match self {
            Coding::Window { size_ms } => {
                if let (Some(end), Some(size)) = (end, size_ms)
                    && end != start.saturating_add(size)
                {
                    return Err(format!("the window from {start} to {end} is not {size} ms long"));
                }
            }
            _ => key.extend_from_slice(&end.ok_or("the session has no `end`")?.to_be_bytes()),
        }
        key.extend_from_slice(&start.to_be_bytes());
        Ok(key)
    }

    /// What stands in a file for these bytes. What does not decode is base64.
    pub fn show(self, bytes: Option<&[u8]>) -> Value {
        let plain = |bytes: &[u8]| shown(Codec::Plain, Some(bytes));
        match (self, bytes) {
            (Coding::Of(codec), _) => shown(codec, bytes),
            (_, None) => Value::Null,
            (Coding::Window { size_ms }, Some(all)) => match split(all) {
                Some((key, start)) => {
                    let mut shown = json!({"key": plain(key), "start": start});
                    if let Some(size) = size_ms {
                        shown["end"] = start.saturating_add(size).into();
                    }
                    shown
                }
                None => shown(Codec::Bytes, bytes),
            },
            (Coding::Session, Some(all)) => match split(all).and_then(|(rest, start)| Some((split(rest)?, start))) {
                Some(((key, end), start)) => json!({"key": plain(key), "start": start, "end": end}),
                None => shown(Codec::Bytes, bytes),
            },
        }
    }
}

fn shown(codec: Codec, bytes: Option<&[u8]>) -> Value {
    // What can be shown as text is JSON; a document that is none was shown as base64.
    serde_json::to_value(codec.show(bytes, &mut 0)).unwrap_or_default()
}

fn read_json(codec: Codec, value: &Value) -> Result<Option<Vec<u8>>, String> {
    let raw = RawValue::from_string(value.to_string()).map_err(|error| error.to_string())?;
    codec.read_json(&raw)
}

/// Takes a time off the end.
fn split(bytes: &[u8]) -> Option<(&[u8], i64)> {
    bytes.split_last_chunk::<8>().map(|(rest, time)| (rest, i64::from_be_bytes(*time)))
}

/// How long the windows are whose keys arrive at a node: those of the nearest aggregation before it. Nodes stand behind
/// their inputs, so the walk ends.
fn size_ms(blueprint: &Blueprint, node: usize) -> Option<i64> {
    let mut at = node;
    loop {
        let found = &blueprint.graph.nodes[at];
        match found.window {
            Some(Window::Time { size_ms, .. }) => return Some(size_ms),
            Some(Window::Sliding { difference_ms, .. }) => return Some(difference_ms),
            Some(Window::Session { .. }) => return None,
            None => at = found.inputs.first().filter(|edge| edge.node < at)?.node,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_shown_is_read_back() {
        let window = Coding::Window { size_ms: Some(10) };
        for (coding, bytes, text) in [
            (Coding::Of(Codec::Plain), b"a".to_vec(), json!("a")),
            (Coding::Of(Codec::Plain), vec![0xff], json!({"base64": "/w=="})),
            (Coding::Of(Codec::I64), 5i64.to_be_bytes().to_vec(), json!(5)),
            (Coding::Of(Codec::Json), br#"{"a":1.5,"b":null}"#.to_vec(), json!({"a": 1.5, "b": null})),
            (
                window,
                [b"k".to_vec(), 20i64.to_be_bytes().to_vec()].concat(),
                json!({"key": "k", "start": 20, "end": 30}),
            ),
            (
                Coding::Session,
                [b"k".to_vec(), 9i64.to_be_bytes().to_vec(), 4i64.to_be_bytes().to_vec()].concat(),
                json!({"key": "k", "start": 4, "end": 9}),
            ),
        ] {
            assert_eq!(coding.show(Some(&bytes)), text);
            assert_eq!(coding.read(&text).unwrap().unwrap(), bytes, "{text}");
        }
        assert_eq!(Coding::Session.show(None), Value::Null);
        assert_eq!(window.show(Some(b"short")), json!({"base64": "c2hvcnQ="}));
    }

    #[test]
    fn a_text_is_the_values_own_text() {
        assert_eq!(Coding::Of(Codec::Json).read(&json!("{\"a\":1}")).unwrap().unwrap(), b"{\"a\":1}");
        assert_eq!(Coding::Of(Codec::I64).read(&json!("5")).unwrap().unwrap(), 5i64.to_be_bytes());
        assert_eq!(Coding::declared(Some("bytes")).read(&json!("a b")).unwrap().unwrap(), b"a b");
    }

    #[test]
    fn what_is_none_says_what_was_expected() {
        let window = Coding::Window { size_ms: Some(10) };
        for (coding, value, part) in [
            (Coding::Of(Codec::I64), json!("five"), "an integer of 64 bits"),
            (Coding::Of(Codec::Json), json!("{"), "is not JSON"),
            (Coding::Of(Codec::Utf8), json!(5), "is not a string"),
            (window, json!("k"), "{ key, start, end }"),
            (window, json!({"key": "k"}), "no `start`"),
            (window, json!({"key": "k", "start": 0, "end": 11}), "not 10 ms long"),
            (window, json!({"key": "k", "sart": 0}), "`sart`"),
            (Coding::Session, json!({"key": "k", "start": 0}), "no `end`"),
        ] {
            let why = coding.read(&value).unwrap_err();
            assert!(why.contains(part), "{value}: {why}");
        }
    }
}
