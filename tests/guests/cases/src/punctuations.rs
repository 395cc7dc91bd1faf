//! A processor that shows its records and the times at which it is woken, and one that reports all that it has kept.

use millstream_sdk::prelude::{
    Context as Ctx, Failure, Init, KeyValueStore, Processor, Punctuation, Record, Stream, Topology as App,
};
use serde_json::{Value, json};

use crate::shown::show_headers;
use crate::{OUT, Text, needed_ms, text};

pub fn punctuate(app: &mut App, case: &Value) -> Result<(), String> {
    let (stream, interval) = (text(case, "type") == "stream", needed_ms(case, "interval")?);
    let records: Stream<Text, Text> = app.stream("in");
    let shown: Stream<Text, String> = records.process("taps", |init: &mut Init| {
        if stream {
            init.every_stream_time(interval, "tick");
        } else {
            init.every_wall_clock_time(interval, "tick");
        }
        Taps
    });
    shown.to(OUT);
    Ok(())
}

/// Shows what it is given.
struct Taps;

impl Processor<Text, Text, Text, String> for Taps {
    fn process(&mut self, record: Record<Text, Text>, ctx: &mut Ctx<Text, String>) -> Result<(), Failure> {
        let Record { key, value, timestamp, headers } = record;
        let mut shown = json!({"stream": "process", "key": key, "value": value, "ts": timestamp});
        show_headers(&mut shown, &headers);
        ctx.forward(Record::new(None, shown.to_string(), timestamp));
        Ok(())
    }

    fn punctuate(&mut self, punctuation: &Punctuation, ctx: &mut Ctx<Text, String>) -> Result<(), Failure> {
        let shown = json!({"stream": "punctuate", "ts": punctuation.timestamp()});
        ctx.forward(Record::new(None, shown.to_string(), punctuation.timestamp()));
        Ok(())
    }
}

/// Not of a case: one punctuation that comes to more than a call may give.
pub fn walk(app: &mut App, case: &Value) -> Result<(), String> {
    let interval = needed_ms(case, "interval")?;
    let rows = case["rows"].as_u64().ok_or("a walk without `rows`")? as usize;
    let kept = app.store::<String, String>("kept");
    let records: Stream<String, String> = app.stream("in");
    let walked: Stream<String, String> = records.process("walker", |init: &mut Init| {
        init.every_stream_time(interval, "report");
        init.resumes_punctuations();
        Walker { kept: init.store(&kept), rows }
    });
    walked.to(OUT);
    Ok(())
}

/// Keeps its records, and reports all of them, so many in a call, with a commit behind each.
struct Walker {
    kept: KeyValueStore<String, String>,
    rows: usize,
}

impl Processor<String, String, String, String> for Walker {
    fn process(&mut self, record: Record<String, String>, _: &mut Ctx<String, String>) -> Result<(), Failure> {
        self.kept.put(&record.key, &record.value);
        Ok(())
    }

    fn punctuate(&mut self, fired: &Punctuation, ctx: &mut Ctx<String, String>) -> Result<(), Failure> {
        ctx.commit();
        fired.walk(&self.kept, self.rows, ctx, |key, value, ctx| {
            ctx.forward(Record::new(key, value, fired.timestamp()));
            Ok(())
        })
    }
}
