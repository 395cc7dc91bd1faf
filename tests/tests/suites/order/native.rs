//! The engine's side of the user functions: frames in, frames out, stores by their bytes. A decoder of its own, after
//! `wit/README.md`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use millstream_engine::frame::NO_SOURCE;
use millstream_engine::functions::{Fault, FaultKind, Functions};
use millstream_engine::store::{AccessError, ScanRequest, TaskStores};

use super::code::{Code, INITIAL, Made, Said, Seen, Stores};

/// Seeds as they were seen, by where they must be the same.
pub type Seeds = Arc<Mutex<BTreeMap<Seeded, u64>>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seeded {
    Record { node: u32, source: u32, offset: i64 },
    Punctuation { node: u32, number: u16, time: i64 },
}

/// All functions of a topology.
#[derive(Clone)]
pub struct Native {
    pub code: Vec<Code>,
    pub ops: Vec<String>,
    /// Stores of each node, by number in the description, and whether it may write them.
    pub stores: Vec<Vec<(u32, bool)>>,
    pub children: Vec<u16>,
    pub seeds: Seeds,
}

/// A frame, read.
struct Frame<'a> {
    kind: u16,
    contexts: Vec<Context>,
    groups: Vec<(&'a [u8], Option<&'a [u8]>)>,
    chain: Vec<u32>,
    elements: Vec<Element<'a>>,
}

struct Context {
    source: u32,
    offset: i64,
    timestamp: i64,
    stream_time: i64,
    seed: u64,
}

struct Element<'a> {
    context: usize,
    input: u16,
    group: usize,
    timestamp: i64,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: &'a [u8],
}

const CHAIN: u16 = 5;
const JOIN: u16 = 6;

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }

    fn number<const N: usize>(&mut self) -> [u8; N] {
        self.take(N).try_into().unwrap()
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.number())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.number())
    }

    fn i32(&mut self) -> i32 {
        i32::from_le_bytes(self.number())
    }

    fn i64(&mut self) -> i64 {
        i64::from_le_bytes(self.number())
    }

    fn nullable(&mut self, len: i32) -> Option<&'a [u8]> {
        (len >= 0).then(|| self.take(len as usize))
    }
}

impl<'a> Frame<'a> {
    fn read(bytes: &'a [u8]) -> Frame<'a> {
        let mut reader = Reader(bytes);
        assert_eq!(reader.take(6), b"MSF1\x01\x00");
        let kind = reader.u16();
        let (contexts, groups, elements, outcomes) = (reader.u32(), reader.u32(), reader.u32(), reader.u32());
        assert_eq!((outcomes, reader.u32() as usize, reader.u32()), (0, bytes.len(), 0));
        let context = |reader: &mut Reader<'a>| {
            let (source, _topic, _partition) = (reader.u16(), reader.u16(), reader.u32());
            let source = if source == u16::MAX { NO_SOURCE } else { u32::from(source) };
            let (offset, timestamp, stream_time) = (reader.i64(), reader.i64(), reader.i64());
            Context { source, offset, timestamp, stream_time, seed: reader.i64() as u64 }
        };
        let contexts = (0..contexts).map(|_| context(&mut reader)).collect();
        let group = |reader: &mut Reader<'a>| {
            let (key, value) = (reader.u32() as usize, reader.i32());
            (reader.take(key), reader.nullable(value))
        };
        let (links, groups) = if kind == CHAIN { (groups, 0) } else { (0, groups) };
        if kind == CHAIN {
            // What a node may give for one element, and its bytes: nothing here comes near.
            assert!(reader.u32() > 0 && reader.i64() > 0);
        }
        let chain = (0..links).map(|_| reader.u32()).collect();
        let groups = (0..groups).map(|_| group(&mut reader)).collect();
        let element = |reader: &mut Reader<'a>| {
            let (context, input, _flags) = (reader.u32() as usize, reader.u16(), reader.u16());
            let (group, headers) = (reader.u32() as usize, reader.u32() as usize);
            let (timestamp, key, value) = (reader.i64(), reader.i32(), reader.i32());
            let (key, value) = (reader.nullable(key), reader.nullable(value));
            Element { context, input, group, timestamp, key, value, headers: reader.take(headers) }
        };
        let elements = (0..elements).map(|_| element(&mut reader)).collect();
        assert!(reader.0.is_empty(), "bytes left over");
        Frame { kind, contexts, groups, chain, elements }
    }
}

/// A result frame being written.
#[derive(Default)]
struct Answer {
    elements: u32,
    outcomes: u32,
    body: Vec<u8>,
    outcome_body: Vec<u8>,
}

impl Answer {
    /// `SAME` fields are sent as flags where they can be, so that both ways are walked.
    fn element(&mut self, input: usize, element: &Element<'_>, made: &Made) {
        let same = [
            made.key.as_deref() == element.key,
            made.value.as_deref() == element.value,
            made.headers == element.headers,
        ];
        let flags = u16::from(same[0]) | u16::from(same[1]) << 1 | u16::from(same[2]) << 2;
        let key = made.key.as_deref().filter(|_| !same[0]);
        let value = made.value.as_deref().filter(|_| !same[1]);
        let headers = if same[2] { &[][..] } else { &made.headers };
        let len = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i32);
        self.elements += 1;
        self.body.extend((input as u32).to_le_bytes());
        self.body.extend(made.child.unwrap_or(0xFFFF).to_le_bytes());
        self.body.extend(flags.to_le_bytes());
        self.body.extend(0u32.to_le_bytes());
        self.body.extend((headers.len() as u32).to_le_bytes());
        self.body.extend(made.timestamp.to_le_bytes());
        self.body.extend(len(key).to_le_bytes());
        self.body.extend(len(value).to_le_bytes());
        self.body.extend(key.unwrap_or_default());
        self.body.extend(value.unwrap_or_default());
        self.body.extend(headers);
    }

    fn outcome(&mut self, input: usize, kind: u16) {
        self.outcomes += 1;
        self.outcome_body.extend((input as u32).to_le_bytes());
        self.outcome_body.extend(kind.to_le_bytes());
        self.outcome_body.extend(0u16.to_le_bytes());
        self.outcome_body.extend(2u32.to_le_bytes());
        self.outcome_body.extend(b"no");
    }

    fn finish(self, out: &mut Vec<u8>) {
        let len = 32 + self.body.len() + self.outcome_body.len();
        out.extend(b"MSF1\x01\x00\x04\x00");
        for number in [0, 0, self.elements, self.outcomes, len as u32, 0] {
            out.extend(number.to_le_bytes());
        }
        out.extend(self.body);
        out.extend(self.outcome_body);
    }
}

impl Functions for Native {
    fn call(&mut self, node: u32, frame: &[u8], stores: &mut TaskStores, out: &mut Vec<u8>) -> Result<(), Fault> {
        let frame = Frame::read(frame);
        let mut answer = Answer::default();
        if frame.kind == CHAIN {
            assert_eq!(frame.chain.first(), Some(&node));
            self.chain(&frame, stores, &mut answer)?;
            answer.finish(out);
            return Ok(());
        }
        let mut aggregates: Vec<Option<Vec<u8>>> =
            frame.groups.iter().map(|(_, aggregate)| aggregate.map(<[u8]>::to_vec)).collect();
        for (place, element) in frame.elements.iter().enumerate() {
            let context = &frame.contexts[element.context];
            self.note_seed(node, frame.kind, element.input, context);
            let seen = Seen {
                key: element.key,
                value: element.value,
                timestamp: element.timestamp,
                headers: element.headers,
                input: element.input,
                source: context.source,
                offset: context.offset,
                stream_time: context.stream_time,
                is_punctuation: context.source == NO_SOURCE,
            };
            if element.input == INITIAL {
                let value = self.code[node as usize].initial();
                let (key, headers) = (seen.key.map(<[u8]>::to_vec), seen.headers.to_vec());
                answer.element(place, element, &Made { key, value, headers, timestamp: seen.timestamp, child: None });
                continue;
            }
            let said = self.code[node as usize].said(&seen);
            match said {
                Said::Trap => return Err(Fault::guest(FaultKind::Trap, "boom")),
                Said::DeadLetter => answer.outcome(place, 2),
                Said::Retry => answer.outcome(place, 3),
                Said::Fail => answer.outcome(place, 4),
                Said::Drop => answer.outcome(place, 1),
                Said::Kept => {}
            }
            if said == Said::Kept || (said == Said::Drop && self.ops[node as usize] == "process") {
                let group = frame.groups.get(element.group).map(|(key, _)| *key);
                let aggregate = aggregates.get_mut(element.group);
                if frame.kind == JOIN {
                    assert_eq!(group, Some(&b""[..]));
                    let row = aggregate.and_then(|row| row.as_deref());
                    let value = self.code[node as usize].joined(seen.key, seen.value, row);
                    let (key, headers) = (seen.key.map(<[u8]>::to_vec), seen.headers.to_vec());
                    answer.element(
                        place,
                        element,
                        &Made { key, value, headers, timestamp: seen.timestamp, child: None },
                    );
                    continue;
                }
                let made = self.make(node as usize, &seen, place, group.zip(aggregate), stores);
                made.iter().for_each(|made| answer.element(place, element, made));
            }
        }
        answer.finish(out);
        Ok(())
    }

    fn discard(&mut self) {}
}

impl Native {
    /// Node after node; what the host is told of is the last one's.
    fn chain(&self, frame: &Frame<'_>, stores: &mut TaskStores, answer: &mut Answer) -> Result<(), Fault> {
        let own = |element: &Element<'_>| Made {
            key: element.key.map(<[u8]>::to_vec),
            value: element.value.map(<[u8]>::to_vec),
            headers: element.headers.to_vec(),
            timestamp: element.timestamp,
            child: None,
        };
        let mut flow: Vec<(usize, Made)> = frame.elements.iter().map(own).enumerate().collect();
        for (link, node) in frame.chain.iter().enumerate() {
            let (op, mut given) = (&*self.ops[*node as usize], Vec::new());
            let mut is_undone = false;
            for (place, made) in flow {
                let element = &frame.elements[place];
                let context = &frame.contexts[element.context];
                let seen = Seen {
                    key: made.key.as_deref(),
                    value: made.value.as_deref(),
                    timestamp: made.timestamp,
                    headers: &made.headers,
                    input: if link == 0 { element.input } else { 0 },
                    source: context.source,
                    offset: context.offset,
                    stream_time: context.stream_time,
                    is_punctuation: context.source == NO_SOURCE,
                };
                let outcome = match self.code[*node as usize].said(&seen) {
                    Said::Trap => return Err(Fault::guest(FaultKind::Trap, "boom")),
                    Said::Drop => 1,
                    Said::DeadLetter => 2,
                    Said::Retry => 3,
                    Said::Fail => 4,
                    Said::Kept => 0,
                };
                if outcome > 0 {
                    answer.outcome(place, outcome);
                    is_undone |= outcome > 1;
                    continue;
                }
                let new = self.make(*node as usize, &seen, place, None, stores);
                match op {
                    "filter" | "filter-not" if new.is_empty() == (op == "filter") => {}
                    "filter" | "filter-not" | "peek" => given.push((place, made)),
                    _ => given.extend(new.into_iter().map(|made| (place, made))),
                }
            }
            if is_undone {
                return Ok(());
            }
            flow = given;
        }
        flow.iter().for_each(|(place, made)| answer.element(*place, &frame.elements[*place], made));
        Ok(())
    }

    fn note_seed(&self, node: u32, kind: u16, number: u16, context: &Context) {
        let at = match context {
            Context { timestamp, .. } if kind == 3 => Seeded::Punctuation { node, number, time: *timestamp },
            // Behind a punctuation: several may fire for one time.
            Context { source: NO_SOURCE, .. } => return,
            // What several topics are read for.
            Context { source, .. }
                if ["cogroup", "stream-join", "foreign-key-join"].contains(&&*self.ops[*source as usize]) =>
            {
                return;
            }
            Context { source, offset, .. } => Seeded::Record { node, source: *source, offset: *offset },
        };
        let before = self.seeds.lock().unwrap().insert(at, context.seed);
        assert!(before.is_none_or(|before| before == context.seed), "two seeds for {at:?}");
    }

    fn make(
        &self,
        node: usize,
        seen: &Seen<'_>,
        place: usize,
        fold: Option<(&[u8], &mut Option<Vec<u8>>)>,
        stores: &mut TaskStores,
    ) -> Vec<Made> {
        let code = &self.code[node];
        let (key, value) = (seen.key.map(<[u8]>::to_vec), seen.value.map(<[u8]>::to_vec));
        let same =
            Made { key: key.clone(), value, headers: seen.headers.to_vec(), timestamp: seen.timestamp, child: None };
        match self.ops[node].as_str() {
            "filter" | "filter-not" | "table-filter" | "table-filter-not" => {
                if code.matches(seen) {
                    vec![same]
                } else {
                    Vec::new()
                }
            }
            "map" => vec![Made { key: code.selected(seen), value: Some(code.mapped(seen)), ..same }],
            "map-values" => vec![Made { value: Some(code.mapped(seen)), ..same }],
            "table-map-values" => vec![Made { value: Some(code.table_mapped(seen)), ..same }],
            "select-key" => vec![Made { key: code.selected(seen), ..same }],
            "flat-map" => {
                code.exploded(seen).into_iter().map(|(key, value)| Made { key, value, ..same.clone() }).collect()
            }
            "flat-map-values" => {
                code.exploded(seen).into_iter().map(|(_, value)| Made { value, ..same.clone() }).collect()
            }
            "branch" => code.branch(seen).map(|branch| Made { child: Some(branch), ..same }).into_iter().collect(),
            "reduce" | "aggregate" => {
                let (key, aggregate) = fold.unwrap();
                *aggregate = code.folded(key, seen.value, aggregate.as_deref());
                vec![Made { value: aggregate.clone(), ..same }]
            }
            "table-reduce" | "table-aggregate" | "cogroup" => {
                let (key, aggregate) = fold.unwrap();
                let nothing = self.ops[node] != "cogroup" && seen.input == 1 && aggregate.is_none();
                if !nothing {
                    *aggregate = code.folded_from(seen.input, key, seen.value, aggregate.as_deref());
                }
                vec![Made { value: aggregate.clone(), ..same }]
            }
            "table-group-by" => {
                let (key, value) = code.grouped(seen);
                vec![Made { key, value, ..same }]
            }
            "foreign-key-join" | "stream-global-join" => vec![Made { key: code.selected(seen), ..same }],
            "process" => {
                let mut made = Vec::new();
                let mut stores = Connected { numbers: &self.stores[node], element: place as u32, stores };
                code.process(seen, &mut stores, self.children[node], &mut made);
                made
            }
            "peek" => Vec::new(),
            other => panic!("a call for {other}"),
        }
    }
}

/// Stores through the bytes of `wit/README.md`, one call each.
struct Connected<'a> {
    numbers: &'a [(u32, bool)],
    element: u32,
    stores: &'a mut TaskStores,
}

fn refused(error: AccessError) -> ! {
    panic!("refused: {error}")
}

impl Stores for Connected<'_> {
    fn count(&self) -> usize {
        self.numbers.len()
    }

    fn may_write(&self, store: usize) -> bool {
        self.numbers[store].1
    }

    fn get(&mut self, store: usize, key: &[u8]) -> Option<(i64, Vec<u8>)> {
        let mut keys = 1u32.to_le_bytes().to_vec();
        keys.extend((key.len() as u32).to_le_bytes());
        keys.extend(key);
        let mut out = Vec::new();
        self.stores.get_many(self.numbers[store].0, &keys, &mut out).unwrap_or_else(|error| refused(error));
        let mut reader = Reader(&out);
        let (count, len, timestamp) = (reader.u32(), reader.i32(), reader.i64());
        assert_eq!(count, 1);
        reader.nullable(len).map(|value| (timestamp, value.to_vec()))
    }

    fn put(&mut self, store: usize, key: &[u8], value: Option<&[u8]>) {
        let mut writes = 1u32.to_le_bytes().to_vec();
        writes.extend(self.element.to_le_bytes());
        writes.extend((key.len() as u32).to_le_bytes());
        writes.extend(value.map_or(-1, |value| value.len() as i32).to_le_bytes());
        writes.extend(key);
        writes.extend(value.unwrap_or_default());
        self.stores.apply_writes(self.numbers[store].0, &writes).unwrap_or_else(|error| refused(error));
    }

    fn scan(&mut self, store: usize, reverse: bool) -> Vec<(Vec<u8>, i64, Vec<u8>)> {
        let (mut rows, mut after) = (Vec::new(), None::<Vec<u8>>);
        loop {
            let mut out = Vec::new();
            let request = ScanRequest { reverse, limit: 2, after: after.as_deref(), ..ScanRequest::default() };
            let more = self.stores.scan_page(self.numbers[store].0, request, &mut out);
            let more = more.unwrap_or_else(|error| refused(error));
            let mut reader = Reader(&out);
            for _ in 0..reader.u32() {
                let (key, value, timestamp) = (reader.u32() as usize, reader.u32() as usize, reader.i64());
                rows.push((reader.take(key).to_vec(), timestamp, reader.take(value).to_vec()));
            }
            after = rows.last().map(|(key, _, _)| key.clone());
            if !more {
                return rows;
            }
        }
    }
}
