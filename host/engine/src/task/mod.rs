//! A task: one subtopology over one partition, the smallest unit of work and of state.
//!
//! ```text
//! add(records) ▸ queues ▸ choose ▸ batch ▸ operators ▸ open layer ▸ seal ▸ (the log commits) ▸ committed ▸ base
//!                                    └ rejected or trapped: rolled back, replayed record by record ┘
//! ```
//! It owns its stores, its user code and its clocks; it touches no log, no file and no clock of the machine: records and
//! time come in as arguments, effects go out as a [`Cut`].

mod apart;
mod choose;
mod clocks;
mod closing;
mod flush;
mod globals;
mod idle;
mod interval;
mod judge;
mod queue;
mod replace;
mod resume;
mod schedules;
mod seal;
mod stamp;
mod step;

pub use clocks::{Clocks, Timer};
pub use globals::{Global, GlobalViews, Globals};
pub use interval::{Cut, InputOffset, Proof};
pub use judge::FailedRecord;
pub use queue::RecordQueue;
pub use seal::Inputs;
pub use step::Step;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::functions::{FaultKind, Functions};
pub use crate::metadata::Metadata;
use crate::metadata::{ADVANCED, INCARNATION};
use crate::operator::{Batch, Dropped, Element, Limits, Scratch, Unreadable};
use crate::record::{NO_TIMESTAMP, Outgoing, Records, TopicPartition};
use crate::store::{self, Position, TaskStores};
use crate::topology::{Plan, SubtopologyPlan};
use choose::Chosen;
use clocks::{timers, times};
use closing::Closing;
use idle::Quiet;
use stamp::Asked;

/// Printed `0_3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId {
    pub subtopology: u32,
    pub partition: i32,
}

impl std::fmt::Display for TaskId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}_{}", self.subtopology, self.partition)
    }
}

/// How a task runs; the same for all tasks of an application.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Records of one batch: above 500 nothing is won, latency and memory suffer (facts.md A1).
    pub batch_records: usize,
    /// Records waiting in one queue before the task wants no more of that input (semantics.md B19).
    pub queue_records: usize,
    /// Bytes waiting in one queue before the same: two batches of large records, and with a hundred inputs still less
    /// than the machine has.
    pub queue_bytes: usize,
    /// Uncommitted bytes, stores and outputs, before the interval must be cut.
    pub open_bytes: usize,
    /// Whether changelogs get one record per key and interval.
    pub coalesce: bool,
    pub limits: Limits,
    /// SHA-256 of the component, for dead letters; `None`: the user code is native.
    pub component: Option<[u8; 32]>,
    /// Gives the user code other random numbers; the same for the life of an application, where it is 0.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            batch_records: 500,
            queue_records: 2_000,
            queue_bytes: 8 << 20,
            open_bytes: 64 << 20,
            coalesce: true,
            limits: Limits::default(),
            component: None,
            seed: 0,
        }
    }
}

/// Why a task cannot go on by itself.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A record met the policy `fail`. Its effects are undone; everything before it is kept.
    #[error("{0}")]
    Record(Box<FailedRecord>),
    /// The stores did not answer. The batch is undone and is tried again at the next step.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A store holds what its operator cannot read. The batch is undone; only a person can mend it.
    #[error("{0}")]
    Unreadable(Box<Unreadable>),
}

/// Where the group says a task's input stands.
#[derive(Clone, Debug)]
pub struct Start {
    pub input: TopicPartition,
    /// The source node that reads it.
    pub source: usize,
    /// Next record to process.
    pub offset: i64,
    /// What stands beside the committed offset.
    pub metadata: Option<Metadata>,
}

pub struct Task {
    id: TaskId,
    plan: Arc<Plan>,
    settings: Settings,
    queues: Vec<RecordQueue>,
    /// By queue, see [`choose::seed`].
    seeds: Vec<u64>,
    stores: TaskStores,
    functions: Box<dyn Functions>,
    incarnation: i64,
    /// The latest time that the wall clock has shown, ms: where it was set back, records of the right time are not ahead.
    now: i64,
    committed: Progress,
    sealed: Option<Sealed>,
    open: Progress,
    outgoing: Outgoing,
    chosen: Chosen,
    batch: Batch,
    scratch: Scratch,
    asked: Asked,
    quiet: Option<Quiet>,
    /// Until when nothing is given away by idle time, since that has failed; by the clock on the wall, ms.
    idle_rest: Option<i64>,
    closing: Closing,
    /// Elements in front of sources, as a batch begins.
    heads: Vec<(usize, Element)>,
    /// Whether the open interval has anything to commit.
    touched: bool,
    /// Whether its user code wants it committed soon.
    wants_commit: bool,
    /// Whether everything that caches hold back is being flushed for a cut.
    flushing: bool,
    /// Whether it is flushed key by key, since a portion of it has failed.
    flushes_alone: bool,
    /// Faults of the user code that a record or a punctuation was judged for; what was rolled back is counted too.
    faults: BTreeMap<FaultKind, u64>,
    /// While its user code has yet to prove itself no policy forgives it a fault: the clocks of what ran before.
    on_trial: Option<Clocks>,
}

/// An interval on its way: handed to the log, or committed there and not yet in the base.
struct Sealed {
    progress: Progress,
    committed: bool,
}

/// What an interval moves forward, beside stores and outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Progress {
    /// Next record to process of each input.
    offsets: Vec<i64>,
    clocks: Clocks,
    dropped: Dropped,
    processed: u64,
    dead_letters: u64,
}

impl Task {
    /// `inputs` in order of topic and partition: the first one carries the task's values. The incarnation is larger
    /// than every one before, the one found among them and the time in ms.
    pub fn new(id: TaskId, plan: Arc<Plan>, settings: Settings, inputs: &[Start], now: i64) -> Task {
        let newest = inputs.iter().filter_map(|input| input.metadata.as_ref()).max_by_key(|m| seal::age(m));
        let found = newest.and_then(|m| m.values.get(INCARNATION)).copied().unwrap_or(0);
        let mut clocks = Clocks::new(inputs.len(), timers(&plan, id));
        for timer in &mut clocks.timers {
            let stored = newest.and_then(|m| m.values.get(&seal::timer_name(&plan, timer)));
            timer.next = stored.copied().or(timer.next);
        }
        for of in times(&plan, id) {
            if let Some(time) = newest.and_then(|m| m.values.get(&seal::reached_name(&plan, of))) {
                clocks.reached.set(of, *time);
            }
        }
        for (at, input) in inputs.iter().enumerate() {
            clocks.partition_times[at] = input.metadata.as_ref().map_or(-1, |m| m.partition_time);
        }
        if let Some(newest) = newest {
            let nodes = &plan.subtopologies[id.subtopology as usize].nodes;
            clocks.find_schedules(&plan, nodes, &newest.values);
            clocks.find_under_way(&plan, nodes, &newest.values);
        }
        clocks.advanced = newest.and_then(|m| m.values.get(ADVANCED)).copied().unwrap_or(NO_TIMESTAMP);
        let progress = Progress {
            offsets: inputs.iter().map(|input| input.offset).collect(),
            clocks,
            dropped: Dropped::default(),
            processed: 0,
            dead_letters: 0,
        };
        let mut queues: Vec<_> = inputs.iter().map(|input| RecordQueue::new(input.input, input.source)).collect();
        for ((queue, input), time) in queues.iter_mut().zip(inputs).zip(&progress.clocks.partition_times) {
            queue.rewind(input.offset, *time);
        }
        let seeds = inputs.iter().map(|input| choose::seed(&plan, input.input, settings.seed)).collect();
        Task {
            id,
            seeds,
            plan,
            settings,
            queues,
            stores: TaskStores::default(),
            functions: Box::new(NoFunctions),
            incarnation: now.max(found.saturating_add(1)),
            now,
            committed: progress.clone(),
            sealed: None,
            open: progress,
            outgoing: Outgoing::default(),
            chosen: Chosen::default(),
            batch: Batch::default(),
            scratch: Scratch::default(),
            asked: Asked::default(),
            quiet: None,
            idle_rest: None,
            closing: Closing::default(),
            heads: Vec::new(),
            touched: false,
            wants_commit: false,
            flushing: false,
            flushes_alone: false,
            faults: BTreeMap::new(),
            on_trial: None,
        }
    }

    /// Gives it its stores and its user code, once taking it was committed.
    pub fn open(&mut self, stores: TaskStores, functions: Box<dyn Functions>) {
        self.stores = stores;
        // They may have been opened by an older plan's numbers.
        self.number_stores();
        self.functions = functions;
    }

    pub fn id(&self) -> TaskId {
        self.id
    }

    /// Which of its owners this is; every later one has a higher number.
    pub fn incarnation(&self) -> i64 {
        self.incarnation
    }

    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    pub fn subtopology(&self) -> &SubtopologyPlan {
        &self.plan.subtopologies[self.id.subtopology as usize]
    }

    pub fn stores(&self) -> &TaskStores {
        &self.stores
    }

    pub fn stores_mut(&mut self) -> &mut TaskStores {
        &mut self.stores
    }

    // === records in ===

    pub fn inputs(&self) -> impl Iterator<Item = TopicPartition> {
        self.queues.iter().map(|queue| queue.input)
    }

    pub fn add(&mut self, input: TopicPartition, records: Records) {
        if let Some(queue) = self.queues.iter_mut().find(|queue| queue.input == input) {
            queue.push(records);
        }
    }

    /// Everything below `offset` was delivered, and nothing more is there now.
    pub fn set_end(&mut self, input: TopicPartition, offset: i64) {
        if let Some(queue) = self.queues.iter_mut().find(|queue| queue.input == input) {
            queue.set_end(offset);
        }
        self.step_over_ends();
    }

    /// Whether it has room for more records of this input.
    pub fn wants(&self, input: TopicPartition) -> bool {
        let queue = self.queues.iter().find(|queue| queue.input == input);
        let room = |queue: &RecordQueue| {
            queue.len() < self.settings.queue_records && queue.bytes() < self.settings.queue_bytes
        };
        queue.is_some_and(room)
    }

    // === what it has done ===

    /// Next record to process of each input, as committed.
    pub fn committed_offsets(&self) -> impl Iterator<Item = (TopicPartition, i64)> {
        self.queues.iter().zip(&self.committed.offsets).map(|(queue, offset)| (queue.input, *offset))
    }

    /// Next record to process of each input, with what is not committed yet.
    pub fn offsets(&self) -> impl Iterator<Item = (TopicPartition, i64)> {
        self.queues.iter().zip(&self.open.offsets).map(|(queue, offset)| (queue.input, *offset))
    }

    pub fn stream_time(&self) -> i64 {
        self.open.clocks.stream_time()
    }

    pub fn dropped(&self) -> Dropped {
        self.open.dropped
    }

    pub fn processed(&self) -> u64 {
        self.open.processed
    }

    pub fn faults(&self) -> &BTreeMap<FaultKind, u64> {
        &self.faults
    }

    pub fn dead_letters(&self) -> u64 {
        self.open.dead_letters
    }

    /// Restores a store's changelog records; see [`TaskStores::restore`].
    pub fn restore(&mut self, store: usize, records: &Records, position: i64) -> Result<(), store::Error> {
        self.stores.restore(store, records, position)
    }

    /// Writes what a store's restoring left waiting; see [`TaskStores::end_restore`].
    pub fn end_restore(&mut self, store: usize) -> Result<(), store::Error> {
        self.stores.end_restore(store)
    }

    /// The log has the sealed interval: from here on the task never goes back behind it, whatever becomes of its base.
    pub fn on_committed(&mut self) {
        if let Some(sealed) = &mut self.sealed {
            sealed.committed = true;
            self.committed = sealed.progress.clone();
        }
    }

    /// Applies the sealed layer, once the log has it. On an error it stays sealed, and this is called again.
    /// `positions` are those of changelog partitions.
    pub fn apply_committed(&mut self, positions: &BTreeMap<TopicPartition, i64>) -> Result<(), store::Error> {
        if !self.sealed.as_ref().is_some_and(|sealed| sealed.committed) {
            return Ok(());
        }
        let of_store = |(place, slot): (usize, &store::StoreSlot)| {
            let store = &self.plan.stores[slot.number as usize];
            let Some(topic) = store.changelog else { return Ok(None) };
            let at = TopicPartition { topic, partition: self.id.partition };
            if store.reuses_source {
                return self.moved_position(place, at);
            }
            Ok(positions.get(&at).map(|offset| Position { offset: *offset }))
        };
        let positions = self.stores.slots().enumerate().map(of_store).collect::<Result<Vec<_>, store::Error>>()?;
        self.stores.apply_sealed(&positions)?;
        self.sealed = None;
        Ok(())
    }

    /// Where a store stands in its source topic by what is committed; `None`: there already, or its task has no such input.
    fn moved_position(&self, place: usize, input: TopicPartition) -> Result<Option<Position>, store::Error> {
        let Some(below) = self.committed_offset(input).and_then(|offset| offset.checked_sub(1)) else {
            return Ok(None);
        };
        let position = Position { offset: below };
        Ok((self.stores.position(place)? != Some(position) && below >= 0).then_some(position))
    }

    /// The next record of an input to process, as committed; `None`: it is no input of this task.
    pub fn committed_offset(&self, input: TopicPartition) -> Option<i64> {
        self.committed_offsets().find_map(|(known, offset)| (known == input).then_some(offset))
    }

    /// Whether there is an interval of it that its bases do not have yet, in the log or on its way.
    pub fn is_sealed(&self) -> bool {
        self.sealed.is_some()
    }

    /// Whether an interval of it is in flight: its outcome is not known.
    pub fn is_in_flight(&self) -> bool {
        self.sealed.as_ref().is_some_and(|sealed| !sealed.committed)
    }

    /// Drops everything that is not committed, guest instances too, and goes back to the committed offsets. A sealed
    /// layer that the log has stays until the base takes it, and so does what restoring left waiting: whoever restores
    /// goes on behind it.
    pub fn abort(&mut self) {
        self.stores.drop_open();
        if !self.sealed.as_ref().is_some_and(|sealed| sealed.committed) {
            self.drop_sealed();
        }
        self.functions.discard();
        self.open = self.committed.clone();
        self.outgoing = Outgoing::default();
        self.chosen = Chosen::default();
        self.touched = false;
        self.wants_commit = false;
        (self.flushing, self.flushes_alone) = (false, false);
        (self.closing, self.idle_rest) = (Closing::default(), None);
        self.rewind();
    }

    /// Before its stores are restored from where their bases stand. A sealed layer that the log has is in the changelog.
    pub fn begin_restore(&mut self) {
        self.drop_sealed();
        self.stores.drop_restored();
        self.stores.forget_join_times();
    }

    /// After an abort: empties what is damaged of its stores, to be restored from here; see
    /// [`TaskStores::wipe_damaged`]. An interval whose outcome is not known must not be in flight.
    pub fn wipe_damaged(&mut self) -> Result<Vec<usize>, store::Error> {
        self.abort();
        self.stores.wipe_damaged()
    }

    fn drop_sealed(&mut self) {
        self.stores.drop_sealed();
        self.sealed = None;
    }

    /// The log has lost its end, so that an input goes on at an offset below where it stands. All inputs are to be asked
    /// for again, from [`Task::offsets`] on. What is committed stays until the next interval says the lower offset.
    pub fn go_back(&mut self, input: TopicPartition, offset: i64) {
        let Some(at) = self.queues.iter().position(|queue| queue.input == input) else { return };
        self.chosen = Chosen::default();
        self.open.offsets[at] = offset;
        self.touched = true;
    }

    /// Forgets the records that wait: they are asked for again, from [`Task::offsets`] on.
    pub fn rewind(&mut self) {
        self.quiet = None;
        let Progress { offsets, clocks, .. } = &self.open;
        for ((queue, offset), time) in self.queues.iter_mut().zip(offsets).zip(&clocks.partition_times) {
            queue.rewind(*offset, *time);
        }
    }
}

/// Stands in until a task is opened; a task is not run before.
struct NoFunctions;

impl Functions for NoFunctions {
    fn call(
        &mut self,
        _node: u32,
        _frame: &[u8],
        _stores: &mut TaskStores,
        _out: &mut Vec<u8>,
    ) -> Result<(), crate::functions::Fault> {
        Err(crate::functions::Fault::Host(store::Error::Retry("the task is not open".into())))
    }

    fn discard(&mut self) {}
}
