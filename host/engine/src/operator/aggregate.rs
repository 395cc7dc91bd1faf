//! Reduce and aggregate: the guest folds, the host keeps the aggregates.

use super::batch::{Element, Emitted};
use super::call::{Asked, Group, call};
use super::count::{Groups, own_store};
use super::run::{Run, Stop};
use super::stateless::one_each;
use crate::frame::Kind;
use crate::record::{NO_TIMESTAMP, Span, push};
use crate::topology::Node;

/// Every update goes downstream and into the store. A null key or value is skipped and counted as dropped; a null
/// aggregate deletes the key and goes downstream as a tombstone, also where there was none (KStreamAggregate).
pub(super) fn aggregate(
    run: &mut Run<'_>,
    node: &Node,
    inputs: &[Element],
    out: &mut Vec<Emitted>,
) -> Result<(), Stop> {
    let Some(place) = own_store(run, node) else { return Ok(()) };
    let by_key = Groups::of(run, inputs);
    let mut newest = vec![NO_TIMESTAMP; by_key.keys.len()];
    let mut groups: Vec<Group> = by_key.keys.iter().map(|key| Group { key: *key, aggregate: None }).collect();
    by_key.load(run, place, &mut |group, timestamp, value| {
        groups[group].aggregate = Some(value.to_vec());
        newest[group] = timestamp;
        Ok(())
    })?;
    let asked: Vec<Asked> = inputs
        .iter()
        .zip(&by_key.of_element)
        .filter_map(|(element, group)| group.map(|group| Asked { element: *element, group: group as u32 }))
        .collect();
    let answers = call(run, node, Kind::Fold, &groups, &asked)?;
    let answers = one_each(node, asked.len(), answers)?;
    let mut current: Vec<Span> =
        groups.iter().map(|group| push(&mut run.batch.arena, group.aggregate.as_deref())).collect();
    for (asked, answer) in asked.iter().zip(answers) {
        let Some(answer) = answer else { continue };
        let (element, group) = (&asked.element, asked.group as usize);
        let timestamp = element.timestamp.max(newest[group]);
        let (old, value) = (current[group], answer.element.value);
        run.check_entry(node, element, value)?;
        let arena = &run.batch.arena;
        // A deletion is logged with its record's own time, for it leaves no aggregate that had a newer one.
        let logged = if value.is_null() { element.timestamp } else { timestamp };
        run.stores.put(place, element.key.bytes(arena), value.of(arena), logged);
        current[group] = value;
        // A deleted key's timestamp is gone with it.
        newest[group] = if value.is_null() { NO_TIMESTAMP } else { timestamp };
        out.push(Emitted::to_all(Element { value, old, timestamp, ..*element }));
    }
    Ok(())
}
