//! Aggregations of windows, as Kafka Streams' KStreamWindowAggregate, KStreamSessionWindowAggregate and
//! KStreamSlidingWindowAggregate make them, record by record.
//!
//! Which windows a record meets, makes and merges depends on times and on what is there, and not on the aggregates. So
//! all records of a batch are planned first, the guest folds them in one call, and then what was planned is done
//! ([`plan`]). Only where the guest makes an aggregate null, and so deletes a window that the plan counted on, the rest is
//! planned again. Windows that are given away as they close are so behind the record that closes them ([`closing`]).

mod closing;
mod finish;
mod given;
mod held;
mod plan;
mod session;
mod sliding;
mod time;

pub(super) use finish::{advance, is_due};
pub(super) use given::{has_more, portion};
pub(super) use held::rows;

use super::batch::{Element, Emitted};
use super::keyed::own_store;
use super::run::{Run, Stop};
use crate::topology::{Node, Window};
pub(super) use finish::flushed;
use plan::Steps;

/// Windows that are planned together: some hundred bytes each, for every task, of whatever a guest has declared.
const PLANNED_WINDOWS_MAX: usize = 50_000;

/// One table of all windows: the key of a row is that of its records, the window's start and its end, or a session's end and
/// its start. A null key is dropped; what is later than grace allows too, for each window that it is too late for.
pub(super) fn aggregate(
    run: &mut Run<'_>,
    node: &Node,
    window: Window,
    inputs: &[Element],
    out: &mut Vec<Emitted>,
) -> Result<(), Stop> {
    let Some(place) = own_store(run, node) else { return Ok(()) };
    finish::close_rest(run, node, window, inputs, out)?;
    let windows = match window {
        Window::Time { size_ms, advance_ms, .. } => size_ms / advance_ms.max(1) + 1,
        Window::Session { .. } | Window::Sliding { .. } => 1,
    };
    let together = (PLANNED_WINDOWS_MAX / usize::try_from(windows).unwrap_or(usize::MAX).max(1)).max(1);
    // How many records are planned together: fewer where plans fail.
    let (mut from, mut most) = (0, inputs.len().min(together));
    while from < inputs.len() {
        let until = inputs.len().min(from + most);
        let mut steps = Steps::open(run, node, place)?;
        if let Window::Time { size_ms, advance_ms, grace_ms } = window {
            time::read_ahead(&mut steps, &inputs[from..until], (size_ms, advance_ms, grace_ms))?;
        }
        for element in &inputs[from..until] {
            steps.begin(element);
            match window {
                Window::Time { size_ms, advance_ms, grace_ms } => {
                    time::take(&mut steps, element, (size_ms, advance_ms, grace_ms))?
                }
                Window::Session { gap_ms, grace_ms } => session::take(&mut steps, element, (gap_ms, grace_ms))?,
                Window::Sliding { difference_ms, grace_ms } => {
                    sliding::take(&mut steps, element, (difference_ms, grace_ms))?
                }
            }
        }
        let taken = steps.finish(until == inputs.len(), out)?;
        most = if taken < until - from { 1 } else { most.saturating_mul(2).min(together) };
        from += taken;
    }
    Ok(())
}
