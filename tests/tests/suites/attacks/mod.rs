//! Hostile guests beside a neighbour in one process. Whatever the attacker does, the neighbour's outcome is exact, and
//! what becomes of the attacker is what the table of attacks asks for. Speed is printed, alone and under each
//! attack; it says something where nothing runs beside it (`tests/run -- -p tests attacks:: -- --test-threads 1`).

mod neighbour;
mod poison;
mod restarts;

use std::time::Duration;

use millstream::log::Isolation;
use tests::guests;
use tests::logs::{Kind, TestLog, eventually};

use neighbour::{Fared, Street, half_rate};
use poison::header;

/// Records that an attacker gets to do its worst with.
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
        let log = TestLog { kind: Kind::Embedded, log: street.log.clone(), dir: None };
        let letters = eventually("all letters", || {
            let letters = log.read_isolated("letters", 0, Isolation::Committed);
            (letters.len() >= RECORDS).then_some(letters)
        });
        assert_eq!(letters.len(), RECORDS, "{}", self.id);
        for letter in &letters {
            let message = header(letter, "message");
            assert_eq!(header(letter, "exception"), self.exception, "{}: {message}", self.id);
            assert!(message.contains(self.message), "{}: {message}", self.id);
        }
        assert_eq!(street.status("attacker")["state"], "RUNNING", "{}", self.id);
        street
    }

    /// A street with the attacker in it.
    fn street(&self, policy: &str) -> Street {
        half_rate();
        let street = Street::new();
        street.topic("in", self.partitions);
        street.topic("out", 1);
        std::fs::create_dir(street.mill.dir().join("attacker")).unwrap();
        std::fs::write(street.mill.dir().join("attacker/guest.wasm"), guests::wat(self.guest).unwrap()).unwrap();
        let manifest = format!("id = \"attacker\"\ncomponent = \"guest.wasm\"\n{policy}\n{}\n", self.manifest);
        street.mill.write("attacker/app.toml", &manifest);
        street.produce("in", self.partitions, (0..RECORDS).map(|number| format!("record {number}")));
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

#[test]
fn t0_alone_the_neighbour_is_exact_and_its_series_do_not_grow_with_its_keys() {
    let rate = half_rate();
    let mut street = Street::new();
    street.start(&["neighbour"]);
    let series = |street: &Street| street.metrics().lines().filter(|line| !line.starts_with('#')).count();
    DEFAULT.tell(&street.feed(rate));
    let few = series(&street);
    // T28: ten thousand more keys.
    street.produce("lines", 2, (0..10_000).map(|number| format!("key{number}")));
    eventually("all keys", || {
        let stores = street.metrics();
        let keys =
            stores.lines().find(|line| line.starts_with("millstream_store_keys"))?.rsplit(' ').next()?.parse::<u64>();
        (keys.ok()? >= 10_000).then_some(())
    });
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
fn t3_memory_in_many_tasks_at_once() {
    let message = "may have 16.0 MiB";
    let (manifest, partitions) = ("threads = 4\n[limits]\nmemory = \"16MiB\"", 8);
    let attack = Attack { id: "T3", guest: "greedy", manifest, partitions, exception: "memory", message };
    let mut street = attack.run();
    let peak = peak_mib(street.id());
    println!("T3   peak of the process: {peak} MiB");
    // 8 tasks of 16 MiB, and what the process takes without them.
    assert!(peak < 8 * 16 + 300, "{peak} MiB");
    street.stop().ok();
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

#[test]
fn t6_a_list_of_200_mebibytes() {
    let manifest = "[limits]\nmemory = \"256MiB\"";
    let mut street = Attack { id: "T6", guest: "huge-list", manifest, message: "too much data", ..DEFAULT }.run();
    let peak = peak_mib(street.id());
    println!("T6   peak of the process: {peak} MiB");
    assert!(peak < 300, "the list is not copied: {peak} MiB");
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

#[test]
fn t10_a_flood_of_log_lines_with_escapes() {
    let attack = Attack { id: "T10", guest: "log-flood", ..DEFAULT };
    let mut street = attack.street("");
    street.start(&["neighbour", "attacker"]);
    attack.tell(&street.feed(half_rate()));
    assert_eq!(street.status("attacker")["state"], "RUNNING");
    let said = street.stop().ok().stderr;
    assert!(!said.contains('\u{1b}') && !said.contains('\r'), "no escape reaches the terminal");
    assert!(!said.lines().any(|line| line.starts_with("ERROR millstream: all is lost")), "no line is forged");
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
