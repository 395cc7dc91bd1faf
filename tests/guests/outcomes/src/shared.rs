//! Two processors behind one source that share a store: what one does the other sees, record by record.

use millstream_sdk::prelude::*;

use crate::strike;

pub fn topology(app: &mut Topology) {
    let marks = app.store("marks");
    let pairs = app.stream::<String, String>("shared");
    for (name, strikes) in [("first", false), ("second", true)] {
        pairs.process(name, |init| Marker { marks: init.store(&marks), strikes }).to(format!("{name}-marks"));
    }
}

/// Forwards how many marks the key has, and adds one.
struct Marker {
    marks: KeyValueStore<String, i64>,
    strikes: bool,
}

impl Processor<String, String, String, i64> for Marker {
    fn process(&mut self, record: Record<String, String>, ctx: &mut Context<String, i64>) -> Result<(), Failure> {
        let marks = self.marks.get(&record.key)?.unwrap_or(0) + 1;
        self.marks.put(&record.key, &marks);
        let command = record.value.clone();
        ctx.forward(record.with_value(marks));
        if self.strikes { strike(&command) } else { Ok(()) }
    }
}
