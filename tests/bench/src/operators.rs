//! `operators`: one operator over topics that lie in the log, by `../operators`.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow, ensure};
use clap::Args;
use millstream::app::Options;
use millstream::log;
use millstream_engine::config::{Guarantee, Manifest};

use crate::app::{self, Store, ends, make_topic, property};
use crate::meter::Promise;
use crate::to_end::until_end;

#[derive(Args)]
pub struct Operators {
    /// kafka://HOST:PORT or embedded:DIR
    #[arg(long)]
    log: String,
    /// One of those in `../operators`, as tumbling
    #[arg(long)]
    case: String,
    /// The stream, or the left side of a join. Results go to `CASE-out`, which is made anew
    #[arg(long)]
    left: String,
    /// The right side of a join
    #[arg(long)]
    right: Option<String>,
    #[arg(long, value_enum, default_value = "at-least-once")]
    guarantee: Promise,
    #[arg(long, default_value_t = 1)]
    threads: usize,
    #[arg(long, value_enum, default_value = "lmdb")]
    store: Store,
    /// A property of librdkafka's, as linger.ms=20; may be given more than once
    #[arg(long, value_name = "KEY=VALUE", value_parser = property)]
    kafka: Vec<(String, String)>,
    /// Default: one that is removed at the end
    #[arg(long)]
    state_dir: Option<PathBuf>,
}

impl Operators {
    /// Prints the line of `count`. `records` are those of the inputs; not those of a global table, which is there before
    /// the first of them.
    pub fn run(self) -> Result<()> {
        let options = log::Options { kafka: self.kafka.iter().cloned().collect(), base: None };
        let log = log::open(&self.log, &options)?;
        app::remove_topics_of_earlier_runs(&*log, &self.id_prefix())?;
        let left = ends(&*log, &self.left)?;
        make_topic(&*log, &self.out_topic(), left.len(), true)?;
        let mut records = left.values().sum::<i64>();
        if let Some(right) = self.right.as_ref().filter(|_| !self.case.starts_with("stream-global")) {
            records += ends(&*log, right)?.values().sum::<i64>();
        }
        ensure!(records > 0, "the topics are empty");

        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("operators");
        let loaded = app::load(self.manifest()?, &dir)?;
        let (state_dir, _guard) = app::state_dir(self.state_dir.as_ref())?;
        let options = Options { state_dir: Some(state_dir), threads: Some(self.threads), ..Options::default() };
        let line = until_end(&loaded, log, &options, records.unsigned_abs())?;
        println!("{}", serde_json::to_string(&line)?);
        Ok(())
    }

    fn out_topic(&self) -> String {
        format!("{}-out", self.case)
    }

    fn id_prefix(&self) -> String {
        format!("bench-operators-{}-", self.case)
    }

    fn manifest(&self) -> Result<Manifest> {
        let guarantee: Guarantee = self.guarantee.into();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let mut text = format!("id = \"{}{now}\"\nguarantee = \"{guarantee}\"\n", self.id_prefix());
        text += &format!("[state]\nprovider = \"{}\"\nmax_size = \"4GiB\"\n", self.store.provider());
        // The records' time is not the clock's: a broker would take what windows keep for outdated.
        text += "[changelog]\ntopic_configs = { \"retention.ms\" = \"-1\" }\n";
        text += &format!("[config]\ncase = {:?}\n[sources.left]\ntopic = {:?}\n", self.case, self.left);
        if let Some(right) = &self.right {
            text += &format!("[sources.right]\ntopic = {right:?}\n");
        }
        text += &format!("[sinks.out]\ntopic = {:?}\n", self.out_topic());
        Manifest::parse(&text, "app.toml").map_err(|errors| anyhow!("{errors:?}"))
    }
}
