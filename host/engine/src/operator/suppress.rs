//! Suppression (KTableSuppressProcessorSupplier): updates of a table are held back, the last one of each row, until a time
//! limit or until their window closes. By the time of the records alone: on an idle table nothing is let go.

use std::borrow::Cow;

use super::apart::Rest;
use super::batch::{Element, Emitted};
use super::keyed::own_store;
use super::lookup::{self, Row};
use super::run::{Run, Stop};
use crate::changelog::Suppressed;
use crate::record::{Headers, NO_TIMESTAMP, Span};
use crate::store::BufferError;
use crate::topology::{Node, Suppress, Suppression, WhenFull, WindowEnd};

/// Rows that one record lets go. A table that stood still may leave millions that are due at once; what is over the limit
/// goes with the next records.
const ROWS_MAX: usize = 100_000;

/// Bytes of them; the same.
const BYTES_MAX: usize = 64 << 20;

/// A window's start or end.
const TIME_LEN: usize = 8;

/// Each update takes the place of the one that is held back for its row, and is due when that was; then goes what is due,
/// and what the buffer has no room for, the earliest first. A deletion of a window's row is no final result.
pub(super) fn suppress(run: &mut Run<'_>, node: &Node, inputs: &[Element], out: &mut Vec<Emitted>) -> Result<(), Stop> {
    let (Some(place), Some(suppression), Some(store)) = (own_store(run, node), node.suppression, node.store) else {
        return Ok(());
    };
    let mut held = Held { run, node, suppression, place, encoded: Vec::new(), out };
    for element in inputs {
        let time = held.run.reached.get((store, 0)).max(element.timestamp);
        held.run.reached.set((store, 0), time);
        held.hold(element, due(held.run, suppression, element))?;
        held.let_go(element, time)?;
    }
    Ok(())
}

/// Whether the first row that is held back is due at this time.
pub(super) fn is_due(run: &mut Run<'_>, node: &Node, time: i64) -> Result<bool, Stop> {
    let (Some(place), Some(suppression)) = (own_store(run, node), node.suppression) else { return Ok(false) };
    match run.stores.buffer_first(place) {
        Ok(first) => Ok(first.is_some_and(|(due, _)| due <= time.saturating_sub(suppression.wait_ms))),
        Err(BufferError::Store(error)) => Err(Stop::Store(error)),
        // Told by who takes it out.
        Err(BufferError::Unreadable(_)) => Ok(true),
    }
}

/// Lets go what is due at the element's time.
pub(super) fn advance(run: &mut Run<'_>, node: &Node, element: &Element, out: &mut Vec<Emitted>) -> Result<(), Stop> {
    let (Some(place), Some(suppression), Some(store)) = (own_store(run, node), node.suppression, node.store) else {
        return Ok(());
    };
    let time = run.reached.get((store, 0)).max(element.timestamp);
    run.reached.set((store, 0), time);
    Held { run, node, suppression, place, encoded: Vec::new(), out }.let_go(element, time)
}

/// The rows that the table shows: what was there before it began to hold updates back, or its parent's.
pub(super) fn rows(run: &mut Run<'_>, node: &Node, elements: &[Element]) -> Result<Vec<Row>, Stop> {
    let mut rows = lookup::rows(run, node.inputs[0].node, elements)?;
    let (Some(place), Some(suppression)) = (own_store(run, node), node.suppression) else { return Ok(rows) };
    for (row, element) in rows.iter_mut().zip(elements) {
        let Some(key) = element.key.of(&run.batch.arena) else { continue };
        let Some(stored) = run.stores.get(place, suppression.kept(key))? else { continue };
        let mut headers = Vec::new();
        let Some(buffered) = Suppressed::decode(&stored.value, &mut headers) else {
            return Err(run.unreadable(node, element, "nothing of a suppression".to_owned()));
        };
        *row = match buffered.prior {
            Some(prior) => Row { value: run.push(node, element, prior)?, timestamp: NO_TIMESTAMP },
            None => Row::NONE,
        };
    }
    Ok(rows)
}

/// When an update is due, less how long it waits: its own time, or the end of its window.
fn due(run: &Run<'_>, suppression: Suppression, element: &Element) -> i64 {
    let key = element.key.bytes(&run.batch.arena);
    let time = |behind: usize| {
        let end = key.len().checked_sub(behind)?;
        Some(i64::from_be_bytes(*key[..end].last_chunk::<8>()?))
    };
    let end = match suppression.end {
        None => None,
        Some(WindowEnd::Last) => time(0),
        Some(WindowEnd::First) => time(TIME_LEN),
    };
    end.unwrap_or(element.timestamp)
}

struct Held<'r, 'a, 'o> {
    run: &'r mut Run<'a>,
    node: &'r Node,
    suppression: Suppression,
    place: usize,
    encoded: Vec<u8>,
    out: &'o mut Vec<Emitted>,
}

impl Held<'_, '_, '_> {
    fn hold(&mut self, element: &Element, due: i64) -> Result<(), Stop> {
        let arena = &self.run.batch.arena;
        let (key, old) = (self.suppression.kept(element.key.bytes(arena)), element.old.of(arena));
        let stored = self.run.stores.get(self.place, key)?;
        let mut headers = Vec::new();
        let before = match &stored {
            None => None,
            Some(stored) => match Suppressed::decode(&stored.value, &mut headers) {
                Some(buffered) => Some(buffered),
                None => return Err(self.unreadable(element)),
            },
        };
        let (topic, partition, offset) = self.run.origin(element);
        let buffered = Suppressed {
            timestamp: element.timestamp,
            offset,
            topic: topic.as_bytes(),
            partition,
            headers: Headers(element.headers.bytes(arena)),
            prior: before.map_or(old, |before| before.prior),
            old,
            new: element.value.of(arena),
            due: before.map_or(due, |before| before.due),
        };
        self.encoded.clear();
        buffered.encode(&mut self.encoded);
        let checked = self.run.stores.check(self.place, key, Some(&self.encoded));
        checked.map_err(|error| Stop::rejected(self.node, element, error.to_string()))?;
        let replaced = before.map(|before| before.size(key.len()));
        let put = self.run.stores.buffer_put(self.place, key, &buffered, replaced, &self.encoded);
        put.map_err(|error| self.stop(element, error))
    }

    fn let_go(&mut self, element: &Element, time: i64) -> Result<(), Stop> {
        let suppression = self.suppression;
        let expired = time.saturating_sub(suppression.wait_ms);
        let bytes = self.run.batch.arena.len();
        for _ in 0..self.run.let_go_max(ROWS_MAX) {
            let Some((due, key)) = self.first(element)? else { break };
            if due > expired && !self.is_over(element)? {
                break;
            }
            if due > expired && suppression.buffer.when_full() == WhenFull::ShutDown {
                let message = format!("more to be held back than {}", suppression.buffer.bounds());
                return Err(Stop::rejected(self.node, element, message));
            }
            self.emit(element, (due, &key))?;
            if self.run.batch.arena.len() - bytes > BYTES_MAX {
                break;
            }
        }
        Ok(())
    }

    fn first(&mut self, element: &Element) -> Result<Option<(i64, Vec<u8>)>, Stop> {
        let first = self.run.stores.buffer_first(self.place);
        first.map_err(|error| self.stop(element, error))
    }

    fn is_over(&mut self, element: &Element) -> Result<bool, Stop> {
        let size = self.run.stores.buffer_size(self.place).map_err(|error| self.stop(element, error))?;
        Ok(self.suppression.buffer.is_over(size.rows, size.bytes))
    }

    fn emit(&mut self, element: &Element, (due, key): (i64, &[u8])) -> Result<(), Stop> {
        let stored = self.run.stores.get(self.place, key)?.map(|stored| stored.value).unwrap_or_default();
        let mut headers = Vec::new();
        let Some(buffered) = Suppressed::decode(&stored, &mut headers) else { return Err(self.unreadable(element)) };
        let removed =
            self.run.stores.buffer_remove(self.place, (due, key), buffered.size(key.len()), element.timestamp);
        removed.map_err(|error| self.stop(element, error))?;
        if buffered.new.is_none() && self.suppression.end.is_some() {
            return Ok(());
        }
        let key = self.suppression.whole(key);
        let mut push = |bytes: Option<&[u8]>| match bytes {
            Some(bytes) => self.run.push(self.node, element, bytes),
            None => Ok(Span::NULL),
        };
        let (key, value, old) = (push(Some(&key))?, push(buffered.new)?, push(buffered.old)?);
        let headers = push(Some(buffered.headers.0))?;
        let timestamp = buffered.timestamp;
        let row = Element { key, value, old, headers, timestamp, is_past: false, ..*element };
        if !self.run.set_apart(row, Rest::Nothing) {
            self.out.push(Emitted::to_all(row));
        }
        Ok(())
    }

    fn unreadable(&self, element: &Element) -> Stop {
        self.run.unreadable(self.node, element, "nothing of a suppression".to_owned())
    }

    fn stop(&self, element: &Element, error: BufferError) -> Stop {
        match error {
            BufferError::Store(error) => Stop::Store(error),
            BufferError::Unreadable(_) => self.unreadable(element),
        }
    }
}

impl Suppression {
    /// The key under which a row is held back: of a window that is as long as all of them without its end.
    fn kept<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        match (self.window_ms, key.split_last_chunk::<TIME_LEN>()) {
            (Some(_), Some((kept, _))) => kept,
            _ => key,
        }
    }

    /// The key of a row that is held back under this one.
    fn whole<'k>(&self, kept: &'k [u8]) -> Cow<'k, [u8]> {
        match (self.window_ms, kept.last_chunk::<TIME_LEN>()) {
            (Some(ms), Some(start)) => {
                let end = i64::from_be_bytes(*start).saturating_add(ms);
                Cow::Owned([kept, &end.to_be_bytes()].concat())
            }
            _ => Cow::Borrowed(kept),
        }
    }
}

impl Suppress {
    /// Whether this much is more than a buffer may hold.
    fn is_over(&self, rows: usize, bytes: usize) -> bool {
        let (max_records, max_bytes) = self.max();
        max_records.is_some_and(|max| rows as u64 > max) || max_bytes.is_some_and(|max| bytes as u64 > max)
    }

    fn bounds(&self) -> String {
        let (max_records, max_bytes) = self.max();
        let bounds = [max_records.map(|max| format!("{max} rows")), max_bytes.map(|max| format!("{max} bytes"))];
        bounds.into_iter().flatten().collect::<Vec<_>>().join(" and ")
    }
}
