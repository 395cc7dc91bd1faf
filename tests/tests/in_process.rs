//! Reading a store from Rust, in the process that runs its application.

#![allow(clippy::unwrap_used)]

use millstream::App;
use millstream::app::ReadError;
use millstream::text::Json;
use tests::application::{Application, Input};
use tests::logs::{each_log, eventually};

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
