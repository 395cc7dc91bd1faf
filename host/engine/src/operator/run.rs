//! Taking a batch through the nodes of a subtopology.
//!
//! **Wide**: node after node, each over the whole batch, the guest called once per node. Where ways meet again, and
//! where two sinks write one topic, elements are merged in depth-first order, so nobody can see the batch. Stateless
//! nodes in a row are one call where the guest takes them so.
//! **Deep**: element after element, depth first. Taken where nodes reached from one source share a store (entangled),
//! because there the order between nodes shows; and when a record is replayed alone, because of several rejections the
//! first one in depth-first order is judged.

use super::apart::Apart;
use super::batch::{Batch, Element, Emitted};
use super::call::{Answers, Limits};
use super::chain::Chain;
use super::keyed::Keyed;
use super::process::UnderWay;
use super::reached::Reached;
use super::schedule::ScheduleRequest;
use super::{
    aggregate, chain, count, foreign_key, join, process, route, sink, stateless, stream_join, suppress, table,
    table_aggregate, table_group, windowed,
};
use crate::frame::{ALL_CHILDREN, OutcomeKind};
use crate::functions::{Fault, Functions};
use crate::record::{Outgoing, Span, TopicPartition, push};
use crate::store::{self, TaskStores};
use crate::topology::{Node, Operator, Plan, SubtopologyPlan};

/// Records that had no effect, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// A null key or value where the operator goes by it (Kafka Streams' dropped-records).
    pub null: u64,
    /// The guest said drop.
    pub by_guest: u64,
    /// The policy of its source said skip.
    pub skipped: u64,
    /// A store that goes by time had left it behind.
    pub late: u64,
    /// It had no time, and its source skips such records.
    pub timestamp: u64,
}

impl Dropped {
    pub fn total(&self) -> u64 {
        self.null + self.by_guest + self.skipped + self.late + self.timestamp
    }
}

/// A record the guest does not want: all of its effects are undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Which record of the batch.
    pub context: u32,
    pub node: String,
    pub kind: OutcomeKind,
    pub message: String,
}

/// A stored value that its operator cannot read: another program's, or another operator's. No wiping and no restoring
/// changes it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("node `{node}`: store `{store}` holds something else for key \"{key}\": {what}")]
pub struct Unreadable {
    pub node: String,
    pub store: String,
    /// Escaped.
    pub key: String,
    pub what: String,
}

/// Why a batch did not reach its end. The caller rolls it back.
#[derive(Debug)]
pub enum Stop {
    Rejected(Rejection),
    /// A call gave no result; whose fault it was is in `fault`.
    Fault {
        node: String,
        fault: Fault,
    },
    Store(store::Error),
    Unreadable(Box<Unreadable>),
}

impl Stop {
    /// A record that cannot be taken as it is: its own failure.
    pub(super) fn rejected(node: &Node, element: &Element, message: String) -> Stop {
        let node = node.name.clone();
        Stop::Rejected(Rejection { context: element.context, node, kind: OutcomeKind::Fail, message })
    }

    /// A record of a topic between the application's own nodes that none of them has written.
    pub(super) fn malformed(node: &Node, element: &Element, what: &str) -> Stop {
        Stop::rejected(node, element, what.to_owned())
    }
}

impl From<store::Error> for Stop {
    fn from(error: store::Error) -> Stop {
        Stop::Store(error)
    }
}

/// Buffers reused from batch to batch.
#[derive(Default)]
pub struct Scratch {
    pub(super) frame: Vec<u8>,
    /// Elements in front of each node of the plan.
    inboxes: Vec<Vec<Element>>,
    /// Elements for topics that several nodes write.
    pub(super) contested: Vec<(TopicPartition, Element)>,
    emitted: Vec<Emitted>,
    pub(super) answers: Answers,
    pub(super) keyed: Keyed,
    /// Places of a node's stores.
    pub(super) places: Vec<usize>,
    /// By context: the source that it came in by; empty in a punctuation.
    pub(super) sources: Vec<usize>,
    /// Elements given to nodes in this batch.
    pub(super) delivered: usize,
    /// Bytes sent to topics in this batch.
    pub(super) sent_bytes: usize,
    /// Whether the guest wants what it did in this batch committed soon.
    pub commit: bool,
    /// What it asks of the task's schedules, in order.
    pub schedules: Vec<ScheduleRequest>,
    /// The token of the call that is being answered.
    pub(super) token: Option<Vec<u8>>,
    /// The punctuation that this batch began with, where it is to go on.
    pub under_way: Option<UnderWay>,
    /// What nodes let go, where it is set apart ([`super::apart`]).
    pub apart: Option<Apart>,
    /// Of a store whose windows go downstream in portions: the rows of one, where it is fewer than usual.
    pub portion_rows: Option<(usize, usize)>,
}

/// Bytes that the nodes of one batch may make together. Far above what `Limits` let one record make at one node.
const ARENA_BYTES_MAX: usize = 512 << 20;

/// Elements that nodes may be given in one batch: a full batch whose every record becomes a thousand at four nodes, and
/// some 100 MiB. A batch beyond it is replayed record by record; a record beyond it fails.
const DELIVERED_MAX: usize = 2_000_000;

/// Steps of all ways of one batch, four bytes each; the same.
const STEPS_MAX: usize = 50_000_000;

/// Bytes of the key that an error shows.
const SHOWN_KEY_BYTES_MAX: usize = 100;

/// One batch in motion.
pub struct Run<'a> {
    pub plan: &'a Plan,
    pub subtopology: &'a SubtopologyPlan,
    pub batch: &'a mut Batch,
    pub stores: &'a mut TaskStores,
    pub functions: &'a mut dyn Functions,
    pub outgoing: &'a mut Outgoing,
    pub dropped: &'a mut Dropped,
    pub reached: &'a mut Reached,
    pub scratch: &'a mut Scratch,
    pub limits: Limits,
    /// Wall clock, ms: what topics hold timestamps against.
    pub now: i64,
}

impl Run<'_> {
    /// Runs elements that stand in front of sources, in order of their contexts.
    pub fn records(&mut self, heads: &[(usize, Element)], is_replay: bool) -> Result<(), Stop> {
        self.open_inboxes();
        self.scratch.sources.extend(heads.iter().map(|(source, _)| *source));
        let entangled = heads.iter().any(|(source, _)| self.subtopology.entangled.contains(source));
        if entangled || is_replay {
            for (source, element) in heads {
                self.deep(*source, *element)?;
            }
        } else {
            for (source, element) in heads {
                self.scratch.inboxes[*source].push(*element);
            }
            self.wide()?;
        }
        self.send_contested();
        Ok(())
    }

    /// Calls a punctuation and runs what it forwards.
    pub fn punctuation(&mut self, at: usize, call: process::PunctuationCall<'_>) -> Result<(), Stop> {
        self.open_inboxes();
        let mut emitted = Vec::new();
        process::punctuate(self, at, call, &mut emitted)?;
        self.give(at, emitted)
    }

    /// Runs what a node gives away by itself.
    pub(super) fn give(&mut self, at: usize, emitted: Vec<Emitted>) -> Result<(), Stop> {
        if self.subtopology.is_entangled_below(at) || self.scratch.apart.is_some() {
            self.forward_let_go(at)?;
            self.forward_deep(at, emitted)?;
        } else {
            self.deliver(at, &emitted, self.plan.nodes[at].multiplies())?;
            self.wide()?;
        }
        self.send_contested();
        Ok(())
    }

    /// Empties what an earlier batch may have left when it was stopped.
    pub(super) fn open_inboxes(&mut self) {
        self.scratch.inboxes.resize_with(self.plan.nodes.len(), Vec::new);
        self.scratch.inboxes.iter_mut().for_each(Vec::clear);
        self.scratch.contested.clear();
        self.scratch.sources.clear();
        self.scratch.delivered = 0;
        self.scratch.sent_bytes = 0;
        self.scratch.commit = false;
        self.scratch.schedules.clear();
        (self.scratch.token, self.scratch.under_way) = (None, None);
    }

    fn wide(&mut self) -> Result<(), Stop> {
        for &at in &self.subtopology.nodes {
            if self.scratch.inboxes[at].is_empty() {
                continue;
            }
            let mut inbox = std::mem::take(&mut self.scratch.inboxes[at]);
            if self.plan.nodes[at].inputs.len() > 1 {
                inbox.sort_by(|a, b| self.batch.order(a, b));
            }
            let mut emitted = std::mem::take(&mut self.scratch.emitted);
            emitted.clear();
            let plan = self.plan;
            match plan.nodes[at].chain.last() {
                None => {
                    self.operate(at, &inbox, &mut emitted)?;
                    self.deliver(at, &emitted, plan.nodes[at].multiplies())?;
                }
                Some(&last) => {
                    let chain = Chain::of(plan, at);
                    chain::run(self, &chain, &inbox, &mut emitted)?;
                    self.deliver(last, &emitted, chain.multiplies())?;
                }
            }
            self.scratch.emitted = emitted;
            self.scratch.inboxes[at] = inbox;
        }
        Ok(())
    }

    fn deep(&mut self, at: usize, element: Element) -> Result<(), Stop> {
        let mut emitted = Vec::new();
        self.operate(at, &[element], &mut emitted)?;
        self.forward_let_go(at)?;
        self.forward_deep(at, emitted)
    }

    pub(super) fn forward_deep(&mut self, at: usize, emitted: Vec<Emitted>) -> Result<(), Stop> {
        let node = &self.plan.nodes[at];
        for (ordinal, Emitted { element, target }) in emitted.iter().enumerate() {
            for (rank, child) in node.children.iter().enumerate() {
                if takes(node, rank, child.branch, *target) {
                    self.count_delivery(node, element)?;
                    let path = self.step(node, element, node.multiplies().then_some(ordinal), rank);
                    self.deep(child.node, Element { input: child.input, path, ..*element })?;
                }
            }
        }
        Ok(())
    }

    /// Puts what a node gave away in front of its children; `multiplies`: whether it may be more than it was given.
    fn deliver(&mut self, at: usize, emitted: &[Emitted], multiplies: bool) -> Result<(), Stop> {
        let node = &self.plan.nodes[at];
        for (ordinal, Emitted { element, target }) in emitted.iter().enumerate() {
            for (rank, child) in node.children.iter().enumerate() {
                if takes(node, rank, child.branch, *target) {
                    self.count_delivery(node, element)?;
                    let path = self.step(node, element, multiplies.then_some(ordinal), rank);
                    self.scratch.inboxes[child.node].push(Element { input: child.input, path, ..*element });
                }
            }
        }
        Ok(())
    }

    /// Whether all of a batch is more than it may be, or so much that what is refused may be so for that.
    pub fn is_exhausted(&self) -> bool {
        self.scratch.delivered > DELIVERED_MAX
            || self.batch.steps() > STEPS_MAX
            || self.batch.arena.len() > ARENA_BYTES_MAX
            || self.scratch.sent_bytes > sink::SENT_BYTES_MAX
            || self.stores.is_batch_large()
    }

    fn count_delivery(&mut self, node: &Node, element: &Element) -> Result<(), Stop> {
        self.scratch.delivered += 1;
        if self.scratch.delivered > DELIVERED_MAX {
            return Err(Stop::rejected(node, element, format!("one record became more than {DELIVERED_MAX}")));
        }
        if self.batch.steps() > STEPS_MAX {
            return Err(Stop::rejected(node, element, format!("one record went more than {STEPS_MAX} ways")));
        }
        Ok(())
    }

    /// The path behind this node. Where a way neither splits nor multiplies there is nothing to tell apart.
    fn step(&mut self, node: &Node, element: &Element, ordinal: Option<usize>, rank: usize) -> super::Path {
        let mut path = element.path;
        if !self.subtopology.ordered {
            return path;
        }
        if let Some(ordinal) = ordinal {
            path = self.batch.extend_path(path, ordinal as u32);
        }
        if node.children.len() > 1 {
            path = self.batch.extend_path(path, rank as u32);
        }
        path
    }

    fn operate(&mut self, at: usize, inputs: &[Element], out: &mut Vec<Emitted>) -> Result<(), Stop> {
        self.run_operator(at, inputs, out)?;
        if self.holds_back(&self.plan.nodes[at]) {
            // It comes as the cache is flushed.
            out.clear();
        }
        Ok(())
    }

    fn run_operator(&mut self, at: usize, inputs: &[Element], out: &mut Vec<Emitted>) -> Result<(), Stop> {
        use Operator::*;
        let node = &self.plan.nodes[at];
        self.check_timestamps(at, node, inputs)?;
        if let Some(window) = node.window {
            return windowed::aggregate(self, node, window, inputs, out);
        }
        match node.operator {
            Source | RepartitionSource | Merge | StreamJoin => {
                out.extend(inputs.iter().map(|element| Emitted::to_all(*element)));
                Ok(())
            }
            Filter | FilterNot => stateless::filter(self, node, inputs, out),
            Map | MapValues | SelectKey => stateless::map(self, node, inputs, out),
            FlatMap | FlatMapValues => stateless::flat_map(self, node, inputs, out),
            Peek => stateless::peek(self, node, inputs, out),
            Branch => stateless::branch(self, node, inputs, out),
            Count => count::count(self, node, inputs, out),
            Reduce | Aggregate | Cogroup => aggregate::aggregate(self, node, inputs, out),
            TableSource | ToTable | ForeignKeyJoin => table::source(self, node, inputs, out),
            TableFilter | TableFilterNot => table::filter(self, node, inputs, out),
            TableMapValues => table::map_values(self, node, inputs, out),
            ToStream => table::to_stream(inputs, out),
            TableGroupBy => table_group::group_by(self, node, inputs, out),
            TableCount => table_aggregate::count(self, node, inputs, out),
            TableReduce | TableAggregate => table_aggregate::aggregate(self, node, inputs, out),
            StreamJoinThis | StreamJoinOther => stream_join::side(self, node, inputs, out),
            StreamGlobalJoin => join::stream_global(self, node, inputs, out),
            // Its records go through no task.
            GlobalTableSource => Ok(()),
            StreamTableJoin => join::stream_table(self, node, inputs, out),
            TableJoinThis | TableJoinOther => join::table_side(self, node, inputs, out),
            TableJoin => join::merge(self, node, inputs, out),
            ForeignKeySend => foreign_key::send(self, node, inputs, out),
            ForeignKeyReceive => foreign_key::receive(self, node, inputs, out),
            ForeignKeyChange => foreign_key::change(self, node, inputs, out),
            ForeignKeyResolve => foreign_key::resolve(self, node, inputs, out),
            Suppress => suppress::suppress(self, node, inputs, out),
            Process => process::process(self, node, inputs, out),
            Route => route::route(self, node, inputs, out),
            Repartition | Subscription | Response | Sink => sink::send(self, at, inputs),
        }
    }

    /// A broker refuses a whole interval for one timestamp too far ahead of its clock.
    fn check_timestamps(&self, at: usize, node: &Node, inputs: &[Element]) -> Result<(), Stop> {
        let max = self.plan.timestamp_ahead_max_ms(at);
        let latest = self.now.saturating_add(max);
        let Some(ahead) = inputs.iter().find(|element| element.timestamp > latest) else { return Ok(()) };
        let (timestamp, by) = (ahead.timestamp, ahead.timestamp - self.now);
        let message = format!(
            "timestamp {timestamp} is {by} ms ahead of the clock; what node `{}` writes takes {max} \
             (message.timestamp.after.max.ms)",
            node.name
        );
        Err(Stop::rejected(node, ahead, message))
    }

    /// What no store and no changelog would take is the record's own failure, found before anything is kept of it.
    pub(super) fn check_entry(&self, node: &Node, element: &Element, place: usize, value: Span) -> Result<(), Stop> {
        let arena = &self.batch.arena;
        let checked = self.stores.check(place, element.key.bytes(arena), value.of(arena));
        checked.map_err(|error| Stop::rejected(node, element, error.to_string()))
    }

    /// Puts what a node makes into the batch's arena.
    pub(super) fn push(&mut self, node: &Node, element: &Element, bytes: &[u8]) -> Result<Span, Stop> {
        let span = push(&mut self.batch.arena, Some(bytes));
        self.check_arena(node, element).map(|()| span)
    }

    pub(super) fn check_arena(&self, node: &Node, element: &Element) -> Result<(), Stop> {
        if self.batch.arena.len() <= ARENA_BYTES_MAX {
            return Ok(());
        }
        Err(Stop::rejected(node, element, format!("more than {ARENA_BYTES_MAX} bytes made of one record")))
    }

    pub(super) fn unreadable(&self, node: &Node, element: &Element, what: String) -> Stop {
        let store = node.store.and_then(|number| self.plan.stores.get(number));
        let key = element.key.bytes(&self.batch.arena);
        Stop::Unreadable(Box::new(Unreadable {
            node: node.name.clone(),
            store: store.map(|store| store.description.name.clone()).unwrap_or_default(),
            key: key[..key.len().min(SHOWN_KEY_BYTES_MAX)].escape_ascii().to_string(),
            what,
        }))
    }

    /// A record for a topic that other nodes write too: kept until the batch is through.
    pub(super) fn contest(&mut self, to: TopicPartition, element: Element) {
        self.scratch.contested.push((to, element));
    }

    fn send_contested(&mut self) {
        let mut contested = std::mem::take(&mut self.scratch.contested);
        // What is set apart begins its way anew; it is one record's, and in its order already.
        if self.scratch.apart.is_none() {
            contested.sort_by(|(_, a), (_, b)| self.batch.order(a, b));
        }
        for (to, element) in contested.drain(..) {
            self.outgoing.push(to, self.batch.record(&element));
        }
        self.scratch.contested = contested;
    }
}

impl<'a> Run<'a> {
    /// Topic, partition and offset of the record that an element comes from; of a punctuation none.
    pub(super) fn origin(&self, element: &Element) -> (&'a str, i32, i64) {
        let (context, plan) = (element.context as usize, self.plan);
        let topic = self.scratch.sources.get(context).and_then(|source| plan.topic_of(*source));
        let topic = topic.map_or("", |topic| plan.topics[topic.0 as usize].name.as_str());
        let from = self.batch.contexts.get(context);
        from.map_or((topic, -1, -1), |from| (topic, from.partition as i32, from.offset))
    }
}

/// Whether a child takes an element meant for `target`.
fn takes(node: &Node, rank: usize, branch: Option<u16>, target: u16) -> bool {
    match node.operator {
        Operator::Branch => branch == Some(target),
        _ => target == ALL_CHILDREN || usize::from(target) == rank,
    }
}
