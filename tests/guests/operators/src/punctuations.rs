//! A clock that ticks by the records' time and tocks by the clock on the wall, and alarms that records set.

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
    let alarms = app.stream::<String, String>("alarms").process("alarm", |init| {
        init.makes_schedules();
        Alarm
    });
    alarms.to("rung");
}

/// Does what its records say: `stream 10 a`, `wall 10 a`, `cancel a`. One that is called `once` rings once.
struct Alarm;

impl Processor<String, String, String, i64> for Alarm {
    fn process(&mut self, record: Record<String, String>, ctx: &mut Context<String, i64>) -> Result<(), Failure> {
        let words: Vec<&str> = record.value.split(' ').collect();
        match words[..] {
            ["stream", every, name] => ctx.schedule_stream_time(Duration::from_millis(every.parse()?), name),
            ["wall", every, name] => ctx.schedule_wall_clock_time(Duration::from_millis(every.parse()?), name),
            ["cancel", name] => ctx.cancel(name),
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
