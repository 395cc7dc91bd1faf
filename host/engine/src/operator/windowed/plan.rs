//! What a batch of records will do to the windows of a store.

use std::collections::HashMap;
use std::collections::btree_map::{BTreeMap, Entry};
use std::ops::ControlFlow;

use crate::operator::batch::Element;
use crate::operator::call::{Fold, Group, INITIAL, RESULT_OF};
use crate::operator::count;
use crate::operator::run::{Run, Stop};
use crate::record::{NO_TIMESTAMP, Span};
use crate::store::{KeySpan, StoreKind, TimeSpan};
use crate::topology::{Node, Operator};

/// The rank by which a guest knows an element that merges two aggregates instead of adding a value.
const MERGE: u16 = u16::MAX;

/// An aggregate: known, or what the guest will answer about an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Known(Span),
    Answer(usize),
}

impl Value {
    pub const NONE: Value = Value::Known(Span::NULL);
}

/// A window's aggregate, and the timestamp kept with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub value: Value,
    pub timestamp: i64,
}

/// A window, both ends as its table has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub start: i64,
    pub end: i64,
}

pub(super) enum Effect {
    /// Too late for one window.
    Late,
    /// Nothing to go by.
    Null,
    Put {
        frame: Frame,
        old: Value,
        held: Held,
        forwarded: i64,
    },
    /// A session that is merged into another one.
    Remove {
        frame: Frame,
        old: Value,
    },
}

/// What one record does.
pub(super) struct Planned {
    pub element: Element,
    pub effects: Vec<Effect>,
    /// Where its questions to the guest end.
    pub asked: usize,
    pub stream_time: i64,
}

pub(super) struct Steps<'r, 'a> {
    pub run: &'r mut Run<'a>,
    pub node: &'r Node,
    pub place: usize,
    pub asked: Fold,
    pub planned: Vec<Planned>,
    /// What an aggregate begins with, once it was asked for.
    initial: Option<Value>,
    /// The operator's time; of a cogroup that of each input, as in Kafka Streams, where each is an operator.
    times: Vec<i64>,
    /// Which of them the record at hand goes by.
    input: usize,
    /// The store's time, as it will be.
    observed: i64,
    kind: StoreKind,
    /// Numbers of keys.
    keys: HashMap<Vec<u8>, u32>,
    /// Key, time by which the store goes, and the start of a session. `None`: nothing, whatever the store says.
    rows: BTreeMap<RowKey, Option<Held>>,
}

type RowKey = (u32, i64, i64);

/// Bytes of a store's values that one look-up may read; the same as in aggregations without windows.
pub(super) const READ_BYTES_MAX: usize = 128 << 20;

/// What a row costs beside its value: its place here and among the rows that are held.
const ROW_BYTES: usize = 128;

/// Rows as they come from the store, before their values are put into the batch's arena.
#[derive(Default)]
struct Loaded {
    values: Vec<u8>,
    /// With the timestamp, and where the value stands in `values`.
    rows: Vec<(RowKey, i64, usize, usize)>,
}

impl Loaded {
    /// What is too much is not kept: it is refused when it is taken.
    fn push(&mut self, row: RowKey, timestamp: i64, value: &[u8]) {
        if self.bytes() <= READ_BYTES_MAX {
            self.rows.push((row, timestamp, self.values.len(), value.len()));
            self.values.extend_from_slice(value);
        }
    }

    fn bytes(&self) -> usize {
        self.values.len() + self.rows.len() * ROW_BYTES
    }
}

impl<'r, 'a> Steps<'r, 'a> {
    pub fn open(run: &'r mut Run<'a>, node: &'r Node, place: usize) -> Result<Steps<'r, 'a>, Stop> {
        let observed = run.stores.observed(place)?;
        let kind = run.stores.kind(place);
        let times = match (node.operator, node.store) {
            (Operator::Cogroup, Some(store)) => {
                (0..node.inputs.len()).map(|input| run.reached.get((store, input as u16))).collect()
            }
            _ => vec![observed.stream_time],
        };
        Ok(Steps {
            run,
            node,
            place,
            asked: Fold::default(),
            planned: Vec::new(),
            initial: None,
            times,
            input: 0,
            observed: observed.time,
            kind,
            keys: HashMap::new(),
            rows: BTreeMap::new(),
        })
    }

    pub fn begin(&mut self, element: &Element) {
        self.input = usize::from(element.input).min(self.times.len() - 1);
        let (asked, stream_time) = (self.asked.elements.len(), self.times[self.input]);
        self.planned.push(Planned { element: *element, effects: Vec::new(), asked, stream_time });
    }

    /// What is later than this is late whatever input it comes from.
    pub fn stream_time(&self) -> i64 {
        self.times.iter().copied().min().unwrap_or(NO_TIMESTAMP)
    }

    /// Takes the record's time; answers the operator's.
    pub fn observe(&mut self, timestamp: i64) -> i64 {
        let time = self.times[self.input].max(timestamp);
        self.times[self.input] = time;
        if let Some(planned) = self.planned.last_mut() {
            planned.stream_time = time;
        }
        time
    }

    pub fn effect(&mut self, effect: Effect) {
        let asked = self.asked.elements.len();
        if let Some(planned) = self.planned.last_mut() {
            planned.effects.push(effect);
            planned.asked = asked;
        }
    }

    /// The earliest time that the store will show.
    fn first_visible(&self) -> i64 {
        self.kind.first_visible(self.observed)
    }

    /// The number of a record's key in this plan.
    fn key(&mut self, element: &Element) -> u32 {
        let bytes = element.key.bytes(&self.run.batch.arena);
        if let Some(number) = self.keys.get(bytes) {
            return *number;
        }
        let number = self.keys.len() as u32;
        self.keys.insert(bytes.to_vec(), number);
        number
    }

    // === what is there ===

    /// Reads windows of a window store ahead, all in one look-up; what is read already stays.
    pub fn read_ahead(&mut self, windows: &[(Element, i64)]) -> Result<(), Stop> {
        let mut asked = Vec::with_capacity(windows.len());
        for (element, start) in windows {
            let number = self.key(element);
            if let Entry::Vacant(row) = self.rows.entry((number, *start, 0)) {
                row.insert(None);
                asked.push((number, *element, *start));
            }
        }
        let arena = &self.run.batch.arena;
        let keys: Vec<(&[u8], i64)> = asked.iter().map(|(_, element, at)| (element.key.bytes(arena), *at)).collect();
        let mut loaded = Loaded::default();
        self.run.stores.windows(self.place).fetch_each(&keys, &mut |place, timestamp, value| {
            let (number, _, start) = asked[place];
            loaded.push((number, start, 0), timestamp, value);
        })?;
        match asked.first() {
            Some((_, element, _)) => self.take(element, loaded),
            None => Ok(()),
        }
    }

    /// The window of a window store that starts there.
    pub fn window(&mut self, element: &Element, start: i64) -> Result<Option<Held>, Stop> {
        self.read_ahead(&[(*element, start)])?;
        let number = self.key(element);
        Ok(self.rows.get(&(number, start, 0)).copied().flatten().filter(|_| start >= self.first_visible()))
    }

    /// The windows of a window store that start in this span, in the order of their starts.
    pub fn windows(&mut self, element: &Element, from: i64, to: i64) -> Result<Vec<(i64, Held)>, Stop> {
        let (number, mut loaded) = (self.key(element), Loaded::default());
        let key = KeySpan::One(element.key.bytes(&self.run.batch.arena));
        self.run.stores.windows(self.place).scan(key, TimeSpan::new(from, to), false, &mut |row| {
            if !self.rows.contains_key(&(number, row.start, 0)) {
                loaded.push((number, row.start, 0), row.timestamp, row.value);
            }
            ControlFlow::Continue(())
        })?;
        self.take(element, loaded)?;
        let from = from.max(self.first_visible());
        if from > to {
            return Ok(Vec::new());
        }
        let found = self.rows.range((number, from, i64::MIN)..=(number, to, i64::MAX));
        Ok(found.filter_map(|((_, start, _), held)| held.map(|held| (*start, held))).collect())
    }

    /// The sessions of a session store that reach into this span, the earliest end first.
    pub fn sessions(&mut self, element: &Element, from: i64, to: i64) -> Result<Vec<(Frame, Held)>, Stop> {
        let (number, mut loaded) = (self.key(element), Loaded::default());
        let key = KeySpan::One(element.key.bytes(&self.run.batch.arena));
        self.run.stores.sessions(self.place).find(key, from, to, false, &mut |row| {
            if !self.rows.contains_key(&(number, row.end, row.start)) {
                loaded.push((number, row.end, row.start), row.timestamp, row.value);
            }
            ControlFlow::Continue(())
        })?;
        self.take(element, loaded)?;
        let from = from.max(self.first_visible());
        let found = self.rows.range((number, from, i64::MIN)..=(number, i64::MAX, i64::MAX));
        let found = found.filter(|((_, _, start), _)| *start <= to);
        Ok(found.filter_map(|((_, end, start), held)| Some((Frame { start: *start, end: *end }, (*held)?))).collect())
    }

    /// Keeps what was loaded for this record.
    fn take(&mut self, element: &Element, loaded: Loaded) -> Result<(), Stop> {
        if loaded.bytes() > READ_BYTES_MAX {
            let message = format!("more than {READ_BYTES_MAX} bytes read from a store for one record");
            return Err(Stop::rejected(self.node, element, message));
        }
        if loaded.rows.is_empty() {
            return Ok(());
        }
        let base = self.run.push(self.node, element, &loaded.values)?.start();
        for (row, timestamp, start, len) in loaded.rows {
            let value = Value::Known(if len == 0 { Span::EMPTY } else { Span::new(base + start, len) });
            self.rows.insert(row, Some(Held { value, timestamp }));
        }
        Ok(())
    }

    // === what becomes of it ===

    /// Puts a window of a window store.
    pub fn put_window(&mut self, element: &Element, frame: Frame, old: Value, held: Held) {
        let number = self.key(element);
        self.rows.insert((number, frame.start, 0), Some(held));
        self.observed = self.observed.max(frame.start);
        self.effect(Effect::Put { frame, old, held, forwarded: held.timestamp });
    }

    pub fn put_session(&mut self, element: &Element, frame: Frame, value: Value) {
        let number = self.key(element);
        let held = Held { value, timestamp: element.timestamp };
        self.rows.insert((number, frame.end, frame.start), Some(held));
        self.observed = self.observed.max(frame.end);
        self.effect(Effect::Put { frame, old: Value::NONE, held, forwarded: frame.end });
    }

    pub fn remove_session(&mut self, element: &Element, frame: Frame, old: Value) {
        let number = self.key(element);
        self.rows.insert((number, frame.end, frame.start), None);
        self.observed = self.observed.max(frame.end);
        self.effect(Effect::Remove { frame, old });
    }

    /// The aggregate with the record's value in it.
    pub fn add(&mut self, element: &Element, to: Value) -> Result<Value, Stop> {
        if let (Operator::Count, Value::Known(before)) = (self.node.operator, to) {
            return self.number(element, self.read(element, before)?.saturating_add(1));
        }
        let to = self.reference(element, to);
        Ok(self.ask(*element, to))
    }

    /// What was there before a value was added. Where nothing was, it is what an aggregate begins with, as in Kafka Streams:
    /// of a count 0; of others the guest is asked, once, where somebody looks at old values.
    pub fn old(&mut self, element: &Element, held: Value) -> Result<Value, Stop> {
        match (self.node.operator, held) {
            (Operator::Count, held) if held == Value::NONE => self.number(element, 0),
            (_, held) if held == Value::NONE && self.node.tells_initial => match self.initial {
                Some(initial) => Ok(initial),
                None => {
                    let group = self.reference(element, Value::NONE);
                    let initial = self.ask(Element { value: Span::NULL, input: INITIAL, ..*element }, group);
                    self.initial = Some(initial);
                    Ok(initial)
                }
            },
            _ => Ok(held),
        }
    }

    /// Both aggregates in one.
    pub fn merge(&mut self, element: &Element, one: Value, other: Value) -> Result<Value, Stop> {
        if let (Operator::Count, Value::Known(one), Value::Known(other)) = (self.node.operator, one, other) {
            let sum = self.read(element, one)?.saturating_add(self.read(element, other)?);
            return self.number(element, sum);
        }
        let (one, other) = (self.reference(element, one), self.reference(element, other));
        let value = self.run.push(self.node, element, &other.to_le_bytes())?;
        Ok(self.ask(Element { value, input: MERGE, ..*element }, one))
    }

    fn read(&self, element: &Element, value: Span) -> Result<i64, Stop> {
        count::read(self.run, self.node, element, value)
    }

    fn number(&mut self, element: &Element, number: i64) -> Result<Value, Stop> {
        self.run.push(self.node, element, &number.to_be_bytes()).map(Value::Known)
    }

    /// How a frame names an aggregate.
    fn reference(&mut self, element: &Element, value: Value) -> u32 {
        match value {
            Value::Answer(asked) => RESULT_OF | asked as u32,
            Value::Known(aggregate) => {
                self.asked.groups.push(Group { key: element.key, aggregate });
                self.asked.groups.len() as u32 - 1
            }
        }
    }

    fn ask(&mut self, element: Element, from: u32) -> Value {
        self.asked.push(element, from as usize);
        Value::Answer(self.asked.elements.len() - 1)
    }
}
