//! Stopped anywhere and started again: nothing is lost or done twice, and no more is restored than is missing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use millstream::app::App;
use millstream::app::status::AppState;
use tests::application::{Application, Input, entries};
use tests::logs::{TestLog, each_log, eventually};

const PARTITIONS: i32 = 4;

/// One task for each partition of the lines and one for each of the repartition topic.
const TASKS: usize = 2 * PARTITIONS as usize;

const WORDS: usize = 50;

/// Lines produced at once.
const CHUNK: usize = 500;

fn word_count<'a>(log: &'a TestLog, provider: &str, guarantee: &str) -> Application<'a> {
    // To a broker the records are old: it would compact them between two looks.
    let manifest = format!(
        "guarantee = \"{guarantee}\"\ncommit_interval = \"10ms\"\n[state]\nprovider = \"{provider}\"\n\
         [changelog]\ntopic_configs = {{ \"min.compaction.lag.ms\" = \"9223372036854775807\" }}\n"
    );
    Application::new(log, "plugins/word-count", &manifest, &[("lines", PARTITIONS)])
}

/// The next lines, of one word each. Words come back every [`WORDS`] lines.
fn lines(from: usize) -> Vec<Input> {
    let line = |at: usize| Input::at(at as i64, "lines").value(format!("word{}", at % WORDS));
    (from..from + CHUNK).map(|at| line(at).partition((at % PARTITIONS as usize) as i32)).collect()
}

/// Checks that every word was counted 1, 2, 3… to the number of its lines.
fn check_counts(application: &Application, lines: usize) {
    let mut counts: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
    for record in application.read("counts") {
        let word = record.key.expect("a count has its word");
        let count = i64::from_be_bytes(record.value.expect("no tombstones").try_into().expect("eight bytes"));
        let before = counts.insert(word.clone(), count).unwrap_or(0);
        assert_eq!(count, before + 1, "{}", String::from_utf8_lossy(&word));
    }
    assert_eq!(counts.len(), WORDS);
    assert!(counts.values().all(|count| *count == (lines / WORDS) as i64), "{lines} lines: {counts:?}");
}

fn changelog_records(application: &Application) -> u64 {
    let partitions = application.read_full(&application.changelog("word-counts"));
    partitions.iter().map(|records| records.len() as u64).sum()
}

fn changelog_end(application: &Application) -> i64 {
    let changelog = application.changelog("word-counts");
    let end = |partition| application.log.log.offsets(&changelog, partition).expect("a topic has offsets").end;
    (0..PARTITIONS).map(end).sum()
}

/// Waits until all tasks run, every store at the end of its changelog: how many records that took.
fn restored(app: &App) -> u64 {
    eventually("all tasks run", || {
        let status = app.handle().status();
        (status.state == AppState::Running && status.tasks.len() == TASKS).then_some(())
    });
    let stores = app.handle().status().tasks.into_iter().flat_map(|task| task.stores);
    stores.for_each(|store| assert_eq!(store.restored, store.restore_end, "{store:?}"));
    app.handle().counters().restored_records
}

/// Stops the application while lines keep coming: how many have come. Some are processed then, and some are not.
fn stop_in_the_middle(application: &Application) -> usize {
    let app = application.start();
    assert_eq!(restored(&app), 0, "there is nothing yet");
    let stopped = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let feeder = scope.spawn(|| {
            let mut sent = 0;
            loop {
                // After the stop, once more.
                let last = stopped.load(Ordering::Acquire);
                application.produce(&lines(sent));
                sent += CHUNK;
                if last {
                    return sent;
                }
            }
        });
        eventually("the first counts", || (changelog_end(application) > 0).then_some(()));
        app.stop(false).expect("it stops well");
        stopped.store(true, Ordering::Release);
        let sent = feeder.join().expect("lines can be produced");
        assert!((1..sent as i64).contains(&processed(application)), "{} of {sent}", processed(application));
        sent
    })
}

/// Lines that the group has committed. The topic has no transactions, so offsets are numbers of lines.
fn processed(application: &Application) -> i64 {
    let inputs: Vec<_> = (0..PARTITIONS).map(|partition| (application.topic("lines"), partition)).collect();
    let committed = application.log.log.committed(application.id(), &inputs).expect("the log answers");
    committed.into_iter().flatten().map(|committed| committed.offset).sum()
}

#[test]
fn an_application_that_is_stopped_in_the_middle_goes_on_there() {
    each_log(|log| {
        for (provider, guarantee) in [
            ("memory", "exactly-once"),
            ("lmdb", "exactly-once"),
            ("memory", "at-least-once"),
            ("lmdb", "at-least-once"),
        ] {
            let application = word_count(log, provider, guarantee);
            let sent = stop_in_the_middle(&application);
            let logged = changelog_records(&application);
            assert!(logged > 0);

            let app = application.start();
            let expected = if provider == "memory" { logged } else { 0 };
            assert_eq!(restored(&app), expected, "{provider} {guarantee}");
            app.stop(false).expect("it stops well");
            application.run_to_end();
            check_counts(&application, sent);
        }
    });
}

#[test]
fn state_that_is_behind_its_changelog_reads_the_gap_alone() {
    each_log(|log| {
        let application = word_count(log, "lmdb", "exactly-once");
        application.produce(&lines(0));
        application.run_to_end();
        let (old, behind) =
            (tempfile::tempdir().expect("a temporary directory can be made"), changelog_records(&application));
        copy(application.state(), old.path());

        application.produce(&lines(CHUNK));
        application.run_to_end();
        let gap = changelog_records(&application) - behind;
        assert!(gap > 0 && behind > 0);
        std::fs::remove_dir_all(application.state()).expect("nobody uses it");
        copy(old.path(), application.state());

        let app = application.start();
        assert_eq!(restored(&app), gap);
        let counts = entries(&application, &app, "word-counts");
        assert!(counts.len() == WORDS && counts.values().all(|(value, _)| *value == 20i64.to_be_bytes()), "{counts:?}");
        app.stop(false).expect("it stops well");
        application.produce(&lines(2 * CHUNK));
        application.run_to_end();
        check_counts(&application, 3 * CHUNK);
    });
}

#[test]
fn an_application_that_is_dropped_ends_as_well_as_one_that_is_stopped() {
    each_log(|log| {
        let application = word_count(log, "lmdb", "exactly-once");
        application.produce(&lines(0));
        let app = application.start();
        eventually("the first commit", || (processed(&application) > 0).then_some(()));
        drop(app);
        // Its directory is its own until its threads have ended.
        let app = eventually("its end", || application.try_start().ok());
        assert_eq!(restored(&app), 0);
        app.stop(false).expect("it stops well");
        application.run_to_end();
        check_counts(&application, CHUNK);
    });
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory can be made");
    for entry in std::fs::read_dir(from).expect("it is a directory") {
        let entry = entry.expect("it can be read");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(from, to).expect("a file can be copied");
        }
    }
}

#[test]
fn what_is_committed_of_a_repartition_topic_is_deleted_and_nothing_is_counted_twice_or_missed() {
    each_log(|log| {
        for guarantee in ["exactly-once", "at-least-once"] {
            let manifest =
                format!("guarantee = \"{guarantee}\"\ncommit_interval = \"10ms\"\npurge_interval = \"50ms\"\n");
            let application = Application::new(log, "plugins/word-count", &manifest, &[("lines", PARTITIONS)]);
            for round in 0..4 {
                application.produce(&lines(round * CHUNK));
                application.run_to_end_and(|app| {
                    let topics = app.plan().topics.iter().map(|topic| topic.name.clone());
                    let topic = topics.into_iter().find(|name| name.ends_with("-repartition")).expect("it has one");
                    eventually("an empty topic", || is_empty_below_committed(&application, &topic).then_some(()));
                });
            }
            if guarantee == "exactly-once" {
                check_counts(&application, 4 * CHUNK);
            }
        }
    });
}

/// Whether every partition of a topic begins where its application has committed, and some of them not at 0.
fn is_empty_below_committed(application: &Application, topic: &str) -> bool {
    let log = &application.log.log;
    let partitions: Vec<_> = (0..PARTITIONS).map(|partition| (topic.to_owned(), partition)).collect();
    let committed = log.committed(application.id(), &partitions).expect("the log answers");
    let committed: Vec<i64> = committed.into_iter().map(|at| at.map_or(0, |committed| committed.offset)).collect();
    let begins = (0..PARTITIONS).map(|partition| log.offsets(topic, partition).expect("a topic has offsets").begin);
    begins.collect::<Vec<_>>() == committed && committed.iter().sum::<i64>() > 0
}
