//! What only Kafka can do to a stream thread: groups whose members come, go and die, zombies, markers, open
//! transactions, brokers that crash. Other processes are this program again, told by the environment what to play.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use millstream::log::{Committed, Error, Event, Guarantee, Interval, Isolation, NewTopic, Proof, Subscription};
use millstream_engine::metadata::{INCARNATION, Metadata, SEQUENCE};
use millstream_engine::record::Record;
use millstream_engine::task::TaskId;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tests::broker::{Broker, Brokers};
use tests::logs::{DEADLINE, KAFKA, STEP, TestLog, eventually, kafka, kafka_at, new_topic, read_to, text, unique};
use tests::member::{Member, Outcome, at, offset, one_input, outgoing, subscription};
use tests::process;
use tests::proxy::{END_TRANSACTION, Lost, Proxy};

/// A dead member is noticed after this; the broker of the tests allows it.
const SESSION: &[(&str, &str)] = &[("session.timeout.ms", "3000"), ("heartbeat.interval.ms", "500")];

/// The shared broker with quick sessions; `None`, said loudly, when there is none.
fn quick() -> Option<TestLog> {
    kafka()?;
    Some(kafka_at(&std::env::var(KAFKA).unwrap(), SESSION))
}

fn metadata(incarnation: i64, sequence: i64) -> String {
    let values = [(INCARNATION.to_owned(), incarnation), (SEQUENCE.to_owned(), sequence)].into();
    Metadata { partition_time: 0, values }.encode()
}

fn proof(partition: i32, incarnation: i64, sequence: i64) -> Proof {
    Proof { task: TaskId { subtopology: 0, partition }, input: at(0, partition), incarnation, sequence }
}

// === groups ===

/// Polls all members until they own these many tasks together, none of them twice.
fn until_shared(members: &mut [Member], tasks: usize, each: usize) {
    let start = Instant::now();
    loop {
        members.iter_mut().for_each(|member| member.poll(STEP));
        let all: BTreeSet<&TaskId> = members.iter().flat_map(|member| &member.owned).collect();
        let held: Vec<usize> = members.iter().map(|member| member.owned.len()).collect();
        if all.len() == tasks && held.iter().all(|held| *held == each) {
            return;
        }
        assert!(start.elapsed() < DEADLINE, "{held:?} of {tasks}");
    }
}

#[test]
fn a_member_that_leaves_or_dies_hands_its_tasks_and_offsets_over() {
    let Some(log) = quick() else { return };
    for dies in [false, true] {
        let topic = log.topic("shared", 8);
        let first = subscription(&unique("app"), &[&topic], one_input(8));
        let second = Subscription { instance: unique("instance"), ..first.clone() };
        let mut members = vec![Member::join(&log, first), Member::join(&log, second)];
        until_shared(&mut members, 8, 4);
        for member in &mut members {
            let offsets = member.owned.iter().map(|t| offset(at(0, t.partition), 1, &metadata(7, 1))).collect();
            member.commit(Interval { offsets, ..Interval::default() });
        }
        let mut left = members.remove(0);
        match members.remove(0) {
            // Without a word, as a killed process: its static membership ends with its session.
            dead if dies => drop(dead),
            leaver => leaver.leave(),
        }
        left.until("all tasks", |member| member.owned.len() == 8);
        for partition in 0..8 {
            // Those it had from the start it was told of before anything was committed.
            let committed = &left.input(at(0, partition)).committed;
            assert!(committed.as_ref().is_none_or(|c| c.offset == 1), "{partition}: {committed:?}");
        }
        let taken_over = (0..8).filter(|p| left.input(at(0, *p)).committed.is_some()).count();
        assert!(taken_over >= 4, "{taken_over} tasks came with their offsets");
        left.leave();
    }
}

#[test]
fn a_task_that_stays_is_read_on_while_others_move() {
    let Some(log) = quick() else { return };
    let topic = log.topic("steady", 4);
    let first = subscription(&unique("app"), &[&topic], one_input(4));
    let second = Subscription { instance: unique("instance"), ..first.clone() };
    let mut one = Member::owning(&log, first, 4);
    (0..4).for_each(|p| one.client.start(at(0, p), 0).unwrap());
    log.produce(&topic, 0, &["a"]);
    let mut members = vec![one, Member::join(&log, second)];
    until_shared(&mut members, 4, 2);
    for partition in 0..4 {
        log.produce(&topic, partition, &["z"]);
    }
    let kept: Vec<i32> = members[0].owned.iter().map(|task| task.partition).collect();
    members[0].until("records of the tasks that stayed", |member| {
        let last = |p: &i32| member.records.get(&at(0, *p)).and_then(|records| records.last());
        kept.iter().all(|p| last(p).is_some_and(|record| record.text() == "z"))
    });
    assert!(members[0].records.keys().all(|input| input.partition == 0 || kept.contains(&input.partition)));
    members.into_iter().for_each(Member::leave);
}

#[test]
fn a_member_with_another_plan_is_refused() {
    let Some(log) = quick() else { return };
    let topic = log.topic("planned", 2);
    let first = subscription(&unique("app"), &[&topic], one_input(2));
    let other = Subscription { plan_hash: "another".into(), instance: unique("instance"), ..first.clone() };
    let restarted = Subscription { plan_hash: "another".into(), ..first.clone() };
    let member = Member::owning(&log, first, 2);
    let why = log.log.client(other).err().unwrap().to_string();
    assert!(why.contains("another plan"), "{why}");
    member.leave();
    Member::owning(&log, restarted, 2).leave();
}

// === zombies ===

#[test]
fn a_zombie_cannot_commit_and_is_told_who_it_is() {
    let Some(log) = quick() else { return };
    let (topic, out) = (log.topic("in", 1), log.topic("out", 1));
    let subscription = subscription(&unique("app"), &[&topic, &out], one_input(1));
    let interval = |sequence, value| Interval {
        sequence,
        outgoing: outgoing(&[(at(1, 0), text(value))]),
        offsets: vec![offset(at(0, 0), 1, value)],
        ..Interval::default()
    };
    let mut zombie = Member::owning(&log, subscription.clone(), 1);
    zombie.commit(interval(1, "zombie 1"));
    // The same instance in another process: a duplicate state directory, or a machine that was paused.
    let mut successor = Member::owning(&log, subscription, 1);
    zombie.client.submit(interval(2, "zombie 2")).unwrap();
    let mut events = Vec::new();
    let told = eventually("the zombie's end", || zombie.client.poll(STEP, &mut events).err());
    assert!(matches!(told, Error::AlreadyRunning { .. }), "{told}");
    let lost = |event: &Event| matches!(event, Event::Revoked { lost: true, .. });
    assert!(events.iter().any(lost), "{events:?}");
    assert!(!events.iter().any(|event| matches!(event, Event::Committed { .. })), "{events:?}");
    successor.commit(interval(1, "successor"));
    assert_eq!(log.values(&out, 0), ["zombie 1", "successor"]);
    drop(zombie);
    successor.commit(interval(2, "alone"));
    successor.leave();
}

/// Whoever joins twice after its session has ended is shut out by itself; who else has its place is another process.
#[test]
fn a_member_that_nobody_replaced_may_come_again_and_one_that_was_replaced_may_not() {
    if kafka().is_none() {
        return;
    }
    let (proxy, session) = (Proxy::bind(), Duration::from_secs(6));
    let broker = Broker::behind(&proxy);
    let log = kafka_at(&broker.address, &[("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "500")]);
    let topic = log.topic("in", 1);
    for is_replaced in [false, true] {
        let subscription = subscription(&unique("app"), &[&topic], one_input(1));
        let mut member = Member::owning(&log, subscription.clone(), 1);
        proxy.cut(session + Duration::from_secs(1));
        member.until("the end of its session", |member| member.owned.is_empty());
        member.until("its tasks again", |member| member.owned.len() == 1);
        let mut other = Some(Member::owning(&log, subscription, 1)).filter(|_| is_replaced);
        let (begun, mut events) = (Instant::now(), Vec::new());
        let told = eventually("its end", || {
            other.iter_mut().for_each(|other| other.poll(STEP));
            member.client.poll(STEP, &mut events).err()
        });
        assert!(begun.elapsed() > session, "it is not told before it is clear: {told}");
        match is_replaced {
            true => assert!(matches!(told, Error::AlreadyRunning { .. }), "{told}"),
            false => assert!(told.may_pass(), "{told}"),
        }
    }
}

// === markers and timestamps ===

#[test]
fn an_end_steps_over_markers() {
    let Some(log) = quick() else { return };
    let (topic, id) = (log.topic("marked", 1), unique("app"));
    let mut member = Member::owning(&log, subscription(&id, &[&topic], one_input(1)), 1);
    for round in 1..=2 {
        let offsets = vec![offset(at(0, 0), round, "")];
        let interval = Interval { outgoing: outgoing(&[(at(0, 0), text("own"))]), offsets, ..Interval::default() };
        member.commit(interval);
    }
    // A record and a marker, twice.
    member.client.start(at(0, 0), 0).unwrap();
    member.until("end", |member| member.ends.get(&at(0, 0)) == Some(&4));
    let offsets: Vec<i64> = member.records[&at(0, 0)].iter().map(|record| record.offset).collect();
    assert_eq!(offsets, [0, 2]);
    let mut reader = log.log.reader(Isolation::Committed).unwrap();
    reader.assign(&[(topic.clone(), 0, 0)]).unwrap();
    let (found, end) = read_to(&mut *reader, 4);
    assert_eq!((found.len(), end), (2, 4));
    assert_eq!(log.log.offsets(&topic, 0).unwrap().end, 4);
    member.leave();
}

#[test]
fn the_timestamp_zero_is_a_timestamp() {
    let Some(log) = quick() else { return };
    let (topic, id) = (log.topic("epoch", 1), unique("app"));
    let zero = |value| millstream_engine::record::Record { timestamp: 0, ..text(value) };
    let mut writer = log.log.writer().unwrap();
    writer.send(&topic, Some(0), zero("written")).unwrap();
    writer.send(&topic, Some(0), text("later")).unwrap();
    writer.flush().unwrap();
    let mut member = Member::owning(&log, subscription(&id, &[&topic], one_input(1)), 1);
    let offsets = vec![offset(at(0, 0), 2, "")];
    member.commit(Interval { outgoing: outgoing(&[(at(0, 0), zero("streamed"))]), offsets, ..Interval::default() });
    let found: Vec<i64> = log.read(&topic, 0).iter().map(|record| record.timestamp).collect();
    assert_eq!(found, [0, tests::logs::THEN, 0]);
    member.leave();
}

/// A broker sends a whole record where a fetch begins with one that is larger than the fetch.
#[test]
fn a_record_larger_than_a_fetch_is_read() {
    let Some(shared) = kafka() else { return };
    let small = [("fetch.message.max.bytes", "1000"), ("message.max.bytes", "1000"), ("fetch.max.bytes", "1000")];
    let log = kafka_at(&std::env::var(KAFKA).unwrap(), &small);
    let (topic, id) = (log.topic("large", 1), unique("app"));
    let large = "x".repeat(900_000);
    shared.produce(&topic, 0, &["before", &large, "behind"]);
    let lens = |found: &[tests::logs::Owned]| found.iter().map(|record| record.text().len()).collect::<Vec<_>>();
    assert_eq!(lens(&log.read(&topic, 0)), [6, large.len(), 6]);
    let mut member = Member::owning(&log, subscription(&id, &[&topic], one_input(1)), 1);
    assert_eq!(lens(&member.fetch(at(0, 0), 0, 3)), [6, large.len(), 6]);
    member.leave();
}

#[test]
fn an_interval_of_a_client_that_no_task_is_left_to_has_an_outcome_all_the_same() {
    let Some(log) = quick() else { return };
    let topic = log.topic("left", 1);
    let mut member = Member::join(&log, subscription(&unique("app"), &[&topic], one_input(1)));
    // It has not polled, so the group does not have it yet.
    let offsets = vec![offset(at(0, 0), 1, "")];
    member.client.submit(Interval { sequence: 1, offsets, ..Interval::default() }).unwrap();
    let mut events = Vec::new();
    eventually("its outcome", || {
        member.client.poll(STEP, &mut events).unwrap();
        let told = |event: &Event| matches!(event, Event::Revoked { tasks, lost: true } if tasks.is_empty());
        events.iter().any(told).then_some(())
    });
    drop(member);
}

// === open transactions ===

/// Another member's transaction, of another program: offsets of the input are in it, and it stays open.
struct OpenTransaction {
    producer: BaseProducer,
    consumer: BaseConsumer,
}

impl OpenTransaction {
    fn begin(application: &str, topic: &str, offset: i64, timeout: &str) -> OpenTransaction {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", std::env::var(KAFKA).unwrap());
        let mut consumer = config.clone();
        consumer.set("group.id", application).set("enable.auto.commit", "false");
        consumer.set("partition.assignment.strategy", "cooperative-sticky");
        let consumer: BaseConsumer = consumer.create().unwrap();
        consumer.subscribe(&[topic]).unwrap();
        eventually("the other member", || {
            consumer.poll(STEP);
            (consumer.assignment().unwrap().count() == 1).then_some(())
        });
        config.set("transactional.id", unique("other")).set("transaction.timeout.ms", timeout);
        config.set("socket.timeout.ms", timeout);
        let producer: BaseProducer = config.create().unwrap();
        producer.init_transactions(DEADLINE).unwrap();
        producer.begin_transaction().unwrap();
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
        let group = consumer.group_metadata().unwrap();
        producer.send_offsets_to_transaction(&offsets, &group, DEADLINE).unwrap();
        OpenTransaction { producer, consumer }
    }

    /// The member leaves; its transaction stays.
    fn leave(self) -> BaseProducer {
        self.consumer.unsubscribe();
        eventually("the other member's leave", || {
            self.consumer.poll(STEP);
            (self.consumer.assignment().unwrap().count() == 0).then_some(())
        });
        self.producer
    }
}

fn committed_at(offset: i64) -> Option<Committed> {
    Some(Committed { offset, metadata: String::new() })
}

#[test]
fn a_takeover_waits_for_the_transaction_of_the_owner_before() {
    let Some(log) = quick() else { return };
    let (topic, id) = (log.topic("pending", 1), unique("app"));
    let other = OpenTransaction::begin(&id, &topic, 5, "30000").leave();
    let mut member = Member::join(&log, subscription(&id, &[&topic], one_input(1)));
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        member.poll(STEP);
        assert!(member.owned.is_empty(), "assigned with offsets that may still change");
    }
    other.commit_transaction(DEADLINE).unwrap();
    member.until("task", |member| !member.owned.is_empty());
    assert_eq!(member.input(at(0, 0)).committed, committed_at(5));
    member.leave();
}

#[test]
fn a_transaction_that_nobody_ends_is_over_at_its_timeout() {
    let Some(log) = quick() else { return };
    let (topic, id) = (log.topic("abandoned", 1), unique("app"));
    let _open = OpenTransaction::begin(&id, &topic, 5, "3000").leave();
    let mut member = Member::owning(&log, subscription(&id, &[&topic], one_input(1)), 1);
    assert_eq!(member.input(at(0, 0)).committed, None);
    member.commit(Interval { offsets: vec![offset(at(0, 0), 1, "")], ..Interval::default() });
    member.leave();
}

// === processes ===

const ROLE: &str = "MILLSTREAM_TEST_ROLE";
const NAMES: &str = "MILLSTREAM_TEST_NAMES";

/// Enough for a transaction to stay open for a while.
const LARGE_INTERVAL_RECORDS: usize = 400_000;

#[test]
#[ignore = "a role for another process, played for the tests of this file"]
fn another_process() {
    if std::env::var(ROLE).is_err() {
        return;
    }
    let names = std::env::var(NAMES).unwrap();
    let [application, instance, topic, out] = names.split(',').collect::<Vec<_>>()[..] else { panic!("{names}") };
    let subscription =
        Subscription { instance: instance.to_owned(), ..subscription(application, &[topic, out], one_input(1)) };
    let mut member = Member::owning(&kafka().unwrap(), subscription, 1);
    let records: Vec<_> = (0..LARGE_INTERVAL_RECORDS).map(|_| (at(1, 0), text("of the killed one"))).collect();
    let offsets = vec![offset(at(0, 0), 9, "of the killed one")];
    member.commit(Interval { outgoing: outgoing(&records), offsets, ..Interval::default() });
}

struct Other(Child);

impl Other {
    fn start(names: &[&str]) -> Other {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "log_kafka::another_process"]);
        command.env(ROLE, "commit").env(NAMES, names.join(",")).stdout(Stdio::null());
        Other(command.spawn().unwrap())
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_killed_process_is_back_at_once_and_its_open_transaction_is_gone() {
    let Some(log) = kafka() else { return };
    let (topic, out) = (log.topic("in", 1), log.topic("out", 1));
    log.produce(&topic, 0, &["first"]);
    let (application, instance) = (unique("app"), unique("instance"));
    let mut other = Other::start(&[&application, &instance, &topic, &out]);
    eventually("an open transaction", || (log.log.offsets(&out, 0).unwrap().end > 0).then_some(()));
    other.kill();
    // The default session of 45 s and the transaction's 10 s would both show.
    let start = Instant::now();
    let subscription = Subscription { instance, ..subscription(&application, &[&topic, &out], one_input(1)) };
    let mut member = Member::owning(&log, subscription, 1);
    assert_eq!(member.input(at(0, 0)).committed, None);
    assert_eq!(member.fetch(at(0, 0), 0, 1)[0].text(), "first");
    let took = start.elapsed();
    println!("first record {took:?} after the kill");
    assert!(took < Duration::from_secs(8), "{took:?}");
    let interval = Interval { outgoing: outgoing(&[(at(1, 0), text("of its successor"))]), ..Interval::default() };
    member.commit(Interval { offsets: vec![offset(at(0, 0), 1, "")], ..interval });
    assert_eq!(log.values(&out, 0), ["of its successor"]);
    member.leave();
}

// === brokers that crash ===

#[test]
fn a_broker_that_goes_away_is_told_once_and_so_is_its_return() {
    if kafka().is_none() {
        return;
    }
    let broker = Brokers::start(1);
    let log = kafka_at(&broker.addresses[0], &[]);
    let topic = log.topic("away", 1);
    let mut member = Member::owning(&log, subscription(&unique("app"), &[&topic], one_input(1)), 1);
    member.client.start(at(0, 0), 0).unwrap();
    broker.kill(0);
    let (mut events, start) = (Vec::new(), Instant::now());
    let busy = process::cpu_time(std::process::id());
    while start.elapsed() < Duration::from_secs(5) {
        member.client.poll(Duration::from_secs(1), &mut events).unwrap();
    }
    let busy = process::cpu_time(std::process::id()) - busy;
    assert!(busy < Duration::from_secs(2), "{busy:?} of CPU in five seconds without a broker");
    assert!(matches!(&events[..], [Event::Disconnected { why: Some(_) }]), "{events:?}");
    assert!(matches!(log.log.ping(Duration::from_secs(1)), Err(Error::Unreachable { .. })));
    assert!(matches!(log.log.topics(), Err(Error::Unreachable { .. })));
    broker.again(0);
    log.produce(&topic, 0, &["back"]);
    events.clear();
    eventually("a record and the return", || {
        member.client.poll(STEP, &mut events).unwrap();
        let record = events.iter().any(|event| matches!(event, Event::Records { .. }));
        let back = events.iter().filter(|event| matches!(event, Event::Disconnected { why: None })).count();
        assert!(back <= 1, "{events:?}");
        (record && back == 1).then_some(())
    });
    member.leave();
}

const CRASHES: u64 = 3;
const DOWN: Duration = Duration::from_secs(5);

/// The broker crashes while intervals are on their way, so that some answers never come. What the events said is what
/// the log holds: each committed interval once, each aborted one not at all.
#[test]
fn an_outcome_is_what_the_log_holds_across_crashes_of_the_broker() {
    if kafka().is_none() {
        return;
    }
    let broker = Brokers::start(1);
    // The coordinator gives a transaction up after two seconds, the client waits four: the crashes below last longer.
    let log = kafka_at(&broker.addresses[0], &[("transaction.timeout.ms", "2000"), ("socket.timeout.ms", "2000")]);
    let (topic, out, id) = (log.topic("in", 1), log.topic("out", 1), unique("app"));
    let mut member = Member::owning(&log, subscription(&id, &[&topic, &out], one_input(1)), 1);
    let mut told: BTreeMap<i64, bool> = BTreeMap::new();
    let mut sequence = 0;
    for round in 0..CRASHES {
        std::thread::scope(|scope| {
            let crash = scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(700 + 37 * round));
                broker.kill(0);
                std::thread::sleep(DOWN);
                broker.again(0);
            });
            while !crash.is_finished() {
                sequence += 1;
                let value = sequence.to_string();
                let interval = Interval {
                    outgoing: outgoing(&[(at(1, 0), text(&value))]),
                    offsets: vec![offset(at(0, 0), sequence, &metadata(7, sequence))],
                    proofs: vec![proof(0, 7, sequence)],
                    ..Interval::default()
                };
                let committed = is_committed(&mut member, interval);
                told.insert(sequence, committed);
            }
        });
    }
    let expected: Vec<String> = told.iter().filter(|(_, yes)| **yes).map(|(n, _)| n.to_string()).collect();
    println!("{} intervals, {} of them committed", told.len(), expected.len());
    assert!(expected.len() < told.len(), "no interval met a crash");
    assert_eq!(log.values(&out, 0), expected);
    let found = log.log.committed(&id, &[(topic, 0)]).unwrap().remove(0).unwrap();
    assert_eq!(found.offset.to_string(), *expected.last().unwrap());
    member.leave();
}

/// The outcome as the member hears it; where its task was lost, as it finds it when it has it again.
fn is_committed(member: &mut Member, interval: Interval) -> bool {
    let sequence = interval.proofs[0].sequence;
    let heard = member.outcomes.len();
    member.client.submit(Interval { sequence: sequence as u64, ..interval }).unwrap();
    member.until("an outcome", |member| member.outcomes.len() > heard || member.owned.is_empty());
    if let Some(outcome) = member.outcomes.get(heard) {
        return matches!(outcome, Outcome::Committed { .. });
    }
    member.until("the task again", |member| !member.owned.is_empty());
    let committed = member.input(at(0, 0)).committed.clone();
    println!("interval {sequence} was lost; committed is {:?}", committed.as_ref().map(|c| c.offset));
    committed.is_some_and(|committed| committed.offset == sequence)
}

/// Longer than the client waits for the answer to a commit, so that it has to find out for itself.
const SILENCE: Duration = Duration::from_secs(7);

#[test]
fn a_commit_whose_answer_never_comes_is_settled_by_what_is_committed() {
    if kafka().is_none() {
        return;
    }
    let proxy = Proxy::bind();
    let broker = Broker::behind(&proxy);
    let log = kafka_at(&broker.address, &[("transaction.timeout.ms", "2000"), ("socket.timeout.ms", "2000")]);
    let (topic, out, id) = (log.topic("in", 1), log.topic("out", 1), unique("app"));
    let mut member = Member::owning(&log, subscription(&id, &[&topic, &out], one_input(1)), 1);
    let interval = |sequence: i64, value| Interval {
        sequence: sequence as u64,
        outgoing: outgoing(&[(at(1, 0), text(value))]),
        changelog: outgoing(&[(at(1, 0), text(value))]),
        offsets: vec![offset(at(0, 0), sequence, &metadata(7, sequence))],
        proofs: vec![proof(0, 7, sequence)],
    };
    member.commit(interval(1, "before"));
    proxy.lose(END_TRANSACTION, Lost::Answer, SILENCE);
    let positions = member.commit(interval(2, "made"));
    assert!(proxy.has_lost());
    assert_eq!(log.values(&out, 0), ["before", "before", "made", "made"]);
    assert_eq!(positions[&at(1, 0)], log.read(&out, 0)[3].offset);
    proxy.lose(END_TRANSACTION, Lost::Request, SILENCE);
    let outcome = member.submit(interval(3, "not made"));
    assert!(proxy.has_lost());
    assert!(matches!(outcome, Outcome::Aborted { .. }), "{outcome:?}");
    member.commit(interval(3, "again"));
    assert_eq!(log.values(&out, 0), ["before", "before", "made", "made", "again", "again"]);
    member.leave();
}

// === records that a topic does not take ===

/// Longer than a client tries it.
const REFUSED: Duration = Duration::from_secs(60);

#[test]
fn a_record_that_its_topic_never_takes_ends_its_client_with_the_topics_name() {
    let Some(log) = kafka() else { return };
    for guarantee in [Guarantee::ExactlyOnce, Guarantee::AtLeastOnce] {
        let (topic, out) = (log.topic("in", 1), unique("young"));
        let configs = [("message.timestamp.before.max.ms".to_owned(), "60000".to_owned())].into();
        log.log.create(&NewTopic { configs, ..new_topic(&out, 1) }).unwrap();
        let subscription = Subscription { guarantee, ..subscription(&unique("app"), &[&topic, &out], one_input(1)) };
        let mut member = Member::owning(&log, subscription, 1);
        let young = now_ms();
        let record = |timestamp| Record { timestamp, ..text("v") };
        let both = outgoing(&[(at(1, 0), record(young)), (at(1, 0), record(0))]);
        let (start, mut sequence) = (Instant::now(), 0);
        let error = loop {
            assert!(start.elapsed() < REFUSED, "{guarantee:?}: it tries it for ever");
            sequence += 1;
            let interval = Interval {
                sequence,
                changelog: both.clone(),
                offsets: vec![offset(at(0, 0), 1, &metadata(7, 1))],
                proofs: vec![proof(0, 7, 1)],
                ..Interval::default()
            };
            member.client.submit(interval).unwrap();
            let mut events = Vec::new();
            let outcome = |event: &Event| matches!(event, Event::Aborted { .. });
            let ended = loop {
                if let Err(error) = member.client.poll(STEP, &mut events) {
                    break Some(error);
                }
                assert!(!events.iter().any(|event| matches!(event, Event::Committed { .. })), "{guarantee:?}");
                if events.iter().any(outcome) {
                    break None;
                }
            };
            match ended {
                Some(error) => break error,
                None => std::thread::sleep(Duration::from_millis(200)),
            }
        };
        assert!(matches!(&error, Error::Refused { .. }) && error.to_string().contains(&out), "{error}");
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_millis() as i64
}
