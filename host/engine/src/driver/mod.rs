//! An application in one thread and without a log: its tasks over topics in memory, and a clock that stands still until it
//! is moved.
//!
//! It does what a stream thread and a log do, step by step or all at once, so that a test decides when a task steps, cuts,
//! commits and aborts. The SDK's test driver, `millstream test` and the host's own suites stand on it.

mod outputs;
mod plan;

pub use outputs::Output;
pub use plan::{memory_globals, memory_stores, plan, slots, starts};

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::functions::Functions;
use crate::operator::Dropped;
use crate::record::{Outgoing, Record, Records, TopicId, TopicPartition};
use crate::store::{self, TaskStores};
use crate::task::{Cut, Failure, Globals, Inputs, Settings, Step, Task, TaskId};
use crate::topology::{Plan, SubtopologyPlan};
use outputs::Outputs;

/// What the tasks of a [`Driver`] are made of.
pub struct Parts<'a> {
    pub settings: Settings,
    /// The stores of a task, by subtopology and partition; see [`memory_stores`].
    pub stores: &'a dyn Fn(&Plan, &SubtopologyPlan, i32) -> Result<TaskStores, store::Error>,
    /// The global tables, empty; see [`memory_globals`].
    pub globals: &'a dyn Fn(&Plan) -> Result<Globals, store::Error>,
    /// An instance of the user code, for each task one.
    pub functions: &'a dyn Fn(TaskId) -> Box<dyn Functions>,
}

pub struct Driver {
    plan: Arc<Plan>,
    tasks: BTreeMap<TaskId, Task>,
    globals: Globals,
    /// The global tables, to be read outside of any task.
    looked_up: TaskStores,
    /// Everything that was ever written, from outside too.
    topics: BTreeMap<TopicPartition, Records>,
    /// How many records of an input its task was given, or of its topic a global table.
    delivered: BTreeMap<TopicPartition, usize>,
    outputs: Outputs,
    sequence: i64,
    /// The clock on the wall, ms since the epoch. Moved by [`Driver::advance`] and by the waits between retries.
    now: i64,
}

impl Driver {
    /// All tasks of a plan, from the beginning of their inputs. Wall-clock punctuations count from 0, where the clock
    /// stands.
    pub fn open(plan: Arc<Plan>, parts: &Parts<'_>) -> Result<Driver, Failure> {
        let mut globals = (parts.globals)(&plan)?;
        for at in 0..globals.tables().len() {
            globals.begin(at, &vec![0; globals.tables()[at].partitions as usize])?;
        }
        // They are given what there is before any task is.
        globals.set_whole(true);
        let views = globals.views();
        let mut tasks = BTreeMap::new();
        for subtopology in &plan.subtopologies {
            for partition in 0..subtopology.partitions {
                let id = TaskId { subtopology: subtopology.id, partition };
                let mut task = Task::new(id, plan.clone(), parts.settings, &starts(&plan, subtopology, partition), 0);
                let mut stores = (parts.stores)(&plan, subtopology, partition)?;
                views.lend(subtopology, &mut stores);
                task.open(stores, (parts.functions)(id));
                tasks.insert(id, task);
            }
        }
        let (topics, delivered, outputs) = Default::default();
        let looked_up = views.all();
        let mut driver = Driver { plan, tasks, globals, looked_up, topics, delivered, outputs, sequence: 0, now: 0 };
        driver.advance(0)?;
        Ok(driver)
    }

    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    pub fn topic(&self, name: &str) -> Option<TopicId> {
        self.plan.topics.iter().position(|topic| topic.name == name).map(|place| TopicId(place as u32))
    }

    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.tasks.values()
    }

    pub fn task_mut(&mut self, id: TaskId) -> Option<&mut Task> {
        self.tasks.get_mut(&id)
    }

    /// Who may hold a part of a store, by task. Of a global table there is one whole, which is in no task and is named
    /// after the first one that might be.
    pub fn holders(&self, store: u32) -> Vec<(TaskId, &TaskStores)> {
        match self.globals.tables().iter().any(|table| table.number == store) {
            true => vec![(TaskId { subtopology: 0, partition: 0 }, &self.looked_up)],
            false => self.tasks().map(|task| (task.id(), task.stores())).collect(),
        }
    }

    /// Milliseconds since the epoch.
    pub fn now(&self) -> i64 {
        self.now
    }

    // === records in ===

    /// Whether any task reads it, or any global table.
    pub fn is_read(&self, topic: TopicId) -> bool {
        self.globals.tables().iter().any(|table| table.topic == topic)
            || self.tasks.values().any(|task| task.inputs().any(|input| input.topic == topic))
    }

    /// Puts a record at the end of a topic's partition and answers its offset. Tasks see it when it is delivered.
    pub fn append(&mut self, to: TopicPartition, record: Record<'_>) -> i64 {
        let written = self.topics.entry(to).or_default();
        let offset = written.len() as i64;
        written.push(offset, record);
        offset
    }

    /// Gives the tasks what was written to their inputs since they were given something last, and says that nothing more is
    /// there: no record waits for another one. Global tables are given theirs first.
    pub fn deliver(&mut self) -> Result<(), store::Error> {
        for at in 0..self.globals.tables().len() {
            let (topic, partitions) = (self.globals.tables()[at].topic, self.globals.tables()[at].partitions);
            for partition in 0..partitions {
                let from = TopicPartition { topic, partition };
                if let Some((records, end)) = undelivered(&self.topics, &mut self.delivered, from) {
                    self.globals.take(at, partition, &records, end)?;
                }
            }
        }
        for task in self.tasks.values_mut() {
            let inputs: Vec<TopicPartition> = task.inputs().collect();
            for input in &inputs {
                if let Some((records, _)) = undelivered(&self.topics, &mut self.delivered, *input) {
                    task.add(*input, records);
                }
            }
            for input in inputs {
                let end = self.delivered.get(&input).copied().unwrap_or(0);
                task.set_end(input, end as i64);
            }
        }
        Ok(())
    }

    // === what a thread does ===

    /// Delivers, and steps all tasks until they have nothing to do or a full interval. Retries wait as long as they must.
    pub fn run(&mut self) -> Result<(), Failure> {
        self.deliver()?;
        for task in self.tasks.values_mut() {
            loop {
                match task.step(self.now, usize::MAX)? {
                    Step::Ran => {}
                    Step::Wait(until) => self.now = self.now.max(until),
                    Step::Idle | Step::Full => break,
                }
            }
        }
        Ok(())
    }

    /// Flushes caches, seals all touched tasks, writes what they say into the topics and commits; `false`: there was nothing.
    pub fn cut(&mut self) -> Result<bool, Failure> {
        let mut cut = Cut::default();
        self.sequence += 1;
        for task in self.tasks.values_mut().filter(|task| task.is_touched()) {
            while task.flush(self.now)? == Step::Ran {}
            task.seal(self.sequence, Inputs::Moved, &mut cut);
        }
        if cut.is_empty() {
            return Ok(false);
        }
        let sent = self.write(&cut.outgoing);
        sent.into_iter().for_each(|(to, offset)| self.outputs.add(to, offset));
        let positions = self.write(&cut.changelog).into_iter().collect();
        for task in self.tasks.values_mut() {
            task.on_committed();
            task.apply_committed(&positions)?;
        }
        Ok(true)
    }

    /// Where each record went, in order.
    fn write(&mut self, outgoing: &Outgoing) -> Vec<(TopicPartition, i64)> {
        outgoing.iter().map(|(to, record)| (to, self.append(to, record))).collect()
    }

    /// Runs and cuts until nothing is left to do.
    pub fn settle(&mut self) -> Result<(), Failure> {
        loop {
            self.run()?;
            if !self.cut()? {
                return Ok(());
            }
        }
    }

    /// The same, with a cut behind every record, those on repartition topics too.
    pub fn settle_each(&mut self) -> Result<(), Failure> {
        loop {
            self.deliver()?;
            let mut ran = false;
            for task in self.tasks.values_mut() {
                match task.step(self.now, 1)? {
                    Step::Idle | Step::Full => continue,
                    Step::Ran => {}
                    Step::Wait(until) => self.now = self.now.max(until),
                }
                ran = true;
                break;
            }
            if !self.cut()? && !ran {
                return Ok(());
            }
        }
    }

    /// Moves the clock on the wall and fires what is due, without a cut.
    pub fn advance(&mut self, ms: i64) -> Result<(), Failure> {
        self.now = self.now.saturating_add(ms);
        for task in self.tasks.values_mut() {
            while task.punctuate_wall_clock(self.now)? == Step::Ran {
                // The next one that is due waits for it.
                while task.is_punctuating() && task.step(self.now, 1)? == Step::Ran {}
            }
        }
        Ok(())
    }

    /// Drops what is not committed; the inputs are delivered again from the committed offsets on.
    pub fn abort(&mut self) {
        for task in self.tasks.values_mut() {
            task.abort();
            self.delivered.extend(task.committed_offsets().map(|(input, offset)| (input, offset as usize)));
        }
    }

    // === what came of it ===

    /// Everything that was written to a topic's partition; `None`: nothing was.
    pub fn records(&self, at: TopicPartition) -> Option<&Records> {
        self.topics.get(&at)
    }

    /// The partitions that something was written to.
    pub fn written(&self) -> impl Iterator<Item = TopicPartition> {
        self.topics.keys().copied()
    }

    /// What the application wrote to a topic since this was asked for last.
    pub fn take(&mut self, topic: TopicId) -> Vec<Output> {
        self.outputs.take(topic)
    }

    /// A record that [`Driver::take`] named.
    pub fn output(&self, output: &Output) -> Option<Record<'_>> {
        let records = self.topics.get(&output.at)?;
        usize::try_from(output.offset).ok().filter(|place| *place < records.len()).map(|place| records.get(place).1)
    }

    /// Records that had no effect, of all tasks and global tables.
    pub fn dropped(&self) -> Dropped {
        let mut sum = Dropped::default();
        for dropped in self.tasks.values().map(Task::dropped) {
            sum.null += dropped.null;
            sum.by_guest += dropped.by_guest;
            sum.skipped += dropped.skipped;
            sum.late += dropped.late;
            sum.timestamp += dropped.timestamp;
        }
        sum.null += self.globals.views().dropped();
        sum
    }
}

/// What was written since somebody was given something last, and the offset behind it.
fn undelivered(
    topics: &BTreeMap<TopicPartition, Records>,
    delivered: &mut BTreeMap<TopicPartition, usize>,
    input: TopicPartition,
) -> Option<(Records, i64)> {
    let delivered = delivered.entry(input).or_insert(0);
    let written = topics.get(&input).filter(|written| written.len() > *delivered)?;
    let mut records = Records::default();
    for place in *delivered..written.len() {
        let (offset, record) = written.get(place);
        records.push(offset, record);
    }
    *delivered = written.len();
    Some((records, written.len() as i64))
}
