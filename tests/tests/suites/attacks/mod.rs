//! Hostile guests beside a neighbour in one process. Whatever the attacker does, the neighbour's outcome is exact, and
//! what becomes of the attacker is what the table of attacks asks for. Speed is printed, alone and under each
//! attack; it says something where nothing runs beside it (`tests/run -- -p tests attacks:: -- --test-threads 1`).

mod artefacts;
mod neighbour;
mod poison;
mod providers;
mod requests;
mod restarts;

use std::time::{Duration, Instant};

use tests::chaos::outside::Values;
use tests::guests;
use tests::logs::eventually;

use neighbour::{Fared, Street, half_rate};
use poison::header;

/// Records that an attacker gets to do its worst with; one for each of its tasks if those are more.
const RECORDS: usize = 40;

/// A guest, what its manifest says beside the usual, and how each of its records ends.
struct Attack {
    id: &'static str,
    guest: &'static str,
    manifest: &'static str,
    partitions: i32,
    exception: &'static str,
    message: &'static str,
}

const DEFAULT: Attack = Attack { id: "", guest: "", manifest: "", partitions: 1, exception: "trap", message: "" };

impl Attack {
    /// Beside the neighbour, every record of the attacker a dead letter.
    fn run(&self) -> Street {
        let mut street = self.street("on_error = \"dead-letter:letters\"");
        street.topic("letters", 1);
        street.start(&["neighbour", "attacker"]);
        let fared = street.feed(half_rate());
        self.tell(&fared);
        self.check_letters(&street, self.records());
        street
    }

    /// Every record has become a dead letter, once and for the reason that is expected; the attacker goes on.
    fn check_letters(&self, street: &Street, records: usize) {
        let letters = street.outside_once("letters", records, Values::Text);
        assert_eq!(letters.len(), records, "{}", self.id);
        for letter in &letters {
            let message = header(letter, "message");
            assert_eq!(header(letter, "exception"), self.exception, "{}: {message}", self.id);
            assert!(message.contains(self.message), "{}: {message}", self.id);
        }
        assert_eq!(street.status("attacker")["state"], "RUNNING", "{}", self.id);
    }

    fn records(&self) -> usize {
        RECORDS.max(self.partitions as usize)
    }

    /// A street with the attacker in it, and its records.
    fn street(&self, policy: &str) -> Street {
        let street = self.street_without_records(policy);
        self.produce(&street, self.records());
        street
    }

    fn produce(&self, street: &Street, records: usize) {
        street.produce("in", self.partitions, (0..records).map(|number| format!("record {number}")));
    }

    fn street_without_records(&self, policy: &str) -> Street {
        half_rate();
        let street = Street::new();
        street.topic("in", self.partitions);
        street.topic("out", 1);
        std::fs::create_dir(street.mill.dir().join("attacker")).unwrap();
        std::fs::write(street.mill.dir().join("attacker/guest.wasm"), guests::wat(self.guest).unwrap()).unwrap();
        let manifest = format!("id = \"attacker\"\ncomponent = \"guest.wasm\"\n{policy}\n{}\n", self.manifest);
        street.mill.write("attacker/app.toml", &manifest);
        street
    }

    fn tell(&self, fared: &Fared) {
        let Fared { records, per_s, p99 } = fared;
        println!(
            "{:4} {:16} the neighbour: {records} records exact, {per_s:.0} a second, p99 {p99:?}",
            self.id, self.guest
        );
    }
}

/// Keys of T28, in portions that a producer can hold.
const PORTIONS: usize = 20;
const NEW_KEYS: usize = 50_000;

#[test]
fn t0_alone_the_neighbour_is_exact_and_its_series_do_not_grow_with_its_keys() {
    let rate = half_rate();
    let mut street = Street::new();
    street.start(&["neighbour"]);
    let series = |street: &Street| street.metrics().lines().filter(|line| !line.starts_with('#')).count();
    DEFAULT.tell(&street.feed(rate));
    let few = series(&street);
    // T28: a million more keys.
    for portion in 1..=PORTIONS {
        let keys = (portion - 1) * NEW_KEYS..portion * NEW_KEYS;
        street.produce("lines", 2, keys.map(|number| format!("key{number}")));
        eventually("all keys of the portion", || {
            let metrics = street.metrics();
            let held = metrics.lines().find(|line| line.starts_with("millstream_store_keys"))?;
            let keys = held.rsplit(' ').next()?.parse::<f64>().ok()?;
            (keys >= (portion * NEW_KEYS) as f64).then_some(())
        });
    }
    assert_eq!(series(&street), few);
    street.stop().ok();
}

#[test]
fn t1_an_endless_loop() {
    let manifest = "[limits]\ncall = \"60ms\"";
    let message = "ran longer than 60ms";
    Attack { id: "T1", guest: "endless-loop", manifest, exception: "deadline", message, ..DEFAULT }.run().stop().ok();
}

#[test]
fn t2_a_loop_of_large_copies() {
    let manifest = "[limits]\ncall = \"40ms\"";
    Attack { id: "T2", guest: "bulk-copies", manifest, exception: "deadline", message: "", ..DEFAULT }
        .run()
        .stop()
        .ok();
}

#[test]
fn t3_memory_in_a_hundred_tasks() {
    let message = "may have 4.0 MiB";
    let (manifest, partitions) = ("threads = 4\n[limits]\nmemory = \"4MiB\"", 100);
    let attack = Attack { id: "T3", guest: "greedy", manifest, partitions, exception: "memory", message };
    let mut street = attack.run();
    let peak = peak_mib(street.id());
    println!("T3   peak of the process: {peak} MiB");
    // What all of them may have together, a tenth more, and what the process takes without them.
    assert!(peak < 100 * 4 * 11 / 10 + 300, "{peak} MiB");
    street.stop().ok();
}

#[test]
fn t4_a_table_that_grows_and_grows() {
    let message = "may have 100000 ([limits] tables)";
    Attack { id: "T4", guest: "table-bomb", exception: "memory", message, ..DEFAULT }.run().stop().ok();
}

/// Resident memory of a process at its highest.
fn peak_mib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let row = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    row.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

#[test]
fn t5_a_deep_recursion() {
    Attack { id: "T5", guest: "deep-recursion", message: "call stack exhausted", ..DEFAULT }.run().stop().ok();
}

/// What one answer of 200 MiB may leave in the process, which copies none of it.
const LEFT_MIB: u64 = 64;

#[test]
fn t6_a_list_of_200_mebibytes() {
    let manifest = "[limits]\nmemory = \"256MiB\"";
    let attack = Attack { id: "T6", guest: "huge-list", manifest, message: "too much data", ..DEFAULT };
    let mut street = attack.street_without_records("on_error = \"dead-letter:letters\"");
    street.topic("letters", 1);
    street.start(&["neighbour", "attacker"]);
    eventually("the attacker runs", || (street.status("attacker")["state"] == "RUNNING").then_some(()));
    // One list while nobody else does anything, and then one after the other beside the neighbour.
    let before = peak_mib(street.id());
    attack.produce(&street, 1);
    attack.check_letters(&street, 1);
    let peak = peak_mib(street.id());
    println!("T6   peak of the process: {before} MiB before the list, {peak} MiB behind it");
    assert!(peak < before + LEFT_MIB, "the list is not copied: {before} MiB before it, {peak} MiB behind it");
    attack.produce(&street, RECORDS - 1);
    attack.tell(&street.feed(half_rate()));
    attack.check_letters(&street, RECORDS);
    street.stop().ok();
}

#[test]
fn t7_a_flood_of_handles() {
    Attack { id: "T7", guest: "handle-flood", message: "handle", ..DEFAULT }.run().stop().ok();
}

#[test]
fn t8_a_flood_of_host_calls() {
    Attack { id: "T8", guest: "host-call-flood", message: "more than 100000 calls", ..DEFAULT }.run().stop().ok();
}

#[test]
fn t9_a_flood_of_results() {
    let message = "more than 1000 results for one record ([limits] outputs)";
    Attack { id: "T9", guest: "result-flood", exception: "bad frame", message, ..DEFAULT }.run().stop().ok();
    let manifest = "[limits]\noutput_bytes = \"1KiB\"";
    let message = "more than 1024 bytes for one record ([limits] output_bytes)";
    Attack { id: "T9", guest: "large-result", manifest, exception: "bad frame", message, ..DEFAULT }.run().stop().ok();
}

/// Lines of one guest at once, and of each second after that ([limits] log_lines).
const LINES_AT_ONCE: f64 = 1_000.0;
const LINES_PER_S: f64 = 100.0;

#[test]
fn t10_a_flood_of_log_lines_with_escapes() {
    let attack = Attack { id: "T10", guest: "log-flood", ..DEFAULT };
    let mut street = attack.street("");
    let began = Instant::now();
    // A guest's lines of this level are shown to who asks for them.
    street.start_with(&["neighbour", "attacker"], |command| {
        command.env("RUST_LOG", "info");
    });
    attack.tell(&street.feed(half_rate()));
    assert_eq!(street.status("attacker")["state"], "RUNNING");
    let said = street.stop().ok().stderr;
    assert!(!said.contains('\u{1b}') && !said.contains('\r'), "no escape reaches the terminal");
    assert!(!said.lines().any(|line| line.starts_with("ERROR millstream: all is lost")), "no line is forged");
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("all is lost")).collect();
    let most = LINES_AT_ONCE + LINES_PER_S * began.elapsed().as_secs_f64();
    assert!(!lines.is_empty() && lines.len() as f64 <= most, "{} lines, {most:.0} at the most", lines.len());
    // What it is called is the host's word, and the text stays one field's.
    assert!(lines.iter().all(|line| line.contains("guest") && line.contains("attacker")), "{:?}", lines.first());
}

#[test]
fn t11_a_hoard_in_a_store_that_is_full() {
    let manifest = "[state]\nprovider = \"lmdb\"\nmax_size = \"16MiB\"";
    let attack = Attack { id: "T11", guest: "hoards", manifest, ..DEFAULT };
    let mut street = attack.street("");
    street.start(&["neighbour", "attacker"]);
    for portion in 0..20 {
        street.produce("in", 1, [format!("more {portion}")]);
        std::thread::sleep(Duration::from_millis(50));
    }
    attack.tell(&street.feed(half_rate()));
    let held = files(&street.mill.dir().join("attacker")).into_iter().filter(|(path, _)| path.ends_with("data.mdb"));
    for (path, bytes) in held {
        assert!(bytes <= 17 << 20, "{path}: {bytes}");
    }
    println!("T11  the attacker: {}", street.status("attacker")["state"]);
    // It has hit its bound, and whoever looks after it is told which one.
    eventually("it is told", || {
        let said = street.said();
        (said.contains("is full") && said.contains("max_size")).then_some(())
    });
    assert_eq!(street.status("neighbour")["state"], "RUNNING");
}

#[test]
fn t17_what_one_instance_leaves_behind_no_other_finds() {
    let (manifest, partitions) = ("threads = 4", 8);
    let message = "unreachable";
    Attack { id: "T17", guest: "leaves-traces", manifest, partitions, message, ..DEFAULT }.run().stop().ok();
}

fn files(dir: &std::path::Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push((entry.path().display().to_string(), entry.metadata().unwrap().len())),
        }
    }
    found
}

/// F22: thousands of traps under `skip` cost the attacker its own time.
#[test]
fn t24_a_storm_of_traps() {
    let attack = Attack { id: "T24", guest: "deep-recursion", ..DEFAULT };
    let mut street = attack.street("on_error = \"skip\"");
    street.produce("in", 1, (0..20_000).map(|number| format!("more {number}")));
    street.start(&["neighbour", "attacker"]);
    attack.tell(&street.feed(half_rate()));
    let metrics = street.metrics();
    let dropped = metrics.lines().find(|line| {
        line.starts_with("millstream_dropped_records_total") && line.contains("attacker") && line.contains("skipped")
    });
    println!("T24  {}", dropped.expect("what was skipped is counted"));
    assert_eq!(street.status("attacker")["state"], "RUNNING");
    street.stop().ok();
}

#[test]
fn t29_a_spy_that_looks_for_the_brokers_password() {
    let manifest = "[kafka]\n\"sasl.password\" = \"hunter2\"";
    let attack = Attack { id: "T29", guest: "spy", manifest, ..DEFAULT };
    let mut street = attack.street("");
    street.start(&["neighbour", "attacker"]);
    attack.tell(&street.feed(half_rate()));
    assert_eq!(street.status("attacker")["state"], "RUNNING", "it would fail if it found it");
    assert!(!street.stop().ok().stderr.contains("hunter2"));
    drop(street);
    // It does find what it is given.
    let manifest = "[config]\nword = \"hunter2\"";
    let mut street = Attack { id: "T29", guest: "spy", manifest, ..DEFAULT }.street("");
    street.start(&["neighbour", "attacker"]);
    eventually("its failure", || (street.status("attacker")["state"] == "FAILED").then_some(()));
    street.stop().fails(1);
}
