//! One program in as many builds as a test wants: the test writes another stamp over the one in the component's bytes
//! (`tests::builds`).
//!
//! Counts the records of each key in a store of its own and says with every count which build has counted.

use std::hint::black_box;

use millstream_sdk::prelude::*;

/// Number and kind of the build, found in the component's bytes by what is in front of them.
static STAMP: [u8; 25] = *b"stamp:build=0000,kind=n;;";

/// What is written at a place of the stamp now; the compiler must not know it.
fn stamped(from: usize, len: usize) -> String {
    let stamp: &[u8] = black_box(&STAMP);
    stamp.iter().skip(from).take(len).map(|byte| char::from(*byte)).collect()
}

fn build() -> String {
    stamped(12, 4)
}

/// `n`: nothing special. `t`: traps at a record with the value `boom`. `m`: has a map in front. `x`: has one sink more.
/// `c`: keeps its counts in other bytes. `d`: does not describe itself. `a`: counts in an aggregation, so that the store may
/// have a cache; `b`: so too, and traps as `t` does; `f`: the same, but behind the store.
fn kind() -> String {
    stamped(22, 1)
}

fn topology(app: &mut Topology) {
    let kind = kind();
    assert_ne!(kind, "d", "this build does not describe itself");
    let records = app.stream::<String, String>("records");
    if matches!(kind.as_str(), "a" | "b" | "f") {
        return aggregated(&records);
    }
    let records = if kind == "m" { records.map_values(|value| value).named("unchanged") } else { records };
    let counted = match kind.as_str() {
        "c" => {
            let counts = app.store::<String, String>("counts");
            records.process("count", |init| InText { counts: init.store(&counts) })
        }
        _ => {
            let counts = app.store::<String, i64>("counts");
            records.process("count", |init| Counter { counts: init.store(&counts) })
        }
    };
    counted.to("counted");
    if kind == "x" {
        counted.to("copied");
    }
}

/// Says of each count which build has made it and which has said so: `BUILD:COUNT:VALUE:BUILD`.
fn aggregated(records: &Stream<String, String>) {
    let count = |_: &String, value: String, so_far: String| {
        assert!(kind() != "b" || value != "boom", "this build traps");
        let count = so_far.split(':').nth(1).and_then(|count| count.parse::<i64>().ok()).unwrap_or(0) + 1;
        format!("{}:{count}:{value}", build())
    };
    let totals = records.group_by_key().aggregate(String::new, count, "totals").to_stream();
    let said = totals.map_values(|total| {
        assert!(kind() != "f" || !total.ends_with(":boom"), "this build traps");
        format!("{total}:{}", build())
    });
    said.to("counted");
}

struct Counter {
    counts: KeyValueStore<String, i64>,
}

impl Processor<String, String, String, String> for Counter {
    fn process(&mut self, record: Record<String, String>, ctx: &mut Context<String, String>) -> Result<(), Failure> {
        let count = self.counts.get(&record.key)?.unwrap_or(0) + 1;
        self.counts.put(&record.key, &count);
        assert!(kind() != "t" || record.value != "boom", "this build traps");
        ctx.forward(record.with_value(format!("{}:{count}", build())));
        Ok(())
    }
}

struct InText {
    counts: KeyValueStore<String, String>,
}

impl Processor<String, String, String, String> for InText {
    fn process(&mut self, record: Record<String, String>, ctx: &mut Context<String, String>) -> Result<(), Failure> {
        let count = self.counts.get(&record.key)?.and_then(|count| count.parse::<i64>().ok()).unwrap_or(0) + 1;
        self.counts.put(&record.key, &count.to_string());
        ctx.forward(record.with_value(format!("{}:{count}", build())));
        Ok(())
    }
}

millstream_sdk::plugin!(topology);
