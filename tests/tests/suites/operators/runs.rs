//! The runs that all cases look at: one on each log for each way to keep state.
//!
//! Each is interrupted: what has a timestamp below [`NOON`] is processed by a first run of the application, the rest by
//! a second one on the same state (in LMDB) or on state restored from the changelogs (in memory, and in a store provider
//! that keeps nothing). No case may tell.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use millstream::app::App;
use tests::application::{Application, Entries, Input, entries_of};
use tests::guest_log::guest_log;
use tests::logs::{Kind, Owned, THEN, embedded, eventually, kafka};
use tests::providers::file;

use super::{
    aggregations, branches, closing, codecs, grouping, joins, punctuations, routes, routing, stateless, stores, tables,
    timed, times, versions,
};

/// The store and the topic of the global table.
const GLOBAL: &str = "shops";

pub const GUEST: &str = "tests/guests/operators";

/// When the application is stopped and started again, in ms after [`THEN`].
pub const NOON: i64 = 50;

/// How often the guest's clock tocks before it is silent.
pub const TOCKS: usize = 5;

/// Every change of a store is in its changelog, in order, and stays there: to a broker these records are old.
const EVERY_WRITE: &str = "[changelog]\ncoalesce = false\n\
    topic_configs = { \"min.compaction.lag.ms\" = \"9223372036854775807\", \"retention.ms\" = \"-1\" }\n";

pub struct Run {
    /// Log, provider and guarantee, for messages.
    pub name: String,
    /// Whether every change is in the changelogs.
    pub logs_every_write: bool,
    /// Of sinks by their names and of repartition topics by what they are called in the middle: by partition.
    topics: BTreeMap<String, Vec<Vec<Owned>>>,
    changelogs: BTreeMap<String, Vec<Vec<Owned>>>,
    stores: BTreeMap<String, Entries>,
    /// Rows of the stores that go by time, as [`timed::rows`] shows them.
    pub timed: BTreeMap<String, Vec<String>>,
    /// Lines that `peek` has written.
    pub peeked: usize,
    /// And `print`.
    pub printed: usize,
    /// By store: the names of its codecs.
    pub codecs: BTreeMap<String, (String, String)>,
}

static RUNS: LazyLock<Vec<Run>> = LazyLock::new(|| {
    guest_log();
    let mut runs = Vec::new();
    for log in [Some(embedded()), kafka()].into_iter().flatten() {
        for (provider, guarantee, rest) in [
            ("memory", "exactly-once", EVERY_WRITE),
            ("lmdb", "exactly-once", ""),
            ("lmdb", "at-least-once", EVERY_WRITE),
            ("map", "exactly-once", EVERY_WRITE),
        ] {
            if provider == "map" && log.kind == Kind::Kafka {
                continue; // A provider knows nothing of the log, where all these topics take their time.
            }
            let manifest = format!(
                "guarantee = \"{guarantee}\"\ncommit_interval = \"50ms\"\npurge_interval = \"1h\"\n[state]\nprovider = \"{provider}\"\n{rest}{}",
                component(provider)
            );
            let topics = [("visits", 2), ("shops", 2), ("heavy", 3), ("dealt-out", 3)];
            let application = Application::new(&log, GUEST, &manifest, &topics);
            let name = format!("{:?} {provider} {guarantee}", log.kind);
            runs.push(run(&application, name, !rest.is_empty()));
        }
    }
    runs
});

/// What else the manifest says of a provider that is a component. It keeps no global table.
fn component(provider: &str) -> String {
    match provider {
        "memory" | "lmdb" => String::new(),
        name => {
            let component = file("plugins/map-store").expect("the provider builds");
            format!("[providers.{name}]\ncomponent = {component:?}\n[stores.{GLOBAL}]\nprovider = \"memory\"\n")
        }
    }
}

/// Holds a case against every run.
pub fn each_run(case: impl Fn(&Run)) {
    for run in RUNS.iter() {
        let _named = NamedOnPanic(&run.name);
        case(run);
    }
}

fn run(application: &Application, name: String, logs_every_write: bool) -> Run {
    let inputs = [
        stateless::inputs(),
        branches::inputs(),
        grouping::inputs(),
        aggregations::inputs(),
        tables::inputs(),
        joins::inputs(),
        routes::inputs(),
        routing::inputs(),
        stores::inputs(),
        punctuations::inputs(),
        codecs::inputs(),
        timed::inputs(),
        times::inputs(),
        closing::inputs(),
        versions::inputs(),
    ];
    let (before, after): (Vec<Input>, _) = inputs.concat().into_iter().partition(|i| i.timestamp < THEN + NOON);
    application.produce(&before);
    application.run_to_end();
    application.produce(&after);
    let (stores, timed, codecs) = application.run_to_end_and(|app| {
        eventually("the last tock", || (application.read("tocks").len() == TOCKS).then_some(()));
        let rang = || application.read("rung").iter().any(|rung| rung.key.as_deref() == Some(punctuations::ONCE));
        eventually("the alarm by the clock on the wall", || rang().then_some(()));
        look(application, app)
    });
    let sinks = application.loaded.application.manifest.sinks.keys();
    let repartitions = ["by-page", "spread"].map(|name| (name.to_owned(), application.repartition(name)));
    let topics = sinks.map(|sink| (sink.clone(), application.topic(sink))).chain(repartitions);
    let topics = read(application, topics);
    let logged = stores.keys().filter(|store| *store != GLOBAL);
    let changelogs = read(application, logged.map(|store| (store.clone(), application.changelog(store))));
    let peeked = guest_log().count(application.id(), "saw ");
    let printed = guest_log().count(application.id(), "[parcel]: ");
    Run { name, peeked, printed, logs_every_write, topics, changelogs, stores, timed, codecs }
}

type Looked = (BTreeMap<String, Entries>, BTreeMap<String, Vec<String>>, BTreeMap<String, (String, String)>);

fn look(application: &Application, app: &App) -> Looked {
    let infos = app.handle().stores();
    let (of_keys, by_time): (Vec<_>, Vec<_>) = infos.iter().partition(|info| info.kind == "key-value");
    let stores = of_keys.iter().map(|info| {
        let topic = if info.name == GLOBAL { application.topic(GLOBAL) } else { application.changelog(&info.name) };
        (info.name.clone(), entries_of(application, app, &info.name, &topic))
    });
    let stores = stores.collect();
    let timed = by_time.iter().map(|info| (info.name.clone(), timed::rows(app, &info.name))).collect();
    (stores, timed, infos.into_iter().map(|info| (info.name, (info.codecs.key, info.codecs.value))).collect())
}

/// Topics by what they shall be called here.
fn read(
    application: &Application,
    topics: impl Iterator<Item = (String, String)>,
) -> BTreeMap<String, Vec<Vec<Owned>>> {
    let (names, full): (Vec<String>, Vec<String>) = topics.unzip();
    let mut read = application.read_all(&full);
    let take = |(name, full): (String, String)| (name, read.remove(&full).expect("it was asked for"));
    names.into_iter().zip(full).map(take).collect()
}

impl Run {
    /// The records of a sink or a repartition topic, partition by partition.
    pub fn topic(&self, name: &str) -> Vec<&Owned> {
        self.partitions(name).iter().flatten().collect()
    }

    pub fn partitions(&self, name: &str) -> &[Vec<Owned>] {
        self.topics.get(name).unwrap_or_else(|| panic!("no topic {name}"))
    }

    pub fn changelog(&self, store: &str) -> Vec<&Owned> {
        self.changelogs[store].iter().flatten().collect()
    }

    pub fn store(&self, name: &str) -> &Entries {
        self.stores.get(name).unwrap_or_else(|| panic!("no store {name}"))
    }
}

struct NamedOnPanic<'a>(&'a str);

impl Drop for NamedOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed on: {}", self.0);
        }
    }
}
