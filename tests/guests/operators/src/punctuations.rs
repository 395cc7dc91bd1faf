//! A clock that ticks by the records' time and tocks by the clock on the wall.

use millstream_sdk::prelude::*;

/// Then the clock on the wall is silent, so that the application comes to rest.
const TOCKS: i64 = 5;

pub fn topology(app: &mut Topology) {
    let counts = app.store("clock");
    let clock = app.stream::<String, String>("moments").process("clock", |init| {
        init.every_stream_time(Duration::from_millis(30), "tick");
        init.every_wall_clock_time(Duration::from_millis(20), "tock");
        Clock { counts: init.store(&counts) }
    });
    clock.child("tick").to("ticks");
    clock.child("tock").to("tocks");
}

struct Clock {
    counts: KeyValueStore<String, i64>,
}

impl Processor<String, String, String, i64> for Clock {
    fn process(&mut self, moment: Record<String, String>, ctx: &mut Context<String, i64>) -> Result<(), Failure> {
        // Between the ticks, so that their order shows.
        ctx.forward_to("tick", moment.with_value(ctx.stream_time().unwrap_or(-1)));
        Ok(())
    }

    fn punctuate(&mut self, fired: &Punctuation, ctx: &mut Context<String, i64>) -> Result<(), Failure> {
        let name = fired.name().to_owned();
        let times = self.counts.get(&name)?.unwrap_or(0) + 1;
        if name == "tock" && times > TOCKS {
            return Ok(());
        }
        self.counts.put(&name, &times);
        ctx.forward_to(&name, Record::new(name.clone(), times, fired.timestamp()));
        Ok(())
    }
}
