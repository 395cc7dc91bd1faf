//! Several processes on one embedded log, and what a killed one leaves. The other processes are this program again,
//! told by the environment which of its roles to play.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use millstream::log::{Error, Event, Fetched, Interval, Isolation};
use millstream_engine::record::Record;
use tests::logs::{DEADLINE, eventually, new_topic, owned, text, unique};
use tests::member::{Member, at, offset, one_input, outgoing, subscription};

use super::embedded::log_of;

const ROLE: &str = "MILLSTREAM_TEST_ROLE";
const DIR: &str = "MILLSTREAM_TEST_DIR";
const NAME: &str = "MILLSTREAM_TEST_NAME";

/// What the other process prints in front of what it wants to say, past the test harness's own lines.
const SAYS: &str = "> ";

// === the other process ===

#[test]
#[ignore = "a role for another process, played for the tests of this file"]
fn another_process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let (dir, name) = (std::env::var(DIR).unwrap(), std::env::var(NAME).unwrap());
    match role.as_str() {
        "write" => write(Path::new(&dir), &name),
        "tick" => tick(Path::new(&dir)),
        "commit" => commit(Path::new(&dir), &name),
        "own" => own(Path::new(&dir), &name),
        other => panic!("no role {other}"),
    }
}

fn say(what: impl std::fmt::Display) {
    println!("{SAYS}{what}");
    std::io::stdout().flush().unwrap();
}

/// Writes `name:0`, `name:1`, … to topic `t`, seven at a time, and says how many are acknowledged, until nobody
/// listens.
fn write(dir: &Path, name: &str) {
    let log = log_of(dir);
    let mut writer = log.log.writer().unwrap();
    for i in 0.. {
        writer.send("t", Some(0), text(&format!("{name}:{i}"))).unwrap();
        if i % 7 == 6 {
            writer.flush().unwrap();
            say(i + 1);
        }
    }
}

/// Writes a record five times a second, with the time it was written at.
fn tick(dir: &Path) {
    let log = log_of(dir);
    let mut writer = log.log.writer().unwrap();
    loop {
        std::thread::sleep(Duration::from_millis(200));
        writer.send("t", Some(0), Record { timestamp: now_ms(), ..text("tick") }).unwrap();
        writer.flush().unwrap();
        say("tick");
    }
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    now.as_millis() as i64
}

/// Commits intervals of one output, two changelog records and the offset, and says how many are committed.
fn commit(dir: &Path, name: &str) {
    let mut member = Member::owning(&log_of(dir), loop_subscription(name), 1);
    let first = member.input(at(0, 0)).committed.as_ref().map_or(0, |committed| committed.offset);
    for i in first.. {
        let value = i.to_string();
        member.commit(Interval {
            outgoing: outgoing(&[(at(1, 0), text(&value))]),
            changelog: outgoing(&[(at(2, 0), text(&value)), (at(2, 0), text(&value))]),
            offsets: vec![offset(at(0, 0), i + 1, &value)],
            ..Interval::default()
        });
        say(i + 1);
    }
}

fn loop_subscription(application: &str) -> millstream::log::Subscription {
    subscription(application, &["t", "out", "changelog"], one_input(1))
}

/// Runs an application and does nothing, until nobody listens.
fn own(dir: &Path, name: &str) {
    let mut member = Member::owning(&log_of(dir), loop_subscription(name), 1);
    loop {
        say("running");
        member.poll(Duration::from_secs(1));
    }
}

// === this process ===

/// Killed, as by `kill -9`, when it is dropped.
struct Other {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Other {
    fn start(role: &str, dir: &Path, name: &str) -> Other {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "log::processes::another_process", "--nocapture"])
            .envs([(ROLE, role), (NAME, name)])
            .env(DIR, dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Other { child, lines }
    }

    /// The next thing it says.
    fn hear(&mut self) -> String {
        let mut said = self.lines.by_ref().map_while(std::result::Result::ok);
        said.find_map(|line| line.strip_prefix(SAYS).map(str::to_owned)).expect("the other process goes on")
    }

    fn hear_count(&mut self) -> i64 {
        self.hear().parse().unwrap()
    }

    /// Kills it; the last thing it had said.
    fn kill(mut self, mut last: i64) -> i64 {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        while let Some(Ok(line)) = self.lines.next() {
            // The very last line may be cut.
            last = line.strip_prefix(SAYS).and_then(|count| count.parse().ok()).unwrap_or(last);
        }
        last
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory with the topics the roles use.
fn dir_with_topics() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let log = log_of(dir.path());
    ["t", "out", "changelog"].iter().for_each(|name| log.log.create(&new_topic(name, 1)).unwrap());
    dir
}

/// The numbers of one writer, in the order of the log.
fn numbers(values: &[String], name: &str) -> Vec<i64> {
    let own = values.iter().filter_map(|value| value.strip_prefix(name)?.strip_prefix(':'));
    own.map(|number| number.parse().unwrap()).collect()
}

#[test]
fn processes_write_at_once_and_nothing_is_lost() {
    let dir = dir_with_topics();
    let mut others = ["a", "b"].map(|name| Other::start("write", dir.path(), name));
    let log = log_of(dir.path());
    let mut acknowledged = [0; 2];
    let mut own = 0;
    while own < 200 || acknowledged.iter().any(|count| *count < 200) {
        log.produce("t", 0, &[&format!("own:{own}")]);
        own += 1;
        for (other, count) in others.iter_mut().zip(&mut acknowledged) {
            if *count < own {
                *count = other.hear_count();
            }
        }
    }
    let [a, b] = others;
    let acknowledged = [("a", a.kill(acknowledged[0])), ("b", b.kill(acknowledged[1])), ("own", own)];
    let values = log.values("t", 0);
    for (name, acknowledged) in acknowledged {
        let found = numbers(&values, name);
        assert!(found.len() as i64 >= acknowledged, "{name}: {} of {acknowledged}", found.len());
        assert_eq!(found, (0..found.len() as i64).collect::<Vec<_>>(), "{name}: order");
    }
}

/// In this process nothing happens that could wake the reader.
#[test]
fn a_waiting_reader_hears_of_another_process_soon() {
    let dir = dir_with_topics();
    let log = log_of(dir.path());
    let mut reader = log.log.reader(Isolation::Committed).unwrap();
    reader.assign(&[("t".into(), 0, 0)]).unwrap();
    let _other = Other::start("tick", dir.path(), "");
    let start = Instant::now();
    let mut heard = 0;
    while heard < 5 {
        assert!(start.elapsed() < DEADLINE);
        let mut out = Vec::new();
        reader.poll(Duration::from_secs(30), &mut out).unwrap();
        let now = now_ms();
        for fetched in out {
            if let Fetched::Records { records, .. } = fetched {
                let late: Vec<i64> = owned(&records).iter().map(|record| now - record.timestamp).collect();
                assert!(late.iter().all(|late_ms| *late_ms < 1_000), "heard after {late:?} ms");
                heard += records.len();
            }
        }
    }
}

#[test]
fn a_killed_writer_loses_nothing_acknowledged() {
    let dir = dir_with_topics();
    for round in 0..5 {
        let name = format!("round{round}");
        let mut other = Other::start("write", dir.path(), &name);
        let mut acknowledged = 0;
        while acknowledged < 70 * (round + 1) {
            acknowledged = other.hear_count();
        }
        let acknowledged = other.kill(acknowledged);
        // Opened anew, beside a process that was killed in the middle of a commit.
        let found = numbers(&log_of(dir.path()).values("t", 0), &name);
        assert!(found.len() as i64 >= acknowledged, "{} of {acknowledged}", found.len());
        assert_eq!(found, (0..found.len() as i64).collect::<Vec<_>>());
    }
}

#[test]
fn a_killed_application_leaves_whole_intervals() {
    let dir = dir_with_topics();
    let id = unique("app");
    for round in 1..=5 {
        let mut other = Other::start("commit", dir.path(), &id);
        let mut said = 0;
        while said < 20 * round {
            said = other.hear_count();
        }
        let said = other.kill(said);
        let log = log_of(dir.path());
        let committed = log.log.committed(&id, &[("t".into(), 0)]).unwrap().remove(0).unwrap();
        assert!(committed.offset >= said, "{} of {said}", committed.offset);
        assert_eq!(committed.metadata, (committed.offset - 1).to_string());
        let expected: Vec<String> = (0..committed.offset).map(|i| i.to_string()).collect();
        assert_eq!(log.values("out", 0), expected, "each output once");
        assert_eq!(
            log.values("changelog", 0),
            expected.iter().flat_map(|v| [v.clone(), v.clone()]).collect::<Vec<_>>()
        );
    }
}

#[test]
fn an_application_that_runs_elsewhere_is_refused_by_its_process_until_that_is_killed() {
    let dir = dir_with_topics();
    let log = log_of(dir.path());
    let id = unique("app");
    let mut other = Other::start("own", dir.path(), &id);
    assert_eq!(other.hear(), "running");
    let pid = other.child.id();
    match log.log.client(loop_subscription(&id)).err().unwrap() {
        Error::AlreadyRunning { application, holder } => {
            assert_eq!((application, holder), (id.clone(), format!("process {pid}")));
        }
        error => panic!("{error:?}"),
    }
    Member::owning(&log, loop_subscription(&unique("another")), 1).leave();
    other.kill(0);
    let start = Instant::now();
    Member::owning(&log, loop_subscription(&id), 1).leave();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

/// The lock file is gone, say by a cleaning job: the epoch still keeps the older owner from committing.
#[test]
fn an_owner_that_was_replaced_commits_nothing_more() {
    let dir = dir_with_topics();
    let log = log_of(dir.path());
    let id = unique("app");
    let mut member = Member::owning(&log, loop_subscription(&id), 1);
    std::fs::remove_file(dir.path().join("applications").join(format!("{id}.lock"))).unwrap();
    let mut other = Other::start("own", dir.path(), &id);
    assert_eq!(other.hear(), "running");
    let offsets = vec![offset(at(0, 0), 0, "late")];
    member.client.submit(Interval { sequence: 1, offsets, ..Interval::default() }).unwrap();
    let lost = eventually("loss", || {
        let mut events = Vec::new();
        member.client.poll(Duration::from_millis(100), &mut events).unwrap();
        events.pop()
    });
    assert!(matches!(&lost, Event::Revoked { tasks, lost: true } if tasks.len() == 1), "{lost:?}");
    let stopped = member.client.poll(Duration::ZERO, &mut Vec::new()).unwrap_err();
    assert!(matches!(&stopped, Error::AlreadyRunning { application, .. } if *application == id), "{stopped:?}");
    assert_eq!(log.log.committed(&id, &[("t".into(), 0)]).unwrap(), [None]);
}

#[test]
fn a_stopped_process_does_not_keep_others_from_reading() {
    let dir = dir_with_topics();
    let log = log_of(dir.path());
    let mut other = Other::start("write", dir.path(), "a");
    let acknowledged = other.hear_count();
    let stop = |signal: &str| Command::new("kill").args([signal, &other.child.id().to_string()]).status().unwrap();
    assert!(stop("-STOP").success());
    assert!(numbers(&log.values("t", 0), "a").len() as i64 >= acknowledged);
    assert!(stop("-CONT").success());
}
