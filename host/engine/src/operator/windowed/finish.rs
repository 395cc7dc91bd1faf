//! Does what was planned.

use std::ops::ControlFlow;

use super::closing::close_time;
use super::given::{BYTES_MAX, CLOSED_BYTES_MAX, Given, ROWS_MAX, has_more};
use super::plan::{Effect, Frame, Planned, Steps, Value};
use crate::changelog::push_session_key;
use crate::operator::apart::Rest;
use crate::operator::batch::{Element, Emitted};
use crate::operator::call::fold;
use crate::operator::keyed::own_store;
use crate::operator::run::{Run, Stop};
use crate::operator::stateless::one_each;
use crate::record::Span;
use crate::store::{self, FlushedRow, HandedOver, StoreKind};
use crate::topology::{Emit, Node, Operator, Window};

impl Steps<'_, '_> {
    /// Asks the guest, and writes and forwards what was planned; answers how many of the records were taken. The plan of
    /// those behind them does not hold any more. `is_end`: nothing comes behind all of them.
    pub fn finish(self, is_end: bool, out: &mut Vec<Emitted>) -> Result<usize, Stop> {
        let Steps { run, node, place, asked, planned, .. } = self;
        let mut answers = fold(run, node, &asked)?;
        let values: Vec<Option<Span>> =
            one_each(node, &mut answers)?.map(|answer| answer.map(|answer| answer.element.value)).collect();
        run.scratch.answers = answers;
        let closes = node.window.filter(|_| node.emit == Emit::OnWindowClose);
        let mut apply = Apply { run, node, place, values, closes, next: None, out };
        let mut from = 0;
        for (at, record) in planned.iter().enumerate() {
            let asked = from..record.asked.max(from);
            from = asked.end;
            let is_dropped = apply.values[asked].contains(&None);
            let holds = apply.record(record, is_dropped, is_end && at + 1 == planned.len())?;
            if !holds && at + 1 < planned.len() {
                // What the guest dropped of the others it is asked about again.
                let again = apply.values[from..].iter().filter(|value| value.is_none()).count();
                apply.run.dropped.by_guest -= again as u64;
                return Ok(at + 1);
            }
        }
        Ok(planned.len())
    }
}

/// Whether a window has closed at this time that was not given away yet.
pub(in crate::operator) fn is_due(run: &mut Run<'_>, node: &Node, window: Window, time: i64) -> Result<bool, Stop> {
    let (Some(place), Some(store), Emit::OnWindowClose) = (own_store(run, node), node.store, node.emit) else {
        return Ok(false);
    };
    let given = Given::of(run.reached, store);
    let close = given.close(close_time(window, time));
    let Some(times) = given.span(window, close) else { return Ok(false) };
    let mut is_due = false;
    run.stores.closed(place, times, given.gone, &mut |_| {
        is_due = true;
        ControlFlow::Break(())
    })?;
    Ok(is_due)
}

/// Takes the operator's time on to the element's: what comes later than that is late, and what has closed is given away.
pub(in crate::operator) fn advance(
    run: &mut Run<'_>,
    node: &Node,
    window: Window,
    element: &Element,
    out: &mut Vec<Emitted>,
) -> Result<(), Stop> {
    let (Some(place), Some(store)) = (own_store(run, node), node.store) else { return Ok(()) };
    let time = element.timestamp;
    if node.operator == Operator::Cogroup {
        for input in 0..node.inputs.len() as u16 {
            let reached = run.reached.get((store, input));
            run.reached.set((store, input), reached.max(time));
        }
        return Ok(());
    }
    // Before the store's time goes on: of a wait longer than the retention all would have expired.
    if node.emit == Emit::OnWindowClose {
        let mut apply = Apply { run, node, place, values: Vec::new(), closes: Some(window), next: None, out };
        apply.close(element, window, time, true)?;
    }
    Ok(run.stores.raise_stream_time(place, time)?)
}

/// Gives away what is left of portions, before anything is put. The task has seen to it where a record comes; what comes of
/// itself between two portions, or of the same record behind the first of them, meets it here.
pub(in crate::operator) fn close_rest(
    run: &mut Run<'_>,
    node: &Node,
    window: Window,
    inputs: &[Element],
    out: &mut Vec<Emitted>,
) -> Result<(), Stop> {
    let (Some(place), Some(store), Some(first)) = (own_store(run, node), node.store, inputs.first()) else {
        return Ok(());
    };
    if node.emit != Emit::OnWindowClose || !has_more(run.reached, store) {
        return Ok(());
    }
    let mut apply = Apply { run, node, place, values: Vec::new(), closes: Some(window), next: None, out };
    apply.close(first, window, i64::MIN, false)
}

/// Both ends, as the table has them.
fn frame(window: Window, start: i64, end: i64) -> Frame {
    Frame { start, end: window.size_ms().map_or(end, |size| start.saturating_add(size)) }
}

/// The key of a row of the table.
fn table_key(kind: StoreKind, of: &[u8], frame: Frame) -> Vec<u8> {
    let mut key = Vec::with_capacity(of.len() + 16);
    match kind {
        StoreKind::Session { .. } => push_session_key(of, frame.start, frame.end, &mut key),
        _ => [of, &frame.start.to_be_bytes(), &frame.end.to_be_bytes()]
            .iter()
            .for_each(|part| key.extend_from_slice(part)),
    }
    key
}

/// The key and the time under which a window or session goes downstream as the cache of its store is flushed.
pub(in crate::operator) fn flushed(window: Window, kind: StoreKind, row: &FlushedRow<'_>) -> (Vec<u8>, i64) {
    let (start, end) = row.times;
    let frame = frame(window, start, end);
    let timestamp = if let Window::Session { .. } = window { frame.end } else { row.timestamp };
    (table_key(kind, row.key, frame), timestamp)
}

/// A portion of what closes.
#[derive(Default)]
struct Closed {
    rows: Vec<ClosedRow>,
    /// Of each its key and its value.
    bytes: Vec<u8>,
}

struct ClosedRow {
    frame: Frame,
    timestamp: i64,
    key_len: usize,
    value_len: usize,
}

impl Closed {
    fn push(&mut self, row: &store::ClosedRow<'_>, frame: Frame) {
        let (key_len, value_len) = (row.key.len(), row.value.len());
        self.rows.push(ClosedRow { frame, timestamp: row.timestamp, key_len, value_len });
        self.bytes.extend_from_slice(row.key);
        self.bytes.extend_from_slice(row.value);
    }
}

struct Apply<'s, 'a, 'o> {
    run: &'s mut Run<'a>,
    node: &'s Node,
    place: usize,
    /// By question; `None`: dropped.
    values: Vec<Option<Span>>,
    /// The windows, where they go downstream as they close.
    closes: Option<Window>,
    /// The time of the first row that was not closed, once somebody has looked.
    next: Option<i64>,
    out: &'o mut Vec<Emitted>,
}

impl Apply<'_, '_, '_> {
    /// Answers whether all came as planned. A record of which the guest dropped something leaves all windows as they are.
    /// `is_last`: nothing comes behind it in this batch.
    fn record(&mut self, planned: &Planned, is_dropped: bool, is_last: bool) -> Result<bool, Stop> {
        let Planned { element, effects, stream_time, .. } = planned;
        let mut holds = !is_dropped;
        for effect in effects {
            match *effect {
                Effect::Late => self.run.dropped.late += 1,
                Effect::Null => self.run.dropped.null += 1,
                _ if is_dropped => {}
                Effect::Remove { frame, old } => {
                    let old = self.value(old);
                    self.write(element, frame, Span::NULL, element.timestamp)?;
                    self.forward(element, frame, (old, Span::NULL), frame.end)?;
                }
                Effect::Put { frame, old, held, forwarded } => {
                    let (old, value) = (self.value(old), self.value(held.value));
                    holds &= !value.is_null();
                    // A deletion is logged with its record's own time, as in aggregations without windows.
                    let timestamp = if value.is_null() { element.timestamp } else { held.timestamp };
                    self.write(element, frame, value, timestamp)?;
                    self.forward(element, frame, (old, value), forwarded)?;
                }
            }
        }
        match (self.node.store, self.node.operator) {
            (Some(store), Operator::Cogroup) => self.run.reached.set((store, element.input), *stream_time),
            _ => self.run.stores.raise_stream_time(self.place, *stream_time)?,
        }
        if let Some(window) = self.closes {
            self.close(element, window, *stream_time, is_last)?;
        }
        Ok(holds)
    }

    /// Gives away what this record has closed, in the order of time, or the first portion of it where nothing comes behind it.
    fn close(&mut self, element: &Element, window: Window, stream_time: i64, is_last: bool) -> Result<(), Stop> {
        let Some(store) = self.node.store else { return Ok(()) };
        let given = Given::of(self.run.reached, store);
        let close = given.close(close_time(window, stream_time));
        let Some(times) = given.span(window, close) else {
            if has_more(self.run.reached, store) {
                Given::note_all(self.run.reached, store, close);
            }
            return Ok(());
        };
        if self.next.is_some_and(|next| next > times.to) {
            Given::note_all(self.run.reached, store, close);
            return Ok(());
        }
        let is_alone = self.run.batch.contexts.len() == 1;
        // Portions that another build has begun are ended by any.
        let has_begun = is_alone && is_last && has_more(self.run.reached, store);
        let can_part = has_begun || self.run.subtopology.closes_in_portions.contains(&store);
        // In a portion each row has the element's headers.
        let (rows_max, bytes_max, of_row) = match can_part && (is_last || !is_alone) {
            true => (self.portion_rows(store), BYTES_MAX, element.headers.len()),
            false => (usize::MAX, CLOSED_BYTES_MAX, 0),
        };
        let mut closed = Closed::default();
        let handed_over = self.run.stores.closed(self.place, times, given.gone, &mut |row| {
            closed.push(&row, frame(window, row.start, row.end));
            let bytes = closed.bytes.len() + closed.rows.len() * of_row;
            let has_room = closed.rows.len() < rows_max && bytes <= bytes_max;
            if has_room { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        match handed_over {
            HandedOver::All(next) => {
                Given::note_all(self.run.reached, store, close);
                self.next = Some(next);
            }
            // The rest comes before the next record does.
            HandedOver::Part(gone) if can_part && is_alone && is_last => {
                Given::note_part(self.run.reached, store, gone, close)
            }
            // With other records in the batch it is run again, alone.
            HandedOver::Part(_) => {
                if can_part && is_alone {
                    // What is set apart is not to blame: of fewer rows none has to be given a rest in front of it.
                    self.run.spend_apart();
                }
                let message = format!("more than {bytes_max} bytes of windows closed by one record");
                return Err(Stop::rejected(self.node, element, message));
            }
        }
        self.give(element, window, &closed)
    }

    /// Rows of a portion; one goes in any case.
    fn portion_rows(&self, store: usize) -> usize {
        let of_store = self.run.scratch.portion_rows.filter(|(of, _)| *of == store);
        self.run.let_go_max(of_store.map_or(ROWS_MAX, |(_, rows)| rows.min(ROWS_MAX)))
    }

    fn give(&mut self, element: &Element, window: Window, closed: &Closed) -> Result<(), Stop> {
        let mut rest = &closed.bytes[..];
        for &ClosedRow { frame, timestamp, key_len, value_len } in &closed.rows {
            let (key, behind) = rest.split_at(key_len);
            let (value, behind) = behind.split_at(value_len);
            rest = behind;
            let value = self.run.push(self.node, element, value)?;
            let timestamp = if let Window::Session { .. } = window { frame.end } else { timestamp };
            let key = self.run.push(self.node, element, &self.key(key, frame))?;
            let row = Element { key, value, old: Span::NULL, timestamp, ..*element };
            if !self.run.set_apart(row, Rest::Nothing) {
                self.out.push(Emitted::to_all(row));
            }
        }
        Ok(())
    }

    fn value(&self, value: Value) -> Span {
        match value {
            Value::Known(span) => span,
            Value::Answer(asked) => self.values[asked].unwrap_or(Span::NULL),
        }
    }

    fn write(&mut self, element: &Element, frame: Frame, value: Span, timestamp: i64) -> Result<(), Stop> {
        self.run.check_entry(self.node, element, self.place, value)?;
        self.run.note(self.place, element);
        let arena = &self.run.batch.arena;
        let (key, value) = (element.key.bytes(arena), value.of(arena));
        let time = if self.is_session() { frame.end } else { frame.start };
        self.next = self.next.map(|next| next.min(time));
        match self.run.stores.kind(self.place) {
            StoreKind::Session { .. } => {
                let mut sessions = self.run.stores.sessions_mut(self.place);
                sessions.put(key, (frame.start, frame.end), value, timestamp)?;
            }
            _ => {
                self.run.stores.windows_mut(self.place).put(key, frame.start, value, timestamp)?;
            }
        }
        Ok(())
    }

    fn forward(
        &mut self,
        element: &Element,
        frame: Frame,
        (old, value): (Span, Span),
        timestamp: i64,
    ) -> Result<(), Stop> {
        if self.closes.is_some() {
            return Ok(());
        }
        let key = self.key(element.key.bytes(&self.run.batch.arena), frame);
        self.send(element, &key, (old, value), timestamp)
    }

    fn is_session(&self) -> bool {
        matches!(self.run.stores.kind(self.place), StoreKind::Session { .. })
    }

    /// The key of a row of the table.
    fn key(&self, of: &[u8], frame: Frame) -> Vec<u8> {
        table_key(self.run.stores.kind(self.place), of, frame)
    }

    fn send(&mut self, element: &Element, key: &[u8], (old, value): (Span, Span), timestamp: i64) -> Result<(), Stop> {
        let key = self.run.push(self.node, element, key)?;
        // As in Kafka Streams an update of a session is without headers: it is of all its records, not of the last one.
        let headers = if self.is_session() { Span::EMPTY } else { element.headers };
        self.out.push(Emitted::to_all(Element { key, value, old, timestamp, headers, ..*element }));
        Ok(())
    }
}
