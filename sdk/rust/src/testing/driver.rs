//! The test driver.

use std::sync::Arc;
use std::time::Duration;

use millstream_engine::config::{Manifest, bad_manifest};
use millstream_engine::driver::{self, Parts};
use millstream_engine::functions::Functions;
use millstream_engine::record::{self, TopicId, TopicPartition};
use millstream_engine::store::SizeLimits;
use millstream_engine::task::Settings;
use millstream_engine::topology::{Blueprint, Description};

use super::Error;
use crate::codec::{self, Data};
use crate::host::Plugin;
use crate::program::Define;
use crate::record::{Headers, Record};

/// A manifest that says nothing but who it is.
const MANIFEST: &str = "id = \"test\"";

/// Topics from outside have one partition.
const PARTITIONS: i32 = 1;

/// An application in a test, with one partition of each of its topics. Whatever is piped in is processed to its end
/// and committed before the call returns. The clock on the wall stands still but for [`Driver::advance_wall_clock`]
/// and the waits between retries; it begins at 0.
pub struct Driver {
    pub(super) inner: driver::Driver,
}

impl Driver {
    /// Runs what [`crate::plugin!`] would make a component of.
    pub fn new<Args: 'static>(topology: impl Define<Args> + Send + Sync + 'static) -> Result<Driver, Error> {
        Driver::with_manifest(topology, MANIFEST)
    }

    /// The same under a manifest, TOML as in `app.toml`: `[config]`, `on_error`, `[stores]`…
    pub fn with_manifest<Args: 'static>(
        topology: impl Define<Args> + Send + Sync + 'static,
        manifest: &str,
    ) -> Result<Driver, Error> {
        let parsed = parse(manifest)?;
        let config = serde_json::Value::Object(parsed.config.clone()).to_string();
        let plugin = Plugin::new(topology, &config).map_err(Error)?;
        let description = plugin.description().to_owned();
        Driver::over(&description, manifest, &|| Box::new(plugin.clone()))
    }

    /// Runs user code of any kind under a manifest: what describes itself like this, one instance for each task.
    pub fn over(description: &str, manifest: &str, start: &dyn Fn() -> Box<dyn Functions>) -> Result<Driver, Error> {
        let description: Description = serde_json::from_str(description).map_err(Error::new)?;
        let blueprint = Blueprint::new(parse(manifest)?, &description).map_err(Error::new)?;
        let plan = driver::plan(&blueprint, PARTITIONS).map_err(Error::new)?;
        let parts = Parts {
            // Every write is logged, so that what a test sees does not depend on when an interval is cut.
            settings: Settings { coalesce: false, ..Settings::default() },
            stores: &|plan, subtopology, _| Ok(driver::memory_stores(plan, subtopology, SizeLimits::default())),
            globals: &|plan| driver::memory_globals(plan, SizeLimits::default()),
            functions: &|_| start(),
        };
        let inner = driver::Driver::open(Arc::new(plan), &parts).map_err(Error::new)?;
        Ok(Driver { inner })
    }

    /// Processes one record of a topic.
    pub fn pipe<K: Data, V: Data>(&mut self, topic: &str, record: Record<K, V>) -> Result<(), Error> {
        self.pipe_all(topic, [record])
    }

    /// Processes records of a topic, together as far as their host would.
    pub fn pipe_all<K: Data, V: Data>(
        &mut self,
        topic: &str,
        records: impl IntoIterator<Item = Record<K, V>>,
    ) -> Result<(), Error> {
        let to = TopicPartition { topic: self.topic::<K, V>(topic)?, partition: 0 };
        if !self.inner.is_read(to.topic) {
            return Err(Error(format!("no source reads the topic `{topic}`")));
        }
        for Record { key, value, timestamp, headers } in records {
            let (key, value) = (codec::to_bytes(&key), codec::to_bytes(&value));
            let headers = record::Headers(headers.as_bytes());
            self.inner.append(to, record::Record { key: key.as_deref(), value: value.as_deref(), headers, timestamp });
        }
        self.inner.settle().map_err(Error::new)
    }

    /// Moves the clock on the wall and fires what is due.
    pub fn advance_wall_clock(&mut self, by: Duration) -> Result<(), Error> {
        self.inner.advance(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)).map_err(Error::new)?;
        self.inner.settle().map_err(Error::new)
    }

    /// What was written to a topic since it was last read: a sink's, or that of dead letters.
    pub fn read<K: Data, V: Data>(&mut self, topic: &str) -> Result<Vec<Record<K, V>>, Error> {
        let written = self.inner.take(self.topic::<K, V>(topic)?);
        let records = written.iter().filter_map(|output| self.inner.output(output)).map(|record| {
            let (key, value) = (codec::decode("key", record.key), codec::decode("value", record.value));
            let headers = Headers::from_bytes(record.headers.0);
            Ok(Record { key: key?, value: value?, timestamp: record.timestamp, headers })
        });
        records.collect::<Result<_, codec::DecodeError>>().map_err(Error::new)
    }

    /// [`Driver::read`], keys and values only.
    pub fn read_pairs<K: Data, V: Data>(&mut self, topic: &str) -> Result<Vec<(K, V)>, Error> {
        Ok(self.read(topic)?.into_iter().map(|record| (record.key, record.value)).collect())
    }

    /// How many records had no effect: dropped by the plugin, skipped by the manifest, or without the key that their
    /// operator goes by.
    pub fn dropped(&self) -> u64 {
        self.inner.dropped().total()
    }

    /// A topic by name, if records of these types are what the plugin reads or writes there.
    fn topic<K: Data, V: Data>(&self, name: &str) -> Result<TopicId, Error> {
        let names = self.inner.plan().topics.iter().map(|topic| topic.name.as_str());
        let id = TopicId(find("topic", name, names)?);
        let ends = (0..self.inner.plan().nodes.len()).filter(|node| self.inner.plan().topic_of(*node) == Some(id));
        for node in ends.map(|node| &self.inner.plan().nodes[node]) {
            check::<K>(&format!("keys of the topic `{name}`"), node.key.as_deref())?;
            check::<V>(&format!("values of the topic `{name}`"), node.value.as_deref())?;
        }
        Ok(id)
    }
}

fn parse(manifest: &str) -> Result<Manifest, Error> {
    Manifest::parse(manifest, "app.toml").map_err(|errors| Error::new(bad_manifest(&errors)))
}

pub(super) fn find<'a>(what: &str, name: &str, mut names: impl Iterator<Item = &'a str> + Clone) -> Result<u32, Error> {
    let all = names.clone();
    let place = names.position(|known| known == name).map(|place| place as u32);
    place
        .ok_or_else(|| Error(format!("no {what} is called `{name}`; there are {}", all.collect::<Vec<_>>().join(", "))))
}

/// A test's types against the plugin's: an `i32` where the plugin has an `i64` is an easy slip. Bytes go with
/// everything, and JSON is text.
pub(super) fn check<T: Data>(what: &str, declared: Option<&str>) -> Result<(), Error> {
    let (test, declared) = (codec::name::<T>(), declared.unwrap_or("bytes"));
    let both_in = |codecs: &[&str]| codecs.contains(&test) && codecs.contains(&declared);
    if test == declared || test == "bytes" || declared == "bytes" || both_in(&["utf8", "json"]) {
        return Ok(());
    }
    Err(Error(format!("the {what} travel as {declared}, and the test has {test} ({})", std::any::type_name::<T>())))
}
