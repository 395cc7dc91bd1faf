//! Apache Kafka through rdkafka.
//!
//! | file | holds |
//! |---|---|
//! | [`properties`] | librdkafka's properties: the manifest's, ours |
//! | [`connection`], [`admin`], [`members`] | the shared client: metadata, offsets, topics, the group's members |
//! | [`delete_records`], [`forget`] | what goes: the beginning of partitions, a group |
//! | [`reader`], [`writer`] | records outside any application |
//! | [`client`] | a stream thread's member of the group |
//! | [`rebalance`], [`tasks`], [`assignment`] | the group's changes, the tasks they mean, what is told of new ones |
//! | [`doubt`] | who has the place of a member that was shut out |
//! | [`inputs`], [`fetch`] | a queue per partition, batches out of it |
//! | [`committer`], [`exactly_once`], [`at_least_once`], [`settle`], [`timeout`] | intervals on their way into the log |
//! | [`producer`], [`deliveries`], [`group`] | librdkafka's producer, its reports; membership and committed offsets |
//! | [`link`], [`rights`], [`reports`], [`wakeup`] | whether brokers answer, what they refuse; what librdkafka says; who wakes whom |
//! | [`native`] | raw pointers, texts, errors |

mod admin;
mod assignment;
mod at_least_once;
mod client;
mod commits;
mod committer;
mod connection;
mod delete_records;
mod deliveries;
mod doubt;
mod exactly_once;
mod fetch;
mod forget;
mod group;
mod inputs;
mod link;
mod members;
mod native;
mod producer;
mod properties;
mod reader;
mod rebalance;
mod refused;
mod reports;
mod rights;
mod settle;
mod tasks;
mod timeout;
mod wakeup;
mod writer;

mod version;

pub use version::client_version;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::consumer::BaseConsumer;

use self::connection::Connection;
use self::properties::{Properties, address_in};
use self::reports::Reports;
use super::{
    Client, Committed, Error, Isolation, Log, NewTopic, Offsets, Reader, Result, Space, Subscription, Swept, Topic,
    Writer,
};

/// How long committed offsets are waited for: an owner that was killed leaves a transaction open, which ends by its
/// timeout (10 s) and a look of the coordinator at it.
const STABLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Opens a cluster by its bootstrap servers. Does not connect.
pub fn open(url: &str, brokers: &str, properties: &BTreeMap<String, String>) -> Result<Arc<dyn Log>> {
    let properties = Properties::new(brokers, properties)?;
    let connection = Arc::new(Connection::open(&properties)?);
    Ok(Arc::new(Kafka { url: url.to_owned(), properties, connection, group: Mutex::default() }))
}

struct Kafka {
    url: String,
    properties: Properties,
    connection: Arc<Connection>,
    /// The consumer that last looked at a group's offsets: a status page asks for the same group again and again.
    group: Mutex<Option<(String, BaseConsumer<Reports>)>>,
}

impl Log for Kafka {
    fn url(&self) -> &str {
        &self.url
    }

    fn ping(&self, timeout: Duration) -> Result<()> {
        self.connection.naming(self.connection.ping(timeout))
    }

    fn topics(&self) -> Result<Vec<String>> {
        self.connection.naming(self.connection.topics())
    }

    fn describe(&self, names: &[&str]) -> Result<Vec<Option<Topic>>> {
        self.connection.naming(self.connection.describe(names))
    }

    fn create(&self, topic: &NewTopic) -> Result<()> {
        self.connection.naming(self.connection.create(topic))
    }

    fn delete(&self, name: &str) -> Result<()> {
        self.connection.naming(self.connection.delete(name))
    }

    fn offsets(&self, topic: &str, partition: i32) -> Result<Offsets> {
        self.connection.naming(self.connection.offsets(topic, partition))
    }

    fn space(&self) -> Result<Option<Space>> {
        Ok(None)
    }

    fn sweep(&self, topic: &str) -> Result<Swept> {
        let why = "the brokers compact and delete by themselves, by the topic's configurations";
        Err(Error::refused(format!("topic {topic}"), why))
    }

    fn delete_records(&self, below: &[(String, i32, i64)]) -> Result<()> {
        self.connection.naming(self.connection.delete_records(below))
    }

    fn committed(&self, application: &str, partitions: &[(String, i32)]) -> Result<Vec<Option<Committed>>> {
        let mut kept = self.group.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_none_or(|(group, _)| group != application) {
            let config = self.properties.group(application);
            let consumer = config.create_with_context(Reports::default());
            let consumer = consumer.map_err(|e| native::kafka_error("committed offsets", &e))?;
            *kept = Some((application.to_owned(), consumer));
        }
        let Some((_, consumer)) = &*kept else { return Ok(Vec::new()) };
        let places: Vec<(&str, i32)> = partitions.iter().map(|(topic, partition)| (&**topic, *partition)).collect();
        let found = group::committed(consumer, &places, STABLE_TIMEOUT);
        while consumer.poll(Duration::ZERO).is_some() {}
        self.connection.naming(found)
    }

    fn committed_partitions(&self, application: &str) -> Result<Vec<(String, i32)>> {
        self.connection.naming(self.connection.committed_partitions(application))
    }

    fn addresses(&self, application: &str) -> Result<Vec<String>> {
        let members = self.connection.naming(self.connection.members(application))?;
        let addresses: BTreeSet<String> = members.iter().filter_map(|id| address_in(id)).collect();
        Ok(addresses.into_iter().collect())
    }

    fn members(&self, application: &str) -> Result<Option<Vec<String>>> {
        self.connection.naming(self.connection.members(application).map(Some))
    }

    fn holder(&self, application: &str) -> Result<Option<String>> {
        self.connection.naming(self.connection.holder(application))
    }

    fn forget(&self, application: &str) -> Result<()> {
        self.connection.naming(self.connection.forget(application))
    }

    fn reader(&self, isolation: Isolation) -> Result<Box<dyn Reader>> {
        Ok(Box::new(reader::KafkaReader::open(self.connection.clone(), &self.properties, isolation)?))
    }

    fn writer(&self) -> Result<Box<dyn Writer>> {
        Ok(Box::new(writer::KafkaWriter::open(self.connection.clone(), &self.properties)?))
    }

    fn client(&self, subscription: Subscription) -> Result<Box<dyn Client>> {
        Ok(Box::new(client::Member::join(self.connection.clone(), &self.properties, subscription)?))
    }
}
