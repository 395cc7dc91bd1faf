//! What a processor knows of the record it has, and where its own records go.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;

use super::Random;
use crate::answer::{ALL, Answer, Field, SAME, Schedule};
use crate::codec::Data;
use crate::failure::Failure;
use crate::frame::{NO_SOURCE, Origin};
use crate::host;
use crate::record::{Headers, Record};
use crate::topology::graph::{Children, Names};

/// Forwards records of `K`, `V`, and tells where and when the running record came in. All of it is the same in a
/// replay and after a restart.
pub struct Context<'a, K, V> {
    pub(super) answer: &'a mut Answer,
    /// The element's place in the frame.
    pub(super) place: u32,
    pub(super) timestamp: i64,
    pub(super) origin: &'a Origin,
    pub(super) wiring: &'a Wiring,
    pub(super) random: Random,
    /// What the processor asked for and cannot have: fails the record when it is done.
    pub(super) failure: Option<Failure>,
    pub(super) commit: bool,
    pub(super) schedules: Vec<Schedule>,
    pub(super) token: Option<Vec<u8>>,
    pub(super) types: PhantomData<(K, V)>,
}

/// The names around a node.
pub(super) struct Wiring {
    pub children: Children,
    pub nodes: Names,
    pub topics: Topics,
}

/// The names of the topics that sources read: asked for once each.
#[derive(Default)]
pub(super) struct Topics(RefCell<BTreeMap<u32, Vec<Rc<str>>>>);

impl Topics {
    fn name(&self, source: u32, topic: u16) -> Option<Rc<str>> {
        let mut known = self.0.borrow_mut();
        let ask = || host::topics(source).into_iter().map(Rc::from).collect();
        known.entry(source).or_insert_with(ask).get(usize::from(topic)).cloned()
    }
}

impl<'a, K: Data, V: Data> Context<'a, K, V> {
    /// Hands a record to all children.
    pub fn forward(&mut self, record: Record<K, V>) {
        self.emit(ALL, &record);
    }

    /// Hands a record to what is chained behind [`crate::Stream::child`] of this name. A name that nothing is
    /// chained behind fails the running record.
    pub fn forward_to(&mut self, child: &str, record: Record<K, V>) {
        for rank in self.ranks(child) {
            self.emit(*rank, &record);
        }
    }

    /// The running record's timestamp, in a punctuation the time it fires for. In ms since the epoch.
    pub fn timestamp(&self) -> i64 {
        self.timestamp
    }

    /// The time as far as a processor can know it: that of the record that came in, or for which the punctuation
    /// fires. A clock that a replay repeats.
    pub fn now(&self) -> i64 {
        self.origin.timestamp
    }

    /// The greatest timestamp of all the task's records up to this one; `None` before the first.
    pub fn stream_time(&self) -> Option<i64> {
        Some(self.origin.stream_time).filter(|time| *time >= 0)
    }

    /// The source the record came in by; `None` in a punctuation.
    pub fn source(&self) -> Option<&str> {
        let source = Some(self.origin.source).filter(|source| *source != NO_SOURCE)?;
        self.wiring.nodes.get()?.get(source as usize).map(String::as_str)
    }

    /// The name of the topic the record came in by; `None` in a punctuation.
    pub fn topic(&self) -> Option<Rc<str>> {
        let source = Some(self.origin.source).filter(|source| *source != NO_SOURCE)?;
        self.wiring.topics.name(source, self.origin.topic)
    }

    /// The partition the record came in by, in a punctuation the task's.
    pub fn partition(&self) -> u32 {
        self.origin.partition
    }

    /// The record's offset in that partition; `None` in a punctuation.
    pub fn offset(&self) -> Option<i64> {
        Some(self.origin.offset).filter(|offset| *offset >= 0)
    }

    /// Asks for a commit of what was done up to here, ahead of its time: as soon as the host can, behind this record or a
    /// few more. Kafka Streams' `commit`.
    pub fn commit(&mut self) {
        self.commit = true;
    }

    /// Calls [`crate::Processor::punctuate`] under this name whenever stream time has moved on by `every` (at least a
    /// millisecond), first behind this record; one of that name is made anew. A name has up to 40 letters, digits, `.`, `_`
    /// and `-`, and a task up to 8 such schedules; they go on after a restart. Only for a processor that
    /// [`crate::Init::makes_schedules`].
    pub fn schedule_stream_time(&mut self, every: Duration, name: &str) {
        self.schedule("stream", every, name);
    }

    /// The same by the clock on the wall, first when `every` has gone by.
    pub fn schedule_wall_clock_time(&mut self, every: Duration, name: &str) {
        self.schedule("wall-clock", every, name);
    }

    /// Ends a schedule that the processor made while it ran.
    pub fn cancel(&mut self, name: &str) {
        self.schedules.push(Schedule::Cancel(name.to_owned()));
    }

    /// Has the running punctuation called again, with this token: at once, before any other record or punctuation of the
    /// task, with the limits of one call anew. What it has done so far goes its way, and may be committed before it goes on;
    /// the token is committed with it and outlasts a restart. At most 1 KiB. To the schedule all calls are one. Only in
    /// [`crate::Processor::punctuate`], of a processor that [`crate::Init::resumes_punctuations`]; said twice, the last
    /// token counts. [`crate::Punctuation::walk`] says it by itself.
    pub fn resume(&mut self, token: impl Into<Vec<u8>>) {
        self.token = Some(token.into());
    }

    fn schedule(&mut self, time: &'static str, every: Duration, name: &str) {
        let every_ms = every.as_millis().clamp(1, i64::MAX as u128) as u64;
        self.schedules.push(Schedule::Every(time, every_ms, name.to_owned()));
    }

    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    fn emit(&mut self, child: u16, record: &Record<K, V>) {
        if self.takes(record.timestamp) {
            let fields = (Field::New(&record.key), Field::New(&record.value));
            self.answer.element(self.place, child, record.timestamp, fields, Some(record.headers.as_bytes()));
        }
    }

    /// A value under the running record's own key; `None`: with its headers.
    pub(super) fn emit_value(&mut self, child: u16, value: &V, timestamp: i64, headers: Option<&Headers>) {
        if self.takes(timestamp) {
            let fields = (SAME, Field::New(value));
            self.answer.element(self.place, child, timestamp, fields, headers.map(Headers::as_bytes));
        }
    }

    /// The ranks of a child by name. One that is not there fails the running record.
    pub(super) fn ranks(&mut self, child: &str) -> &'a [u16] {
        let wiring: &'a Wiring = self.wiring;
        let ranks = wiring.children.get().and_then(|children| children.get(child));
        if ranks.is_none() {
            self.fail(format!("no child is named `{child}`; chain one behind `.child(\"{child}\")`"));
        }
        ranks.map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether a record may have this time; if not, the running one fails.
    fn takes(&mut self, timestamp: i64) -> bool {
        if timestamp < 0 {
            self.fail(format!("a record was forwarded with the timestamp {timestamp}"));
        }
        timestamp >= 0
    }

    pub(super) fn fail(&mut self, message: String) {
        self.failure.get_or_insert_with(|| Failure::fail(message));
    }
}
