//! The embedded log's [`Writer`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use millstream_engine::partitioner;
use millstream_engine::record::Record;

use super::batch::{BATCH_BYTES_MAX, size};
use super::change::{Append, Change, Run};
use super::environment::{Environment, Receipt};
use super::topic::Handle;
use super::{Error, Result, Writer};

/// Records are handed over to be synced in chunks of this size, one on its way while the next is filled.
const CHUNK_BYTES: usize = 1 << 20;

/// After an error nothing that was not acknowledged is kept.
pub struct EmbeddedWriter {
    environment: Arc<Environment>,
    /// Looked up anew for each chunk.
    targets: HashMap<String, Target>,
    runs: BTreeMap<(u32, i32), Run>,
    bytes: usize,
    on_its_way: Option<Receipt>,
}

/// A topic that is written to.
struct Target {
    handle: Arc<Handle>,
    /// Where records without a key go, until a batch is full of them.
    sticky: i32,
    sticky_bytes: usize,
}

impl EmbeddedWriter {
    pub fn new(environment: Arc<Environment>) -> EmbeddedWriter {
        let (targets, runs) = (HashMap::new(), BTreeMap::new());
        EmbeddedWriter { environment, targets, runs, bytes: 0, on_its_way: None }
    }

    fn buffer(&mut self, topic: &str, partition: Option<i32>, record: Record<'_>) -> Result<()> {
        if !self.targets.contains_key(topic) {
            let target = Target::new(self.environment.snapshot()?.handle(topic)?);
            self.targets.insert(topic.to_owned(), target);
        }
        let Some(target) = self.targets.get_mut(topic) else { return Err(Error::UnknownTopic(topic.to_owned())) };
        let partition = target.choose(partition, &record);
        target.handle.check(partition)?;
        target.handle.check_size(partition, &record)?;
        let run = || Run { handle: target.handle.clone(), partition, drafts: Default::default() };
        self.runs.entry((target.handle.number, partition)).or_insert_with(run).drafts.push(&record);
        self.bytes += size(&record);
        Ok(())
    }

    /// Waits for the chunk on its way and sends the next one after it.
    fn hand_over(&mut self) -> Result<()> {
        self.await_chunk()?;
        if !self.runs.is_empty() {
            let runs = std::mem::take(&mut self.runs).into_values().collect();
            self.on_its_way = Some(self.environment.begin(Change::Append(Append { runs, ..Append::default() })));
        }
        self.bytes = 0;
        self.targets.clear();
        Ok(())
    }

    fn await_chunk(&mut self) -> Result<()> {
        let synced = self.on_its_way.take().map_or(Ok(()), |chunk| chunk.wait().map(drop));
        synced.inspect_err(|_| {
            self.runs.clear();
            self.bytes = 0;
        })
    }
}

impl Writer for EmbeddedWriter {
    fn send(&mut self, topic: &str, partition: Option<i32>, record: Record<'_>) -> Result<()> {
        self.buffer(topic, partition, record)?;
        if self.bytes >= CHUNK_BYTES { self.hand_over() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.hand_over()?;
        self.await_chunk()
    }
}

impl Target {
    fn new(handle: Arc<Handle>) -> Target {
        // Any partition: a producer that is started for each record must not always hit the same one.
        let random = uuid::Uuid::new_v4().as_u128() % handle.partitions.unsigned_abs() as u128;
        Target { handle, sticky: random as i32, sticky_bytes: 0 }
    }

    fn choose(&mut self, partition: Option<i32>, record: &Record<'_>) -> i32 {
        if let Some(partition) = partition {
            return partition;
        }
        if let Some(key) = record.key {
            return partitioner::partition(key, self.handle.partitions);
        }
        if self.sticky_bytes >= BATCH_BYTES_MAX {
            self.sticky = (self.sticky + 1) % self.handle.partitions;
            self.sticky_bytes = 0;
        }
        self.sticky_bytes += size(record);
        self.sticky
    }
}
