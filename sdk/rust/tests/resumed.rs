//! Punctuations that go on: a store walked in portions, and tokens of one's own.
#![allow(clippy::unwrap_used)]

use millstream_sdk::prelude::*;
use millstream_sdk::testing::Driver;

/// More than a call may give.
const ROWS: i64 = 2_500;

/// Keeps each record under its key; its punctuations report what is there: `walk` with a portion of this many rows,
/// `count` only how many calls it takes.
struct Report {
    rows: KeyValueStore<i64, i64>,
    portion: usize,
}

impl Processor<i64, i64, i64, i64> for Report {
    fn process(&mut self, record: Record<i64, i64>, _: &mut Context<i64, i64>) -> Result<(), Failure> {
        self.rows.put(&record.key, &record.value);
        Ok(())
    }

    fn punctuate(&mut self, fired: &Punctuation, ctx: &mut Context<i64, i64>) -> Result<(), Failure> {
        if fired.name() == "count" {
            let calls = fired.token().map_or(0, |token| i64::from(token[0]));
            ctx.forward(Record::new(-1, calls, fired.timestamp()));
            if calls < 3 {
                ctx.resume([calls as u8 + 1]);
            }
            return Ok(());
        }
        fired.walk(&self.rows, self.portion, ctx, |key, value, ctx| {
            // What has been reported is no more.
            self.rows.delete(&key)?;
            ctx.forward(Record::new(key, value, fired.timestamp()));
            Ok(())
        })
    }
}

fn driver(portion: usize, resumes: bool) -> Driver {
    let topology = move |app: &mut Topology| {
        let rows = app.store("rows");
        let report = app.stream::<i64, i64>("in").process("report", |init| {
            init.every_stream_time(Duration::from_millis(100), "walk");
            init.every_wall_clock_time(Duration::from_millis(10), "count");
            init.every_wall_clock_time(Duration::from_millis(10), "count-too");
            if resumes {
                init.resumes_punctuations();
            }
            Report { rows: init.store(&rows), portion }
        });
        report.to("out");
    };
    Driver::new(topology).unwrap()
}

fn row(key: i64, value: i64, timestamp: i64) -> Record<i64, i64> {
    Record::new(key, value, timestamp)
}

#[test]
fn a_store_is_walked_to_its_end_whatever_the_portions() {
    for portion in [0, 625, 999, 1_000] {
        let mut driver = driver(portion, true);
        // It fires with the first record, which is all there is.
        driver.pipe("in", row(-7, 0, 0)).unwrap();
        assert_eq!(driver.read_pairs::<i64, i64>("out").unwrap(), [(-7, 0)]);
        driver.pipe_all("in", (0..ROWS).map(|number| row(number, 2 * number, 50))).unwrap();
        assert!(driver.read_pairs::<i64, i64>("out").unwrap().is_empty());
        driver.pipe_all("in", [row(ROWS, 0, 100), row(0, 1, 101)]).unwrap();
        let expected: Vec<_> = (0..ROWS).map(|row| (row, 2 * row)).chain([(ROWS, 0)]).collect();
        assert!(driver.read_pairs::<i64, i64>("out").unwrap() == expected, "{portion}");
        // What came behind it waits for the next one.
        assert_eq!(driver.entries::<i64, i64>("rows").unwrap(), [(0, 1)]);
        driver.pipe("in", row(1, 1, 200)).unwrap();
        assert_eq!(driver.read_pairs::<i64, i64>("out").unwrap(), [(0, 1), (1, 1)]);
    }
}

#[test]
fn a_punctuation_that_gives_too_much_at_once_fails_and_says_by_how_much() {
    let mut driver = driver(ROWS as usize, true);
    driver.pipe_all("in", (0..ROWS).map(|number| row(number, number, 50)).skip(1)).unwrap();
    let error = driver.pipe("in", row(0, 0, 100)).unwrap_err().to_string();
    assert!(error.contains("more than 1000 results"), "{error}");
}

#[test]
fn tokens_go_from_call_to_call_and_the_other_punctuations_wait() {
    let mut driver = driver(1, true);
    driver.pipe("in", row(5, 5, 0)).unwrap();
    driver.pipe("in", row(6, 6, 1)).unwrap();
    assert_eq!(driver.read_pairs::<i64, i64>("out").unwrap(), [(5, 5)]);
    driver.advance_wall_clock(Duration::from_millis(10)).unwrap();
    // `count-too` walks.
    assert_eq!(driver.read_pairs::<i64, i64>("out").unwrap(), [(-1, 0), (-1, 1), (-1, 2), (-1, 3), (6, 6)]);
    driver.advance_wall_clock(Duration::from_millis(10)).unwrap();
    assert_eq!(driver.read_pairs::<i64, i64>("out").unwrap(), [(-1, 0), (-1, 1), (-1, 2), (-1, 3)]);
}

#[test]
fn a_processor_that_has_not_said_so_resumes_nothing() {
    let mut driver = driver(1, false);
    let error = driver.advance_wall_clock(Duration::from_millis(10)).unwrap_err().to_string();
    assert!(error.contains("has not said that its punctuations are resumed"), "{error}");
}
