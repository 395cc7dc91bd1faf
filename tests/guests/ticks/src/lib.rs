//! A clock for each task: it ticks by the clock on the wall without end, counts its ticks in a store, and says each
//! count. A record only makes it strike; one that says `again` wants to be tried again, each time it is.

use millstream_sdk::prelude::*;

const EVERY: Duration = Duration::from_millis(50);

fn topology(app: &mut Topology) {
    let counts = app.store::<String, i64>("counts");
    let clock = app.stream::<(), String>("lines").process("clock", |init| {
        init.every_wall_clock_time(EVERY, "tick");
        Clock { counts: init.store(&counts) }
    });
    clock.to("counted");
}

struct Clock {
    counts: KeyValueStore<String, i64>,
}

impl Clock {
    fn count(&mut self, what: &str, time: i64, ctx: &mut Context<String, i64>) -> Result<(), Failure> {
        let key = format!("{what}-{}", ctx.partition());
        let count = self.counts.get(&key)?.unwrap_or(0) + 1;
        self.counts.put(&key, &count);
        ctx.forward(Record::new(key, count, time));
        Ok(())
    }
}

impl Processor<(), String, String, i64> for Clock {
    fn process(&mut self, line: Record<(), String>, ctx: &mut Context<String, i64>) -> Result<(), Failure> {
        match line.value.as_str() {
            "again" => Err(Failure::retry("not yet")),
            _ => self.count("strike", line.timestamp, ctx),
        }
    }

    fn punctuate(&mut self, fired: &Punctuation, ctx: &mut Context<String, i64>) -> Result<(), Failure> {
        self.count("tick", fired.timestamp(), ctx)
    }
}

millstream_sdk::plugin!(topology);
