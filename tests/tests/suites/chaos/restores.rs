//! Deaths around a restore: in the middle of a store, and behind all of it, before anything newer is committed.

use millstream_engine::record::{Headers, Record};
use tests::chaos::gap;
use tests::chaos::kills::settle;
use tests::chaos::load::Load;
use tests::chaos::outside::Values;
use tests::chaos::subject::{LMDB, STATE, Shape, Subject, metric};
use tests::chaos::verdict;
use tests::chaos::words::Words;
use tests::http::get;
use tests::logs::{THEN, TestLog, each_log, eventually};

use super::fail_points::{FAIL_POINT, LOGGED, death, until_it_dies};

fn forget_state(subject: &Subject<'_>) {
    std::fs::remove_dir_all(subject.mill.dir().join(STATE)).expect("nobody uses it");
}

// === behind a restore ===

const MEMORY: Shape = Shape { provider: "memory", guarantee: "exactly-once" };

/// AC-04.
#[test]
fn a_death_behind_a_restore_and_before_the_next_commit_leaves_what_the_changelog_says() {
    each_log(|log| [MEMORY, LMDB].into_iter().for_each(|shape| die_restored(&Words::new(log, shape))));
}

fn die_restored(words: &Words<'_>) {
    let load = Load::start(words);
    let mut first = words.start();
    first.ready();
    let logged = || words.outside().ends(&words.changelog()).iter().sum::<i64>();
    eventually("a long changelog", || (logged() > LOGGED).then_some(()));
    let fed = load.end();
    words.until_caught_up();
    first.kill();
    drop(first);
    forget_state(words);
    let committed = words.outside().read(&words.changelog(), Values::Number);

    // Nothing is left to process: the first interval that changes a store has what comes from now on.
    let point = "cut-logged";
    let mut restored = words.start_with(STATE, |command| {
        command.env(FAIL_POINT, point);
    });
    restored.ready();
    let load = Load::start(words);
    let said = death(restored, point);
    let fed = fed + load.end();
    assert_eq!(gap::read(words, &said), committed.len(), "all of it was restored");
    assert_eq!(words.outside().read(&words.changelog(), Values::Number), committed, "nothing newer is committed");
    if words.shape.is_kept() {
        verdict::check_state(words, &[STATE]);
    }
    let read = settle(words, fed, Vec::new());
    assert_eq!(read, if words.shape.is_kept() { 0 } else { committed.len() }, "what was restored is on the disk");
}

// === in the middle of a store ===

/// Entries of one changelog, of a KiB each: more than ten of the runs that a restore writes, which have 8 MiB.
const ENTRIES: i64 = 120_000;
const VALUE_BYTES: usize = 1 << 10;

/// Records that are read at once, at most.
const PORTION: i64 = 1_000;

/// An application with one store in one task, which nothing comes to.
fn keeper(log: &TestLog) -> Subject<'_> {
    let subject = Subject::new(log, LMDB, "keeper");
    let (input, out) = (subject.topic("in"), subject.topic("out"));
    [&input, &out].into_iter().for_each(|topic| subject.create(topic, 1));
    let manifest = subject.manifest("tests/guests/cases", "", &[])
        + &format!("[sources.in]\ntopic = \"{input}\"\n[sinks.out]\ntopic = \"{out}\"\n")
        + "[config.topology]\nkind = \"kv_store\"\n";
    subject.mill.write("app.toml", &manifest);
    subject
}

fn value(number: i64) -> String {
    format!("{number:0>VALUE_BYTES$}")
}

/// Writes into its changelog, in its place.
fn fill(subject: &Subject<'_>) {
    let mut writer = subject.log.log.writer().expect("a writer opens");
    let changelog = subject.topic("kv-changelog");
    for number in 0..ENTRIES {
        let (key, value) = (format!("key-{number}"), value(number));
        let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
        let record = Record { key, value, headers: Headers(b""), timestamp: THEN + number };
        writer.send(&changelog, Some(0), record).expect("a record can be sent");
        if number % PORTION == 0 {
            writer.flush().expect("it is acknowledged");
        }
    }
    writer.flush().expect("it is acknowledged");
}

/// Where the only restore of a process began.
#[track_caller]
fn began(said: &str) -> i64 {
    let told = gap::restores(said);
    assert!(told.len() == 1 && told[0].end == ENTRIES, "{told:?}");
    told[0].from
}

/// It dies as it writes its second run.
#[test]
fn a_store_that_dies_in_the_middle_of_its_restore_goes_on_behind_what_it_has_written() {
    each_log(|log| {
        let keeper = keeper(log);
        let mut first = keeper.start();
        first.ready();
        keeper.stop(first);
        forget_state(&keeper);
        fill(&keeper);
        let died = until_it_dies(&keeper, "state-commit:2");
        assert_eq!(began(&died), 0);
        let mut last = keeper.start();
        let address = last.ready();
        let written = began(&last.said());
        assert!(written > 0, "the first run is not read again");
        let read = || metric(&address, "millstream_restore_records_total", "");
        eventually("all that was read is told", || (read() == (ENTRIES - written) as u64).then_some(()));
        // The run that was lost was as long as the first, but for what is read at once; so much more it had in hand.
        let lost = written + 2 * PORTION;
        assert!(lost * 10 <= ENTRIES, "{} of {ENTRIES} records may have been read", ENTRIES + lost);
        eventually("all entries are counted", || {
            let stores = get(&address, &format!("/v1/apps/{}/stores", keeper.id)).is(200).json();
            (stores["stores"][0]["entries"] == ENTRIES).then_some(())
        });
        for number in [0, written - 1, written, ENTRIES - 1] {
            let key = format!("key-{number}");
            let found = keeper.mill.run(&["store", "get", ".", "kv", &key, "-o", "json", "--state-dir", STATE]);
            assert_eq!(found.ok().json()["value"], value(number), "{key}");
        }
        keeper.stop(last);
    });
}
