//! The top of the manifest.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use toml::de::DeValue;

use super::dev::Dev;
use super::error::ConfigError;
use super::kafka::Kafka;
use super::limits::{LMDB_KEY_BYTES_MAX, Limits};
use super::names::{distinct_topics, no_dead_letter_loop};
use super::policy::{OnError, Retry};
use super::provider::{StoreProvider, read_providers};
use super::section::{self, Section};
use super::source::{Sink, Source};
use super::store::{Provider, State, Store};
use super::task::Idle;
use super::topic_name::check_application_id;
use super::topics::{Changelog, InternalTopics, StoreChangelog};
use super::value::{Positive, Value, Wrong, text};

/// An application as its operator describes it. Paths are relative to the manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// Where it was read, as the user named it.
    pub file: String,
    /// Group id, prefix of internal topics and of transactional ids.
    pub id: String,
    /// A component, or a directory with a plugin project. Default: the manifest's own directory.
    pub component: String,
    /// The log's URL. Default: `embedded:.millstream/log` beside the manifest.
    pub log: Option<String>,
    /// Default exactly-once.
    pub guarantee: Guarantee,
    /// Time between commits. Default 100 ms under exactly-once, 1 s under at-least-once.
    pub commit_interval: Duration,
    /// Time between two deletions of what repartition topics hold below the committed offsets: Kafka Streams'
    /// `repartition.purge.interval.ms`. Default 30 s.
    pub purge_interval: Duration,
    /// Stream threads. Default 1.
    pub threads: NonZeroU32,
    /// For all sources, repartition records and punctuations. Default fail.
    pub on_error: OnError,
    pub retry: Retry,
    /// Default `.millstream/state`.
    pub state_dir: String,
    /// `[config]`: handed to the component's `describe`.
    pub config: serde_json::Map<String, serde_json::Value>,
    pub kafka: Kafka,
    pub task: Idle,
    pub state: State,
    /// `[providers.NAME]`: components that keep stores.
    pub providers: BTreeMap<String, StoreProvider>,
    pub changelog: Changelog,
    pub repartition: InternalTopics,
    pub stores: BTreeMap<String, Store>,
    pub sources: BTreeMap<String, Source>,
    pub sinks: BTreeMap<String, Sink>,
    pub limits: Limits,
    pub dev: Dev,
}

/// What a crash may do to results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Guarantee {
    #[default]
    ExactlyOnce,
    AtLeastOnce,
}

/// Under exactly-once, readers see nothing before the commit, so the interval is the delay.
const COMMIT_INTERVAL_EXACTLY_ONCE: Duration = Duration::from_millis(100);

/// Under at-least-once, outputs do not wait for it; it bounds what a crash repeats.
const COMMIT_INTERVAL_AT_LEAST_ONCE: Duration = Duration::from_secs(1);

/// Kafka Streams' default: a request for all partitions, and what lies in the log meanwhile.
const PURGE_INTERVAL: Duration = Duration::from_secs(30);

/// More threads than a machine has cores only take turns.
const THREADS_MAX: u32 = 1024;

impl Manifest {
    /// Reads a manifest. `file` is what errors call it.
    pub fn parse(text: &str, file: &str) -> Result<Manifest, Vec<ConfigError>> {
        let (manifest, errors) = Manifest::draft(text, file);
        manifest.filter(|_| errors.is_empty()).ok_or(errors)
    }

    /// The same, and what could be read of a bad one: defaults stand where something is wrong. `None`: it is not TOML.
    pub fn draft(text: &str, file: &str) -> (Option<Manifest>, Vec<ConfigError>) {
        let source = section::Source::new(file, text);
        let table = source.parse();
        let manifest = table.as_ref().map(|table| Manifest::read(Section::root(&source, table), file));
        (manifest, source.into_errors())
    }

    /// The manifest of a component that has none. `file` is what errors about the id call the component.
    pub fn default_for(id: &str, file: &str) -> Result<Manifest, Vec<ConfigError>> {
        Manifest::parse(&format!("id = {}", serde_json::Value::from(id)), file)
    }

    fn read(mut root: Section<'_>, file: &str) -> Manifest {
        let guarantee = root.or("guarantee", Guarantee::default());
        let retry = root.section("retry").map_or_else(Retry::default, |section| Retry::read(section, Retry::default()));
        let providers = read_providers(&mut root);
        let components: Vec<String> = providers.keys().cloned().collect();
        let manifest = Manifest {
            file: file.to_owned(),
            id: read_id(&mut root).unwrap_or_default(),
            component: root.or("component", ".".to_owned()),
            log: root.get("log").map(|LogUrl(url)| url),
            guarantee,
            commit_interval: root.get("commit_interval").map_or(guarantee.commit_interval(), |Positive(time)| time),
            purge_interval: root.get("purge_interval").map_or(PURGE_INTERVAL, |Positive(time)| time),
            threads: read_threads(&mut root),
            on_error: root.or("on_error", OnError::default()),
            retry,
            state_dir: root.or("state_dir", ".millstream/state".to_owned()),
            config: root.map("config").into_iter().collect(),
            kafka: Kafka::read(&mut root, guarantee),
            task: root.section("task").map_or_else(Idle::default, Idle::read),
            state: root.section("state").map_or_else(State::default, |section| State::read(section, &components)),
            providers,
            changelog: root.section("changelog").map_or_else(Changelog::default, Changelog::read),
            repartition: root
                .section("repartition")
                .map_or_else(InternalTopics::default, InternalTopics::read_repartition),
            stores: named(&mut root, "stores", |section| Store::read(section, &components)),
            sources: named(&mut root, "sources", |section| Source::read(section, retry)),
            sinks: named(&mut root, "sinks", Sink::read),
            limits: root.section("limits").map_or_else(Limits::default, Limits::read),
            dev: root.section("dev").map_or_else(Dev::default, Dev::read),
        };
        manifest.check_key_bytes(&root);
        manifest.check_topics(&root);
        manifest
    }

    /// What keeps a store: the manifest's word for it, else the component's, else `[state]`, else memory.
    pub fn provider_of(&self, store: &str, declared: Option<Provider>) -> Provider {
        let own = self.stores.get(store).and_then(|store| store.provider.clone());
        own.or(declared).or_else(|| self.state.provider.clone()).unwrap_or_default()
    }

    /// The provider of this name: the host's own, or one of `[providers]`.
    pub fn provider_named(&self, name: &str) -> Option<Provider> {
        let component = || self.providers.contains_key(name).then(|| Provider::Component(name.to_owned()));
        Provider::named(name).or_else(component)
    }

    /// The size of a task directory that holds these stores in LMDB.
    pub fn state_bytes_max<'a>(&self, stores: impl IntoIterator<Item = &'a str>) -> ByteSize {
        let own = |store: &str| self.stores.get(store)?.max_size;
        stores.into_iter().map(|store| own(store).unwrap_or(self.state.max_size)).max().unwrap_or(self.state.max_size)
    }

    /// The policy of a source by its name.
    pub fn on_error_of(&self, source: &str) -> &OnError {
        self.sources.get(source).and_then(|source| source.on_error.as_ref()).unwrap_or(&self.on_error)
    }

    /// A store in LMDB bounds the keys of all, for they are equal on every provider. (What the component chooses is
    /// checked when it is known.)
    fn check_key_bytes(&self, root: &Section<'_>) {
        let on_disk = self.state.provider == Some(Provider::Lmdb)
            || self.stores.values().any(|store| store.provider == Some(Provider::Lmdb));
        if on_disk && self.limits.key_bytes.0 > LMDB_KEY_BYTES_MAX {
            let message = format!(
                "is {} bytes, and a store in LMDB takes keys of up to {LMDB_KEY_BYTES_MAX}",
                self.limits.key_bytes.0
            );
            root.refuse_at(&["limits", "key_bytes"], message);
        }
    }

    fn check_topics(&self, root: &Section<'_>) {
        let sources = self.sources.iter().filter_map(|(name, source)| Some((name.as_str(), source.topic.as_deref()?)));
        for (name, message) in distinct_topics(sources) {
            root.refuse_at(&["sources", name, "topic"], message);
        }
        for (name, source) in &self.sources {
            let (topic, on_error) = (source.topic.as_deref().unwrap_or(name), self.on_error_of(name));
            if let Some(message) = no_dead_letter_loop(topic, on_error) {
                root.refuse_at(&["sources", name, "on_error"], message);
            }
        }
        let topics = self.stores.iter().filter_map(|(name, store)| match store.changelog.as_ref()? {
            StoreChangelog::On(changelog) => Some((name.as_str(), changelog.topic.as_deref()?)),
            StoreChangelog::Off => None,
        });
        for (name, message) in distinct_topics(topics) {
            root.refuse_at(&["stores", name, "changelog"], message);
        }
    }
}

impl Guarantee {
    fn commit_interval(self) -> Duration {
        match self {
            Guarantee::ExactlyOnce => COMMIT_INTERVAL_EXACTLY_ONCE,
            Guarantee::AtLeastOnce => COMMIT_INTERVAL_AT_LEAST_ONCE,
        }
    }
}

impl FromStr for Guarantee {
    type Err = Wrong;

    fn from_str(word: &str) -> Result<Guarantee, Wrong> {
        match word {
            "exactly-once" => Ok(Guarantee::ExactlyOnce),
            "at-least-once" => Ok(Guarantee::AtLeastOnce),
            _ => Err(Wrong::unknown(word, ["exactly-once", "at-least-once"])),
        }
    }
}

impl std::fmt::Display for Guarantee {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Guarantee::ExactlyOnce => "exactly-once",
            Guarantee::AtLeastOnce => "at-least-once",
        })
    }
}

impl Value for Guarantee {
    fn read(value: &DeValue<'_>) -> Result<Guarantee, Wrong> {
        text(value, "\"exactly-once\" or \"at-least-once\"")
    }
}

/// A log's URL, as far as the engine knows: which kind of log.
struct LogUrl(String);

impl Value for LogUrl {
    fn read(value: &DeValue<'_>) -> Result<LogUrl, Wrong> {
        let url = String::read(value)?;
        let known =
            ["embedded:", "kafka://"].iter().any(|kind| url.strip_prefix(kind).is_some_and(|rest| !rest.is_empty()));
        match known {
            true => Ok(LogUrl(url)),
            false => Err(Wrong::unknown(&url, ["embedded:DIR", "kafka://HOST:PORT"])),
        }
    }
}

fn read_id(root: &mut Section<'_>) -> Option<String> {
    let id: String = root.required("id", "it names the consumer group and begins the names of internal topics")?;
    if let Err(why) = check_application_id(&id) {
        root.refuse("id", why);
    }
    Some(id)
}

fn read_threads(root: &mut Section<'_>) -> NonZeroU32 {
    let threads = root.or("threads", ONE_THREAD);
    if threads.get() > THREADS_MAX {
        root.refuse("threads", format!("is {threads}, and may be 1 to {THREADS_MAX}"));
    }
    threads
}

const ONE_THREAD: NonZeroU32 = NonZeroU32::new(1).expect("1 is not 0");

fn named<T>(root: &mut Section<'_>, key: &'static str, read: impl Fn(Section<'_>) -> T) -> BTreeMap<String, T> {
    root.named_sections(key).into_iter().map(|(name, section)| (name, read(section))).collect()
}
