//! Lines that keep coming, whatever happens to who reads them.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

use super::subject::Subject;
use super::words::{PARTITIONS, Words};
use crate::logs::Kind;

/// Lines written at once, and the pause behind them: some thousand lines a second.
const CHUNK: u64 = 100;
const PAUSE: Duration = Duration::from_millis(25);

/// How long the last lines may take to be acknowledged: beyond any fault of the tests.
const FLUSH: Duration = Duration::from_secs(400);

/// A line as it is written. Without a time it is now.
#[derive(Clone, Debug)]
pub struct Line {
    pub partition: i32,
    pub value: String,
    pub timestamp: Option<i64>,
}

impl Line {
    /// As `produce` reads it. The tests' values need no escapes.
    pub fn json(&self) -> String {
        let timestamp = self.timestamp.map(|timestamp| format!(",\"timestamp\":{timestamp}")).unwrap_or_default();
        format!("{{\"partition\":{},\"value\":\"{}\"{timestamp}}}\n", self.partition, self.value)
    }
}

/// A thread that writes lines. It is stopped when it falls.
pub struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<u64>>,
}

impl Load {
    /// Of one word each.
    pub fn start(words: &Words<'_>) -> Load {
        let (vocabulary, letters) = (words.vocabulary, "x".repeat(words.letters));
        let line = move |number: u64| Line {
            // Neighbours of one word go to different partitions.
            partition: (number / vocabulary + number) as i32 % PARTITIONS,
            value: format!("word{}{letters}", number % vocabulary),
            timestamp: None,
        };
        Load::of(words, "lines", CHUNK, line)
    }

    /// What `line` makes of 0, 1, 2 …, into a topic of the subject, so many at once. On Kafka by rdkafka, on the embedded
    /// log by `produce`.
    pub fn of(subject: &Subject<'_>, topic: &str, chunk: u64, line: impl FnMut(u64) -> Line + Send + 'static) -> Load {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let pace = Pace { stop: stop.clone(), sent: sent.clone(), chunk };
        let topic = subject.topic(topic);
        let thread = match subject.log.kind {
            Kind::Kafka => {
                let url = subject.log.log.url().to_owned();
                std::thread::spawn(move || feed_kafka(url.trim_start_matches("kafka://"), &topic, &pace, line))
            }
            Kind::Embedded => {
                let mut produce = subject.mill.start(&["produce", &topic, "-o", "json"]);
                std::thread::spawn(move || {
                    pace.keep(line, |line| {
                        produce.stdin().write_all(line.json().as_bytes()).expect("produce reads");
                    });
                    produce.finish().ok().json()["sent"].as_u64().expect("a number")
                })
            }
        };
        Load { stop, sent, thread: Some(thread) }
    }

    /// Lines so far; some of them may not have arrived yet.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// No more lines: how many arrived, each of them once.
    pub fn end(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it was not ended yet");
        thread.join().expect("lines can be written")
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Pace {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    chunk: u64,
}

impl Pace {
    fn keep(&self, mut line: impl FnMut(u64) -> Line, mut write: impl FnMut(&Line)) {
        let mut number = 0;
        while !self.stop.load(Ordering::Relaxed) {
            for _ in 0..self.chunk {
                write(&line(number));
                number += 1;
            }
            self.sent.store(number, Ordering::Relaxed);
            std::thread::sleep(PAUSE);
        }
    }
}

/// Counts what the broker has acknowledged.
#[derive(Clone, Default)]
struct Acknowledged(Arc<AtomicU64>);

impl rdkafka::ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => drop(self.0.fetch_add(1, Ordering::Relaxed)),
            Err((error, _)) => eprintln!("a line was not delivered: {error}"),
        }
    }
}

/// Idempotent, and patient enough to outlive a broker's crash.
fn feed_kafka(broker: &str, topic: &str, pace: &Pace, line: impl FnMut(u64) -> Line) -> u64 {
    let acknowledged = Acknowledged::default();
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker).set("enable.idempotence", "true");
    config.set("message.timeout.ms", "600000").set("linger.ms", "5").set("reconnect.backoff.max.ms", "1000");
    let producer: ThreadedProducer<Acknowledged> =
        config.create_with_context(acknowledged.clone()).expect("a producer can be made");
    pace.keep(line, |line| {
        let record: BaseRecord<'_, (), str> = BaseRecord::to(topic).partition(line.partition).payload(&line.value);
        let mut record = BaseRecord { timestamp: line.timestamp, ..record };
        while let Err((error, back)) = producer.send(record) {
            let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
            assert_eq!(error, full, "a line can be sent");
            std::thread::sleep(PAUSE);
            record = back;
        }
    });
    producer.flush(FLUSH).expect("the last lines arrive");
    acknowledged.0.load(Ordering::Relaxed)
}
