//! A script on the engine, in batches of a given size.

use std::collections::BTreeMap;

use millstream_engine::functions::Functions;
use millstream_engine::operator::Dropped;
use millstream_engine::record::{Headers, Record, push_header};
use millstream_engine::task::{Failure, Settings};
use millstream_engine::topology::Plan;
use tests::rig::{self, Kept, Rig, Setup};

use super::native::{Native, Seeds};
use super::topology::{Script, Shape, children, source_topics, store_names};

/// Everything that can be seen of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Everything written to each topic but the sources', in order.
    pub topics: BTreeMap<String, Vec<Written>>,
    /// Each store's entries: value and timestamp by key.
    pub stores: BTreeMap<String, BTreeMap<String, (i64, String)>>,
    pub dropped: Dropped,
    pub dead_letters: u64,
    /// Next record of each input.
    pub offsets: BTreeMap<String, i64>,
    /// The record or punctuation that ended it.
    pub failed: Option<String>,
}

/// A record as text, so that a difference can be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    pub key: Option<String>,
    pub value: Option<String>,
    pub headers: Vec<(String, Option<String>)>,
    pub timestamp: i64,
}

pub fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// The header some records carry.
pub fn header_bytes(has: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    if has {
        push_header(&mut bytes, "h", Some(b"1"));
    }
    bytes
}

impl Observed {
    pub fn assert_same(&self, expected: &Observed, batch: usize) {
        for (topic, written) in &expected.topics {
            let got = self.topics.get(topic).map_or(&[][..], Vec::as_slice);
            for at in 0..written.len().max(got.len()) {
                assert_eq!(got.get(at), written.get(at), "record {at} of topic {topic}, batches of {batch}");
            }
        }
        for (store, entries) in &expected.stores {
            assert_eq!(self.stores.get(store), Some(entries), "store {store}, batches of {batch}");
        }
        let rest = |of: &Observed| Observed { topics: BTreeMap::new(), ..of.clone() };
        assert_eq!(rest(self), rest(expected), "batches of {batch}");
        assert_eq!(self, expected, "batches of {batch}");
    }
}

fn native(shape: &Shape) -> Native {
    let description = &shape.description;
    let number = |name: &String| description.stores.iter().position(|store| store.name == *name).unwrap() as u32;
    let counts: Vec<&String> =
        description.nodes.iter().filter(|node| node.op.ends_with("count")).flat_map(|node| &node.store).collect();
    let may_write = |name: &String| !counts.contains(&name) && name != "g";
    let connected = |stores: &Vec<String>| stores.iter().map(|name| (number(name), may_write(name))).collect();
    let children = children(description);
    Native {
        code: shape.code.clone(),
        ops: description.nodes.iter().map(|node| node.op.clone()).collect(),
        stores: description.nodes.iter().map(|node| connected(&node.stores)).collect(),
        children: description.nodes.iter().map(|node| children.get(&node.name).copied().unwrap_or(0)).collect(),
        seeds: Seeds::default(),
    }
}

fn setup<'a>(shape: &'a Shape, batch: usize, functions: &'a dyn Fn() -> Box<dyn Functions>) -> Setup<'a> {
    Setup {
        manifest: &shape.manifest,
        description: &shape.description,
        partitions: 1,
        settings: Settings { batch_records: batch, coalesce: false, ..Settings::default() },
        kept: Kept::Memory,
        functions,
    }
}

pub fn plan(shape: &Shape) -> Plan {
    let native = native(shape);
    rig::plan(&setup(shape, 1, &|| Box::new(native.clone()))).unwrap()
}

/// `seeds` are kept from run to run: a record's seed is the same in a batch of any size.
pub fn run(shape: &Shape, script: &Script, batch: usize, seeds: &Seeds) -> Observed {
    let native = Native { seeds: seeds.clone(), ..native(shape) };
    let mut rig = Rig::open(&setup(shape, batch, &|| Box::new(native.clone()))).unwrap();
    let failed = play(&mut rig, shape, script).err();
    if failed.is_some() {
        // What stood before the record that failed is kept.
        rig.cut().unwrap();
    }
    observe(&rig, shape, failed.map(|failure| failure.to_string()))
}

fn play(rig: &mut Rig, shape: &Shape, script: &Script) -> Result<(), Failure> {
    let topics = source_topics(&shape.description);
    for given in &script.records {
        let headers = header_bytes(given.header);
        let record = Record {
            key: given.key.map(str::as_bytes),
            value: given.value.map(str::as_bytes),
            headers: Headers(&headers),
            timestamp: given.timestamp,
        };
        rig.append(&topics[usize::from(given.source) % topics.len()], 0, record);
        if let Some(ms) = given.cut {
            rig.run()?;
            rig.advance(ms)?;
            rig.cut().unwrap();
        }
    }
    loop {
        rig.run()?;
        if !rig.cut().unwrap() {
            return Ok(());
        }
    }
}

fn observe(rig: &Rig, shape: &Shape, failed: Option<String>) -> Observed {
    let sources = source_topics(&shape.description);
    let topics = rig.written().into_iter().filter(|topic| !sources.iter().any(|source| source == topic));
    let written = |topic: &str| {
        let record = |owned: &tests::logs::Owned| Written {
            key: owned.key.as_deref().map(text),
            value: owned.value.as_deref().map(text),
            headers: owned.headers.iter().map(|(name, value)| (name.clone(), value.as_deref().map(text))).collect(),
            timestamp: owned.timestamp,
        };
        rig.topic(topic, 0).iter().map(record).collect()
    };
    let store = |name: &str| {
        let entries = rig.store(name).unwrap().into_iter();
        entries.map(|(key, (timestamp, value))| (text(&key), (timestamp, text(&value)))).collect()
    };
    Observed {
        topics: topics.map(|topic| (topic.to_owned(), written(topic))).collect(),
        stores: store_names(&shape.description).into_iter().map(|name| (name.clone(), store(&name))).collect(),
        dropped: rig.dropped(),
        dead_letters: rig.dead_letters(),
        offsets: rig.offsets(),
        failed,
    }
}
