//! Count by key, without the guest: the value is an eight-byte big-endian integer, as Kafka's LongSerializer.

use std::collections::HashMap;

use super::batch::{Element, Emitted};
use super::run::{Run, Stop};
use crate::record::{NO_TIMESTAMP, Span, push};
use crate::store;
use crate::topology::Node;

/// A null key or a null value is skipped and counted as dropped (KStreamAggregate).
pub(super) fn count(run: &mut Run<'_>, node: &Node, inputs: &[Element], out: &mut Vec<Emitted>) -> Result<(), Stop> {
    let Some(place) = own_store(run, node) else { return Ok(()) };
    let groups = Groups::of(run, inputs);
    let mut counts = vec![(None::<i64>, NO_TIMESTAMP); groups.keys.len()];
    groups.load(run, place, &mut |group, timestamp, value| match <[u8; 8]>::try_from(value) {
        Ok(bytes) => {
            counts[group] = (Some(i64::from_be_bytes(bytes)), timestamp);
            Ok(())
        }
        Err(_) => Err(store::Error::Corrupted(format!("a count of {} bytes", value.len()))),
    })?;
    for (element, group) in inputs.iter().zip(&groups.of_element) {
        let Some(group) = *group else { continue };
        let (count, newest) = &mut counts[group];
        let old = count.map_or(Span::NULL, |count| push(&mut run.batch.arena, Some(&count.to_be_bytes())));
        let bytes = (count.unwrap_or(0) + 1).to_be_bytes();
        *count = Some(count.unwrap_or(0) + 1);
        *newest = element.timestamp.max(*newest);
        let value = push(&mut run.batch.arena, Some(&bytes));
        run.check_entry(node, element, value)?;
        run.stores.put(place, element.key.bytes(&run.batch.arena), Some(&bytes), *newest);
        out.push(Emitted::to_all(Element { value, old, timestamp: *newest, ..*element }));
    }
    Ok(())
}

/// The place of a node's own store in the task.
pub(super) fn own_store(run: &Run<'_>, node: &Node) -> Option<usize> {
    node.store().and_then(|number| run.stores.place(number as u32))
}

/// Elements by key, in order of first sight.
pub(super) struct Groups {
    pub keys: Vec<Span>,
    /// `None`: dropped, it has no key or no value.
    pub of_element: Vec<Option<usize>>,
}

impl Groups {
    /// Counts what it drops.
    pub fn of(run: &mut Run<'_>, inputs: &[Element]) -> Groups {
        let arena = &run.batch.arena;
        let mut by_key: HashMap<&[u8], usize> = HashMap::with_capacity(inputs.len());
        let mut keys = Vec::new();
        let mut of_element = Vec::with_capacity(inputs.len());
        for element in inputs {
            let group = element.key.of(arena).filter(|_| !element.value.is_null()).map(|key| {
                *by_key.entry(key).or_insert_with(|| {
                    keys.push(element.key);
                    keys.len() - 1
                })
            });
            run.dropped.null += u64::from(group.is_none());
            of_element.push(group);
        }
        Groups { keys, of_element }
    }

    /// Reads what the store holds for each group, all in one look-up.
    pub fn load(
        &self,
        run: &Run<'_>,
        place: usize,
        visit: &mut dyn FnMut(usize, i64, &[u8]) -> Result<(), store::Error>,
    ) -> Result<(), store::Error> {
        let keys: Vec<&[u8]> = self.keys.iter().map(|key| key.bytes(&run.batch.arena)).collect();
        let mut visited = Ok(());
        run.stores.get_each(place, &keys, &mut |group, found| {
            if let (Some((timestamp, value)), Ok(())) = (found, &visited) {
                visited = visit(group, timestamp, value);
            }
        })?;
        visited
    }
}
