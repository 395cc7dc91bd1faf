//! The application that is measured: `../guest` under a manifest of ours.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use millstream::app::{App, Application, Loaded, Options, build};
use millstream::log::{self, Error, Log, NewTopic};
use millstream::wasm::{Compiler, Engine};
use millstream_engine::config::{ByteSize, Guarantee, Manifest};

use crate::component::{self, Component};
use crate::meter::{Metered, Promise};

/// How long a topic that was deleted may still be in the way of one of the same name.
const DELETED_WITHIN: Duration = Duration::from_secs(30);

/// Who counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Counter {
    /// A processor in a WebAssembly component
    Plugin,
    /// The host's own operator
    Operator,
    /// The same processor as the plugin's, compiled into this process
    Native,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Store {
    Lmdb,
    Memory,
}

impl Store {
    /// As a manifest says it.
    pub fn provider(self) -> &'static str {
        match self {
            Store::Lmdb => "lmdb",
            Store::Memory => "memory",
        }
    }
}

/// What counting a topic takes.
#[derive(Clone, Debug, Args)]
pub struct Setup {
    /// kafka://HOST:PORT or embedded:DIR
    #[arg(long)]
    pub log: String,
    /// The topic to count; updates go to `TOPIC-out`, which is made anew
    #[arg(long)]
    pub topic: String,
    #[arg(long, value_enum, default_value = "exactly-once")]
    pub guarantee: Promise,
    #[arg(long, value_enum, default_value = "operator")]
    pub engine: Counter,
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    #[arg(long, value_enum, default_value = "lmdb")]
    pub store: Store,
    #[command(flatten)]
    pub component: Component,
    /// Instead of the guarantee's own, as 100ms
    #[arg(long)]
    pub commit_interval: Option<String>,
    /// A property of librdkafka's, as linger.ms=20; may be given more than once
    #[arg(long, value_name = "KEY=VALUE", value_parser = property)]
    pub kafka: Vec<(String, String)>,
    /// Default: one that is removed at the end
    #[arg(long)]
    pub state_dir: Option<PathBuf>,
    /// Default: one never used before. With an older one the count goes on where that ended
    #[arg(long)]
    pub id: Option<String>,
}

/// An application, loaded, and the log it is to run on.
pub struct Prepared {
    pub log: Arc<dyn Log>,
    pub loaded: Loaded,
    /// The end of each partition of the input.
    pub ends: BTreeMap<i32, i64>,
    pub records: u64,
    options: Options,
}

impl Setup {
    pub fn out_topic(&self) -> String {
        format!("{}-out", self.topic)
    }

    /// Builds the component and loads it; makes the topic of updates anew unless an older count goes on.
    pub fn prepare(&self, state_dir: &Path) -> Result<Prepared> {
        let options = log::Options { kafka: self.kafka.iter().cloned().collect(), base: None };
        let log = log::open(&self.log, &options)?;
        let ends = ends(&*log, &self.topic)?;
        if self.id.is_none() {
            remove_topics_of_earlier_runs(&*log, &self.id_prefix())?;
        }
        make_topic(&*log, &self.out_topic(), ends.len(), self.id.is_none())?;
        let mut loaded = load(self.manifest()?, &guest_dir())?;
        if self.engine == Counter::Native {
            let config = loaded.config.clone();
            let plugin = counting::plugin(&config).map_err(|why| anyhow!(why))?;
            loaded.native = Some(Arc::new(move |_| Box::new(plugin.clone())));
        }
        let records = ends.values().sum::<i64>().unsigned_abs();
        let options =
            Options { state_dir: Some(state_dir.to_owned()), threads: Some(self.threads), ..Options::default() };
        Ok(Prepared { log, loaded, ends, records, options })
    }

    fn manifest(&self) -> Result<Manifest> {
        let guarantee: Guarantee = self.guarantee.into();
        let mut text = format!("id = {:?}\nguarantee = \"{guarantee}\"\n", self.id());
        if let Some(interval) = &self.commit_interval {
            text += &format!("commit_interval = {interval:?}\n");
        }
        let component = self.component.section()?;
        let provider = if component.is_some() { component::NAME } else { self.store.provider() };
        text += &component.unwrap_or_default();
        text += &format!("[state]\nprovider = \"{provider}\"\nmax_size = \"4GiB\"\n");
        text += &format!("[config]\noperator = {}\n", self.engine == Counter::Operator);
        text +=
            &format!("[sources.records]\ntopic = {:?}\n[sinks.updates]\ntopic = {:?}\n", self.topic, self.out_topic());
        Manifest::parse(&text, "app.toml").map_err(|errors| anyhow!("{errors:?}"))
    }

    fn id(&self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.id.clone().unwrap_or_else(|| format!("{}{}", self.id_prefix(), now.as_millis()))
    }

    fn id_prefix(&self) -> String {
        format!("bench-{}-", self.topic)
    }
}

impl Prepared {
    pub fn start(&self, metered: &Arc<Metered>) -> Result<App> {
        App::start(&self.loaded, metered.clone(), &self.options).map_err(|problem| anyhow!("{problem}"))
    }

    pub fn metered(&self, topic: &str) -> Arc<Metered> {
        Arc::new(Metered::new(self.log.clone(), topic, self.ends.clone()))
    }
}

/// Builds the component in a directory and loads it.
pub fn load(manifest: Manifest, dir: &Path) -> Result<Loaded> {
    let engine = Engine::new(ByteSize::kib(512), Compiler::in_process()).map_err(|error| anyhow!("{error}"))?;
    let application = Application { manifest, dir: dir.to_owned() };
    let built = build::build(&engine, &application.manifest.limits, dir, None);
    let component = built.map_err(|problem| anyhow!("{problem}"))?.component;
    Loaded::with(application, component).map_err(|problem| anyhow!("{problem}"))
}

/// Changelogs and what applications sent themselves, whose ids are this prefix and a number.
pub fn remove_topics_of_earlier_runs(log: &dyn Log, id_prefix: &str) -> Result<()> {
    for topic in log.topics()? {
        let run = topic.strip_prefix(id_prefix).and_then(|rest| rest.split_once('-'));
        if run.is_some_and(|(run, _)| run.bytes().all(|byte| byte.is_ascii_digit())) {
            log.delete(&topic)?;
        }
    }
    Ok(())
}

/// The end of each partition of a topic that is there.
pub fn ends(log: &dyn Log, topic: &str) -> Result<BTreeMap<i32, i64>> {
    let found = log.describe(&[topic])?.pop().flatten();
    let partitions = found.with_context(|| format!("there is no topic {topic}: make it with `bench load`"))?.partitions;
    (0..partitions).map(|partition| Ok((partition, log.offsets(topic, partition)?.end))).collect()
}

/// Makes a topic that keeps records of any age. `anew`: what is there under its name goes first.
pub fn make_topic(log: &dyn Log, name: &str, partitions: usize, anew: bool) -> Result<()> {
    let there = log.describe(&[name])?.pop().flatten().is_some();
    if there && !anew {
        return Ok(());
    }
    if there {
        log.delete(name)?;
    }
    let configs = BTreeMap::from([("retention.ms".to_owned(), "-1".to_owned())]);
    let partitions = i32::try_from(partitions)?;
    let topic = NewTopic { name: name.to_owned(), partitions, replication_factor: None, configs };
    let start = std::time::Instant::now();
    loop {
        match log.create(&topic) {
            Err(Error::TopicExists(_)) if there && start.elapsed() < DELETED_WITHIN => {
                std::thread::sleep(Duration::from_millis(100));
            }
            Err(error) => bail!(error),
            Ok(()) => return Ok(()),
        }
    }
}

pub fn property(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("not KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn guest_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("guest")
}

/// A state directory: the one asked for, or one that goes with the guard.
pub fn state_dir(asked: Option<&PathBuf>) -> Result<(PathBuf, Option<tempfile::TempDir>)> {
    match asked {
        Some(dir) => Ok((dir.clone(), None)),
        None => {
            let dir = tempfile::tempdir()?;
            Ok((dir.path().to_owned(), Some(dir)))
        }
    }
}
