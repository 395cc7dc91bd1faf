//! The one shared client of a log: metadata, offsets, and the way to the admin requests.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;

use super::native;
use super::properties::Properties;
use super::reports::Reports;
use crate::log::{Error, Isolation, Offsets, Result};

/// Of one question to the cluster. A broker answers in milliseconds; this is for one that is just starting.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Of it, the part after which a client that is not let in is told so.
const FIRST_WAIT: Duration = Duration::from_secs(2);

/// What librdkafka may have said since it was last listened to: of each broker a few lines.
const EVENTS_MAX: usize = 100;

/// Between two looks at something the cluster is about to do.
pub const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What a topic looks like.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub partitions: i32,
    /// Copies of each partition; the fewest, where they differ.
    pub replicas: i32,
}

/// Reads uncommitted: a client that reads committed is told the last stable offset for the end.
pub struct Connection {
    pub(super) consumer: BaseConsumer<Reports>,
    /// As the log's URL names them.
    brokers: String,
    /// Whom the brokers take this client for, where that is known.
    pub principal: Option<String>,
}

impl Connection {
    pub fn open(properties: &Properties) -> Result<Connection> {
        let config = properties.reader(Isolation::Uncommitted);
        let consumer = config.create_with_context(Reports::default());
        let brokers = config.get("bootstrap.servers").unwrap_or_default().to_owned();
        let consumer = consumer.map_err(|e| native::kafka_error("kafka client", &e))?;
        Ok(Connection { consumer, brokers, principal: properties.principal() })
    }

    /// Takes what librdkafka wants to say from its queue, which has no bound of its own.
    pub fn serve(&self) {
        while self.consumer.poll(Duration::ZERO).is_some() {}
    }

    pub fn ping(&self, timeout: Duration) -> Result<()> {
        // Any one topic's metadata proves an answer without the whole list; the name cannot exist.
        self.metadata("ping", Some(NO_TOPIC), timeout).map(drop)
    }

    pub fn topics(&self) -> Result<Vec<String>> {
        let metadata = self.metadata("list topics", None, CALL_TIMEOUT)?;
        let names = metadata.topics().iter().map(|topic| topic.name().to_owned());
        let mut names: Vec<String> = names.filter(|name| !name.starts_with("__")).collect();
        names.sort();
        Ok(names)
    }

    /// As [`Connection::shape`].
    pub fn partitions(&self, topic: &str) -> Result<Option<i32>> {
        Ok(self.shape(topic)?.map(|shape| shape.partitions))
    }

    /// `None` when there is no such topic. One without a leader somewhere is not ready and answers with an error.
    pub fn shape(&self, topic: &str) -> Result<Option<Shape>> {
        let what = format!("topic {topic}");
        let metadata = self.metadata(&what, Some(topic), CALL_TIMEOUT)?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else { return Ok(None) };
        match found.error().map(RDKafkaErrorCode::from) {
            None => {}
            Some(code) if native::is_unknown_topic(code) => return Ok(None),
            Some(code) => return Err(native::error(&what, code, &native::describe(code))),
        }
        match found.partitions().iter().find(|partition| partition.leader() < 0) {
            Some(partition) => {
                Err(Error::unreachable(format!("partition {} of topic {topic}", partition.id()), "it has no leader"))
            }
            None => Ok(Some(Shape {
                partitions: found.partitions().len() as i32,
                replicas: found.partitions().iter().map(|partition| partition.replicas().len()).min().unwrap_or(0)
                    as i32,
            })),
        }
    }

    /// As [`Connection::partitions`], with the error for a topic that is not there.
    pub fn existing(&self, topic: &str) -> Result<i32> {
        self.partitions(topic)?.ok_or_else(|| Error::UnknownTopic(topic.to_owned()))
    }

    pub fn offsets(&self, topic: &str, partition: i32) -> Result<Offsets> {
        let what = format!("offsets of partition {partition} of topic {topic}");
        let partitions = self.existing(topic)?;
        if partition < 0 || partition >= partitions {
            return Err(Error::refused(what, format!("the topic has {partitions} partitions")));
        }
        self.watermarks(topic, partition)
    }

    /// Of a partition that is known to be there. Asks again while its leader is changing, or has not heard of it: a
    /// broker that was just started, or of a topic that was, answers before it knows what it leads.
    pub fn watermarks(&self, topic: &str, partition: i32) -> Result<Offsets> {
        let deadline = Instant::now() + CALL_TIMEOUT;
        loop {
            let watermarks = self.consumer.fetch_watermarks(topic, partition, CALL_TIMEOUT);
            self.serve();
            let error = match watermarks {
                Ok((begin, end)) => return Ok(Offsets { begin, end }),
                Err(error) => error,
            };
            let is_unknown = error.rdkafka_error_code().is_some_and(native::is_unknown_topic);
            if (is_unknown || is_leaderless(&error)) && Instant::now() < deadline {
                std::thread::sleep(LOOK_AGAIN);
                continue;
            }
            let what = format!("offsets of partition {partition} of topic {topic}");
            if is_unknown {
                self.existing(topic)?;
                return Err(Error::unreachable(what, "its leader does not know it yet"));
            }
            return Err(self.explain(&what, &error));
        }
    }

    /// Asks until `there` says so. The cluster answers a change before every broker knows of it.
    pub fn wait_until(&self, what: &str, mut there: impl FnMut() -> Result<bool>) -> Result<()> {
        let start = Instant::now();
        loop {
            match there() {
                Ok(true) => return Ok(()),
                Ok(false) | Err(Error::Unreachable { .. }) if start.elapsed() < CALL_TIMEOUT => {
                    std::thread::sleep(LOOK_AGAIN)
                }
                Ok(false) => {
                    return Err(Error::unreachable(what, format!("not to be seen after {CALL_TIMEOUT:?}")));
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn metadata(&self, what: &str, topic: Option<&str>, timeout: Duration) -> Result<Metadata> {
        let deadline = Instant::now() + timeout;
        let mut wait = timeout.min(FIRST_WAIT);
        loop {
            let metadata = self.consumer.fetch_metadata(topic, wait);
            self.serve();
            wait = deadline.saturating_duration_since(Instant::now());
            match metadata.map_err(|e| self.explain(what, &e)) {
                // Only that no broker has answered so far is worth a longer wait.
                Err(Error::Unreachable { .. }) if !wait.is_zero() => {}
                answer => return answer,
            }
        }
    }

    /// A timeout says nothing; the last failed connection says why.
    pub fn explain(&self, what: &str, error: &KafkaError) -> Error {
        // One call serves one event at the most, and does not tell whether there was any.
        (0..EVENTS_MAX).for_each(|_| drop(self.consumer.poll(Duration::ZERO)));
        match native::kafka_error(what, error) {
            Error::Unreachable { what, why } => {
                self.consumer.client().context().explain(&what, &why, &format!("{}: ", self.brokers))
            }
            other => other,
        }
    }

    /// An answer whose refusal names whom the brokers have refused.
    pub fn naming<T>(&self, answer: Result<T>) -> Result<T> {
        answer.map_err(|error| self.named(error))
    }

    pub fn named(&self, error: Error) -> Error {
        match (error, &self.principal) {
            (Error::Unauthorised { what, why }, Some(principal)) => {
                Error::Unauthorised { what, why: format!("{why}; the principal is {principal}") }
            }
            (error, _) => error,
        }
    }
}

fn is_leaderless(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let code = error.rdkafka_error_code();
    matches!(
        code,
        Some(
            Code::NotLeaderForPartition
                | Code::LeaderNotAvailable
                | Code::UnknownLeaderEpoch
                | Code::FencedLeaderEpoch
                | Code::OffsetNotAvailable
                | Code::DestroyBroker
        )
    )
}

/// A legal name that no topic has.
const NO_TOPIC: &str = "__millstream-ping";
