//! `nexmark`: one query of the Nexmark benchmark, by `plugins/nexmark`, over events that lie in the log.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow, ensure};
use clap::Args;
use millstream::app::{Loaded, Options};
use millstream::log::{self, Log};
use millstream_engine::config::{Guarantee, Manifest};
use millstream_engine::record::{Headers, Record};
use nexmark_feed::{Feed, TOPICS};

use crate::app::{self, Store, ends, make_topic, property};
use crate::meter::Promise;
use crate::to_end::until_end;

#[derive(Args)]
pub struct Nexmark {
    /// kafka://HOST:PORT or embedded:DIR
    #[arg(long)]
    log: String,
    /// q0, q1, q2, q3, q4, q5, q7, q8 or q11
    #[arg(long)]
    query: String,
    /// The topics PREFIX-persons, PREFIX-auctions and PREFIX-bids: made and fed where they are not there yet. Results go to
    /// PREFIX-QUERY-out, which is made anew
    #[arg(long, default_value = "nexmark", value_name = "PREFIX")]
    topic: String,
    /// Of all kinds together, when they are made
    #[arg(long, default_value_t = 1_000_000)]
    events: usize,
    #[arg(long, default_value_t = 8)]
    partitions: usize,
    /// Events in a second of their own time, when they are made
    #[arg(long, default_value_t = 10_000)]
    rate: usize,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[arg(long, value_enum, default_value = "exactly-once")]
    guarantee: Promise,
    #[arg(long, default_value_t = 1)]
    threads: usize,
    #[arg(long, value_enum, default_value = "lmdb")]
    store: Store,
    /// Instead of the guarantee's own, as 100ms
    #[arg(long)]
    commit_interval: Option<String>,
    /// A property of librdkafka's, as linger.ms=20; may be given more than once
    #[arg(long, value_name = "KEY=VALUE", value_parser = property)]
    kafka: Vec<(String, String)>,
    /// Default: one that is removed at the end
    #[arg(long)]
    state_dir: Option<PathBuf>,
}

impl Nexmark {
    /// Prints the line of `count`. `records` are those of the topics that the query reads; wall and CPU run from the first of
    /// them taken to the commit behind which neither they nor what the query sends itself are left to be read.
    pub fn run(self) -> Result<()> {
        let options = log::Options { kafka: self.kafka.iter().cloned().collect(), base: None };
        let log = log::open(&self.log, &options)?;
        // Refuses a query that is not there.
        let loaded = self.load()?;
        self.feed(&*log)?;
        app::remove_topics_of_earlier_runs(&*log, &self.id_prefix())?;
        make_topic(&*log, &self.out_topic(), self.partitions, true)?;
        let mut records = 0;
        for kind in self.reads() {
            records += ends(&*log, &self.topic_of(kind))?.values().sum::<i64>().unsigned_abs();
        }
        ensure!(records > 0, "the topics {}-… are empty", self.topic);

        let (state_dir, _guard) = app::state_dir(self.state_dir.as_ref())?;
        let options = Options { state_dir: Some(state_dir), threads: Some(self.threads), ..Options::default() };
        let line = until_end(&loaded, log, &options, records)?;
        println!("{}", serde_json::to_string(&line)?);
        Ok(())
    }

    /// What the query reads; one that is not there is refused by the plugin.
    fn reads(&self) -> &'static [&'static str] {
        match self.query.as_str() {
            "q3" | "q8" => &["persons", "auctions"],
            "q4" => &["auctions", "bids"],
            _ => &["bids"],
        }
    }

    fn topic_of(&self, kind: &str) -> String {
        format!("{}-{kind}", self.topic)
    }

    fn out_topic(&self) -> String {
        format!("{}-{}-out", self.topic, self.query)
    }

    /// Makes the topics and their events, unless they are there.
    fn feed(&self, log: &dyn Log) -> Result<()> {
        let names = TOPICS.map(|kind| self.topic_of(kind));
        let there = log.describe(&names.each_ref().map(String::as_str))?;
        if there.iter().all(Option::is_some) {
            return Ok(());
        }
        ensure!(
            there.iter().all(Option::is_none),
            "of the topics {} some are there and some are not",
            names.join(", ")
        );
        for name in &names {
            make_topic(log, name, self.partitions, false)?;
        }
        let mut writer = log.writer()?;
        for event in (Feed { seed: self.seed, rate: self.rate, disorder: 1 }).events().take(self.events) {
            let (key, value) = (Some(&event.key[..]), Some(event.value.as_bytes()));
            let record = Record { key, value, headers: Headers(b""), timestamp: event.timestamp };
            writer.send(&self.topic_of(event.topic), None, record)?;
        }
        Ok(writer.flush()?)
    }

    fn id_prefix(&self) -> String {
        format!("bench-{}-{}-", self.topic, self.query)
    }

    fn load(&self) -> Result<Loaded> {
        app::load(self.manifest()?, &Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/nexmark"))
    }

    fn manifest(&self) -> Result<Manifest> {
        let guarantee: Guarantee = self.guarantee.into();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let mut text = format!("id = \"{}{now}\"\nguarantee = \"{guarantee}\"\n", self.id_prefix());
        if let Some(interval) = &self.commit_interval {
            text += &format!("commit_interval = {interval:?}\n");
        }
        text += &format!("[state]\nprovider = \"{}\"\nmax_size = \"4GiB\"\n", self.store.provider());
        // The events' time is not the clock's: a broker would take what windows keep for outdated.
        text += "[changelog]\ntopic_configs = { \"retention.ms\" = \"-1\" }\n";
        text += &format!("[config]\nqueries = [{:?}]\n", self.query);
        for kind in self.reads() {
            text += &format!("[sources.{kind}]\ntopic = {:?}\n", self.topic_of(kind));
        }
        text += &format!("[sinks.{}]\ntopic = {:?}\n", self.query, self.out_topic());
        Manifest::parse(&text, "app.toml").map_err(|errors| anyhow!("{errors:?}"))
    }
}
