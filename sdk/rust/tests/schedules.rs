//! Schedules that a processor makes and ends while it runs, and commits that it asks for.
#![allow(clippy::unwrap_used)]

use millstream_sdk::prelude::*;
use millstream_sdk::testing::{Driver, Error};

/// Does what its records say: `stream 10 a`, `wall 10 a`, `cancel a`, `fail` after one.
struct Obeys;

impl Processor<String, String, String, i64> for Obeys {
    fn process(&mut self, record: Record<String, String>, ctx: &mut Context<String, i64>) -> Result<(), Failure> {
        let words: Vec<&str> = record.value.split(' ').collect();
        match words[..] {
            ["stream", every, name] => ctx.schedule_stream_time(Duration::from_millis(every.parse()?), name),
            ["wall", every, name] => ctx.schedule_wall_clock_time(Duration::from_millis(every.parse()?), name),
            ["cancel", name] => ctx.cancel(name),
            ["fail", name] => {
                ctx.schedule_stream_time(Duration::from_millis(1), name);
                return Err(Failure::fail("as it was told"));
            }
            _ => {}
        }
        Ok(())
    }

    fn punctuate(&mut self, fired: &Punctuation, ctx: &mut Context<String, i64>) -> Result<(), Failure> {
        if fired.name() == "once" {
            ctx.cancel("once");
        }
        ctx.forward(Record::new(fired.name().to_string(), fired.timestamp(), fired.timestamp()));
        Ok(())
    }
}

fn driver() -> Driver {
    let topology = |app: &mut Topology| {
        let obeyed = app.stream::<String, String>("in").process("obeys", |init| {
            init.makes_schedules();
            init.every_stream_time(Duration::from_millis(1_000), "declared");
            Obeys
        });
        obeyed.to("out");
    };
    Driver::with_manifest(topology, "id = \"app\"\non_error = \"skip\"").unwrap()
}

fn says(driver: &mut Driver, records: &[(i64, &str)]) -> Vec<String> {
    let records = records.iter().map(|(time, says)| Record::new("k".to_string(), says.to_string(), *time));
    driver.pipe_all("in", records).unwrap();
    fired(driver)
}

fn fired(driver: &mut Driver) -> Vec<String> {
    let fired = driver.read_pairs::<String, i64>("out").unwrap();
    fired.iter().filter(|(name, _)| name != "declared").map(|(name, time)| format!("{name}@{time}")).collect()
}

#[test]
fn a_schedule_by_stream_time_fires_behind_the_record_that_makes_it_and_then_on_its_grid() {
    let mut driver = driver();
    let records = [(5, ""), (7, "stream 10 a"), (8, ""), (9, ""), (10, ""), (12, ""), (47, ""), (48, ""), (50, "")];
    assert_eq!(says(&mut driver, &records), ["a@7", "a@10", "a@47", "a@50"]);
    assert_eq!(says(&mut driver, &[(60, "cancel a"), (70, "cancel a"), (80, "")]), [""; 0]);
}

#[test]
fn a_schedule_by_the_clock_on_the_wall_fires_an_interval_after_it_was_made_until_it_is_cancelled() {
    let mut driver = driver();
    driver.advance_wall_clock(Duration::from_millis(3)).unwrap();
    assert_eq!(says(&mut driver, &[(5, "wall 10 b")]), [""; 0]);
    let mut at = |ms| {
        driver.advance_wall_clock(Duration::from_millis(ms)).unwrap();
        fired(&mut driver)
    };
    assert_eq!(
        (at(0), at(9), at(1), at(25), at(4), at(1)),
        (vec![], vec![], vec!["b@13".into()], vec!["b@38".into()], vec![], vec!["b@43".into()])
    );
    assert_eq!(says(&mut driver, &[(5, "cancel b")]), [""; 0]);
    driver.advance_wall_clock(Duration::from_millis(100)).unwrap();
    assert_eq!(fired(&mut driver), [""; 0]);
}

#[test]
fn a_schedule_of_the_same_name_takes_the_place_of_the_one_before_and_a_punctuation_may_end_its_own() {
    let mut driver = driver();
    assert_eq!(
        says(&mut driver, &[(5, "stream 10 a"), (6, "stream 100 a"), (30, ""), (100, "")]),
        ["a@5", "a@6", "a@100"]
    );
    assert_eq!(says(&mut driver, &[(110, "stream 10 once"), (130, ""), (150, "")]), ["once@110"]);
}

#[test]
fn what_a_record_that_fails_has_scheduled_is_not() {
    let mut driver = driver();
    assert_eq!(says(&mut driver, &[(5, "fail a"), (6, ""), (7, "")]), [""; 0]);
    assert_eq!(driver.dropped(), 1);
}

#[test]
fn a_task_has_so_many_schedules_and_one_more_fails_its_record() {
    let mut driver = driver();
    let made: Vec<String> = (0..9).map(|number| format!("stream 1000 s{number}")).collect();
    let records: Vec<(i64, &str)> = made.iter().map(|text| (5, text.as_str())).collect();
    assert_eq!(says(&mut driver, &records).len(), 8);
    assert_eq!(driver.dropped(), 1);
    assert_eq!(says(&mut driver, &[(6, "cancel s3"), (7, "stream 1000 s8")]), ["s8@7"]);
}

#[test]
fn a_processor_that_has_not_said_so_makes_no_schedules() -> Result<(), Error> {
    let topology = |app: &mut Topology| app.stream::<String, String>("in").process("obeys", |_| Obeys).to("out");
    let mut driver = Driver::new(topology)?;
    let error = driver.pipe("in", Record::new("k".to_string(), "stream 10 a".to_string(), 1)).unwrap_err().to_string();
    assert!(error.contains("has not said that it makes any"), "{error}");
    Ok(())
}
