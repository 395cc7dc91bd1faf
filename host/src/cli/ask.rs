//! The stores of a running application.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use millstream_engine::error::{Problem, exit};
use millstream_engine::task::TaskId;
use serde_json::Value;

use super::Result;
use super::client::Client;
use crate::api::cursor;
use crate::app::status::StoreInfo;
use crate::desk::query::{Keys, Range};
use crate::desk::{Page, Row};
use crate::text::codec::BASE64_PREFIX;

/// It is asked for bytes; the codecs are applied here.
pub struct Running {
    client: Client,
    id: String,
}

impl Running {
    pub fn new(client: Client, id: String) -> Running {
        Running { client, id }
    }

    pub fn stores(&self) -> Result<Vec<StoreInfo>> {
        let (mut stores, mut next) = (Vec::new(), Value::Null);
        loop {
            let cursor = next.as_str().map(|cursor| ("cursor", cursor));
            let answer = self.client.get(&["v1", "apps", &self.id, "stores"], cursor.as_slice())?;
            let mut answer = answer.ok_or_else(unreadable)?;
            let page: Vec<StoreInfo> = serde_json::from_value(answer["stores"].take()).map_err(|_| unreadable())?;
            stores.extend(page);
            next = answer["next"].take();
            if next.is_null() {
                return Ok(stores);
            }
        }
    }

    pub fn read(&self, store: &str, keys: &Keys) -> Result<Page> {
        let path = ["v1", "apps", &self.id, "stores", store, "entries"];
        match keys {
            Keys::One(key) => {
                let key = in_base64(key);
                let path = path.into_iter().chain([key.as_str()]).collect::<Vec<_>>();
                let found = self.client.get(&path, &AS_BYTES)?;
                let rows = found.iter().map(row).collect::<Option<_>>().ok_or_else(unreadable)?;
                Ok(Page { rows, more: false })
            }
            Keys::Range(range) => {
                let query = query(range);
                let query: Vec<_> = query.iter().map(|(name, value)| (*name, value.as_str())).chain(AS_BYTES).collect();
                let answer = self.client.get(&path, &query)?.ok_or_else(unreadable)?;
                let rows = answer["entries"].as_array().ok_or_else(unreadable)?;
                let rows = rows.iter().map(row).collect::<Option<_>>().ok_or_else(unreadable)?;
                Ok(Page { rows, more: !answer["next"].is_null() })
            }
        }
    }
}

const AS_BYTES: [(&str, &str); 2] = [("key", "bytes"), ("value", "bytes")];

fn query(range: &Range) -> Vec<(&'static str, String)> {
    let bounds = [("from", &range.from), ("to", &range.to), ("prefix", &range.prefix)];
    let bounds = bounds.into_iter().filter_map(|(name, bound)| Some((name, in_base64(bound.as_ref()?))));
    let after = range.after.as_ref().map(|(key, task)| ("cursor", cursor(key, *task)));
    let reverse = range.reverse.then(|| ("reverse", "true".to_owned()));
    bounds.chain(after).chain(reverse).chain([("limit", range.limit.to_string())]).collect()
}

fn in_base64(bytes: &[u8]) -> String {
    format!("{}{}", BASE64_PREFIX, BASE64.encode(bytes))
}

fn row(entry: &Value) -> Option<Row> {
    let bytes = |name: &str| BASE64.decode(entry[name]["base64"].as_str()?).ok();
    let (subtopology, partition) = entry["task"].as_str()?.split_once('_')?;
    let task = TaskId { subtopology: subtopology.parse().ok()?, partition: partition.parse().ok()? };
    Some(Row { key: bytes("key")?, value: bytes("value")?, timestamp: entry["timestamp"].as_i64()?, task })
}

/// An application of another version, perhaps.
fn unreadable() -> Problem {
    Problem::new("NotAvailable", "E0610", exit::FAILED, "the running application's answer cannot be read")
        .why("it is run by another version of millstream, perhaps")
        .fix("use the millstream that runs it")
}
