//! Another component in the place of a running application's, by HTTP, on each log.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tests::builds::build;
use tests::chance::Chance;
use tests::chaos::outside::{Outside, Row, Values};
use tests::guests::{enlarged, wat};
use tests::http::{Answer, get, put, put_in_vain};
use tests::logs::{TestLog, each_log, eventually, new_topic, pair, unique};
use tests::millstream::{Millstream, Running};

const PARTITIONS: i32 = 4;
const KEYS: usize = 20;
/// Records in one go, and the pause behind them: some five thousand a second.
const FED_AT_ONCE: usize = 50;
const PAUSE: Duration = Duration::from_millis(10);
/// Records of a trial.
const TRIAL: usize = 100;
/// Of the swaps under load (F24).
const SWAPS: u16 = 50;

struct Counting<'a> {
    log: &'a TestLog,
    mill: Millstream,
    id: String,
    records: String,
    counted: String,
}

impl<'a> Counting<'a> {
    /// Build 1 of the guest, named by the manifest.
    fn on(log: &'a TestLog, more: &str) -> Counting<'a> {
        Counting::of_kind('n', log, more)
    }

    fn of_kind(kind: char, log: &'a TestLog, more: &str) -> Counting<'a> {
        let counting = Counting {
            log,
            mill: Millstream::new(log.log.url()),
            id: unique("counting"),
            records: log.topic("records", PARTITIONS),
            counted: log.topic("counted", PARTITIONS),
        };
        let (id, records, counted) = (&counting.id, &counting.records, &counting.counted);
        counting.mill.write(
            "app.toml",
            &format!(
                "id = \"{id}\"\ncomponent = \"first.wasm\"\n{more}\n\
                 [sources.records]\ntopic = \"{records}\"\n[sinks.counted]\ntopic = \"{counted}\"\n"
            ),
        );
        counting.name_build(1, kind);
        counting
    }

    /// Puts a build where the manifest says.
    fn name_build(&self, number: u16, kind: char) {
        std::fs::write(self.mill.dir().join("first.wasm"), build(number, kind)).expect("a file can be written");
    }

    fn start(&self) -> (Running, String) {
        self.start_with(|_| {})
    }

    fn start_with(&self, prepare: impl FnOnce(&mut Command)) -> (Running, String) {
        let mut running = self.mill.start_with(&["run", ".", "--http", "0"], prepare);
        let address = running.ready();
        (running, address)
    }

    fn stop(&self, running: Running) {
        running.signal(Signal::TERM);
        running.finish().ok();
    }

    fn swap(&self, address: &str, number: u16, kind: char, more: &str) -> Answer {
        put(address, &format!("/v1/apps/{}/component{more}", self.id), &build(number, kind))
    }

    fn feed(&self, values: &[&str]) {
        let mut writer = self.log.log.writer().expect("a writer opens");
        for (at, value) in values.iter().enumerate() {
            writer.send(&self.records, None, pair(&format!("key-{}", at % KEYS), value)).expect("a record can be sent");
        }
        writer.flush().expect("sent records are acknowledged");
    }

    /// All into one partition, the others stay as they are.
    fn feed_one_partition(&self, times: usize) {
        let mut writer = self.log.log.writer().expect("a writer opens");
        for _ in 0..times {
            writer.send(&self.records, Some(0), pair("key", "x")).expect("a record can be sent");
        }
        writer.flush().expect("sent records are acknowledged");
    }

    /// The record of the component that was swapped in, where one is kept.
    fn kept(&self) -> std::path::PathBuf {
        self.mill.dir().join(".millstream/state").join(&self.id).join("swapped.json")
    }

    /// Waits until the group has committed everything that was fed.
    fn caught_up(&self) {
        let partitions: Vec<_> = (0..PARTITIONS).map(|partition| (self.records.clone(), partition)).collect();
        eventually("everything is committed", || {
            let committed = self.log.log.committed(&self.id, &partitions).expect("the log answers");
            let at_end = |((topic, partition), committed): (&(String, i32), Option<millstream::log::Committed>)| {
                let end = self.log.log.offsets(topic, *partition).expect("the log answers").end;
                end == 0 || committed.is_some_and(|one| one.offset >= end)
            };
            partitions.iter().zip(committed).all(at_end).then_some(())
        });
    }

    /// All counts that are committed, as somebody reads them who knows nothing of the host.
    fn read_counted(&self) -> Vec<Row> {
        Outside::of(self.log, &self.mill).read(&self.counted, Values::Text)
    }

    /// How many records each build has counted, after checking that each key's counts go 1, 2, 3….
    fn counts_by_build(&self) -> BTreeMap<String, usize> {
        let (mut counts, mut builds) = (BTreeMap::<String, i64>::new(), BTreeMap::new());
        for record in self.read_counted() {
            let (build, count) = record.text().split_once(':').expect("build and count");
            let before = counts.entry(record.key.clone()).or_default();
            assert_eq!(count.parse(), Ok(*before + 1), "build {build}");
            *before += 1;
            *builds.entry(build.to_owned()).or_default() += 1;
        }
        builds
    }
}

/// What came out behind a cache: of each key the last count, and by which builds it was said.
struct Cached {
    records: usize,
    totals: BTreeMap<String, usize>,
    builds: BTreeSet<String>,
}

impl Cached {
    /// After checking that no count of a key comes twice or goes back.
    fn read(counting: &Counting<'_>) -> Cached {
        let mut cached = Cached { records: 0, totals: BTreeMap::new(), builds: BTreeSet::new() };
        for record in counting.read_counted() {
            let text = record.text();
            let parts: Vec<&str> = text.split(':').collect();
            let [_, count, _, said_by] = parts[..] else { panic!("{text} is no count") };
            let count = count.parse().expect("a count is a number");
            let before = cached.totals.insert(record.key.clone(), count).unwrap_or(0);
            assert!(count > before, "{text} behind {before}");
            cached.builds.insert(said_by.to_owned());
            cached.records += 1;
        }
        cached
    }

    fn counted(&self) -> usize {
        self.totals.values().sum()
    }
}

fn digest(address: &str, id: &str) -> Value {
    get(address, &format!("/v1/apps/{id}/status")).is(200).json()["component"]["digest"].clone()
}

#[test]
fn fifty_swaps_under_load_lose_nothing_and_double_nothing() {
    each_log(|log| {
        let counting = Counting::on(log, "[state]\nprovider = \"lmdb\"\n");
        let (running, address) = counting.start();
        // The first build has its share too, however soon the first swap comes.
        counting.feed(&["x"; FED_AT_ONCE]);
        counting.caught_up();
        let (fed, enough) = (std::sync::atomic::AtomicUsize::new(FED_AT_ONCE), AtomicBool::new(false));
        let mut gaps = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !enough.load(Ordering::Relaxed) {
                    counting.feed(&["x"; FED_AT_ONCE]);
                    fed.fetch_add(FED_AT_ONCE, Ordering::Relaxed);
                    std::thread::sleep(PAUSE);
                }
            });
            for number in 2..2 + SWAPS {
                let swapped = counting.swap(&address, number, 'n', "").is(200).json();
                assert_eq!((&swapped["state"], &swapped["verdict"]), (&"kept".into(), &"safe".into()), "{swapped}");
                assert_eq!(swapped["digest"], digest(&address, &counting.id));
                gaps.push(swapped["gap_ms"].as_f64().expect("a gap"));
            }
            enough.store(true, Ordering::Relaxed);
        });
        counting.caught_up();
        let builds = counting.counts_by_build();
        assert_eq!(builds.values().sum::<usize>(), fed.load(Ordering::Relaxed));
        assert_eq!(builds.len(), 1 + usize::from(SWAPS), "every build has counted: {builds:?}");
        let kept = format!("swaps_total{{app=\"{}\",outcome=\"kept\"}} {SWAPS}", counting.id);
        // A thread tells of itself ten times a second.
        eventually("all swaps are counted", || {
            let metrics = get(&address, "/metrics").is(200).body;
            metrics.lines().any(|line| line.ends_with(&kept)).then_some(())
        });
        counting.stop(running);
        gaps.sort_by(f64::total_cmp);
        println!("gap on {:?}: p50 {:.1} ms, p99 {:.1} ms", log.kind, gaps[gaps.len() / 2], gaps[gaps.len() - 1]);
    });
}

#[test]
fn a_build_that_traps_among_its_first_records_is_put_back_and_leaves_nothing() {
    each_log(|log| {
        for more in ["", "on_error = \"skip\"\n", "guarantee = \"at-least-once\"\non_error = \"skip\"\n"] {
            let counting = Counting::on(log, more);
            let (running, address) = counting.start();
            counting.feed(&["x"; 40]);
            counting.caught_up();
            let first = digest(&address, &counting.id);
            // Fewer than a trial takes come before the record at which the build traps.
            std::thread::scope(|scope| {
                let swap = scope.spawn(|| counting.swap(&address, 2, 't', ""));
                eventually("the build is on trial", || (digest(&address, &counting.id) != first).then_some(()));
                counting.feed(&[&["x"; 30][..], &["boom"], &["x"; 30]].concat());
                let answer = swap.join().expect("the answer comes").is(409).json();
                assert_eq!((&answer["error"], &answer["code"]), (&"SwapPutBack".into(), &"E0812".into()), "{answer}");
                assert!(answer["reason"].as_str().is_some_and(|why| why.contains("this build traps")), "{answer}");
            });
            counting.caught_up();
            assert_eq!(digest(&address, &counting.id), first);
            assert_eq!(counting.counts_by_build(), BTreeMap::from([("0001".to_owned(), 101)]), "{more}");
            counting.stop(running);
        }
    });
}

#[test]
fn what_was_swapped_in_runs_after_a_restart_until_the_manifest_names_another() {
    each_log(|log| {
        let counting = Counting::on(log, "");
        let (running, address) = counting.start();
        std::thread::scope(|scope| {
            let swap = scope.spawn(|| counting.swap(&address, 2, 'n', ""));
            counting.feed(&["x"; 300]);
            let swapped = swap.join().expect("the answer comes").is(200).json();
            assert!(["kept", "on-trial"].contains(&swapped["state"].as_str().unwrap_or_default()), "{swapped}");
        });
        counting.feed(&["x"; 100]);
        counting.caught_up();
        let second = digest(&address, &counting.id);
        eventually("the trial has passed", || counting.kept().exists().then_some(()));
        counting.stop(running);

        let validate = || counting.mill.run(&["validate", ".", "-o", "json"]).ok().json();
        let named = validate()["component"].clone();
        assert_eq!(validate()["swapped_in"], second, "a start runs it");
        assert_ne!(named, second);
        let text = counting.mill.run(&["validate", ".", "-o", "text"]).ok().stdout;
        assert!(text.contains("swapped in for what the manifest names"), "{text}");
        let (running, address) = counting.start();
        assert_eq!(digest(&address, &counting.id), second, "the manifest still names the same");
        counting.stop(running);

        counting.name_build(3, 'n');
        assert_eq!(validate()["swapped_in"], Value::Null, "it was swapped in for another");
        assert_ne!(validate()["component"], named);
        assert!(counting.kept().exists(), "a look changes nothing");
        let (running, address) = counting.start();
        assert_ne!(digest(&address, &counting.id), second, "the manifest names another digest");
        counting.feed(&["x"; 20]);
        counting.caught_up();
        let builds = counting.counts_by_build();
        assert_eq!((builds.values().sum::<usize>(), builds["0003"]), (420, 20));
        counting.stop(running);
    });
}

/// Most threads have no task, or one without records.
#[test]
fn with_more_threads_than_tasks_a_build_is_kept_and_runs_after_a_restart() {
    each_log(|log| {
        let counting = Counting::on(log, &format!("threads = {}\n", PARTITIONS + 2));
        let (running, address) = counting.start();
        let first = digest(&address, &counting.id);
        std::thread::scope(|scope| {
            let swap = scope.spawn(|| counting.swap(&address, 2, 'n', ""));
            eventually("the build is on trial", || (digest(&address, &counting.id) != first).then_some(()));
            counting.feed_one_partition(TRIAL);
            let swapped = swap.join().expect("the answer comes").is(200).json();
            assert!(["kept", "on-trial"].contains(&swapped["state"].as_str().unwrap_or_default()), "{swapped}");
        });
        eventually("the trial has passed", || counting.kept().exists().then_some(()));
        let second = digest(&address, &counting.id);
        counting.caught_up();
        counting.stop(running);
        let (running, address) = counting.start();
        assert_eq!(digest(&address, &counting.id), second);
        counting.feed_one_partition(1);
        counting.caught_up();
        assert_eq!(counting.counts_by_build(), BTreeMap::from([("0002".to_owned(), TRIAL + 1)]));
        counting.stop(running);
    });
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    each_log(|log| {
        let counting = Counting::on(log, "");
        let (running, address) = counting.start();
        let first = digest(&address, &counting.id);

        let refused = counting.swap(&address, 2, 'c', "").is(409).json();
        assert_eq!((&refused["error"], &refused["verdict"]), (&"SwapRefused".into(), &"refused".into()), "{refused}");
        let store = refused["differences"].as_array().and_then(|all| all.iter().find(|one| one["kind"] == "store"));
        assert_eq!(store.map(|store| &store["name"]), Some(&"counts".into()), "{refused}");
        assert!(refused["fix"].as_str().is_some_and(|fix| fix.contains("another name")), "{refused}");

        let held = counting.swap(&address, 2, 'x', "").is(409).json();
        assert_eq!((&held["verdict"], &held["allow"][0]), (&"needs-allow".into(), &"sinks".into()), "{held}");
        let missing = counting.swap(&address, 2, 'x', "?allow=sinks").is(422).json();
        assert_eq!(missing["error"], "SinkTopicNotFound", "{missing}");
        log.log.create(&new_topic("copied", 1)).expect("nobody else uses the name");
        let later = counting.swap(&address, 2, 'x', "?allow=sinks").is(409).json();
        log.log.delete("copied").expect("a topic can be deleted");
        assert_eq!((&later["error"], &later["code"]), (&"SwapNeedsRestart".into(), &"E0811".into()), "{later}");

        assert_eq!(counting.swap(&address, 2, 'd', "").is(422).json()["error"], "DescribeFailed");
        let path = format!("/v1/apps/{}/component", counting.id);
        assert_eq!(
            put(&address, &path, b"no component").is(422).json()["code"].as_str().map(|code| &code[..2]),
            Some("E0")
        );
        put(&address, "/v1/apps/nobody/component", &build(2, 'n')).is(404);
        assert_eq!(digest(&address, &counting.id), first);
        counting.stop(running);
    });
}

/// The limits are the manifest's and not the component's, so that nothing can be allowed.
#[test]
fn what_wants_more_than_the_limits_give_is_refused_by_a_line_of_the_list() {
    each_log(|log| {
        let limits = "[limits]\nmemory = \"32MiB\"\ntables = 50000\ninstances = 50\ncall = \"2s\"\n";
        let counting = Counting::on(log, limits);
        let (running, address) = counting.start();
        let first = digest(&address, &counting.id);
        let path = format!("/v1/apps/{}/component", counting.id);
        let made = |part: &str, times: usize| {
            let instances = "(core instance (instantiate $one))".repeat(times);
            enlarged(&format!("(core module $one {part}) {instances}")).expect("it is a component")
        };
        for (key, component) in [
            ("memory", made("(memory 1000)", 1)),
            ("tables", made("(table 60000 funcref)", 1)),
            ("instances", made("", 60)),
            ("call", wat("endless-describe").expect("it is there")),
        ] {
            let refused = put(&address, &path, &component).is(409).json();
            assert_eq!(
                (&refused["error"], &refused["verdict"]),
                (&"SwapRefused".into(), &"refused".into()),
                "{refused}"
            );
            let line = &refused["differences"][0];
            assert_eq!((&line["kind"], &line["name"]), (&"limit".into(), &key.into()), "{refused}");
            assert_eq!(line["class"], "refused", "{refused}");
            assert!(line["change"].as_str().is_some_and(|change| change.contains("[limits]")), "{refused}");
            assert!(refused["fix"].as_str().is_some_and(|fix| fix.contains(key)), "{refused}");
        }
        counting.feed(&["x"; 20]);
        counting.caught_up();
        assert_eq!(counting.counts_by_build(), BTreeMap::from([("0001".to_owned(), 20)]));
        assert_eq!(digest(&address, &counting.id), first);
        counting.stop(running);
    });
}

#[test]
fn a_build_that_nobody_tried_is_neither_kept_nor_gone_back_to() {
    each_log(|log| {
        let counting = Counting::on(log, "on_error = \"skip\"\n");
        let (running, address) = counting.start();
        let first = digest(&address, &counting.id);
        for (number, kind) in [(2, 'n'), (3, 't')] {
            let swapped = counting.swap(&address, number, kind, "").is(200).json();
            assert_eq!(swapped["state"], "on-trial", "no record has come");
        }
        counting.feed(&["x", "boom", "x"]);
        eventually("it went back to the build that is proven", || {
            (digest(&address, &counting.id) == first).then_some(())
        });
        counting.caught_up();
        assert_eq!(counting.counts_by_build(), BTreeMap::from([("0001".to_owned(), 3)]));

        counting.swap(&address, 4, 'n', "").is(200);
        counting.stop(running);
        let (running, address) = counting.start();
        assert_eq!(digest(&address, &counting.id), first, "its trial was not over");
        counting.stop(running);
    });
}

/// Of the swaps over a cache.
const CACHED_SWAPS: u16 = 8;

/// What it holds back belongs to the interval: it goes downstream before another build runs, or is dropped with the rest.
#[test]
fn swaps_lose_and_double_nothing_of_what_a_cache_holds_back() {
    each_log(|log| {
        // One that holds all until a commit, and one that is full all the time.
        for (provider, bytes) in [("lmdb", "1MiB"), ("memory", "1KiB")] {
            let more = format!("[state]\nprovider = \"{provider}\"\n[stores.totals]\ncache = \"{bytes}\"\n");
            let counting = Counting::of_kind('a', log, &more);
            let (running, address) = counting.start();
            counting.feed(&["x"; FED_AT_ONCE]);
            counting.caught_up();
            let fed = under_load(&counting, || {
                for number in 2..2 + CACHED_SWAPS {
                    let swapped = counting.swap(&address, number, 'a', "").is(200).json();
                    assert_eq!((&swapped["state"], &swapped["verdict"]), (&"kept".into(), &"safe".into()), "{swapped}");
                }
            });
            counting.caught_up();
            counting.stop(running);
            let (fed, cached) = (fed + FED_AT_ONCE, Cached::read(&counting));
            assert_eq!(cached.counted(), fed, "{provider} {bytes}");
            assert_eq!(cached.builds.len(), 1 + usize::from(CACHED_SWAPS), "every build has said something");
            assert!(provider == "memory" || cached.records < fed, "nothing was held back");

            // The state says the same.
            let (running, _) = counting.start();
            counting.feed(&["x"; KEYS]);
            counting.caught_up();
            assert_eq!(Cached::read(&counting).counted(), fed + KEYS, "{provider} {bytes}");
            counting.stop(running);
        }
    });
}

#[test]
fn a_build_that_traps_in_front_of_a_cache_or_behind_it_is_put_back_and_leaves_nothing() {
    each_log(|log| {
        for kind in ['b', 'f'] {
            let counting = Counting::of_kind('a', log, "on_error = \"skip\"\n[stores.totals]\ncache = \"1MiB\"\n");
            let (running, address) = counting.start();
            counting.feed(&["x"; 40]);
            counting.caught_up();
            let first = digest(&address, &counting.id);
            std::thread::scope(|scope| {
                let swap = scope.spawn(|| counting.swap(&address, 2, kind, ""));
                eventually("the build is on trial", || (digest(&address, &counting.id) != first).then_some(()));
                // The last one of its key: what a cache gives away is the last alone.
                counting.feed(&[&["x"; 30][..], &["boom"]].concat());
                let answer = swap.join().expect("the answer comes").is(409).json();
                assert_eq!(answer["code"], "E0812", "{answer}");
                assert!(answer["reason"].as_str().is_some_and(|why| why.contains("this build traps")), "{answer}");
            });
            counting.caught_up();
            assert_eq!(digest(&address, &counting.id), first);
            let cached = Cached::read(&counting);
            assert_eq!((cached.counted(), cached.builds), (71, BTreeSet::from(["0001".to_owned()])), "{kind}");
            counting.stop(running);
        }
    });
}

/// Where a process dies in a swap, how often the point is passed before, and whether the new component is kept then.
const DEATHS: [(&str, bool); 3] = [("swap:1", false), ("swap-kept:1", false), ("swap-kept:2", true)];

const FAIL_POINT: &str = "MILLSTREAM_FAIL_POINT";

/// Runs while `work` goes on, with records coming all the time: how many came.
fn under_load(counting: &Counting<'_>, work: impl FnOnce()) -> usize {
    let enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut fed = 0;
            while !enough.load(Ordering::Relaxed) {
                counting.feed(&["x"; FED_AT_ONCE]);
                fed += FED_AT_ONCE;
                std::thread::sleep(PAUSE);
            }
            fed
        });
        let end = EndOf(&enough);
        work();
        drop(end);
        load.join().expect("records can be fed")
    })
}

/// Ends the load, whatever becomes of the work.
struct EndOf<'a>(&'a AtomicBool);

impl Drop for EndOf<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_process_that_dies_in_a_swap_runs_the_one_or_the_other_afterwards() {
    each_log(|log| {
        let counting = Counting::on(log, "[state]\nprovider = \"lmdb\"\n");
        let fed = under_load(&counting, || {
            // What ran before is not what the manifest names.
            let (running, address) = counting.start();
            assert_eq!(counting.swap(&address, 2, 'n', "").is(200).json()["state"], "kept");
            let mut current = digest(&address, &counting.id);
            counting.stop(running);
            for (number, (point, is_kept)) in (3..).zip(DEATHS) {
                let (mut running, address) = counting.start_with(|command| {
                    command.env(FAIL_POINT, point);
                });
                assert_eq!(digest(&address, &counting.id), current, "{point}: it runs what it ran before");
                put_in_vain(&address, &format!("/v1/apps/{}/component", counting.id), &build(number, 'n'));
                eventually(point, || running.has_ended().then_some(()));
                let ended = running.finish();
                assert!(ended.code.is_none() && ended.stderr.contains(FAIL_POINT), "{point}: {ended:?}");
                let (running, address) = counting.start();
                let found = digest(&address, &counting.id);
                assert_eq!(found != current, is_kept, "{point}");
                current = found;
                counting.stop(running);
            }
        });
        check_afterwards(&counting, fed, &["0002", "0005"]);
    });
}

/// Kills at random instants of a swap and of its trial.
const KILLS: u16 = 4;

/// From the request to the end of the trial, and a little more.
const SWAPPING_MS: u64 = 400;

#[test]
fn a_process_that_is_killed_in_a_swap_loses_nothing_and_doubles_nothing() {
    each_log(|log| {
        let (counting, mut chance) = (Counting::on(log, "[state]\nprovider = \"lmdb\"\n"), Chance::new());
        let fed = under_load(&counting, || {
            for number in 2..2 + KILLS {
                let (mut running, address) = counting.start();
                let path = format!("/v1/apps/{}/component", counting.id);
                let swap = std::thread::spawn(move || put_in_vain(&address, &path, &build(number, 'n')));
                std::thread::sleep(Duration::from_millis(chance.below(SWAPPING_MS)));
                running.kill();
                running.finish();
                swap.join().expect("the connection ends");
            }
        });
        check_afterwards(&counting, fed, &[]);
    });
}

/// A last life finishes the work: each key's counts are whole, and these builds have counted.
fn check_afterwards(counting: &Counting<'_>, fed: usize, counted: &[&str]) {
    let (running, _) = counting.start();
    counting.caught_up();
    let builds = counting.counts_by_build();
    assert_eq!(builds.values().sum::<usize>(), fed, "{builds:?}");
    for build in counted {
        assert!(builds.contains_key(*build), "build {build} has not counted: {builds:?}");
    }
    counting.stop(running);
}
