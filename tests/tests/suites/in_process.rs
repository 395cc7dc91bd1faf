//! Reading a store from Rust, in the process that runs its application.

use millstream::App;
use millstream::app::{ReadError, WindowEntry};
use millstream::text::Json;
use tests::application::{Application, Input};
use tests::logs::{Kind, each_log, eventually};

/// As `host/docs/embedding.md` has it.
fn show(app: &App) -> Result<(), ReadError> {
    let counts = app.store::<String, i64>("word-counts")?;
    if let Some(entry) = counts.get(&"mill".to_owned())? {
        println!("{} was seen {} times, the last time at {}", entry.key, entry.value, entry.timestamp);
    }
    for entry in counts.scan(Some(&"a".to_owned()), None) {
        let entry = entry?;
        println!("{}: {}", entry.key, entry.value);
    }
    Ok(())
}

fn show_by_time(app: &App) -> Result<(), ReadError> {
    let windows = app.store::<String, String>("windows")?;
    println!("{:?}", windows.window(&"mill".to_owned(), 60_000)?);
    for entry in windows.windows(Some(&"mill".to_owned()), 0, i64::MAX) {
        let entry = entry?;
        println!("{} to {}: {}", entry.start, entry.end, entry.value);
    }
    for entry in app.store::<String, String>("sessions")?.sessions(None, 0, i64::MAX) {
        println!("{:?}", entry?);
    }
    println!("{:?}", app.store::<String, String>("versions")?.get_as_of(&"mill".to_owned(), 60_000)?);
    Ok(())
}

#[test]
fn windows_sessions_and_versions_are_read_by_the_types_of_their_codecs() {
    each_log(|log| {
        let keeper = Application::new(log, "tests/guests/operators", "", &[]);
        let command = |at_ms: i64, command: &str| Input::at(at_ms, "timed-commands").value(command);
        let then = tests::logs::THEN;
        let sessions = [(0, 5, "s1"), (10, 20, "s2"), (30, 30, "s3")];
        let session = |(start, end, value): (i64, i64, &str)| {
            command(40, &format!("session mill {} {} {value}", then + start, then + end))
        };
        keeper.produce(&[command(1, "window mill a"), command(1, "version mill v1"), command(20, "window mill b")]);
        keeper.produce(&[command(20, "window stone c"), command(30, "version mill v2")]);
        keeper.produce(&sessions.map(session));
        keeper.run_to_end_and(|app| {
            let mill = "mill".to_owned();
            let windows = app.store::<String, String>("windows").unwrap();
            let one = eventually("the last commit is in the store", || windows.window(&mill, then + 20).unwrap());
            assert_eq!((one.key.as_str(), one.value.as_str()), ("mill", "b"));
            assert_eq!((one.start, one.end, one.timestamp), (then + 20, then + 20 + 60_000, then + 20));
            assert_eq!(windows.window(&mill, then + 19).unwrap(), None);
            let values = |found: &mut dyn Iterator<Item = Result<WindowEntry<String, String>, ReadError>>| {
                found.map(|entry| entry.unwrap().value).collect::<Vec<_>>().concat()
            };
            assert_eq!(values(&mut windows.windows(Some(&mill), then, then + 20)), "ab");
            assert_eq!(values(&mut windows.windows(Some(&mill), then, then + 19)), "a");
            assert_eq!(values(&mut windows.windows(None, then + 20, i64::MAX)), "bc");
            assert_eq!(values(&mut windows.windows_reverse(None, then, i64::MAX)), "cba");
            let sessions = app.store::<String, String>("sessions").unwrap();
            let exact = eventually("the sessions are there", || sessions.session(&mill, then + 10, then + 20).unwrap());
            assert_eq!((exact.value.as_str(), exact.end), ("s2", then + 20));
            assert_eq!(sessions.session(&mill, then + 10, then + 19).unwrap(), None);
            assert_eq!(values(&mut sessions.sessions(Some(&mill), then + 20, then + 29)), "s2");
            assert_eq!(values(&mut sessions.sessions(None, then, i64::MAX)), "s1s2s3");
            assert_eq!(values(&mut sessions.sessions_reverse(Some(&mill), then, i64::MAX)), "s3s2s1");
            let versions = app.store::<String, String>("versions").unwrap();
            let as_of = |ms: i64| versions.get_as_of(&mill, then + ms).unwrap().map(|entry| entry.value);
            assert_eq!([as_of(0), as_of(29), as_of(30)], [None, Some("v1".to_owned()), Some("v2".to_owned())]);
            assert_eq!(versions.get(&mill).unwrap().map(|entry| entry.value).as_deref(), Some("v2"));
            let misfit = windows.get(&mill).unwrap_err().to_string();
            assert!(misfit.contains("is of kind window"), "{misfit}");
            assert!(versions.windows(None, 0, 1).next().is_some_and(|entry| entry.is_err()));
            assert!(show_by_time(app).is_ok());
            // The windows are of years ago, and brokers delete by the clock.
            let told = || app.handle().status().warnings.iter().any(|warning| warning.starts_with("E0422"));
            match log.kind {
                Kind::Kafka => eventually("it is told", || told().then_some(())),
                Kind::Embedded => assert!(!told(), "the embedded log keeps them"),
            }
        });
    });
}

#[test]
fn a_store_is_read_by_the_types_of_its_codecs() {
    each_log(|log| {
        let words = Application::new(log, "plugins/word-count", "", &[("lines", 3), ("counts", 1)]);
        let many: Vec<Input> = (0..2_500).map(|n| Input::at(n, "lines").value(format!("mill w{n:04}"))).collect();
        words.produce(&many);
        words.run_to_end_and(|app| {
            let counts = app.store::<String, i64>("word-counts").unwrap();
            let entry = eventually("the last commit is in the store", || {
                counts.get(&"mill".to_owned()).unwrap().filter(|entry| entry.value == 2_500)
            });
            assert_eq!((entry.key.as_str(), entry.timestamp), ("mill", tests::logs::THEN + 2_499));
            assert_eq!(counts.get(&"stone".to_owned()).unwrap(), None);
            // More than a page.
            let all: Vec<_> = counts.scan(None, None).map(|entry| entry.unwrap().key).collect();
            assert_eq!(all.len(), 2_501);
            assert!(all.is_sorted());
            let (from, to) = ("w0010".to_owned(), "w0012".to_owned());
            let some: Vec<_> = counts.scan(Some(&from), Some(&to)).map(|entry| entry.unwrap().key).collect();
            assert_eq!(some, ["w0010", "w0011", "w0012"]);
            let reverse: Vec<_> = counts.scan_reverse(Some(&from), Some(&to)).map(|entry| entry.unwrap().key).collect();
            assert_eq!(reverse, ["w0012", "w0011", "w0010"]);
            let begun: Vec<_> = counts.scan_prefix(b"w001").map(|entry| entry.unwrap().key).collect();
            assert_eq!(begun, (10..20).map(|n| format!("w{n:04}")).collect::<Vec<_>>());
            // Where the key's partition is counted.
            let tasks: std::collections::BTreeSet<_> =
                counts.scan(None, None).map(|entry| entry.unwrap().task).collect();
            assert_eq!(tasks.len(), 3);
            let bytes = app.store::<Vec<u8>, Vec<u8>>("word-counts").unwrap().get(&b"mill".to_vec()).unwrap();
            assert_eq!(bytes.unwrap().value, 2_500i64.to_be_bytes());
            assert!(show(app).is_ok());
        });
    });
}

#[test]
fn types_that_the_codecs_do_not_write_are_refused_and_so_is_an_unknown_store() {
    each_log(|log| {
        let words = Application::new(log, "plugins/word-count", "", &[]);
        words.run_to_end_and(|app| {
            let refused = |error: Option<ReadError>| error.unwrap().to_string();
            let error = refused(app.store::<String, i32>("word-counts").err());
            assert!(error.contains("values with the codec i64, and i32 was asked for"), "{error}");
            let error = refused(app.store::<Json<String>, i64>("word-counts").err());
            assert!(error.contains("keys with the codec utf8, and json"), "{error}");
            assert!(refused(app.store::<String, i64>("nowhere").err()).contains("nowhere"));
        });
    });
}

#[test]
fn a_store_that_is_not_whole_is_not_ready() {
    each_log(|log| {
        let words = Application::new(log, "plugins/word-count", "", &[("lines", 2)]);
        words.produce(&[Input::at(0, "lines").value("mill")]);
        words.run_to_end();
        // Just started: no task has been restored yet, and a wrong answer would be "not there".
        let app = words.start();
        let counts = app.store::<String, i64>("word-counts").unwrap();
        let mut refusals = 0;
        let entry = eventually("an answer", || match counts.get(&"mill".to_owned()) {
            Ok(found) => Some(found),
            Err(ReadError::Query(millstream::app::query::QueryError::NotReady(_))) => {
                refusals += 1;
                None
            }
            Err(error) => panic!("{error}"),
        });
        assert_eq!(entry.map(|entry| entry.value), Some(1));
        assert!(refusals > 0, "it answered before it had a task");
        app.stop(false).unwrap();
        assert!(counts.get(&"mill".to_owned()).is_err(), "a stopped application has no answers");
    });
}
