//! Windows and sessions that say their last result, once, when they have closed. Their source has one partition, so that
//! each of the eight behind it has one order of records, and one opinion of what is late.

use millstream_sdk::prelude::*;

use crate::{DAY, PARTITIONS, keyed, say};

pub fn topology(app: &mut Topology) {
    let taps = app.stream::<(), String>("taps").map(|(), tap| keyed(&tap)).map_values(Option::unwrap_or_default);
    let taps = taps.repartition(Repartitioned::named("tap").partitions(PARTITIONS)).group_by_key();
    let grace = Duration::from_millis(500);
    let windows = TimeWindows::of(Duration::from_secs(2)).grace(grace);

    let kept = Materialized::named("closed-windows").retention(10 * DAY);
    let closed = taps.windowed_by(windows).emit_strategy(EmitStrategy::OnWindowClose).count(kept).to_stream();
    say(&closed.map(|window, count| (window.key, format!("{} {count}", window.start))), "closed");

    let counts = taps.windowed_by(windows).count(Materialized::named("open-windows").retention(10 * DAY));
    let last = counts.suppress(Suppressed::until_window_closes(BufferConfig::unbounded()).with_name("last"));
    say(&last.to_stream().map(|window, count| (window.key, format!("{} {count}", window.start))), "suppressed");

    let sessions = SessionWindows::with_gap(Duration::from_millis(300)).grace(grace);
    let kept = Materialized::named("closed-sessions").retention(10 * DAY);
    let ended = taps.windowed_by(sessions).emit_strategy(EmitStrategy::OnWindowClose).count(kept).to_stream();
    let ended = ended.map(|visit, count| (visit.key, format!("{} {} {}", visit.start, visit.end, count.unwrap_or(0))));
    say(&ended, "ended");
}
