//! Processes that share the work on Kafka: frozen, joining, leaving, taking over.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rustix::process::Signal;
use tests::chance::{Chance, times};
use tests::chaos::gap;
use tests::chaos::load::Load;
use tests::chaos::verdict;
use tests::chaos::words::{LMDB, PARTITIONS, Shape, TASKS, Words};
use tests::logs::{KAFKA, eventually, kafka};
use tests::millstream::Running;
use tests::redis::Redis;

/// Longer than the session of 3 s: the group has given the tasks away.
const FROZEN: Duration = Duration::from_secs(5);

/// A process with its state directory and its address.
struct Member {
    running: Running,
    state_dir: &'static str,
    address: String,
}

impl Member {
    fn start(words: &Words<'_>, state_dir: &'static str) -> Member {
        let mut running = words.start_in(state_dir);
        let address = running.address();
        Member { running, state_dir, address }
    }

    fn tasks(&self, words: &Words<'_>) -> usize {
        words.running_tasks(&self.address)
    }
}

/// Ends all members but the first, which then has every task, checks everything and ends it too: what they said.
fn settle(words: &Words<'_>, load: Load, mut members: Vec<Member>) -> Vec<String> {
    let mut said: Vec<String> = members.drain(1..).map(|member| words.stop(member.running)).collect();
    let fed = load.end();
    let last = members.remove(0);
    words.until_shared(&[&last.address]);
    words.until_caught_up();
    verdict::check(words, fed, &[last.state_dir]);
    said.push(words.stop(last.running));
    said
}

/// Until both have tasks, and every task runs.
fn until_both_work(words: &Words<'_>, one: &Member, other: &Member) {
    eventually("both work", || {
        let (one, other) = (one.tasks(words), other.tasks(words));
        (one > 0 && other > 0 && one + other == TASKS).then_some(())
    });
}

#[test]
fn a_process_that_was_frozen_commits_nothing_more_and_joins_again() {
    let Some(log) = kafka() else { return };
    let words = Words::new(&log, LMDB);
    let load = Load::start(&words);
    let (one, other) = (Member::start(&words, "one"), Member::start(&words, "other"));
    let both = [(&one, &other), (&other, &one)];
    for (frozen, awake) in both.into_iter().cycle().take(times(both.len())) {
        until_both_work(&words, &one, &other);
        frozen.running.signal(Signal::STOP);
        std::thread::sleep(FROZEN);
        eventually("the other takes over", || (awake.tasks(&words) == TASKS).then_some(()));
        frozen.running.signal(Signal::CONT);
    }
    until_both_work(&words, &one, &other);
    settle(&words, load, vec![one, other]);
}

/// Members that come or go.
const CHANGES: usize = 9;
const BETWEEN: Duration = Duration::from_secs(2);

/// Beside the one that stays.
const GUESTS: [&str; 2] = ["guest", "another-guest"];

#[test]
fn in_a_storm_of_members_no_task_that_stays_is_restored() {
    let Some(log) = kafka() else { return };
    let words = Words::new(&log, LMDB);
    let load = Load::start(&words);
    let steady = Member::start(&words, "steady");
    words.until_shared(&[&steady.address]);
    let (mut said, mut guests, mut names) = (Vec::new(), VecDeque::new(), GUESTS.iter().cycle());
    for _ in 0..times(CHANGES) {
        // One comes, another comes, the first one goes, and so on.
        if guests.len() < GUESTS.len() {
            guests.push_back(Member::start(&words, names.next().expect("there is always another")));
        } else if let Some(guest) = guests.pop_front() {
            said.push(words.stop(guest.running));
        }
        std::thread::sleep(BETWEEN);
    }
    let members = std::iter::once(steady).chain(guests).collect();
    said.extend(settle(&words, load, members));
    let mut came_to_all = 0;
    for (said, partition) in said.iter().flat_map(|said| (0..PARTITIONS).map(move |partition| (said, partition))) {
        let came = came(said, partition);
        let restored = gap::restores(said).iter().filter(|one| one.partition == partition).count();
        assert!(restored <= came, "task 1_{partition} came {came} times and was restored {restored} times:\n{said}");
        came_to_all += came;
    }
    println!("{came_to_all} times a task with a store came");
    assert!(came_to_all > 2 * PARTITIONS as usize, "no task moved");
}

/// How often a process was given the task with a store of this partition.
fn came(said: &str, partition: i32) -> usize {
    let task = format!("task=1_{partition}");
    let is_it = |line: &&str| line.contains(": assigned ") && line.split_whitespace().any(|word| word == task);
    said.lines().filter(is_it).count()
}

#[test]
fn from_one_process_to_three_and_back() {
    let Some(log) = kafka() else { return };
    let words = Words::new(&log, LMDB);
    let load = Load::start(&words);
    let first = Member::start(&words, "first");
    words.until_shared(&[&first.address]);
    let (second, third) = (Member::start(&words, "second"), Member::start(&words, "third"));
    eventually("three share the work", || {
        let tasks = [&first, &second, &third].map(|member| member.tasks(&words));
        (tasks.iter().all(|tasks| *tasks > 0) && tasks.iter().sum::<usize>() == TASKS).then_some(())
    });
    words.stop(third.running);
    words.until_shared(&[&first.address, &second.address]);
    words.stop(second.running);
    settle(&words, load, vec![first]);
}

/// State that all of them can reach: who takes over goes on with what the one before left there.
#[test]
fn with_state_on_a_server_a_dead_ones_heir_and_a_newcomer_go_on_with_what_is_there() {
    let Some(log) = kafka() else { return };
    let redis = Redis::start();
    let shape = Shape { provider: "redis", guarantee: "exactly-once" };
    let words = Words::with_state(&log, shape, &redis.section());
    let load = Load::start(&words);
    let (mut one, other) = (Member::start(&words, "one"), Member::start(&words, "other"));
    until_both_work(&words, &one, &other);
    one.running.kill();
    eventually("the other takes over", || (other.tasks(&words) == TASKS).then_some(()));
    let third = Member::start(&words, "third");
    until_both_work(&words, &other, &third);
    let logged: usize = words.outside().ends(&words.changelog()).iter().sum::<i64>() as usize;
    let said = settle(&words, load, vec![other, third]);
    let read: usize = said.iter().map(|said| gap::read(&words, said)).sum();
    println!("{read} changelog records of {logged} were read by those who took over");
    assert!(read < logged / 2, "stores were restored from the beginning: {said:?}");
}

/// The same where everybody goes in good order: who gives a task away has put into the server all that the log has of it, so
/// who takes it reads nothing.
#[test]
fn with_state_on_a_server_tasks_that_move_in_good_order_go_on_without_a_record_of_their_changelogs() {
    let Some(log) = kafka() else { return };
    let redis = Redis::start();
    let shape = Shape { provider: "redis", guarantee: "exactly-once" };
    // Nobody is taken for dead on a busy machine: that would be no move in good order.
    let words = Words::with(&log, shape, &redis.section(), &PATIENT);
    let load = Load::start(&words);
    let one = Member::start(&words, "one");
    words.until_shared(&[&one.address]);
    until_it_commits(&words, &one);
    let other = Member::start(&words, "other");
    until_both_work(&words, &one, &other);
    until_it_commits(&words, &one);
    until_it_commits(&words, &other);
    let mut said = vec![words.stop(one.running)];
    words.until_shared(&[&other.address]);
    until_it_commits(&words, &other);
    let one = Member::start(&words, "one");
    until_both_work(&words, &other, &one);
    until_it_commits(&words, &one);
    let logged: i64 = words.outside().ends(&words.changelog()).iter().sum();
    said.extend(settle(&words, load, vec![other, one]));
    let lost: Vec<&str> = said.iter().flat_map(|said| said.lines()).filter(|line| line.contains(LOST)).collect();
    assert!(lost.is_empty(), "a move was not in good order: {lost:?}");
    let came: usize = (0..PARTITIONS).map(|at| said.iter().map(|said| came(said, at)).sum::<usize>()).sum();
    let read: Vec<usize> = said.iter().map(|said| gap::read(&words, said)).collect();
    println!("{read:?} of {logged} changelog records were read, {came} times a task with a store came");
    // Each comes to the first, and then to the other, when that joins or at the latest when the first goes.
    assert!(came >= 2 * PARTITIONS as usize, "no task with a store moved: {said:?}");
    assert_eq!(read.iter().sum::<usize>(), 0, "who took over restored what the server had: {said:?}");
}

/// How a process says that its tasks were given away before it could commit.
const LOST: &str = "tasks were lost to another owner";

/// There is something of its own in its stores.
fn until_it_commits(words: &Words<'_>, member: &Member) {
    let commits = || words.metric(&member.address, "millstream_commits_total", "committed");
    let before = commits();
    eventually("commits", || (commits() > before + 2).then_some(()));
}

/// The last stable offset of a partition is behind its end: a transaction is open.
fn is_open(broker: &str, topic: &str, partition: i32) -> bool {
    let end = |isolation: &str| {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", broker).set("isolation.level", isolation);
        let consumer: BaseConsumer = config.create().expect("a consumer can be made");
        consumer.fetch_watermarks(topic, partition, Duration::from_secs(10)).expect("the broker answers").1
    };
    end("read_committed") < end("read_uncommitted")
}

#[test]
fn who_takes_over_waits_for_the_transaction_that_the_owner_left_open() {
    let Some(log) = kafka() else { return };
    let (words, mut chance) = (Words::new(&log, LMDB), Chance::new());
    let broker = std::env::var(KAFKA).expect("there is a broker");
    let load = Load::start(&words);
    let owner = Member::start(&words, "owner");
    words.until_shared(&[&owner.address]);
    let open = || (0..PARTITIONS).any(|partition| is_open(&broker, &words.changelog(), partition));
    eventually("it is frozen in the middle of a transaction", || {
        std::thread::sleep(Duration::from_millis(chance.below(50)));
        owner.running.signal(Signal::STOP);
        let caught = open();
        if !caught {
            owner.running.signal(Signal::CONT);
        }
        caught.then_some(())
    });
    let heir = Member::start(&words, "heir");
    eventually("the heir takes over", || (heir.tasks(&words) == TASKS).then_some(()));
    owner.running.signal(Signal::CONT);
    until_both_work(&words, &owner, &heir);
    settle(&words, load, vec![owner, heir]);
}

const STOPS: usize = 4;
const ALIVE_MS: u64 = 1_000;

#[test]
fn a_process_that_is_told_to_end_commits_and_leaves_nothing_to_restore() {
    let Some(log) = kafka() else { return };
    let (words, mut chance) = (Words::new(&log, LMDB), Chance::new());
    let load = Load::start(&words);
    let mut lives = Vec::new();
    for _ in 0..times(STOPS) {
        let member = Member::start(&words, "state");
        words.until_shared(&[&member.address]);
        std::thread::sleep(Duration::from_millis(chance.below(ALIVE_MS)));
        lives.push(tests::chaos::kills::stop(&words, member.running));
    }
    let read: usize = lives.iter().map(|said| gap::read(&words, said)).sum();
    assert_eq!(read, 0, "records were restored after a clean stop");
    let last = Member::start(&words, "state");
    settle(&words, load, vec![last]);
}

/// Longer than any restart, on a machine that does much else too: the group waits for its members.
const PATIENT: [(&str, &str); 1] = [("session.timeout.ms", "60000")];

/// Much longer than a member takes from its first line to its place in the group.
const SETTLED: Duration = Duration::from_secs(10);

const PLACES: [&str; 3] = ["first", "second", "third"];

/// Its tasks that run, by name.
fn tasks_of(words: &Words<'_>, address: &str) -> Vec<String> {
    let status = words.status(address);
    let tasks = status["tasks"].as_array().expect("a status lists tasks").iter();
    let running = tasks.filter(|task| task["state"] == "RUNNING");
    running.map(|task| task["id"].as_str().expect("a task has a name").to_owned()).collect()
}

/// Tasks that came to a process and that went, as it told.
fn moves(said: &str) -> usize {
    said.lines().filter(|line| line.contains(": assigned task=") || line.contains(": released task=")).count()
}

/// The group knows all its members: a thread that joins late takes a task or two from the others, however well they
/// share the work already.
fn until_no_task_moves(members: &[Member]) {
    let moved = || members.iter().map(|member| moves(&member.running.said())).sum::<usize>();
    let (mut known, mut since) = (moved(), Instant::now());
    eventually("no task moves", || {
        let now = moved();
        if now != known {
            (known, since) = (now, Instant::now());
        }
        (since.elapsed() > SETTLED).then_some(())
    });
}

/// AC-39.
#[test]
fn members_that_stay_are_restarted_one_after_the_other_and_the_others_do_not_notice() {
    let Some(log) = kafka() else { return };
    let words = Words::with_kafka(&log, LMDB, &PATIENT);
    let load = Load::start(&words);
    let start = |place: &'static str| {
        let mut running = words.start_to_stay(place);
        let address = running.address();
        Member { running, state_dir: place, address }
    };
    let mut members = PLACES.map(start);
    eventually("three share the work", || {
        let tasks = members.each_ref().map(|member| member.tasks(&words));
        (tasks.iter().all(|tasks| *tasks > 0) && tasks.iter().sum::<usize>() == TASKS).then_some(())
    });
    until_no_task_moves(&members);
    let before = members.each_ref().map(|member| tasks_of(&words, &member.address));
    for (at, place) in PLACES.into_iter().enumerate() {
        let known = members.each_ref().map(|member| moves(&member.running.said()));
        members[at].running.signal(Signal::TERM);
        eventually("its end", || members[at].running.has_ended().then_some(()));
        let ended = std::mem::replace(&mut members[at], start(place));
        ended.running.finish().ok();
        eventually("it has its tasks again", || (tasks_of(&words, &members[at].address) == before[at]).then_some(()));
        for (other, known) in known.into_iter().enumerate().filter(|(other, _)| *other != at) {
            let said = members[other].running.said();
            assert_eq!(moves(&said), known, "{} noticed that {place} was restarted:\n{said}", PLACES[other]);
        }
    }
    let fed = load.end();
    words.until_caught_up();
    let again: usize = members.iter().map(|member| gap::read(&words, &member.running.said())).sum();
    assert_eq!(again, 0, "records were restored after clean stops");
    // They keep their places after their end too: the first one has everything when their sessions are over.
    let [first, second, third] = members;
    [second, third].into_iter().for_each(|member| drop(words.stop(member.running)));
    words.until_shared(&[&first.address]);
    verdict::check(&words, fed, &[first.state_dir]);
    words.stop(first.running);
}
