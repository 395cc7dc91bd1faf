//! What a table of windows holds for its keys, read from the store of the windows (Kafka Streams' getters of
//! KStreamWindowAggregate, KStreamSlidingWindowAggregate and KStreamSessionWindowAggregate).

use hashbrown::HashMap;

use super::plan::READ_BYTES_MAX;
use crate::operator::batch::Element;
use crate::operator::keyed::own_store;
use crate::operator::lookup::Row;
use crate::operator::run::{Run, Stop};
use crate::record::Span;
use crate::store::StoreKind;
use crate::topology::Node;

/// The rows for the keys of these elements, each key looked up once; nothing for a null key, nor for a window that the
/// store does not show any more.
pub(in crate::operator) fn rows(run: &mut Run<'_>, node: &Node, elements: &[Element]) -> Result<Vec<Row>, Stop> {
    let (Some(place), Some(first)) = (own_store(run, node), elements.first()) else {
        return Ok(vec![Row::NONE; elements.len()]);
    };
    let arena = &run.batch.arena;
    let (keys, of_elements) = distinct(arena, elements);
    let mut read = Read { base: arena.len(), values: Vec::new(), bytes: 0, rows: vec![Row::NONE; keys.len()] };
    match run.stores.kind(place) {
        StoreKind::Session { .. } => read.sessions(run, place, &keys)?,
        _ => read.windows(run, place, &keys)?,
    }
    if read.bytes > READ_BYTES_MAX {
        let message = format!("more than {READ_BYTES_MAX} bytes read from a store for one record");
        return Err(Stop::rejected(node, first, message));
    }
    run.push(node, first, &read.values)?;
    Ok(of_elements.into_iter().map(|key| key.map_or(Row::NONE, |key| read.rows[key])).collect())
}

/// The keys, each once, and the place of each element's among them.
fn distinct<'a>(arena: &'a [u8], elements: &[Element]) -> (Vec<&'a [u8]>, Vec<Option<usize>>) {
    let (mut keys, mut places) = (Vec::new(), HashMap::new());
    let mut place = |key: &'a [u8]| {
        *places.entry(key).or_insert_with(|| {
            keys.push(key);
            keys.len() - 1
        })
    };
    let of_elements = elements.iter().map(|element| element.key.of(arena).map(&mut place)).collect();
    (keys, of_elements)
}

struct Read {
    /// Where in the batch's arena the values will stand.
    base: usize,
    values: Vec<u8>,
    /// Of all values, those that are too much included.
    bytes: usize,
    /// By key.
    rows: Vec<Row>,
}

impl Read {
    /// A window is found by its start: all are equally long.
    fn windows(&mut self, run: &Run<'_>, place: usize, keys: &[&[u8]]) -> Result<(), Stop> {
        let window = |(at, key)| split(key).map(|(key, [start, _])| (at, (key, start)));
        let (places, windows): (Vec<usize>, Vec<(&[u8], i64)>) =
            keys.iter().copied().enumerate().filter_map(window).unzip();
        run.stores.windows(place).fetch_each(&windows, &mut |at, timestamp, value| {
            self.take(places[at], timestamp, value);
        })?;
        Ok(())
    }

    /// A session's time is its end.
    fn sessions(&mut self, run: &Run<'_>, place: usize, keys: &[&[u8]]) -> Result<(), Stop> {
        for (at, key) in keys.iter().enumerate() {
            if let Some((key, [end, start])) = split(key) {
                let sessions = run.stores.sessions(place);
                sessions.fetch_one(key, (start, end), &mut |_, value| self.take(at, end, value))?;
            }
        }
        Ok(())
    }

    fn take(&mut self, at: usize, timestamp: i64, value: &[u8]) {
        self.bytes += value.len();
        if self.bytes <= READ_BYTES_MAX {
            let value_at = Span::new(self.base + self.values.len(), value.len());
            self.values.extend_from_slice(value);
            self.rows[at] = Row { value: value_at, timestamp };
        }
    }
}

/// A key of the table: that of the records, and the two times behind it.
fn split(key: &[u8]) -> Option<(&[u8], [i64; 2])> {
    let (rest, second) = key.split_last_chunk::<8>()?;
    let (key, first) = rest.split_last_chunk::<8>()?;
    Some((key, [i64::from_be_bytes(*first), i64::from_be_bytes(*second)]))
}
