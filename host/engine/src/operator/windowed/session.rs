//! Session windows (semantics.md B4).

use super::plan::{Effect, Frame, Steps, Value};
use crate::operator::batch::Element;
use crate::operator::run::Stop;

/// The sessions that the record touches become one: the oldest first, the record's value last. Whether it is late is
/// judged by the end of that one. A null value is aggregated.
pub(super) fn take(steps: &mut Steps<'_, '_>, element: &Element, (gap, grace): (i64, i64)) -> Result<(), Stop> {
    if element.key.is_null() {
        steps.effect(Effect::Null);
        return Ok(());
    }
    let timestamp = element.timestamp;
    let close = steps.observe(timestamp).saturating_sub(grace).saturating_sub(gap);
    let touched = steps.sessions(element, timestamp.saturating_sub(gap), timestamp.saturating_add(gap))?;
    let own = Frame { start: timestamp, end: timestamp };
    let merged = touched
        .iter()
        .fold(own, |merged, (frame, _)| Frame { start: merged.start.min(frame.start), end: merged.end.max(frame.end) });
    if merged.end < close {
        steps.effect(Effect::Late);
        return Ok(());
    }
    let mut value = Value::NONE;
    for (_, held) in &touched {
        value = steps.merge(element, value, held.value)?;
    }
    let value = steps.add(element, value)?;
    if merged != own {
        for (frame, held) in &touched {
            steps.remove_session(element, *frame, held.value);
        }
    }
    steps.put_session(element, merged, value);
    Ok(())
}
