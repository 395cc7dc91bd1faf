//! What others do to topics of a Kafka while an application uses them. It knows nothing of the host.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewPartitions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::{Offset, TopicPartitionList};

use crate::logs::eventually;

const ANSWER: Duration = Duration::from_secs(30);

pub struct Meddler(AdminClient<DefaultClientContext>);

impl Meddler {
    /// By a log's URL.
    pub fn at(url: &str) -> Meddler {
        let broker = url.strip_prefix("kafka://").expect("a Kafka");
        Meddler(ClientConfig::new().set("bootstrap.servers", broker).create().expect("a client can be made"))
    }

    /// Deletes the records below an offset of one partition.
    pub fn truncate(&self, topic: &str, partition: i32, before: i64) {
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(topic, partition, Offset::Offset(before)).expect("an offset");
        // A leader may hear of a new policy a little later than its client.
        eventually("records can be deleted", || {
            let deleted = wait(self.0.delete_records(&offsets, &options())).expect("the broker answers");
            deleted.elements().iter().all(|one| one.error().is_ok()).then_some(())
        });
    }

    /// The same in a changelog, whose records nobody may delete while it is only compacted. Nothing else takes any. Its
    /// configurations are replaced, by `more` too.
    pub fn truncate_compacted(&self, topic: &str, partition: i32, before: i64, more: &[(&str, &str)]) {
        let keep_all = [("retention.ms", "-1"), ("min.compaction.lag.ms", "9223372036854775807")];
        self.configure(topic, &[&keep_all[..], &[("cleanup.policy", "compact,delete")], more].concat());
        self.truncate(topic, partition, before);
    }

    pub fn add_partitions(&self, topic: &str, partitions: usize) {
        let more = NewPartitions::new(topic, partitions);
        let added = wait(self.0.create_partitions([&more], &options())).expect("the broker answers");
        assert!(added.iter().all(Result::is_ok), "{added:?}");
    }

    /// Replaces all configurations of a topic.
    pub fn configure(&self, topic: &str, configs: &[(&str, &str)]) {
        let mut alter = AlterConfig::new(ResourceSpecifier::Topic(topic));
        for (name, value) in configs {
            alter = alter.set(name, value);
        }
        let altered = wait(self.0.alter_configs([&alter], &options())).expect("the broker answers");
        assert!(altered.iter().all(Result::is_ok), "{altered:?}");
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ANSWER)).operation_timeout(Some(ANSWER))
}

/// The client has a thread of its own, so that looking again and again is enough.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let (mut future, start) = (pin!(future), Instant::now());
    loop {
        if let Poll::Ready(answer) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return answer;
        }
        assert!(start.elapsed() < 2 * ANSWER, "the broker does not answer");
        std::thread::sleep(Duration::from_millis(10));
    }
}
