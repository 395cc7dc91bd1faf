//! Tumbling and hopping windows (semantics.md B2).

use super::plan::{Effect, Frame, Held, Steps, Value};
use crate::operator::batch::Element;
use crate::operator::run::Stop;

/// The starts of the windows of a time, in their order.
fn starts(timestamp: i64, size: i64, advance: i64) -> impl Iterator<Item = i64> {
    let first = timestamp.saturating_sub(size).saturating_add(advance).max(0) / advance * advance;
    std::iter::successors(Some(first), move |start| start.checked_add(advance)).take_while(move |at| *at <= timestamp)
}

/// Reads what the records may meet.
pub(super) fn read_ahead(
    steps: &mut Steps<'_, '_>,
    elements: &[Element],
    (size, advance, grace): (i64, i64, i64),
) -> Result<(), Stop> {
    let close = steps.stream_time().saturating_sub(grace);
    let windows = elements.iter().filter(|element| !element.key.is_null()).flat_map(|element| {
        let open = move |start: &i64| start.saturating_add(size) > close;
        starts(element.timestamp, size, advance).filter(open).map(|start| (*element, start))
    });
    let windows: Vec<(Element, i64)> = windows.collect();
    steps.read_ahead(&windows)
}

/// The windows of a record in the order of their starts, each updated or, when it has closed, counted. A null value is
/// aggregated.
pub(super) fn take(
    steps: &mut Steps<'_, '_>,
    element: &Element,
    (size, advance, grace): (i64, i64, i64),
) -> Result<(), Stop> {
    if element.key.is_null() {
        steps.effect(Effect::Null);
        return Ok(());
    }
    let timestamp = element.timestamp;
    let close = steps.observe(timestamp).saturating_sub(grace);
    for start in starts(timestamp, size, advance) {
        let end = start.saturating_add(size);
        if end > close {
            let before = steps.window(element, start)?;
            let held = before.map_or(Value::NONE, |held| held.value);
            let value = steps.add(element, held)?;
            let old = steps.old(element, held)?;
            let newest = before.map_or(timestamp, |held| held.timestamp.max(timestamp));
            steps.put_window(element, Frame { start, end }, old, Held { value, timestamp: newest });
        } else {
            steps.effect(Effect::Late);
        }
    }
    Ok(())
}
