//! What a node gives downstream of its store's cache: the last update of each key, as it is flushed.

use super::batch::{Element, Emitted};
use super::keyed::own_store;
use super::run::{Run, Stop};
use super::windowed;
use crate::frame::{Context, Cursor};
use crate::record::push;
use crate::store::FlushedRow;
use crate::topology::Node;

/// Of a note: the context of an update, and the place of the source that its record came in by. Its headers stand behind
/// them.
const CONTEXT_LEN: usize = 44;

/// In place of a source: it came of a punctuation.
const NOWHERE: u32 = u32::MAX;

impl Run<'_> {
    /// Whether what this node gives away waits in its store's cache.
    pub(super) fn holds_back(&self, node: &Node) -> bool {
        own_store(self, node).is_some_and(|place| self.stores.is_cached(place))
    }

    /// Says whose update the next write of a store is, where it has a cache.
    pub(super) fn note(&mut self, place: usize, element: &Element) {
        let (Some(context), true) = (self.batch.contexts.get(element.context as usize), self.stores.is_cached(place))
        else {
            return;
        };
        let headers = element.headers.bytes(&self.batch.arena);
        let source = self.scratch.sources.get(element.context as usize).map_or(NOWHERE, |source| *source as u32);
        self.stores.note(place, |note| {
            push_context(context, source, note);
            note.extend_from_slice(headers);
        });
    }

    /// Writes what the cache of a node's store holds, at most `most` keys of it, and with `forwards` gives it downstream:
    /// of each key the value it has come to and the one that the store held, with time and headers of the last update.
    /// Answers how many keys it was. The batch has no contexts when it begins.
    pub fn flush(&mut self, at: usize, most: usize, forwards: bool) -> Result<usize, Stop> {
        let node = &self.plan.nodes[at];
        let Some(place) = own_store(self, node) else { return Ok(0) };
        self.open_inboxes();
        let (kind, plan) = (self.stores.kind(place), self.plan);
        let (batch, sources) = (&mut *self.batch, &mut self.scratch.sources);
        let mut emitted = Vec::new();
        let rows = self.stores.flush(place, most, &mut |row: FlushedRow<'_>| {
            let (context, source, headers) = take_context(row.note);
            let (key, timestamp) = match node.window {
                Some(window) => {
                    let (key, timestamp) = windowed::flushed(window, kind, &row);
                    (push(&mut batch.arena, Some(&key)), timestamp)
                }
                None => (push(&mut batch.arena, Some(row.key)), row.timestamp),
            };
            emitted.push(Emitted::to_all(Element {
                key,
                value: push(&mut batch.arena, row.value),
                old: push(&mut batch.arena, row.old),
                headers: push(&mut batch.arena, Some(headers)),
                timestamp,
                context: batch.contexts.len() as u32,
                input: 0,
                is_past: false,
                path: Default::default(),
            }));
            // Another build may have other places. A node that reads no topic stands for none.
            let is_it = |source: &usize| plan.nodes.get(*source).is_some_and(|node| node.number == context.source);
            let source = Some(source as usize).filter(is_it).or_else(|| plan.source_of(context.source));
            sources.push(source.unwrap_or(at));
            batch.contexts.push(context);
        })?;
        if let Some(first) = emitted.first().map(|first| first.element) {
            self.check_arena(node, &first)?;
        }
        if forwards {
            self.give(at, emitted)?;
        }
        Ok(rows)
    }
}

fn push_context(context: &Context, source: u32, note: &mut Vec<u8>) {
    note.extend_from_slice(&source.to_le_bytes());
    note.extend_from_slice(&context.origin().to_le_bytes());
    note.extend_from_slice(&context.partition.to_le_bytes());
    for time in [context.offset, context.timestamp, context.stream_time, context.seed as i64] {
        note.extend_from_slice(&time.to_le_bytes());
    }
}

/// The context of a note, its source, and the headers behind it.
fn take_context(note: &[u8]) -> (Context, u32, &[u8]) {
    let (front, headers) = note.split_at_checked(CONTEXT_LEN).unwrap_or_default();
    let mut cursor = Cursor(front);
    let mut half = || cursor.u32().unwrap_or_default();
    let (place, origin, partition) = (half(), half(), half());
    let (source, topic) = Context::of_origin(origin);
    let mut whole = || u64::from(half()) | u64::from(half()) << 32;
    let (offset, timestamp, stream_time, seed) = (whole() as i64, whole() as i64, whole() as i64, whole());
    (Context { source, topic, partition, offset, timestamp, stream_time, seed }, place, headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_gives_back_the_context_and_the_headers_of_an_update() {
        let context = Context {
            source: 7,
            topic: 2,
            partition: 3,
            offset: -1,
            timestamp: i64::MIN,
            stream_time: 5,
            seed: u64::MAX,
        };
        let mut note = Vec::new();
        push_context(&context, 9, &mut note);
        assert_eq!(note.len(), CONTEXT_LEN);
        note.extend_from_slice(b"headers");
        assert_eq!(take_context(&note), (context, 9, &b"headers"[..]));
    }
}
