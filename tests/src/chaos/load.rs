//! Lines that keep coming, whatever happens to who reads them.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

use super::words::{PARTITIONS, Words};
use crate::logs::Kind;

/// Lines written at once, and the pause behind them: some thousand lines a second.
const CHUNK: u64 = 100;
const PAUSE: Duration = Duration::from_millis(25);

/// How long the last lines may take to be acknowledged: beyond any fault of the tests.
const FLUSH: Duration = Duration::from_secs(120);

/// A thread that writes lines of one word each. It is stopped when it falls.
pub struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<u64>>,
}

impl Load {
    /// On Kafka by rdkafka, on the embedded log by `produce`.
    pub fn start(words: &Words<'_>) -> Load {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let pace = Pace {
            stop: stop.clone(),
            sent: sent.clone(),
            vocabulary: words.vocabulary,
            letters: "x".repeat(words.letters),
        };
        let topic = words.topic("lines");
        let thread = match words.log.kind {
            Kind::Kafka => {
                let url = words.log.log.url().to_owned();
                std::thread::spawn(move || feed_kafka(url.trim_start_matches("kafka://"), &topic, &pace))
            }
            Kind::Embedded => {
                let mut produce = words.mill.start(&["produce", &topic, "-o", "json"]);
                std::thread::spawn(move || {
                    pace.keep(|partition, word| {
                        writeln!(produce.stdin(), "{{\"partition\":{partition},\"value\":\"{word}\"}}")
                            .expect("produce reads");
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
    vocabulary: u64,
    letters: String,
}

impl Pace {
    fn keep(&self, mut write: impl FnMut(i32, &str)) {
        let mut number = 0;
        while !self.stop.load(Ordering::Relaxed) {
            for _ in 0..CHUNK {
                // Neighbours of one word go to different partitions.
                write(
                    (number / self.vocabulary + number) as i32 % PARTITIONS,
                    &format!("word{}{}", number % self.vocabulary, self.letters),
                );
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
fn feed_kafka(broker: &str, topic: &str, pace: &Pace) -> u64 {
    let acknowledged = Acknowledged::default();
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker).set("enable.idempotence", "true");
    config.set("message.timeout.ms", "600000").set("linger.ms", "5").set("reconnect.backoff.max.ms", "1000");
    let producer: ThreadedProducer<Acknowledged> =
        config.create_with_context(acknowledged.clone()).expect("a producer can be made");
    pace.keep(|partition, word| {
        let record: BaseRecord<'_, (), str> = BaseRecord::to(topic).partition(partition).payload(word);
        let mut record = record;
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
