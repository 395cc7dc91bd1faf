//! The same application in Kafka Streams and here, by turns, on one real Kafka: each restores what the other has logged, and
//! goes on counting from the offsets that the other has committed.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use millstream::app::App;
use millstream::desk::query::{Keys, Range};
use millstream_engine::partitioner::partition;
use serde_json::Value;
use tests::application::{Application, Input};
use tests::chance::Chance;
use tests::guests::root;
use tests::logs::{self, DEADLINE, KAFKA, THEN, eventually};

const PARTITIONS: i32 = 3;

/// Between two changes of turns.
const RECORDS: usize = 400;

const KEYS: [&str; 16] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "é", "日本", ""];

/// As `tests/guests/cases/src/interop.rs` and `tests/oracle/Interop.java` have them, ms.
const SIZE: i64 = 10_000;
const GAP: i64 = 5_000;

/// What stores hold: a store and a key, of windows with both ends, and the count.
type Counts = BTreeMap<(String, String, Option<(i64, i64)>), i64>;

#[test]
fn kafka_streams_goes_on_where_we_stopped_and_we_where_it_did() {
    let Some(log) = logs::kafka() else { return };
    let mut chance = Chance::new();
    let manifest = "commit_interval = \"50ms\"\n[config.topology]\nkind = \"interop\"\n";
    let application = Application::new(&log, "tests/guests/cases", manifest, &[("in", PARTITIONS)]);
    let mut inputs = feed(&application, &mut chance, Vec::new());
    assert_eq!(ours(&application), expected(&inputs), "ours alone");

    // Nothing new: it holds what it has restored.
    let (restored, held) = streams(&application);
    assert!(restored as usize >= expected(&inputs).len(), "{restored} restored");
    assert_eq!(held, expected(&inputs), "Kafka Streams restored ours");

    inputs = feed(&application, &mut chance, inputs);
    let (_, held) = streams(&application);
    assert_eq!(held, expected(&inputs), "Kafka Streams went on");

    application.forget_state();
    assert_eq!(ours(&application), expected(&inputs), "we restored what is Kafka Streams'");
    inputs = feed(&application, &mut chance, inputs);
    assert_eq!(ours(&application), expected(&inputs), "we went on");

    let (_, held) = streams(&application);
    assert_eq!(held, expected(&inputs), "Kafka Streams restored what both have logged");
}

/// Puts more records into the topic, of about this hour: brokers forget windows of long ago.
fn feed(application: &Application, chance: &mut Chance, mut inputs: Vec<Input>) -> Vec<Input> {
    const HOUR_MS: i64 = 3_600_000;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let begin = inputs.first().map_or(now - HOUR_MS - THEN, |first| first.timestamp - THEN);
    let from = inputs.len();
    for at in from..from + RECORDS {
        let key = KEYS[chance.below(KEYS.len() as u64) as usize];
        // Forward by half a second, with disorder of some windows.
        let ms = begin + at as i64 * 500 - chance.below(20_000) as i64 * i64::from(at > 50);
        let input = Input::at(ms, "in").key(key).value(format!("v{at}"));
        inputs.push(input.partition(partition(key.as_bytes(), PARTITIONS)));
    }
    application.produce(&inputs[from..]);
    inputs
}

/// Computed from the records alone.
fn expected(inputs: &[Input]) -> Counts {
    let mut counts = Counts::new();
    let mut times: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for input in inputs {
        let key = String::from_utf8(input.key.clone().unwrap()).unwrap();
        let start = input.timestamp - input.timestamp % SIZE;
        *counts.entry(("counts".into(), key.clone(), None)).or_default() += 1;
        *counts.entry(("windows".into(), key.clone(), Some((start, start + SIZE)))).or_default() += 1;
        times.entry(key).or_default().push(input.timestamp);
    }
    for (key, mut times) in times {
        times.sort_unstable();
        let sessions = times.chunk_by(|earlier, later| later - earlier <= GAP);
        for session in sessions {
            let ends = (session[0], session[session.len() - 1]);
            counts.insert(("sessions".into(), key.clone(), Some(ends)), session.len() as i64);
        }
    }
    counts
}

/// Runs ours to the end of its input: what its stores hold.
fn ours(application: &Application) -> Counts {
    application.run_to_end_and(|app| {
        // What is committed last is seen a moment later.
        let mut last = Counts::new();
        eventually("the stores stand still", || {
            let held = held(app);
            let stands = held == last;
            last = held;
            (stands && app.is_at_end().unwrap()).then_some(())
        });
        last
    })
}

fn held(app: &App) -> Counts {
    let mut counts = Counts::new();
    for store in ["counts", "windows", "sessions"] {
        let all = Keys::Range(Range { limit: usize::MAX, ..Range::default() });
        let page = eventually("an answer", || app.handle().query(store, all.clone(), DEADLINE).ok());
        assert!(page.next.is_none(), "more entries in {store} than one page holds");
        for row in page.rows {
            let key = (store.to_owned(), String::from_utf8(row.key).unwrap(), row.window.map(|w| (w.start, w.end)));
            counts.insert(key, i64::from_be_bytes(row.value.try_into().unwrap()));
        }
    }
    counts
}

/// Runs Kafka Streams, with no state of its own, to the end of its input: how many records it restored, and what its stores
/// hold.
fn streams(application: &Application) -> (u64, Counts) {
    let brokers = std::env::var(KAFKA).unwrap();
    let args = ["streams", "--brokers", &brokers, "--app", application.id(), "--in", &application.topic("in")];
    let output = Command::new(root().join("tests/oracle/run")).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (mut restored, mut counts) = (0, Counts::new());
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if let Some(records) = line["restored"].as_u64() {
            restored = records;
            continue;
        }
        let text = |name: &str| line[name].as_str().unwrap().to_owned();
        let ends = line["start"].as_i64().map(|start| (start, line["end"].as_i64().unwrap()));
        counts.insert((text("store"), text("key"), ends), line["value"].as_i64().unwrap());
    }
    (restored, counts)
}
