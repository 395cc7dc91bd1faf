//! Joins of two tables by a key in the left one's values (KIP-213), as Kafka Streams 4.3.1 has them.
//!
//! A left row tells the partition of its foreign key that it is interested ([`send`]); there the interest is kept, and
//! answered ([`receive`]); a right row that changes answers all who are interested ([`change`]); an answer meets its
//! left row, if that is still the one that asked ([`resolve`]).

use std::ops::ControlFlow;

use super::batch::{Element, Emitted};
use super::call::call;
use super::join::{self, Pair};
use super::lookup;
use super::run::{Run, Stop};
use super::stateless::one_each;
use crate::changelog::foreign_key::{Hash, Instruction, Response, Subscription, store_prefix};
use crate::changelog::hash128;
use crate::frame::Kind;
use crate::record::{Span, push};
use crate::store::KeyRange;
use crate::topology::{Join, Node};

/// Bytes of the subscriptions that one right row may be answered from.
const ANSWERED_BYTES_MAX: usize = 128 << 20;

/// Foreign keys of what was and what is (SubscriptionSendProcessorSupplier). What has none is dropped by an inner join, and
/// a version of the past by any.
pub(super) fn send(run: &mut Run<'_>, node: &Node, inputs: &[Element], out: &mut Vec<Emitted>) -> Result<(), Stop> {
    use Instruction::*;
    let is_left = node.join == Some(Join::Left);
    let inputs = latest(run, inputs);
    for (element, keys) in inputs.iter().zip(foreign_keys(run, node, &inputs)?) {
        let Some((old, new)) = keys else { continue };
        let changed = old.of(&run.batch.arena) != new.of(&run.batch.arena);
        if is_left {
            if element.old.is_null() && element.value.is_null() {
                continue;
            }
            if !old.is_null() && changed {
                subscribe(run, node, element, old, DeleteKeyNoPropagate, out)?;
            }
            subscribe(run, node, element, new, PropagateNullIfNoForeignValue, out)?;
            continue;
        }
        match (old.is_null(), new.is_null()) {
            (_, true) => {
                if !old.is_null() {
                    subscribe(run, node, element, old, DeleteKeyAndPropagate, out)?;
                }
                run.dropped.null += u64::from(!element.value.is_null());
            }
            (false, false) if changed => {
                subscribe(run, node, element, old, DeleteKeyNoPropagate, out)?;
                subscribe(run, node, element, new, PropagateNullIfNoForeignValue, out)?;
            }
            (_, false) => subscribe(run, node, element, new, PropagateOnlyIfForeignValue, out)?,
        }
    }
    Ok(())
}

/// A version of the past changes nothing of what is (KIP-914).
fn latest(run: &mut Run<'_>, inputs: &[Element]) -> Vec<Element> {
    let latest: Vec<Element> = inputs.iter().filter(|element| !element.is_past).copied().collect();
    run.dropped.late += (inputs.len() - latest.len()) as u64;
    latest
}

/// By element: its foreign key before and now, null where it has none; `None` where the guest dropped the new one.
fn foreign_keys(run: &mut Run<'_>, node: &Node, inputs: &[Element]) -> Result<Vec<Option<(Span, Span)>>, Stop> {
    let mut asked = Vec::new();
    let mut places = Vec::with_capacity(inputs.len());
    for element in inputs {
        let mut ask = |value: Span| {
            asked.extend((!value.is_null()).then_some(Element { value, old: Span::NULL, ..*element }));
            (!value.is_null()).then(|| asked.len() - 1)
        };
        places.push((ask(element.old), ask(element.value)));
    }
    let mut answers = call(run, node, Kind::Records, &asked)?;
    let keys: Vec<Option<Span>> =
        one_each(node, &mut answers)?.map(|answer| answer.map(|answer| answer.element.key)).collect();
    run.scratch.answers = answers;
    let pair = |(old, new): (Option<usize>, Option<usize>)| {
        let new = new.map_or(Some(Span::NULL), |place| keys[place])?;
        Some((old.and_then(|place| keys[place]).unwrap_or(Span::NULL), new))
    };
    Ok(places.into_iter().map(pair).collect())
}

fn subscribe(
    run: &mut Run<'_>,
    node: &Node,
    element: &Element,
    foreign_key: Span,
    instruction: Instruction,
    out: &mut Vec<Emitted>,
) -> Result<(), Stop> {
    let (mut bytes, arena) = (Vec::new(), &run.batch.arena);
    let subscription = Subscription {
        instruction,
        hash: element.value.of(arena).map(hash128),
        primary_key: element.key.bytes(arena),
        partition: run.batch.contexts[element.context as usize].partition.to_be_bytes(),
    };
    subscription.encode(&mut bytes);
    let value = run.push(node, element, &bytes)?;
    out.push(Emitted::to_all(Element { key: foreign_key, value, old: Span::NULL, ..*element }));
    Ok(())
}

/// A subscription as spans, so that the arena can grow beside it.
#[derive(Clone, Copy)]
struct Subscribed {
    instruction: Instruction,
    hash: Option<Hash>,
    primary_key: Span,
    partition: Span,
}

impl Subscribed {
    fn read(run: &Run<'_>, value: Span) -> Option<Subscribed> {
        let bytes = value.of(&run.batch.arena)?;
        let Subscription { instruction, hash, primary_key, .. } = Subscription::decode(bytes)?;
        let partition = run.batch.span_of(Some(&bytes[bytes.len() - 4..]));
        Some(Subscribed { instruction, hash, primary_key: run.batch.span_of(Some(primary_key)), partition })
    }
}

/// Keeps or deletes a subscription and answers it (SubscriptionReceiveProcessorSupplier, SubscriptionJoinProcessorSupplier).
/// Without a foreign key there is nothing to keep; a left join is answered all the same.
pub(super) fn receive(run: &mut Run<'_>, node: &Node, inputs: &[Element], out: &mut Vec<Emitted>) -> Result<(), Stop> {
    use Instruction::*;
    let rows = lookup::rows(run, node.tables[0], inputs)?;
    for (element, row) in inputs.iter().zip(rows) {
        let Some(subscribed) = Subscribed::read(run, element.value) else {
            return Err(Stop::malformed(node, element, "a record of the subscription topic is no subscription"));
        };
        if element.key.is_null() && subscribed.instruction != PropagateNullIfNoForeignValue {
            run.dropped.null += 1;
            continue;
        }
        if !element.key.is_null() {
            keep(run, node, element, &subscribed)?;
        }
        let foreign = match subscribed.instruction {
            DeleteKeyNoPropagate => continue,
            PropagateOnlyIfForeignValue if row.value.is_null() => continue,
            DeleteKeyAndPropagate => Span::NULL,
            PropagateOnlyIfForeignValue | PropagateNullIfNoForeignValue => row.value,
        };
        let element = Element { timestamp: element.timestamp.max(row.timestamp), ..*element };
        answer(run, node, &element, &subscribed, foreign, out)?;
    }
    Ok(())
}

fn keep(run: &mut Run<'_>, node: &Node, element: &Element, subscribed: &Subscribed) -> Result<(), Stop> {
    use Instruction::*;
    let Some(place) = super::keyed::own_store(run, node) else { return Ok(()) };
    let mut key = Vec::new();
    store_prefix(element.key.bytes(&run.batch.arena), &mut key);
    key.extend_from_slice(subscribed.primary_key.bytes(&run.batch.arena));
    let value = match subscribed.instruction {
        DeleteKeyNoPropagate | DeleteKeyAndPropagate => Span::NULL,
        PropagateOnlyIfForeignValue | PropagateNullIfNoForeignValue => element.value,
    };
    let entry = Element { key: run.push(node, element, &key)?, ..*element };
    run.check_entry(node, &entry, place, value)?;
    run.stores.put(place, &key, value.of(&run.batch.arena), element.timestamp);
    Ok(())
}

/// Tells a left row of its right one. The partition goes along as the old value, for [`super::sink`].
fn answer(
    run: &mut Run<'_>,
    node: &Node,
    element: &Element,
    subscribed: &Subscribed,
    foreign: Span,
    out: &mut Vec<Emitted>,
) -> Result<(), Stop> {
    let mut bytes = Vec::new();
    Response { hash: subscribed.hash, foreign: foreign.of(&run.batch.arena) }.encode(&mut bytes);
    let value = run.push(node, element, &bytes)?;
    let (key, old) = (subscribed.primary_key, subscribed.partition);
    out.push(Emitted::to_all(Element { key, value, old, ..*element }));
    Ok(())
}

/// Answers all who are interested in a right row, in the order of their keys (ForeignTableJoinProcessorSupplier).
pub(super) fn change(run: &mut Run<'_>, node: &Node, inputs: &[Element], out: &mut Vec<Emitted>) -> Result<(), Stop> {
    let Some(place) = node.stores.first().and_then(|number| run.stores.place(*number as u32)) else { return Ok(()) };
    let (mut prefix, mut found) = (Vec::new(), Vec::new());
    for element in &latest(run, inputs) {
        prefix.clear();
        store_prefix(element.key.bytes(&run.batch.arena), &mut prefix);
        found.clear();
        // One behind the other: where each value begins, and where it ends.
        let mut values = Vec::new();
        let range = KeyRange { lower: Some(&prefix), upper: None };
        run.stores.scan(place, range, false, &mut |key, _, value| {
            if !key.starts_with(&prefix) || found.len() > ANSWERED_BYTES_MAX {
                return ControlFlow::Break(());
            }
            values.push(push(&mut found, Some(value)));
            ControlFlow::Continue(())
        })?;
        if found.len() > ANSWERED_BYTES_MAX {
            let message = format!("more than {ANSWERED_BYTES_MAX} bytes of subscriptions to one key");
            return Err(Stop::rejected(node, element, message));
        }
        let base = run.push(node, element, &found)?.start();
        for value in values {
            let value = Span::new(base + value.start(), value.len());
            let Some(subscribed) = Subscribed::read(run, value) else {
                return Err(run.unreadable(node, element, "no subscription".to_owned()));
            };
            answer(run, node, element, &subscribed, element.value, out)?;
        }
    }
    Ok(())
}

/// The joined row, or a tombstone where an inner join has no right one or the left one is gone. An answer to a left row
/// that has changed since is dropped: its successor has asked too (ResponseJoinProcessorSupplier).
pub(super) fn resolve(run: &mut Run<'_>, node: &Node, inputs: &[Element], out: &mut Vec<Emitted>) -> Result<(), Stop> {
    let is_left = node.join == Some(Join::Left);
    let rows = lookup::rows(run, node.tables[0], inputs)?;
    let (mut pairs, mut results) = (Vec::new(), Vec::new());
    for (element, row) in inputs.iter().zip(&rows) {
        let arena = &run.batch.arena;
        let Some(response) = element.value.of(arena).and_then(Response::decode) else {
            return Err(Stop::malformed(node, element, "a record of the response topic is no answer"));
        };
        if response.hash != row.value.of(arena).map(hash128) {
            run.dropped.null += 1;
            continue;
        }
        let right = run.batch.span_of(response.foreign);
        let joins = !row.value.is_null() && (is_left || !right.is_null());
        results.push((element, joins.then_some(pairs.len())));
        pairs.extend(joins.then_some(Pair { element: *element, left: row.value, right }));
    }
    let values = join::ask(run, node, &pairs)?;
    for (element, place) in results {
        let value = match place {
            None => Span::NULL,
            Some(place) => match values[place] {
                None => continue, // the guest dropped it
                Some(value) => value,
            },
        };
        out.push(Emitted::to_all(Element { value, old: Span::NULL, ..*element }));
    }
    Ok(())
}
