//! An alarm clock that fails when it rings while it is broken.

use millstream_sdk::prelude::*;

pub fn topology(app: &mut Topology) {
    let states = app.store("alarm");
    let open = |init: &mut Init| {
        init.every_stream_time(Duration::from_secs(1), "ring");
        Alarm { states: init.store(&states) }
    };
    app.stream("alarms").process("alarm", open).to("rings");
}

struct Alarm {
    states: KeyValueStore<String, String>,
}

impl Processor<(), String, String, String> for Alarm {
    /// Takes on the state that the record says.
    fn process(&mut self, state: Record<(), String>, _: &mut Context<String, String>) -> Result<(), Failure> {
        self.states.put(&"state".to_owned(), &state.value);
        Ok(())
    }

    fn punctuate(&mut self, fired: &Punctuation, ctx: &mut Context<String, String>) -> Result<(), Failure> {
        let rings = self.states.get(&"rings".to_owned())?.unwrap_or_default() + "!";
        self.states.put(&"rings".to_owned(), &rings);
        ctx.forward(Record::new(fired.name().to_owned(), rings, fired.timestamp()));
        match self.states.get(&"state".to_owned())?.as_deref() {
            Some("broken") => Err(Failure::fail("it does not ring")),
            _ => Ok(()),
        }
    }
}
