//! Count by key, every update out: by the host's operator, or by a processor of ours.

use millstream_sdk::prelude::*;

/// `[config]`: `operator = true` for the built-in count.
fn topology(app: &mut Topology, config: &Config) -> Result<(), String> {
    let records = app.stream::<Vec<u8>, Vec<u8>>("records");
    match config.get::<bool>("operator")?.unwrap_or(false) {
        true => records.group_by_key().count("counts").to_stream().to("updates"),
        false => {
            let counts = app.store("counts");
            records.process("counter", |init| Counter { counts: init.store(&counts) }).to("updates");
        }
    }
    Ok(())
}

struct Counter {
    counts: KeyValueStore<Vec<u8>, i64>,
}

impl Processor<Vec<u8>, Vec<u8>, Vec<u8>, i64> for Counter {
    fn process(&mut self, record: Record<Vec<u8>, Vec<u8>>, ctx: &mut Context<Vec<u8>, i64>) -> Result<(), Failure> {
        let count = self.counts.get(&record.key)?.unwrap_or(0) + 1;
        self.counts.put(&record.key, &count);
        ctx.forward(Record::new(record.key, count, record.timestamp));
        Ok(())
    }
}

millstream_sdk::plugin!(topology);
