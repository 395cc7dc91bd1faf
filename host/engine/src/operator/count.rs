//! Count by key, without the guest: the value is an eight-byte big-endian integer, as Kafka's LongSerializer.

use super::batch::{Element, Emitted};
use super::keyed::{self, own_store};
use super::run::{Run, Stop};
use crate::record::Span;
use crate::topology::Node;

/// A null key or a null value is skipped and counted as dropped (KStreamAggregate).
pub(super) fn count(run: &mut Run<'_>, node: &Node, inputs: &[Element], out: &mut Vec<Emitted>) -> Result<(), Stop> {
    let Some(place) = own_store(run, node) else { return Ok(()) };
    let mut keyed = keyed::open(run, node, place, inputs, |element| !element.value.is_null())?;
    for (at, element) in inputs.iter().enumerate() {
        let Some(group) = keyed.group(at) else {
            run.dropped.null += 1;
            continue;
        };
        let before = keyed.entry(group);
        let count = read(run, node, element, before.value)?.saturating_add(1);
        let value = run.push(node, element, &count.to_be_bytes())?;
        // A count begins with 0, and that is what was there, as in Kafka Streams.
        let old = if before.value.is_null() { run.push(node, element, &0i64.to_be_bytes())? } else { before.value };
        let timestamp = element.timestamp.max(before.timestamp);
        let put = keyed.write(run, node, element, group, (value, timestamp))?;
        out.extend(Emitted::as_put(Element { value, old, timestamp, ..*element }, put));
    }
    keyed.close(run);
    Ok(())
}

pub(super) fn read(run: &Run<'_>, node: &Node, element: &Element, value: Span) -> Result<i64, Stop> {
    let Some(bytes) = value.of(&run.batch.arena) else { return Ok(0) };
    match <[u8; 8]>::try_from(bytes) {
        Ok(bytes) => Ok(i64::from_be_bytes(bytes)),
        Err(_) => Err(run.unreadable(node, element, format!("{} bytes, and a count has 8", bytes.len()))),
    }
}
