//! Records of a stream that wait until the table they are joined with knows the rows of their time (KIP-923): in a store
//! of their own, in the order of time. They go when the stream's time has passed them by the grace; a record that comes
//! later than that does not wait at all.

use std::ops::ControlFlow;

use super::apart::Rest;
use super::batch::Element;
use super::run::{Run, Stop};
use crate::changelog::{Buffered, BufferedKey, push_buffered_time};
use crate::record::{Headers, NO_TIMESTAMP};
use crate::store::{JoinTime, KeyRange};
use crate::topology::Node;

/// Records that one may let go: what a batch holds at once, and its way through the nodes behind. Those behind them go
/// with the record that comes next.
const GOING_MAX: usize = 50_000;

/// Bytes of these records; at least one goes.
const GOING_BYTES_MAX: usize = 64 << 20;

/// Takes elements that have a value, and answers those to be joined now, in order: what came too late to wait, and what
/// has waited. What has waited keeps its time and headers; for the rest it counts as the record that let it go.
pub(super) fn pass(run: &mut Run<'_>, node: &Node, grace_ms: i64, inputs: &[Element]) -> Result<Vec<Element>, Stop> {
    let number = node.stores.first().copied().unwrap_or_default();
    let Some(place) = run.stores.place(number as u32) else { return Ok(Vec::new()) };
    let mut waiting = Waiting::open(run, node, place, grace_ms, inputs.first())?;
    let mut going = Vec::new();
    for element in inputs {
        // Nothing can be waited for without a key (Kafka Streams fails here), and no time is before the first one.
        let is_late = element.timestamp < waiting.over() || element.timestamp < 0;
        if element.key.is_null() || is_late {
            going.push(*element);
            continue;
        }
        waiting.put(run, node, element)?;
        waiting.let_go(run, node, element, &mut going)?;
    }
    run.stores.set_join_time(place, waiting.time);
    Ok(going)
}

/// Whether a record has waited until this time.
pub(super) fn is_due(run: &mut Run<'_>, node: &Node, grace_ms: i64, time: i64) -> Result<bool, Stop> {
    let number = node.stores.first().copied().unwrap_or_default();
    let Some(place) = run.stores.place(number as u32) else { return Ok(false) };
    let waiting = Waiting::open(run, node, place, grace_ms, None)?;
    // So that it is not looked for again.
    run.stores.set_join_time(place, waiting.time);
    let over = time.saturating_sub(grace_ms);
    if waiting.time.earliest > over {
        return Ok(false);
    }
    let (mut upper, mut is_due) = (Vec::new(), false);
    push_buffered_time(over.saturating_add(1), &mut upper);
    run.stores.scan(place, KeyRange { lower: None, upper: Some(&upper) }, false, &mut |_, _, _| {
        is_due = true;
        ControlFlow::Break(())
    })?;
    Ok(is_due)
}

/// Takes the join's time on to the element's, and answers who has waited long enough.
pub(super) fn advance(run: &mut Run<'_>, node: &Node, grace_ms: i64, element: &Element) -> Result<Vec<Element>, Stop> {
    let number = node.stores.first().copied().unwrap_or_default();
    let Some(place) = run.stores.place(number as u32) else { return Ok(Vec::new()) };
    let mut waiting = Waiting::open(run, node, place, grace_ms, Some(element))?;
    waiting.time.stream = waiting.time.stream.max(element.timestamp);
    let mut going = Vec::new();
    waiting.let_go(run, node, element, &mut going)?;
    run.stores.set_join_time(place, waiting.time);
    Ok(going)
}

struct Waiting {
    place: usize,
    grace_ms: i64,
    time: JoinTime,
    /// A row's key and value, while they are written.
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Waiting {
    /// What the rows say is looked for once in a task's life: their time is the highest that was put, because the last
    /// one waits as long as there is any grace.
    fn open(
        run: &mut Run<'_>,
        node: &Node,
        place: usize,
        grace_ms: i64,
        first: Option<&Element>,
    ) -> Result<Waiting, Stop> {
        let mut time = run.stores.join_time(place);
        if time.number.is_none() {
            let (mut number, mut wrong) = (0, false);
            time.earliest = i64::MAX;
            run.stores.scan(place, KeyRange::default(), false, &mut |row, _, _| {
                let Some(key) = BufferedKey::decode(row) else {
                    wrong = true;
                    return ControlFlow::Break(());
                };
                number = number.max(key.number);
                time.stream = time.stream.max(key.timestamp);
                time.earliest = time.earliest.min(key.timestamp);
                ControlFlow::Continue(())
            })?;
            if let (true, Some(element)) = (wrong, first) {
                return Err(run.unreadable(node, element, "no record that waits".to_owned()));
            }
            time.number = Some(number);
        }
        Ok(Waiting { place, grace_ms, time, key: Vec::new(), value: Vec::new() })
    }

    /// Up to this time waiting is over.
    fn over(&self) -> i64 {
        match self.time.stream {
            NO_TIMESTAMP => i64::MIN,
            stream => stream.saturating_sub(self.grace_ms),
        }
    }

    fn put(&mut self, run: &mut Run<'_>, node: &Node, element: &Element) -> Result<(), Stop> {
        let number = self.time.number.unwrap_or_default().wrapping_add(1) & 0x7FFF_FFFF;
        let (topic, partition, offset) = run.origin(element);
        let arena = &run.batch.arena;
        let timestamp = element.timestamp;
        self.key.clear();
        BufferedKey { timestamp, key: element.key.bytes(arena), number }.encode(&mut self.key);
        self.value.clear();
        let (headers, value) = (Headers(element.headers.bytes(arena)), element.value.bytes(arena));
        Buffered { timestamp, offset, topic, partition, headers, value }.encode(&mut self.value);
        let checked = run.stores.check(self.place, &self.key, Some(&self.value));
        checked.map_err(|error| Stop::rejected(node, element, error.to_string()))?;
        run.stores.put(self.place, &self.key, Some(&self.value), timestamp);
        let JoinTime { stream, earliest, .. } = self.time;
        let (stream, earliest) = (stream.max(timestamp), earliest.min(timestamp));
        self.time = JoinTime { stream, earliest, number: Some(number), ..self.time };
        Ok(())
    }

    /// Takes out what has waited long enough, in the bytes' order.
    fn let_go(
        &mut self,
        run: &mut Run<'_>,
        node: &Node,
        element: &Element,
        going: &mut Vec<Element>,
    ) -> Result<(), Stop> {
        let (over, going_max) = (self.over(), run.let_go_max(GOING_MAX));
        if self.time.earliest > over || going_max == 0 {
            return Ok(());
        }
        let (mut lower, mut upper) = (Vec::new(), Vec::new());
        // Nothing waits before: a walk from further ahead would be over what has just been taken out.
        push_buffered_time(self.time.earliest, &mut lower);
        push_buffered_time(over.saturating_add(1), &mut upper);
        let range = KeyRange { lower: Some(&lower), upper: Some(&upper) };
        let (mut rows, mut bytes, mut is_all) = (Vec::new(), 0, true);
        run.stores.scan(self.place, range, false, &mut |row, _, value| {
            if !rows.is_empty() && (rows.len() == going_max || bytes > GOING_BYTES_MAX) {
                is_all = false;
                return ControlFlow::Break(());
            }
            bytes += row.len() + value.len();
            rows.push((row.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })?;
        self.time.earliest = over.saturating_add(1);
        for (row, value) in &rows {
            let mut headers = Vec::new();
            let (Some(key), Some(waited)) = (BufferedKey::decode(row), Buffered::decode(value, &mut headers)) else {
                return Err(run.unreadable(node, element, "no record that waits".to_owned()));
            };
            let timestamp = waited.timestamp;
            let (of_key, of_value) = (run.push(node, element, key.key)?, run.push(node, element, waited.value)?);
            let headers = run.push(node, element, waited.headers.0)?;
            let waited = Element { key: of_key, value: of_value, headers, timestamp, ..*element };
            if !run.set_apart(waited, Rest::LookUp) {
                going.push(waited);
            }
            run.stores.put(self.place, row, None, element.timestamp);
            if !is_all {
                self.time.earliest = timestamp;
            }
        }
        Ok(())
    }
}
