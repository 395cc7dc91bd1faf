//! Applications of guests, run in process and again and again on the same state.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Instant;

use millstream::app::{App, Application as Described, Loaded, Options};
use millstream::desk::query::{Keys, Range};
use millstream::log::{Fetched, Isolation};
use millstream::wasm::{Compiler, Component, Engine};
use millstream_engine::config::{Limits, Manifest, OnError, Sink, Source, Start};
use millstream_engine::error::Problem;
use millstream_engine::record::{Headers, Record};
use millstream_engine::topology::Description;

use crate::guests;
use crate::logs::{
    DEADLINE, Owned, STEP, THEN, TestLog, compacted_topic, eventually, headers, new_topic, owned, unique,
};

pub static ENGINE: LazyLock<Engine> =
    LazyLock::new(|| Engine::new(Limits::default().stack, Compiler::in_process()).expect("the engine starts"));

/// A guest under a manifest on a log. Tests share a broker, so every topic that guest and manifest name, and the
/// application itself, exist under names of this value's own; tests speak of them by the short ones.
pub struct Application<'a> {
    pub log: &'a TestLog,
    pub loaded: Loaded,
    guest: String,
    suffix: String,
    /// By short name.
    partitions: BTreeMap<String, i32>,
    state: tempfile::TempDir,
}

/// What a test puts into a topic.
#[derive(Clone, Debug)]
pub struct Input {
    pub topic: &'static str,
    pub partition: i32,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub timestamp: i64,
    pub headers: Vec<(&'static str, Option<&'static [u8]>)>,
}

impl Input {
    /// Without key, value and headers, in partition 0. `at_ms` counts from [`THEN`].
    pub fn at(at_ms: i64, topic: &'static str) -> Input {
        Input { topic, partition: 0, key: None, value: None, timestamp: THEN + at_ms, headers: Vec::new() }
    }

    pub fn key(self, key: impl AsRef<[u8]>) -> Input {
        Input { key: Some(key.as_ref().to_vec()), ..self }
    }

    pub fn value(self, value: impl AsRef<[u8]>) -> Input {
        Input { value: Some(value.as_ref().to_vec()), ..self }
    }

    pub fn partition(self, partition: i32) -> Input {
        Input { partition, ..self }
    }

    pub fn header(mut self, name: &'static str, value: Option<&'static [u8]>) -> Input {
        self.headers.push((name, value));
        self
    }
}

impl<'a> Application<'a> {
    /// `guest` is the directory of a plugin, `manifest` what its `app.toml` says beside the id. Sources, sinks and
    /// dead-letter topics are made with as many partitions as `partitions` says, or with one.
    pub fn new(log: &'a TestLog, guest: &str, manifest: &str, partitions: &[(&str, i32)]) -> Application<'a> {
        let suffix = unique("test");
        let state = tempfile::tempdir().expect("a temporary directory can be made");
        let loaded = load(guest, manifest, &suffix, state.path().to_owned()).expect("guest and manifest agree");
        let partitions = partitions.iter().map(|(topic, count)| ((*topic).to_owned(), *count)).collect();
        let mut application = Application { log, loaded, guest: guest.to_owned(), suffix, partitions, state };
        application.create_topics();
        application
    }

    /// The same application under another manifest.
    pub fn reconfigure(&mut self, manifest: &str) {
        let state = self.state.path().to_owned();
        self.loaded = load(&self.guest, manifest, &self.suffix, state).expect("guest and manifest agree");
        self.create_topics();
    }

    /// Makes the topics from outside that are not there yet.
    fn create_topics(&mut self) {
        let names = self.loaded.blueprint.topic_names();
        for name in names {
            let Some(short) = name.strip_suffix(&format!("-{}", self.suffix)).map(str::to_owned) else { continue };
            let partitions = self.partitions.get(&short).copied().unwrap_or(1);
            self.partitions.insert(short, partitions);
            if let [None] = self.log.log.describe(&[&name]).expect("the log answers")[..] {
                let stores = &self.loaded.blueprint.graph.stores;
                let is_changelog = stores.iter().any(|s| self.loaded.blueprint.logged_topic(s).as_ref() == Some(&name));
                let topic = if is_changelog { compacted_topic } else { new_topic };
                self.log.log.create(&topic(&name, partitions)).expect("a topic can be created");
            }
        }
    }

    pub fn id(&self) -> &str {
        &self.loaded.application.manifest.id
    }

    /// Its state directory.
    pub fn state(&self) -> &Path {
        self.state.path()
    }

    /// Leaves nothing of its state on this machine: the next start restores all of it.
    pub fn forget_state(&self) {
        for entry in std::fs::read_dir(self.state()).expect("the state directory is there") {
            let path = entry.expect("it can be listed").path();
            let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            removed.expect("what the application made can be removed");
        }
    }

    /// The full name of a topic.
    pub fn topic(&self, short: &str) -> String {
        format!("{short}-{}", self.suffix)
    }

    pub fn changelog(&self, store: &str) -> String {
        format!("{}-{store}-changelog", self.id())
    }

    pub fn repartition(&self, name: &str) -> String {
        format!("{}-{name}-repartition", self.id())
    }

    // === running ===

    pub fn try_start(&self) -> Result<App, Problem> {
        App::start(&self.loaded, self.log.log.clone(), &Options::default())
    }

    pub fn start(&self) -> App {
        self.try_start().expect("the application starts")
    }

    /// Until all that there was is processed and committed.
    pub fn run_to_end(&self) {
        self.run_to_end_and(|_| ());
    }

    /// The same, with a look at the application before it stops.
    pub fn run_to_end_and<T>(&self, look: impl FnOnce(&App) -> T) -> T {
        let app = self.start();
        eventually("the end", || (app.has_ended() || app.is_at_end().expect("the log answers")).then_some(()));
        let looked = if app.has_ended() { None } else { Some(look(&app)) };
        app.stop(false).expect("it stops well");
        looked.expect("it did not end by itself")
    }

    /// Until it ends by itself: why.
    pub fn run_to_failure(&self) -> Problem {
        let app = self.start();
        eventually("its failure", || app.has_ended().then_some(()));
        app.stop(false).expect_err("it ended by itself")
    }

    // === records ===

    pub fn produce<'i>(&self, inputs: impl IntoIterator<Item = &'i Input>) {
        let mut writer = self.log.log.writer().expect("a writer opens");
        for input in inputs {
            let bytes = headers(&input.headers);
            let (key, value) = (input.key.as_deref(), input.value.as_deref());
            let record = Record { key, value, headers: Headers(&bytes), timestamp: input.timestamp };
            writer.send(&self.topic(input.topic), Some(input.partition), record).expect("a record can be sent");
        }
        writer.flush().expect("sent records are acknowledged");
    }

    /// All committed records of a topic, partition by partition.
    pub fn read(&self, short: &str) -> Vec<Owned> {
        self.read_full(&self.topic(short)).into_iter().flatten().collect()
    }

    /// The committed records of a topic by its full name, by partition.
    pub fn read_full(&self, topic: &str) -> Vec<Vec<Owned>> {
        self.read_all(&[topic.to_owned()]).remove(topic).expect("it was asked for")
    }

    /// The committed records of many topics by their full names, with one reader.
    pub fn read_all(&self, topics: &[String]) -> BTreeMap<String, Vec<Vec<Owned>>> {
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        let described = self.log.log.describe(&names).expect("the log answers");
        let counts = described.iter().map(|topic| topic.as_ref().expect("the topic exists").partitions as usize);
        let mut read: BTreeMap<String, Vec<Vec<Owned>>> =
            topics.iter().cloned().zip(counts.map(|count| vec![Vec::new(); count])).collect();
        let mut waiting: BTreeMap<(String, i32), i64> = BTreeMap::new();
        for (topic, partitions) in &read {
            for partition in 0..partitions.len() as i32 {
                let end = self.log.log.offsets(topic, partition).expect("a topic has offsets").end;
                waiting.insert((topic.clone(), partition), end);
            }
        }
        let mut reader = self.log.log.reader(Isolation::Committed).expect("a reader opens");
        let all: Vec<_> = waiting.keys().map(|(topic, partition)| (topic.clone(), *partition, 0)).collect();
        reader.assign(&all).expect("topics can be read");
        let begun = Instant::now();
        while !waiting.is_empty() {
            assert!(begun.elapsed() < DEADLINE, "no end of {waiting:?}");
            let mut fetched = Vec::new();
            // A broker of a busy machine may be away for a moment.
            match reader.poll(STEP, &mut fetched) {
                Err(error) if error.may_pass() => {}
                polled => polled.expect("a reader polls"),
            }
            for one in fetched {
                match one {
                    Fetched::Records { topic, partition, records } => {
                        let partitions = read.get_mut(&topic).expect("only what was asked for comes");
                        partitions[partition as usize].extend(owned(&records));
                    }
                    Fetched::End { topic, partition, offset } => {
                        if waiting.get(&(topic.clone(), partition)).is_some_and(|end| offset >= *end) {
                            waiting.remove(&(topic, partition));
                        }
                    }
                    Fetched::Truncated { topic, offset, .. } => panic!("{topic} does not have offset {offset}"),
                }
            }
        }
        read
    }
}

/// A store's committed entries with their timestamps, of all tasks, as soon as they are what its changelog adds up to.
pub fn entries(application: &Application, app: &App, store: &str) -> Entries {
    entries_of(application, app, store, &application.changelog(store))
}

/// The same of a store with another changelog, by its full name.
pub fn entries_of(application: &Application, app: &App, store: &str, changelog: &str) -> Entries {
    let begun = Instant::now();
    loop {
        let (folded, found) = (fold(&application.read_full(changelog)), query(app, store));
        if found == folded {
            return found;
        }
        assert!(begun.elapsed() < DEADLINE, "store {store}: {found:?}; its changelog: {folded:?}");
    }
}

/// By key: value and timestamp.
pub type Entries = BTreeMap<Vec<u8>, (Vec<u8>, i64)>;

/// What the records of a changelog add up to.
pub fn fold(partitions: &[Vec<Owned>]) -> Entries {
    let mut entries = Entries::new();
    for record in partitions.iter().flatten() {
        let key = record.key.clone().expect("a changelog's record has a key");
        match &record.value {
            Some(value) => entries.insert(key, (value.clone(), record.timestamp)),
            None => entries.remove(&key),
        };
    }
    entries
}

fn query(app: &App, store: &str) -> Entries {
    let all = Keys::Range(Range { limit: usize::MAX, ..Range::default() });
    let page = eventually("an answer", || app.handle().query(store, all.clone(), DEADLINE).ok());
    assert!(page.next.is_none(), "more entries in {store} than one page holds");
    page.rows.into_iter().map(|row| (row.key, (row.value, row.timestamp))).collect()
}

// === loading ===

fn load(guest: &str, manifest: &str, suffix: &str, state: PathBuf) -> Result<Loaded, Problem> {
    let name = guest.rsplit('/').next().unwrap_or(guest);
    let text = format!("id = \"{name}-{suffix}\"\n{manifest}");
    let mut manifest = Manifest::parse(&text, "app.toml").expect("the test's manifest is good");
    manifest.state_dir = state.display().to_string();
    let component = component(guest, &manifest.limits);
    let config = serde_json::Value::Object(manifest.config.clone()).to_string();
    let description = component.describe(&manifest.id, &config).expect("a guest describes itself");
    use_own_topics(&mut manifest, &description, suffix);
    Loaded::with(Described { manifest, dir: ".".into() }, component)
}

/// Points every source, sink and dead-letter policy to a topic of its name and this suffix.
fn use_own_topics(manifest: &mut Manifest, description: &Description, suffix: &str) {
    let own = |name: &str| Some(format!("{name}-{suffix}"));
    for node in &description.nodes {
        if matches!(node.op.as_str(), "source" | "table-source" | "global-table-source") {
            let none = Source { line: 0, topic: None, start: Start::default(), on_error: None, retry: None };
            manifest.sources.entry(node.name.clone()).or_insert(none).topic = own(&node.name);
        }
        let own_name = (node.op == "sink" && node.topics.is_empty()).then_some(&node.name);
        for name in node.topics.iter().chain(own_name) {
            manifest.sinks.entry(name.clone()).or_insert(Sink { line: 0, topic: None, cycle: false }).topic = own(name);
        }
    }
    let policies = manifest.sources.values_mut().filter_map(|source| source.on_error.as_mut());
    for policy in policies.chain([&mut manifest.on_error]) {
        if let OnError::DeadLetter(topic) = policy {
            *topic = format!("{topic}-{suffix}");
        }
    }
}

/// The component of a guest, built and compiled once.
fn component(guest: &str, limits: &Limits) -> Component {
    static COMPILED: Mutex<Vec<(String, Limits, Component)>> = Mutex::new(Vec::new());
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, _, known)) = compiled.iter().find(|(of, under, _)| of == guest && under == limits) {
        return known.clone();
    }
    let file = match guest {
        "tests/guests/js-orders" => guests::js_orders(&ENGINE),
        _ => guests::plugin(&ENGINE, guest),
    };
    let file = file.expect("the guest builds");
    let bytes = std::fs::read(file).expect("what was built is there");
    let component = Component::load(&ENGINE, &bytes, *limits).expect("a plugin is a component");
    compiled.push((guest.to_owned(), *limits, component.clone()));
    component
}
