//! A processor that shows its records and the times at which it is woken.

use millstream_sdk::prelude::{Context as Ctx, Failure, Init, Processor, Punctuation, Record, Stream, Topology as App};
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
