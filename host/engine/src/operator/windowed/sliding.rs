//! Sliding windows (semantics.md B3): for each record of a key one window that ends with it, and one that starts right
//! behind it as soon as a later record falls into it.

use super::plan::{Effect, Frame, Held, Steps, Value};
use crate::operator::batch::Element;
use crate::operator::run::Stop;

/// A null key or value is dropped.
pub(super) fn take(steps: &mut Steps<'_, '_>, element: &Element, (difference, grace): (i64, i64)) -> Result<(), Stop> {
    if element.key.is_null() || element.value.is_null() {
        steps.effect(Effect::Null);
        return Ok(());
    }
    let close = steps.observe(element.timestamp).saturating_sub(grace);
    if element.timestamp.saturating_add(difference) < close {
        steps.effect(Effect::Late);
        return Ok(());
    }
    let mut record = Record { steps, element, difference, close };
    if element.timestamp < difference { record.early() } else { record.later() }
}

struct Record<'s, 'r, 'a> {
    steps: &'s mut Steps<'r, 'a>,
    element: &'s Element,
    difference: i64,
    close: i64,
}

impl Record<'_, '_, '_> {
    /// Newer windows come first.
    fn later(&mut self) -> Result<(), Stop> {
        let (at, difference) = (self.element.timestamp, self.difference);
        let from = at.saturating_sub(difference.saturating_mul(2)).max(0);
        let found = self.steps.windows(self.element, from, at.saturating_add(1))?;
        let (mut left, mut right, mut previous) = (None, None, None);
        let (mut has_left, mut has_right) = (false, false);
        let mut starts = Vec::new();
        for &(start, held) in found.iter().rev() {
            starts.push(start);
            let end = start.saturating_add(difference);
            if start == at.saturating_add(1) {
                (right, has_right) = (Some(held), true);
            } else if end > at {
                right = right.or(Some(held));
                self.update(start, held)?;
            } else if end == at {
                has_left = true;
                self.update(start, held)?;
                if held.timestamp >= at {
                    // A record of this time has made all windows that this one would.
                    return Ok(());
                }
                previous = Some(held.timestamp);
            } else {
                (left, previous) = (Some(held), Some(held.timestamp));
                break;
            }
        }
        self.previous_right(previous, &starts)?;
        if !has_left {
            let before = left.filter(|_| previous.is_some_and(|previous| at - difference <= previous));
            let value = before.map_or(Value::NONE, |held| held.value);
            self.update(at - difference, Held { value, timestamp: at })?;
        }
        if !has_right {
            self.own_right(right);
        }
        Ok(())
    }

    /// Records that are earlier than the difference share the window that starts at 0.
    fn early(&mut self) -> Result<(), Stop> {
        let at = self.element.timestamp;
        let found = self.steps.windows(self.element, 0, at.saturating_add(1))?;
        let (mut combined, mut right, mut previous, mut has_right) = (None, None, None, false);
        let mut starts = Vec::new();
        for &(start, held) in &found {
            starts.push(start);
            if start == 0 {
                combined = Some(held);
                previous = Some(held.timestamp).filter(|newest| *newest < at);
            } else if start <= at {
                right = Some(held);
                self.update(start, held)?;
            } else {
                (right, has_right) = (Some(held), true);
            }
        }
        if !has_right {
            self.own_right(right.or(combined));
        }
        if combined.is_some() {
            self.previous_right(previous, &starts)?;
        }
        self.update(0, combined.unwrap_or(Held { value: Value::NONE, timestamp: at }))
    }

    /// The window right behind the record before this one, if this one is the first in it.
    fn previous_right(&mut self, previous: Option<i64>, starts: &[i64]) -> Result<(), Stop> {
        let at = self.element.timestamp;
        let Some(start) = previous.map(|previous| previous.saturating_add(1)) else { return Ok(()) };
        if starts.contains(&start) || start.saturating_add(self.difference) < at {
            return Ok(());
        }
        self.update(start, Held { value: Value::NONE, timestamp: at })
    }

    /// The window right behind this record, if later ones fall into it: it has what they made, without this one.
    fn own_right(&mut self, later: Option<Held>) {
        let at = self.element.timestamp;
        if let Some(held) = later.filter(|held| held.timestamp > at) {
            let frame = self.frame(at + 1);
            self.steps.put_window(self.element, frame, Value::NONE, held);
        }
    }

    /// Adds the record to a window.
    fn update(&mut self, start: i64, held: Held) -> Result<(), Stop> {
        let frame = self.frame(start);
        if frame.end < self.close {
            self.steps.effect(Effect::Late);
            return Ok(());
        }
        let value = self.steps.add(self.element, held.value)?;
        let timestamp = held.timestamp.max(self.element.timestamp);
        let old = self.steps.old(self.element, held.value)?;
        self.steps.put_window(self.element, frame, old, Held { value, timestamp });
        Ok(())
    }

    fn frame(&self, start: i64) -> Frame {
        Frame { start, end: start.saturating_add(self.difference) }
    }
}
