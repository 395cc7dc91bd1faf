//! The same topology, interpreted: one record at a time, depth first, every effect at once, and a copy of everything
//! to go back to. Slow and plain; it shares nothing with the engine's operators and tasks.

use std::collections::{BTreeMap, VecDeque};

use millstream_engine::operator::Dropped;
use millstream_engine::topology::Description;
use millstream_engine::topology::description::{Input, Node, PunctuationTime};

use super::code::{Made, Said, Seen, Stores};
use super::engine::{Observed, Written, header_bytes, text};
use super::topology::{Script, Shape, children, source_topics, store_names};

mod apart;
mod foreign_keys;
mod globals;
mod joins;
mod partitions;
mod streams;
mod suppressions;
mod tables;

use partitions::{keeps_null_keys, repartition, tasks};

#[derive(Clone, Debug)]
struct Rec {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<u8>,
    timestamp: i64,
}

/// What moves between nodes: tables send the old value along, where they have it.
#[derive(Clone, Debug)]
struct Flow {
    rec: Rec,
    old: Option<Vec<u8>>,
    input: u16,
}

/// Where the running record comes from.
#[derive(Clone, Copy, Debug)]
struct From {
    source: u32,
    offset: i64,
    stream_time: i64,
    is_punctuation: bool,
}

/// Why a record is undone: the node, and what it said.
struct Stop {
    node: String,
    said: Said,
}

type Entries = BTreeMap<Vec<u8>, (i64, Vec<u8>)>;

/// What a record changes, and what is put back when it is undone.
#[derive(Clone, Default)]
struct Effects {
    stores: BTreeMap<String, Entries>,
    /// Of each task, sinks' and repartitions' records, and behind them the changelogs'.
    out: BTreeMap<usize, Vec<(String, Rec)>>,
    log: BTreeMap<usize, Vec<(String, Rec)>>,
    dropped: Dropped,
    /// Of joins of streams, by node.
    joined: BTreeMap<usize, streams::Joined>,
    /// Of suppressions, by node.
    held: BTreeMap<usize, suppressions::Held>,
}

struct Timer {
    node: usize,
    number: usize,
    time: PunctuationTime,
    every: i64,
    next: i64,
}

/// A topic, and where its records go: a node, as its input of this rank.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Source {
    topic: String,
    node: usize,
    rank: u16,
}

#[derive(Default)]
struct Task {
    /// In order of topics.
    inputs: Vec<Source>,
    queues: Vec<VecDeque<(i64, Rec)>>,
    positions: Vec<i64>,
    partition_times: Vec<i64>,
    timers: Vec<Timer>,
    touched: bool,
}

struct World<'a> {
    shape: &'a Shape,
    description: &'a Description,
    children: BTreeMap<String, u16>,
    tasks: Vec<Task>,
    topics: BTreeMap<String, Vec<Rec>>,
    effects: Effects,
    running: usize,
    from: From,
    /// The topic of the running record; of a punctuation none.
    topic: String,
    /// Records that the global table has taken.
    taken: usize,
    now: i64,
    dead_letters: u64,
    /// What was refused of what nodes let go, where it is run apart.
    apart: Option<Vec<(Rec, Stop)>>,
}

pub fn run(shape: &Shape, script: &Script) -> Observed {
    let mut world = World::new(shape);
    let failed = world.play(script).err();
    if failed.is_some() {
        world.cut();
    }
    world.observe(failed)
}

fn find<'a>(description: &'a Description, name: &str) -> &'a Node {
    description.nodes.iter().find(|node| node.name == name).unwrap()
}

/// Whether a node keeps aggregates.
fn groups(node: &Node) -> bool {
    ["count", "reduce", "aggregate", "table-count", "table-reduce", "table-aggregate", "cogroup"]
        .contains(&node.op.as_str())
}

impl<'a> World<'a> {
    fn new(shape: &'a Shape) -> World<'a> {
        let description = &shape.description;
        let tasks = tasks(description);
        let from = From { source: 0, offset: 0, stream_time: -1, is_punctuation: false };
        let mut effects = Effects::default();
        for store in store_names(description) {
            effects.stores.insert(store, Entries::new());
        }
        let children = children(description);
        let topics = BTreeMap::new();
        let (running, taken, now, dead_letters, topic, apart) = (0, 0, 0, 0, String::new(), None);
        World {
            shape,
            description,
            children,
            tasks,
            topics,
            effects,
            running,
            from,
            topic,
            taken,
            now,
            dead_letters,
            apart,
        }
    }

    // === the script ===

    fn play(&mut self, script: &Script) -> Result<(), String> {
        let sources = source_topics(self.description);
        for given in &script.records {
            let rec = Rec {
                key: given.key.map(|key| key.as_bytes().to_vec()),
                value: given.value.map(|value| value.as_bytes().to_vec()),
                headers: header_bytes(given.header),
                timestamp: given.timestamp,
            };
            self.write(&sources[usize::from(given.source) % sources.len()], rec);
            if let Some(ms) = given.cut {
                self.run_all()?;
                self.now += ms;
                (0..self.tasks.len()).try_for_each(|task| self.wall_clock(task))?;
                self.cut();
            }
        }
        loop {
            self.run_all()?;
            if !self.cut() {
                return Ok(());
            }
        }
    }

    /// Puts a record into its topic. Tasks are given what is there when they are run.
    fn write(&mut self, topic: &str, rec: Rec) {
        self.topics.entry(topic.to_owned()).or_default().push(rec);
    }

    fn run_all(&mut self) -> Result<(), String> {
        self.follow_global();
        for task in &mut self.tasks {
            for (at, Source { topic, .. }) in task.inputs.iter().enumerate() {
                let there = self.topics.get(topic).map_or(&[][..], Vec::as_slice);
                let given = task.positions[at] as usize + task.queues[at].len();
                task.queues[at].extend((given..).map(|offset| offset as i64).zip(there[given..].iter().cloned()));
            }
        }
        (0..self.tasks.len()).try_for_each(|task| self.run_task(task))
    }

    fn run_task(&mut self, at: usize) -> Result<(), String> {
        self.running = at;
        loop {
            self.stream_time_punctuations(at)?;
            let task = &mut self.tasks[at];
            let heads =
                task.queues.iter().enumerate().filter_map(|(input, queue)| Some((queue.front()?.1.timestamp, input)));
            let Some((_, input)) = heads.min() else { return Ok(()) };
            let (offset, rec) = task.queues[input].front().cloned().unwrap();
            let before = task.partition_times[input];
            task.partition_times[input] = before.max(rec.timestamp);
            let outcome = self.record(input, offset, rec);
            let task = &mut self.tasks[at];
            if let Err(why) = outcome {
                task.partition_times[input] = before;
                return Err(why);
            }
            task.queues[input].pop_front();
            task.positions[input] = offset + 1;
            task.touched = true;
        }
    }

    fn stream_time(&self, task: usize) -> i64 {
        self.tasks[task].partition_times.iter().copied().max().unwrap_or(-1)
    }

    // === records ===

    fn record(&mut self, input: usize, offset: i64, rec: Rec) -> Result<(), String> {
        let task = self.running;
        let Source { topic, node, rank } = self.tasks[task].inputs[input].clone();
        self.from = From { source: node as u32, offset, stream_time: self.stream_time(task), is_punctuation: false };
        self.topic.clone_from(&topic);
        let before = self.effects.clone();
        let flow = Flow { rec: rec.clone(), old: None, input: rank };
        let Err(stop) = self.take(node, flow.clone()) else { return Ok(()) };
        self.effects = before;
        if stop.said == Said::Retry {
            self.now += 2 * 5; // two attempts, 5 ms apart, that say the same again
        }
        // Whatever the policy.
        let stop = self.run_apart(
            |world| world.take(node, flow),
            |world, stop, rec| world.judge(&topic, node, offset, rec, stop, "of what it let go: "),
        )?;
        stop.map_or(Ok(()), |stop| self.judge(&topic, node, offset, rec, stop, ""))
    }

    /// Runs what stands in front of a source or behind a topic.
    fn take(&mut self, node: usize, flow: Flow) -> Result<(), Stop> {
        match self.description.nodes[node].op.as_str() {
            "table-source" => self.table_source(node, flow),
            "foreign-key-join" if self.topic.ends_with("-registration-topic") => self.subscribe(node, flow),
            "foreign-key-join" => self.resolve(node, flow),
            "source" | "repartition" => self.forward(node, flow, None),
            _ => self.node(node, flow), // read from the repartition topic in front of it
        }
    }

    fn verdict(&self, node: usize, stop: &Stop) -> &'static str {
        match self.policy(node) {
            "skip" if stop.said == Said::DeadLetter => "fail",
            policy => policy,
        }
    }

    fn judge(
        &mut self,
        topic: &str,
        node: usize,
        offset: i64,
        rec: Rec,
        stop: Stop,
        of_what: &str,
    ) -> Result<(), String> {
        let (exception, message) = match stop.said {
            Said::Trap => ("trap", "boom"),
            Said::DeadLetter => ("dead-letter", "no"),
            Said::Retry => ("retry", "no"),
            _ => ("fail", "no"),
        };
        let message = &format!("{of_what}{message}");
        let failed = format!("{topic}-0 offset {offset}, node `{}`: {exception}: {message}", stop.node);
        match self.verdict(node, &stop) {
            "fail" => return Err(failed),
            "skip" => self.effects.dropped.skipped += 1,
            _ => {
                let mut headers = rec.headers.clone();
                let offset = offset.to_string();
                for (name, value) in [
                    ("exception", exception),
                    ("message", message),
                    ("stacktrace", ""),
                    ("topic", topic),
                    ("partition", "0"),
                    ("offset", &offset),
                    ("node", &stop.node),
                ] {
                    let name = format!("__streams.errors.{name}");
                    millstream_engine::record::push_header(&mut headers, &name, Some(value.as_bytes()));
                }
                self.write_out("dead", Rec { headers, ..rec });
                self.dead_letters += 1;
            }
        }
        Ok(())
    }

    /// Of the source, or the application's for repartitions.
    fn policy(&self, node: usize) -> &'static str {
        let own = self.shape.policies.get(&self.description.nodes[node].name);
        own.copied().unwrap_or(self.shape.policy)
    }

    // === punctuations ===

    fn stream_time_punctuations(&mut self, task: usize) -> Result<(), String> {
        let now = self.stream_time(task);
        while let Some(timer) = self.due(task, PunctuationTime::Stream, now).filter(|_| now >= 0) {
            self.punctuate(task, timer, now)?;
            self.tasks[task].touched = true;
        }
        Ok(())
    }

    fn wall_clock(&mut self, task: usize) -> Result<(), String> {
        self.running = task;
        while let Some(timer) = self.due(task, PunctuationTime::WallClock, self.now) {
            self.punctuate(task, timer, self.now)?;
        }
        Ok(())
    }

    fn due(&self, task: usize, time: PunctuationTime, now: i64) -> Option<usize> {
        let timers = self.tasks[task].timers.iter().enumerate();
        let due = timers.filter(|(_, timer)| timer.time == time && timer.next <= now);
        due.min_by_key(|(at, timer)| (timer.next, *at)).map(|(at, _)| at)
    }

    fn punctuate(&mut self, task: usize, timer: usize, now: i64) -> Result<(), String> {
        let (node, number) = (self.tasks[task].timers[timer].node, self.tasks[task].timers[timer].number);
        self.from = From { source: u32::MAX, offset: -1, stream_time: self.stream_time(task), is_punctuation: true };
        self.topic.clear();
        let before = self.effects.clone();
        let rec = Rec { key: None, value: None, headers: Vec::new(), timestamp: now };
        let flow = Flow { rec, old: None, input: number as u16 };
        let mut stop = self.process(node, &flow).err();
        if stop.is_some() {
            self.effects = before;
            stop = self.run_apart(
                |world| world.process(node, &flow),
                |world, stop, _| world.judge_punctuation((node, number), now, stop, "of what it let go: "),
            )?;
        }
        if let Some(stop) = stop {
            self.judge_punctuation((node, number), now, stop, "")?;
        }
        let timer = &mut self.tasks[task].timers[timer];
        while timer.next <= now {
            timer.next += timer.every;
        }
        Ok(())
    }

    fn judge_punctuation(
        &mut self,
        (node, number): (usize, usize),
        now: i64,
        stop: Stop,
        of_what: &str,
    ) -> Result<(), String> {
        if self.shape.policy == "skip" {
            self.effects.dropped.skipped += 1;
            return Ok(());
        }
        let described = &self.description.nodes[node];
        let name = &described.punctuations[number].name;
        let (exception, message) = match stop.said {
            Said::Trap => ("trap", "boom"),
            Said::Retry => ("retry", "no"),
            _ => ("fail", "no"),
        };
        // The punctuated node is named, wherever below it the trouble was.
        let node = &described.name;
        Err(format!("punctuation {name} at {now}-0 offset -1, node `{node}`: {exception}: {of_what}{message}"))
    }

    // === nodes ===

    /// Hands an element to the children of a node: all, or the one of this rank, or those on this branch.
    fn forward(&mut self, from: usize, flow: Flow, to: Option<u16>) -> Result<(), Stop> {
        let name = &self.description.nodes[from].name;
        let branches = self.description.nodes[from].op == "branch";
        let mut rank = 0;
        for child in 0..self.description.nodes.len() {
            for (input, parent) in self.description.nodes[child].inputs.iter().enumerate() {
                if parent.node() != name {
                    continue;
                }
                let takes = match (parent, to) {
                    (Input::Branch { branch, .. }, to) if branches => Some(*branch) == to,
                    (_, to) => to.is_none_or(|to| to == rank),
                };
                rank += 1;
                if takes {
                    self.arrive(child, Flow { input: input as u16, ..flow.clone() })?;
                }
            }
        }
        Ok(())
    }

    /// In front of a node that goes by a changed key, the way ends in a topic.
    fn arrive(&mut self, node: usize, flow: Flow) -> Result<(), Stop> {
        match repartition(self.description, &self.description.nodes[node], flow.input) {
            Some(topic) if flow.rec.key.is_some() || keeps_null_keys(self.description, node, flow.input) => {
                self.write_out(&topic, flow.rec)
            }
            Some(_) => {}
            None => return self.node(node, flow),
        }
        Ok(())
    }

    fn node(&mut self, at: usize, flow: Flow) -> Result<(), Stop> {
        let node = &self.description.nodes[at];
        let code = self.shape.code[at];
        match node.op.as_str() {
            "sink" => self.write_out(node.topic.as_deref().unwrap(), flow.rec),
            "merge" => return self.forward(at, flow, None),
            "to-stream" => return self.forward(at, Flow { old: None, ..flow }, None),
            "count" => return self.count(at, flow),
            "reduce" | "aggregate" | "cogroup" => return self.fold(at, flow),
            "to-table" => return self.table_source(at, flow),
            "table-group-by" => return self.group_table(at, flow),
            "table-count" => return self.count_table(at, flow),
            "table-reduce" | "table-aggregate" => return self.fold_table(at, flow),
            "stream-join" => return self.stream_join(at, flow),
            "stream-table-join" => return self.stream_table_join(at, flow),
            "stream-global-join" => return self.stream_global_join(at, flow),
            "suppress" => return self.suppress(at, flow),
            "table-join" => return self.table_join(at, flow),
            "foreign-key-join" if flow.input == 0 => return self.send(at, flow),
            "foreign-key-join" => return self.foreign_change(at, flow),
            "table-filter" | "table-filter-not" => return self.table_filter(at, flow),
            "table-map-values" => return self.table_map_values(at, flow),
            "process" => return self.process(at, &flow),
            op => {
                if !self.asks(at, &flow)? {
                    return Ok(());
                }
                let from = self.from;
                let rec = flow.rec.clone();
                let seen = seen(&from, &flow);
                match op {
                    "filter" | "filter-not" if code.matches(&seen) != (op == "filter") => {}
                    "filter" | "filter-not" | "peek" => return self.forward(at, flow, None),
                    "branch" => {
                        if let Some(branch) = code.branch(&seen) {
                            return self.forward(at, flow, Some(branch));
                        }
                    }
                    "map" => {
                        let rec = Rec { key: code.selected(&seen), value: Some(code.mapped(&seen)), ..rec };
                        return self.forward(at, plain(rec), None);
                    }
                    "map-values" => {
                        return self.forward(at, plain(Rec { value: Some(code.mapped(&seen)), ..rec }), None);
                    }
                    "select-key" => return self.forward(at, plain(Rec { key: code.selected(&seen), ..rec }), None),
                    "flat-map" => {
                        for (key, value) in code.exploded(&seen) {
                            self.forward(at, plain(Rec { key, value, ..rec.clone() }), None)?;
                        }
                    }
                    "flat-map-values" => {
                        for (_, value) in code.exploded(&seen) {
                            self.forward(at, plain(Rec { value, ..rec.clone() }), None)?;
                        }
                    }
                    other => panic!("operator {other}"),
                }
            }
        }
        Ok(())
    }

    /// Asks the node's function what it says of an element; `false`: dropped.
    fn asks(&mut self, at: usize, flow: &Flow) -> Result<bool, Stop> {
        match self.shape.code[at].said(&seen(&self.from, flow)) {
            Said::Kept => Ok(true),
            Said::Drop => {
                self.effects.dropped.by_guest += 1;
                Ok(false)
            }
            said => Err(Stop { node: self.description.nodes[at].name.clone(), said }),
        }
    }

    fn process(&mut self, at: usize, flow: &Flow) -> Result<(), Stop> {
        self.asks(at, flow)?; // what is dropped keeps its effects
        let (node, from) = (&self.description.nodes[at], self.from);
        let children = self.children.get(&node.name).copied().unwrap_or(0);
        let mut made: Vec<Made> = Vec::new();
        let code = self.shape.code[at];
        let mut stores = Connected { timestamp: flow.rec.timestamp, names: &node.stores, world: self };
        code.process(&seen(&from, flow), &mut stores, children, &mut made);
        for Made { key, value, headers, timestamp, child } in made {
            self.forward(at, plain(Rec { key, value, headers, timestamp }), child)?;
        }
        Ok(())
    }

    // === effects ===

    fn write_out(&mut self, topic: &str, rec: Rec) {
        self.effects.out.entry(self.running).or_default().push((topic.to_owned(), rec));
    }

    fn get(&self, store: &str, key: &[u8]) -> Option<(i64, Vec<u8>)> {
        self.effects.stores[store].get(key).cloned()
    }

    /// `logged`: the changelog record's timestamp.
    fn put(&mut self, store: &str, key: &[u8], value: Option<&[u8]>, timestamp: i64, logged: i64) {
        let entries = self.effects.stores.get_mut(store).unwrap();
        match value {
            Some(value) => drop(entries.insert(key.to_vec(), (timestamp, value.to_vec()))),
            None => drop(entries.remove(key)),
        }
        let rec =
            Rec { key: Some(key.to_vec()), value: value.map(<[u8]>::to_vec), headers: Vec::new(), timestamp: logged };
        self.effects.log.entry(self.running).or_default().push((format!("app-{store}-changelog"), rec));
    }

    /// Everything since the last cut reaches the topics, task by task.
    fn cut(&mut self) -> bool {
        let mut any = false;
        let (out, log) = (std::mem::take(&mut self.effects.out), std::mem::take(&mut self.effects.log));
        let held = self.take_dirty();
        for effects in [out, log, held] {
            for (topic, rec) in effects.into_values().flatten() {
                any = true;
                self.write(&topic, rec);
            }
        }
        for task in &mut self.tasks {
            any |= std::mem::take(&mut task.touched);
        }
        any
    }

    fn observe(self, failed: Option<String>) -> Observed {
        let sources = source_topics(self.description);
        let nullable = |bytes: &Option<Vec<u8>>| bytes.as_deref().map(text);
        let written = |rec: &Rec| Written {
            key: nullable(&rec.key),
            value: nullable(&rec.value),
            headers: millstream_engine::record::Headers(&rec.headers)
                .iter()
                .map(|(name, value)| (name.to_owned(), value.map(text)))
                .collect(),
            timestamp: rec.timestamp,
        };
        let topics = self.topics.iter().filter(|(topic, _)| !sources.contains(topic));
        let entry = |(key, (timestamp, value)): (&Vec<u8>, &(i64, Vec<u8>))| (text(key), (*timestamp, text(value)));
        let positions = self.tasks.iter().flat_map(|task| task.inputs.iter().zip(&task.positions));
        Observed {
            topics: topics.map(|(topic, recs)| (topic.clone(), recs.iter().map(written).collect())).collect(),
            stores: self
                .effects
                .stores
                .iter()
                .map(|(name, all)| (name.clone(), all.iter().map(entry).collect()))
                .collect(),
            dropped: self.effects.dropped,
            dead_letters: self.dead_letters,
            offsets: positions.map(|(Source { topic, .. }, offset)| (format!("{topic}-0"), *offset)).collect(),
            failed,
        }
    }
}

fn plain(rec: Rec) -> Flow {
    Flow { rec, old: None, input: 0 }
}

fn seen<'f>(from: &From, flow: &'f Flow) -> Seen<'f> {
    Seen {
        key: flow.rec.key.as_deref(),
        value: flow.rec.value.as_deref(),
        timestamp: flow.rec.timestamp,
        headers: &flow.rec.headers,
        input: flow.input,
        source: from.source,
        offset: from.offset,
        stream_time: from.stream_time,
        is_punctuation: from.is_punctuation,
    }
}

/// A processor's stores.
struct Connected<'w, 'a> {
    timestamp: i64,
    names: &'w [String],
    world: &'w mut World<'a>,
}

impl Stores for Connected<'_, '_> {
    fn count(&self) -> usize {
        self.names.len()
    }

    fn may_write(&self, store: usize) -> bool {
        let name = Some(&self.names[store]);
        self.names[store] != "g"
            && !self
                .world
                .description
                .nodes
                .iter()
                .any(|node| node.op.ends_with("count") && node.store.as_ref() == name)
    }

    fn get(&mut self, store: usize, key: &[u8]) -> Option<(i64, Vec<u8>)> {
        self.world.get(&self.names[store], key)
    }

    fn put(&mut self, store: usize, key: &[u8], value: Option<&[u8]>) {
        self.world.put(&self.names[store], key, value, self.timestamp, self.timestamp);
    }

    fn scan(&mut self, store: usize, reverse: bool) -> Vec<(Vec<u8>, i64, Vec<u8>)> {
        let entries = self.world.effects.stores[&self.names[store]].iter();
        let mut rows: Vec<_> =
            entries.map(|(key, (timestamp, value))| (key.clone(), *timestamp, value.clone())).collect();
        if reverse {
            rows.reverse();
        }
        rows
    }
}
