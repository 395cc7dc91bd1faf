//! The stores of a running application, asked of all of its processes.

mod parts;
mod stores;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use millstream_engine::error::{Problem, exit};
use millstream_engine::task::TaskId;
use serde_json::Value;

use super::Result;
use super::client::Client;
use crate::api::{cursor, read_cursor};
use crate::desk::query::{Keys, Place, Range, Window};
use crate::desk::{Page, Row};
use crate::text::codec::BASE64_PREFIX;

/// It is asked for bytes; the codecs are applied here.
pub struct Running {
    /// The first one is that of this state directory, where it runs.
    clients: Vec<Client>,
    /// Members of its group that have told an address and cannot be asked there, with the reason.
    silent: Vec<String>,
    id: String,
}

impl Running {
    /// `None`: nobody can be asked.
    pub fn new(clients: Vec<Client>, silent: Vec<String>, id: String) -> Option<Running> {
        (!clients.is_empty()).then_some(Running { clients, silent, id })
    }

    pub fn read(&self, store: &str, keys: &Keys) -> Result<Page> {
        match &self.clients[..] {
            [client] if self.silent.is_empty() => self.read_whole(client, store, keys),
            clients => self.read_parts(clients, store, keys),
        }
    }

    /// The path that asks for these keys, and its parameters.
    fn asked(&self, store: &str, keys: &Keys) -> (Vec<String>, Vec<(&'static str, String)>) {
        let store = |last: &'static str| ["v1", "apps", &self.id, "stores", store, last].map(str::to_owned).to_vec();
        let one = |kind, more: Vec<String>| [store(kind), more].concat();
        let (path, parameters) = match keys {
            Keys::One(key) => (one("entries", vec![in_base64(key)]), Vec::new()),
            Keys::AsOf(key, time) => (one("entries", vec![in_base64(key)]), vec![("as-of", time.to_string())]),
            Keys::Window(key, start) => (one("windows", vec![in_base64(key), start.to_string()]), Vec::new()),
            Keys::Session(key, start, end) => {
                (one("sessions", vec![in_base64(key), start.to_string(), end.to_string()]), Vec::new())
            }
            Keys::Range(range) => (store("entries"), query(range)),
        };
        let as_bytes = AS_BYTES.iter().map(|(name, codec)| (*name, (*codec).to_owned()));
        (path, parameters.into_iter().chain(as_bytes).collect())
    }

    /// A process that has all tasks, or says that it has not.
    fn read_whole(&self, client: &Client, store: &str, keys: &Keys) -> Result<Page> {
        let (path, parameters) = self.asked(store, keys);
        let answer = get(client, &path, &parameters)?;
        if keys.is_single() {
            let rows = answer.iter().map(row).collect::<Option<_>>().ok_or_else(unreadable)?;
            return Ok(Page { rows, next: None });
        }
        let answer = answer.ok_or_else(unreadable)?;
        let rows = answer["entries"].as_array().ok_or_else(unreadable)?;
        let rows = rows.iter().map(row).collect::<Option<_>>().ok_or_else(unreadable)?;
        Ok(Page { rows, next: place(answer["next"].as_str())? })
    }
}

fn get(client: &Client, path: &[String], parameters: &[(&'static str, String)]) -> Result<Option<Value>> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let parameters: Vec<_> = parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
    client.get(&path, &parameters)
}

const AS_BYTES: [(&str, &str); 2] = [("key", "bytes"), ("value", "bytes")];

fn query(range: &Range) -> Vec<(&'static str, String)> {
    let bounds = [("from", &range.from), ("to", &range.to), ("prefix", &range.prefix)];
    let bounds = bounds.into_iter().filter_map(|(name, bound)| Some((name, in_base64(bound.as_ref()?))));
    let after = range.after.as_ref().map(|(key, task)| ("cursor", cursor(key, *task)));
    let reverse = range.reverse.then(|| ("reverse", "true".to_owned()));
    let times =
        range.times.iter().flat_map(|(from, to)| [("from-time", from.to_string()), ("to-time", to.to_string())]);
    bounds.chain(after).chain(reverse).chain(times).chain([("limit", range.limit.to_string())]).collect()
}

/// Where the next page begins is the running application's to say.
fn place(next: Option<&str>) -> Result<Option<Place>> {
    Ok(next.map(read_cursor).transpose().map_err(|_| unreadable())?)
}

fn in_base64(bytes: &[u8]) -> String {
    format!("{}{}", BASE64_PREFIX, BASE64.encode(bytes))
}

fn row(entry: &Value) -> Option<Row> {
    let bytes = |name: &str| BASE64.decode(entry[name]["base64"].as_str()?).ok();
    let (subtopology, partition) = entry["task"].as_str()?.split_once('_')?;
    let task = TaskId { subtopology: subtopology.parse().ok()?, partition: partition.parse().ok()? };
    let window = match (entry["start"].as_i64(), entry["end"].as_i64()) {
        (Some(start), Some(end)) => Some(Window { start, end, place: Vec::new() }),
        _ => None,
    };
    Some(Row { key: bytes("key")?, value: bytes("value")?, timestamp: entry["timestamp"].as_i64()?, task, window })
}

/// An application of another version, perhaps.
fn unreadable() -> Problem {
    Problem::new("NotAvailable", "E0610", exit::FAILED, "the running application's answer cannot be read")
        .why("it is run by another version of millstream, perhaps")
        .fix("use the millstream that runs it")
}
