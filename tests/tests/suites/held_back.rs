//! A table whose changes are held back in a buffer with a bound: what it has no room for goes, each row once, over
//! restarts, deaths and the loss of the state (semantics.md AC-31).

use millstream_engine::record::Record;
use rustix::process::Signal;
use serde_json::json;
use tests::guests;
use tests::logs::{THEN, TestLog, each_log, eventually, pair, unique};
use tests::millstream::{Millstream, Running};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Stopped,
    Killed,
    /// And its state is gone: all that was held back comes from the changelog.
    Lost,
}

/// A count whose changes wait for ever, three at the most.
fn counting(log: &TestLog, [keys, out]: [&str; 2], provider: &str, guarantee: &str) -> Millstream {
    let described = json!({
        "version": 1,
        "nodes": [
            {"name": "keys", "op": "source", "topic": keys},
            {"name": "count", "op": "count", "inputs": ["keys"], "store": "counts"},
            {"name": "held", "op": "suppress", "inputs": ["count"], "store": "held",
             "suppress": {"until": "time-limit", "ms": i64::MAX, "max_records": 3}},
            {"name": "changes", "op": "to-stream", "inputs": ["held"]},
            {"name": "out", "op": "sink", "inputs": ["changes"], "topic": out},
        ],
        "stores": [
            {"name": "counts", "kind": "key-value", "key": "bytes", "value": "i64"},
            {"name": "held", "kind": "key-value", "key": "bytes", "value": "bytes"},
        ],
    });
    let mill = Millstream::new(log.log.url());
    std::fs::write(mill.dir().join("guest.wasm"), guests::described_as(&described.to_string()).unwrap()).unwrap();
    // To a broker these records are old: the changelog would be compacted under the run.
    let manifest = format!(
        "id = \"{}\"\ncomponent = \"guest.wasm\"\nstate_dir = \"state\"\nguarantee = \"{guarantee}\"\ncommit_interval = \
         \"20ms\"\n[state]\nprovider = \"{provider}\"\n[changelog]\ntopic_configs = {{ \"min.compaction.lag.ms\" = \
         \"9223372036854775807\", \"retention.ms\" = \"-1\" }}\n",
        unique("held")
    );
    mill.write("app.toml", &manifest);
    mill
}

/// Records of the keys `kN`, each at N ms.
fn write(log: &TestLog, topic: &str, keys: std::ops::RangeInclusive<i64>) {
    let mut writer = log.log.writer().unwrap();
    for at in keys {
        let key = format!("k{at}");
        writer.send(topic, Some(0), Record { timestamp: THEN + at, ..pair(&key, "") }).unwrap();
    }
    writer.flush().unwrap();
}

/// `key=count@ms`.
fn rows(log: &TestLog, topic: &str) -> Vec<String> {
    let show = |record: &tests::logs::Owned| {
        let key = String::from_utf8(record.key.clone().unwrap()).unwrap();
        let count = i64::from_be_bytes(record.value.as_deref().unwrap().try_into().unwrap());
        format!("{key}={count}@{}", record.timestamp - THEN)
    };
    log.read(topic, 0).iter().map(show).collect()
}

fn started(mill: &Millstream) -> Running {
    let mut running = mill.start(&["run", ".", "--http", "0"]);
    running.ready();
    running
}

#[test]
fn a_full_buffer_lets_go_of_its_oldest_rows_once_over_restarts_too() {
    each_log(|log| {
        for (provider, guarantee, end) in [
            ("lmdb", "exactly-once", End::Stopped),
            ("lmdb", "exactly-once", End::Killed),
            ("lmdb", "exactly-once", End::Lost),
            ("memory", "exactly-once", End::Killed),
            ("memory", "at-least-once", End::Stopped),
        ] {
            let (keys, out) = (log.topic("keys", 1), log.topic("out", 1));
            let mill = counting(log, [&keys, &out], provider, guarantee);
            write(log, &keys, 1..=3);
            mill.run(&["run", ".", "--until-end"]).ok();
            assert_eq!(rows(log, &out), [""; 0], "{provider} {guarantee} {end:?}");

            let mut running = started(&mill);
            write(log, &keys, 4..=5);
            let first = ["k1=1@1", "k2=1@2"];
            eventually("two rows", || (rows(log, &out).len() >= first.len()).then_some(()));
            assert_eq!(rows(log, &out), first);
            if end == End::Killed {
                running.kill();
            } else {
                running.signal(Signal::TERM);
                running.finish().ok();
            }
            if end == End::Lost {
                std::fs::remove_dir_all(mill.dir().join("state")).unwrap();
            }

            let running = started(&mill);
            write(log, &keys, 6..=8);
            let all = ["k1=1@1", "k2=1@2", "k3=1@3", "k4=1@4", "k5=1@5"];
            eventually("five rows", || (rows(log, &out).len() >= all.len()).then_some(()));
            running.signal(Signal::TERM);
            running.finish().ok();
            mill.run(&["run", ".", "--until-end"]).ok();
            assert_eq!(rows(log, &out), all, "{provider} {guarantee} {end:?}");
        }
    });
}
