//! Stores that go by time, in an application without code of its own: windows, sessions, versions and duplicates.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use millstream::lmdb::{StateDirectory, TaskDirectory};
use millstream_engine::config::{ByteSize, Manifest};
use millstream_engine::record::{Headers, Record, Records};
use millstream_engine::store::{SizeLimits, StoreSlot, TaskStores};
use millstream_engine::topology::Blueprint;
use serde_json::Value;

use crate::guests::described_as;
use crate::logs::{TestLog, unique};
use crate::millstream::Millstream;

const FAILED: i32 = 1;
pub const MINUTE: i64 = 60_000;

/// Windows of a minute, sessions of ten seconds, versions, all kept for two minutes; and repeats, which nobody puts.
const DESCRIPTION: &str = r#"{"version":1,"nodes":[
    {"name":"in","op":"source","key":"utf8","value":"utf8"},
    {"name":"never","op":"source","key":"utf8","value":"utf8"},
    {"name":"hops","op":"count","inputs":["in"],"store":"windows",
     "window":{"type":"time","size_ms":60000,"advance_ms":60000,"grace_ms":60000}},
    {"name":"visits","op":"count","inputs":["in"],"store":"sessions",
     "window":{"type":"session","gap_ms":10000,"grace_ms":60000}},
    {"name":"history","op":"to-table","inputs":["in"],"store":"versions"},
    {"name":"own","op":"process","inputs":["never"],"stores":["repeats"]}],
"stores":[
    {"name":"windows","kind":"window","key":"utf8","value":"i64","window_size_ms":60000,"retention_ms":120000},
    {"name":"sessions","kind":"session","key":"utf8","value":"i64","retention_ms":120000},
    {"name":"versions","kind":"versioned","key":"utf8","value":"utf8","retention_ms":120000},
    {"name":"repeats","kind":"window","key":"utf8","value":"utf8","window_size_ms":60000,"retention_ms":120000,
     "retain_duplicates":true}]}"#;

pub const STORES: [&str; 4] = ["windows", "sessions", "versions", "repeats"];

/// Room for what the tests put on disk.
const MAX_SIZE: ByteSize = ByteSize(64 << 20);

/// An entry as a changelog names it; without a value it is deleted.
pub struct Entry<'e> {
    pub key: Vec<u8>,
    pub value: Option<&'e [u8]>,
    pub timestamp: i64,
}

/// An application that keeps them, by its own files, as its user runs it.
pub struct Timed<'l> {
    pub mill: Millstream,
    pub log: &'l TestLog,
    pub id: String,
    pub input: String,
    /// The begin of the minute before this one: to a broker's clock nothing behind it is old.
    pub then: i64,
}

impl<'l> Timed<'l> {
    /// It has run once, on nothing.
    pub fn on(log: &'l TestLog, keys: &str) -> Timed<'l> {
        let (mill, id) = (Millstream::new(log.log.url()), unique("timed"));
        let (input, never) = (log.topic("in", 2), log.topic("never", 2));
        std::fs::write(mill.dir().join("timed.wasm"), described_as(DESCRIPTION).expect("it is a description"))
            .expect("a file can be written");
        mill.write(
            "app.toml",
            &format!(
                "id = \"{id}\"\ncomponent = \"timed.wasm\"\nstate_dir = \"state\"\n{keys}\n[sources.in]\ntopic = \
                 \"{input}\"\nstart = \"latest\"\n[sources.never]\ntopic = \"{never}\"\n"
            ),
        );
        mill.run(&["run", ".", "--until-end"]).ok();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_millis() as i64;
        Timed { mill, log, id, input, then: now / MINUTE * MINUTE - MINUTE }
    }

    /// Processes records, as [`Timed::send`] takes them.
    pub fn process(&self, records: &[(i32, &str, &str, i64)]) {
        self.send(records);
        self.run();
    }

    /// Writes records and leaves them to who runs: partition, key, value, time behind [`Timed::then`].
    pub fn send(&self, records: &[(i32, &str, &str, i64)]) {
        let mut writer = self.log.log.writer().expect("the log takes records");
        for (partition, key, value, at) in records {
            let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
            let record = Record { key, value, headers: Headers(&[]), timestamp: self.then + at };
            writer.send(&self.input, Some(*partition), record).expect("a record is taken");
        }
        writer.flush().expect("records are taken");
    }

    pub fn run(&self) {
        self.mill.run(&["run", ".", "--until-end"]).ok();
    }

    pub fn reset(&self) {
        self.mill.run(&["app", "reset", "."]).ok();
        self.run();
    }

    pub fn export(&self, store: &str) -> String {
        self.mill.run(&["store", "export", ".", store, "-"]).ok().stdout
    }

    /// Of what an export has: key, start behind [`Timed::then`], value.
    pub fn rows(&self, store: &str) -> Vec<String> {
        let rows = self.mill.run(&["store", "scan", ".", store, "-o", "jsonl"]).ok().jsonl();
        let shown = |row: &Value| {
            let start = row["start"].as_i64().map(|start| format!("@{}", start - self.then)).unwrap_or_default();
            format!("{}{start}={}", row["key"].as_str().expect("a key is text"), row["value"])
        };
        rows.iter().map(shown).collect()
    }

    /// Of what is answered: key, start and end in seconds behind [`Timed::then`], value.
    pub fn shown(&self, entries: &[Value]) -> Vec<String> {
        let time = |entry: &Value, name: &str| {
            entry[name].as_i64().map(|time| format!(" {}", (time - self.then) / 1_000)).unwrap_or_default()
        };
        let one = |entry: &Value| {
            let key = entry["key"].as_str().expect("a key is text");
            format!("{key}{}{}={}", time(entry, "start"), time(entry, "end"), entry["value"])
        };
        entries.iter().map(one).collect()
    }

    pub fn changelog(&self, store: &str) -> String {
        format!("{}-{store}-changelog", self.id)
    }

    /// Where it keeps what is on disk.
    pub fn state(&self) -> PathBuf {
        StateDirectory::path_of(&self.mill.dir().join("state"), &self.id)
    }

    /// Writes entries into a partition of a store on disk and not into its changelog, while nobody runs: it stands where
    /// it stood, every row has its checksum, and only a look into the changelog tells that something is wrong.
    pub fn tamper(&self, store: &str, partition: i32, entries: &[Entry<'_>]) {
        let manifest = Manifest::parse("id = \"timed\"", "app.toml").expect("it is a manifest");
        let description = serde_json::from_str(DESCRIPTION).expect("it is a description");
        let blueprint = Blueprint::new(manifest, &description).expect("they agree");
        let described = &blueprint.graph.stores;
        let has_it = |numbers: &[usize]| numbers.iter().any(|number| described[*number].name == store);
        let subtopology = blueprint.subtopologies.iter().find(|one| has_it(&one.stores)).expect("a task has the store");
        let source = blueprint.graph.nodes[subtopology.sources[0]].source_name();
        let names: Vec<&str> = subtopology.stores.iter().map(|number| described[*number].name.as_str()).collect();
        let directory = TaskDirectory::of(&self.state(), source, partition);
        let base = directory.open(&names, MAX_SIZE).expect("the state is whole");
        let slot = |(slot, number): (usize, &usize)| StoreSlot {
            number: *number as u32,
            name: described[*number].name.clone(),
            base: 0,
            slot,
            logged: true,
            kind: blueprint.kind(&described[*number]),
        };
        let slots = subtopology.stores.iter().enumerate().map(slot).collect();
        let mut stores = TaskStores::new(slots, vec![Box::new(base)], SizeLimits::default());
        let place = names.iter().position(|name| *name == store).expect("it is one of them");
        let position = stores.position(place).expect("it can be read").expect("it holds something").offset;
        let mut records = Records::default();
        for Entry { key, value, timestamp } in entries {
            let record = Record { key: Some(key), value: *value, headers: Headers(&[]), timestamp: *timestamp };
            records.push(position, record);
        }
        stores.restore(place, &records, position).expect("it takes entries");
        stores.end_restore(place).and_then(|()| stores.close()).expect("it takes entries");
    }

    pub fn import(&self, store: &str, lines: &[Value]) -> (Value, String) {
        self.write("lines.jsonl", lines);
        let output = self.mill.run(&["store", "import", ".", store, "lines.jsonl", "-o", "json"]).ok();
        (output.json(), output.stderr)
    }

    pub fn refused(&self, store: &str, lines: &[Value]) -> Value {
        self.write("lines.jsonl", lines);
        let import = ["store", "import", ".", store, "lines.jsonl", "--error-format", "json"];
        self.mill.run(&import).fails(FAILED).problem()
    }

    pub fn write(&self, name: &str, lines: &[Value]) {
        self.mill.write(name, &lines.iter().map(|line| format!("{line}\n")).collect::<String>());
    }
}
