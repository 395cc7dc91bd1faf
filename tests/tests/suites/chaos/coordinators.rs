//! Three brokers, of which one is lost: the one that coordinates the group, the one that coordinates the transactions,
//! one that leads a partition. Each returns later.

use std::time::Duration;

use millstream::log::NewTopic;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tests::broker::Brokers;
use tests::chance::{Chance, times};
use tests::chaos::kills::settle;
use tests::chaos::load::Load;
use tests::chaos::words::{LMDB, Words};
use tests::logs::{eventually, kafka, kafka_at};

/// One to be lost and two that go on: the least with which Kafka loses nothing.
const BROKERS: usize = 3;

/// `tests/kafka/server.properties`: of what the brokers keep for themselves.
const INTERNAL_PARTITIONS: i32 = 4;

/// Between a cluster that works and its next loss, at most.
const APART_MS: u64 = 1_000;

/// How long metadata may take while a broker is being missed.
const ANSWER: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
enum Lost {
    GroupCoordinator,
    TransactionCoordinator,
    Leader,
}

#[test]
fn brokers_that_coordinate_or_lead_are_lost_and_return_and_everything_is_counted_once() {
    if kafka().is_none() {
        return;
    }
    let (brokers, mut chance) = (Brokers::start(BROKERS), Chance::new());
    let log = kafka_at(&brokers.addresses.join(","), &[]);
    let words = Words::new(&log, LMDB);
    let load = Load::start(&words);
    let mut running = words.start();
    let address = running.ready();
    let each = [Lost::GroupCoordinator, Lost::TransactionCoordinator, Lost::Leader];
    for lost in each.into_iter().cycle().take(times(each.len())) {
        std::thread::sleep(Duration::from_millis(chance.below(APART_MS)));
        let index = find(&words, &brokers.addresses, lost);
        brokers.kill(index);
        words.until_it_commits(&mut running, &address, &format!("without broker {index}, its {lost:?}"));
        brokers.again(index);
        words.until_it_commits(&mut running, &address, &format!("with broker {index} again"));
    }
    let fed = load.end();
    let said = words.stop(running);
    settle(&words, fed, vec![said]);
}

/// A transaction is given up soon; a member is missed late, so that the tasks stay where they are.
const QUICK: [(&str, &str); 3] =
    [("transaction.timeout.ms", "2000"), ("socket.timeout.ms", "2000"), ("session.timeout.ms", "30000")];

#[test]
fn without_the_coordinator_of_its_group_an_interval_is_given_up_and_done_again() {
    if kafka().is_none() {
        return;
    }
    let brokers = Brokers::start(BROKERS);
    let log = kafka_at(&brokers.addresses.join(","), &[]);
    // On one broker each: nobody takes over.
    let offsets = NewTopic {
        name: "__consumer_offsets".to_owned(),
        partitions: INTERNAL_PARTITIONS,
        replication_factor: Some(1),
        configs: [("cleanup.policy", "compact"), ("min.insync.replicas", "1")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
    };
    log.log.create(&offsets).expect("a topic can be created");
    let words = Words::with_kafka(&log, LMDB, &QUICK);
    let load = Load::start(&words);
    let mut running = words.start();
    let address = running.ready();
    words.until_it_commits(&mut running, &address, "at first");
    let index = find(&words, &brokers.addresses, Lost::GroupCoordinator);
    let aborted = || words.metric(&address, "millstream_commits_total", "aborted");
    // It is given up once, perhaps before the broker's end was waited for.
    let before = aborted();
    brokers.kill(index);
    eventually("the interval is given up", || (aborted() > before).then_some(()));
    assert!(words.status(&address)["tasks"].as_array().is_some_and(|tasks| !tasks.is_empty()));
    brokers.again(index);
    words.until_it_commits(&mut running, &address, "with the coordinator again");
    let fed = load.end();
    let said = words.stop(running);
    settle(&words, fed, vec![said]);
}

/// Where it is, among the brokers: they are numbered from 1 in the order of their addresses.
fn find(words: &Words<'_>, brokers: &[String], lost: Lost) -> usize {
    let leader = match lost {
        Lost::GroupCoordinator => leader(brokers, "__consumer_offsets", internal_partition(&words.id)),
        Lost::TransactionCoordinator => {
            leader(brokers, "__transaction_state", internal_partition(&words.transactional_id()))
        }
        Lost::Leader => leader(brokers, &words.topic("lines"), 0),
    };
    usize::try_from(leader - 1).expect("the partition has a leader")
}

/// The number of the broker that leads a partition.
fn leader(brokers: &[String], topic: &str, partition: i32) -> i32 {
    let mut config = ClientConfig::new();
    let consumer: BaseConsumer =
        config.set("bootstrap.servers", brokers.join(",")).create().expect("a consumer can be made");
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER).expect("a broker answers");
    let partitions = metadata.topics()[0].partitions();
    let found = partitions.iter().find(|found| found.id() == partition);
    found.unwrap_or_else(|| panic!("{topic} has no partition {partition}")).leader()
}

/// The partition of an internal topic that a group or a transactional id belongs to: by Java's hash of its name.
fn internal_partition(name: &str) -> i32 {
    let hash = name.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    hash.checked_abs().unwrap_or(0) % INTERNAL_PARTITIONS
}

#[test]
fn a_name_is_hashed_as_java_does_it() {
    assert_eq!(internal_partition("a"), 97 % INTERNAL_PARTITIONS);
    // "hello".hashCode() is 99162322, "polygenelubricants".hashCode() is -2147483648.
    assert_eq!(internal_partition("hello"), 99_162_322 % INTERNAL_PARTITIONS);
    assert_eq!(internal_partition("polygenelubricants"), 0);
}
