//! One task over one partition, with user code written by hand.
#![allow(clippy::unwrap_used, dead_code)]

pub mod walked;

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_engine::config::Manifest;
use millstream_engine::error::Problem;
use millstream_engine::frame::ALL_CHILDREN;
use millstream_engine::functions::{Fault, Functions};
use millstream_engine::record::{Headers, Outgoing, Record, Records, TopicPartition};
use millstream_engine::store::{Base, MemoryBase, SizeLimits, StoreSlot, TaskStores};
use millstream_engine::task::{Cut, Failure, Inputs, Settings, Start, Step, Task, TaskId};
use millstream_engine::topology::{Blueprint, Description, Plan, TopicFacts};

/// User code: takes the node's number and a frame, appends a result frame.
pub type Code = fn(u32, &[u8], &mut TaskStores, &mut Vec<u8>) -> Result<(), Fault>;

pub struct Native(pub Code);

impl Functions for Native {
    fn call(&mut self, node: u32, frame: &[u8], stores: &mut TaskStores, out: &mut Vec<u8>) -> Result<(), Fault> {
        (self.0)(node, frame, stores, out)
    }

    fn discard(&mut self) {}
}

pub fn no_code(_: u32, _: &[u8], _: &mut TaskStores, _: &mut Vec<u8>) -> Result<(), Fault> {
    panic!("a call where no user code is")
}

/// Plans a description, JSON, on the topics named with their `max.message.bytes`.
pub fn plan(manifest: &str, description: &str, topics: &[(&str, usize)]) -> Result<Plan, Problem> {
    let manifest = Manifest::parse(&format!("id = \"app\"\n{manifest}"), "app.toml").unwrap();
    let description: Description = serde_json::from_str(description).unwrap();
    let facts = |name: &str| {
        let (_, bytes) = topics.iter().find(|(topic, _)| *topic == name)?;
        Some(TopicFacts { max_message_bytes: Some(*bytes), ..TopicFacts::of_partitions(1) })
    };
    Blueprint::new(manifest, &description)?.plan(&facts)
}

pub fn stores(plan: &Plan) -> TaskStores {
    stores_on(plan, Box::new(MemoryBase::new(plan.stores.len())))
}

/// All of them on one base.
pub fn stores_on(plan: &Plan, base: Box<dyn Base>) -> TaskStores {
    let slot = |(at, store): (usize, &millstream_engine::topology::StorePlan)| StoreSlot {
        number: at as u32,
        name: store.description.name.clone(),
        base: 0,
        slot: at,
        logged: store.changelog.is_some(),
        kind: store.kind,
    };
    let slots: Vec<StoreSlot> = plan.stores.iter().enumerate().map(slot).collect();
    TaskStores::new(slots, vec![base], SizeLimits::default())
}

pub fn task(plan: Plan, settings: Settings, code: Code) -> Task {
    let stores = stores(&plan);
    task_with(plan, stores, settings, code)
}

pub fn task_with(plan: Plan, stores: TaskStores, settings: Settings, code: Code) -> Task {
    let plan = Arc::new(plan);
    let inputs = plan.inputs(&plan.subtopologies[0]).into_iter();
    let start =
        |(source, topic, _)| Start { input: TopicPartition { topic, partition: 0 }, source, offset: 0, metadata: None };
    let starts: Vec<Start> = inputs.map(start).collect();
    let id = TaskId { subtopology: 0, partition: 0 };
    let mut task = Task::new(id, plan, settings, &starts, 0);
    task.open(stores, Box::new(Native(code)));
    task
}

/// Gives the task records of its first input; offsets go on from `from`.
pub fn give<'a>(task: &mut Task, from: i64, given: impl IntoIterator<Item = Record<'a>>) -> i64 {
    give_to(task, 0, from, given)
}

/// The same of any input, which has nothing more then.
pub fn give_to<'a>(task: &mut Task, input: usize, from: i64, given: impl IntoIterator<Item = Record<'a>>) -> i64 {
    let input = task.inputs().nth(input).unwrap();
    let mut records = Records::default();
    let mut offset = from;
    for record in given {
        records.push(offset, record);
        offset += 1;
    }
    task.add(input, records);
    task.set_end(input, offset);
    offset
}

pub fn record<'a>(key: &'a [u8], value: &'a [u8], timestamp: i64) -> Record<'a> {
    Record { key: Some(key), value: Some(value), headers: Headers(&[]), timestamp }
}

/// Steps until there is nothing to do.
pub fn run(task: &mut Task) -> Result<(), Failure> {
    for _ in 0..10_000 {
        match task.step(0, usize::MAX)? {
            Step::Ran => {}
            Step::Idle | Step::Full => return Ok(()),
            Step::Wait(_) => panic!("nothing retries here"),
        }
    }
    panic!("the task does not come to an end")
}

/// Cuts and commits; what went out and what the changelogs were told.
pub fn cut(task: &mut Task, sequence: i64) -> (Outgoing, Outgoing) {
    let mut cut = Cut::default();
    task.seal(sequence, Inputs::Moved, &mut cut);
    task.on_committed();
    task.apply_committed(&BTreeMap::new()).unwrap();
    (cut.outgoing, cut.changelog)
}

/// A result frame.
#[derive(Default)]
pub struct Answer {
    elements: u32,
    outcomes: u32,
    body: Vec<u8>,
    said: Vec<u8>,
}

impl Answer {
    /// A result with the element's own key and headers; `None`: its own value too.
    pub fn element(&mut self, input: u32, value: Option<&[u8]>, timestamp: i64) {
        self.elements += 1;
        let same: u16 = if value.is_some() { 1 | 4 } else { 1 | 2 | 4 };
        self.body.extend(input.to_le_bytes());
        self.body.extend(ALL_CHILDREN.to_le_bytes());
        self.body.extend(same.to_le_bytes());
        self.body.extend([0; 8]);
        self.body.extend(timestamp.to_le_bytes());
        self.body.extend((-1i32).to_le_bytes());
        self.body.extend(value.map_or(-1, |value| value.len() as i32).to_le_bytes());
        self.body.extend(value.unwrap_or_default());
    }

    /// A result for one child with the element's own key, headers and time.
    pub fn to(&mut self, input: u32, child: u16, value: Option<&[u8]>) {
        self.elements += 1;
        self.body.extend(input.to_le_bytes());
        self.body.extend(child.to_le_bytes());
        self.body.extend((1u16 | 4).to_le_bytes());
        self.body.extend([0; 16]);
        self.body.extend((-1i32).to_le_bytes());
        self.body.extend(value.map_or(-1, |value| value.len() as i32).to_le_bytes());
        self.body.extend(value.unwrap_or_default());
    }

    /// A result under a key of its own, with the element's own headers and time 0.
    pub fn under(&mut self, input: u32, key: Option<&[u8]>, value: &[u8]) {
        self.elements += 1;
        self.body.extend(input.to_le_bytes());
        self.body.extend(ALL_CHILDREN.to_le_bytes());
        self.body.extend(4u16.to_le_bytes());
        self.body.extend([0; 16]);
        self.body.extend(key.map_or(-1, |key| key.len() as i32).to_le_bytes());
        self.body.extend((value.len() as i32).to_le_bytes());
        self.body.extend(key.unwrap_or_default());
        self.body.extend(value);
    }

    pub fn outcome(&mut self, input: u32, kind: u16, message: &[u8]) {
        self.outcomes += 1;
        self.said.extend(input.to_le_bytes());
        self.said.extend(kind.to_le_bytes());
        self.said.extend(0u16.to_le_bytes());
        self.said.extend((message.len() as u32).to_le_bytes());
        self.said.extend(message);
    }

    pub fn finish(&self, out: &mut Vec<u8>) {
        let len = 32 + self.body.len() + self.said.len();
        out.extend(b"MSF1\x01\x00\x04\x00");
        for number in [0, 0, self.elements, self.outcomes, len as u32, 0] {
            out.extend(number.to_le_bytes());
        }
        out.extend(&self.body);
        out.extend(&self.said);
    }
}

/// The values of a frame's elements, which are in no groups.
pub fn values(frame: &[u8]) -> Vec<Vec<u8>> {
    elements(frame).into_iter().map(|(_, value)| value).collect()
}

/// The keys of them.
pub fn keys(frame: &[u8]) -> Vec<Vec<u8>> {
    elements(frame).into_iter().map(|(key, _)| key).collect()
}

fn elements(frame: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let number = |at: usize| u32::from_le_bytes(frame[at..at + 4].try_into().unwrap()) as usize;
    let length = |at: usize| (number(at) as i32).max(0) as usize;
    let mut at = 32 + 40 * number(8);
    let mut elements = Vec::new();
    for _ in 0..number(16) {
        let (headers, key, value) = (number(at + 12), length(at + 24), length(at + 28));
        let rest = &frame[at + 32..];
        elements.push((rest[..key].to_vec(), rest[key..][..value].to_vec()));
        at += 32 + key + value + headers;
    }
    elements
}

/// The stream time of a frame's first context.
pub fn stream_time(frame: &[u8]) -> i64 {
    i64::from_le_bytes(frame[56..64].try_into().unwrap())
}

/// The timestamp of its first context.
pub fn time(frame: &[u8]) -> i64 {
    i64::from_le_bytes(frame[48..56].try_into().unwrap())
}

/// How many elements a frame asks about.
pub fn asked(frame: &[u8]) -> u32 {
    u32::from_le_bytes(frame[16..20].try_into().unwrap())
}
