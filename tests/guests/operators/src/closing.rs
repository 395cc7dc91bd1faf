//! What goes downstream late: windows as they close, what a table holds back, and who meets nobody in a join of streams.

use millstream_sdk::prelude::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A key and where its window begins, in ms of a second.
fn label(key: &str, start: i64) -> String {
    format!("{key}{}", start % 1_000)
}

pub fn topology(app: &mut Topology) {
    let clicks = app.stream::<String, i64>("taps").group_by_key();
    // Longer than any pause between clicks: what has expired is not given away.
    let kept = Materialized::named("closed-counts").retention(ms(1_000));
    let tens = TimeWindows::of(ms(10)).grace(ms(2));
    let counts = clicks.windowed_by(tens).emit_strategy(EmitStrategy::OnWindowClose).count(kept);
    counts.to_stream().map(|window, count| (label(&window.key, window.start), count)).to("closed-windows");
    let visits = clicks.windowed_by(SessionWindows::with_gap(ms(5))).emit_strategy(EmitStrategy::OnWindowClose);
    let visits = visits.reduce(|sum, clicks| sum + clicks, "closed-visits").to_stream();
    visits.map(|visit, sum| (label(&visit.key, visit.start), sum)).to("closed-sessions");
    let sums = clicks.windowed_by(tens).aggregate(|| 0i64, |_, clicks, sum| sum + clicks, "window-sums");
    let last = sums.suppress(Suppressed::until_window_closes(BufferConfig::unbounded()).with_name("final-sums"));
    last.to_stream().map(|window, sum| (label(&window.key, window.start), sum)).to("final-windows");
    let latest = clicks.reduce(|_, clicks| clicks, "latest-clicks");
    latest
        .suppress(Suppressed::until_time_limit(ms(8), BufferConfig::max_records(2)).with_name("thin"))
        .to_stream()
        .to("thinned");
    let refunds = app.stream::<String, i64>("refunds").group_by_key();
    let both = clicks.cogroup(|_, clicks, sum: i64| sum + clicks).cogroup(&refunds, |_, refund, sum| sum - refund);
    let both = both.windowed_by(tens).aggregate(|| 0, "window-balances").to_stream();
    both.map(|window, sum| (label(&window.key, window.start), sum)).to("balances-in-windows");

    let (lefts, rights) = (app.stream::<String, String>("lefts"), app.stream::<String, String>("rights"));
    let windows = JoinWindows::of(ms(30)).before(Duration::ZERO).grace(ms(1));
    let text = |side: Option<String>| side.unwrap_or("?".to_owned());
    let all = lefts.outer_join_stream(&rights, move |l, r| format!("{} {}", text(l), text(r)), windows);
    all.named("all-meet").to("all-pairs");
    let left = lefts.left_join_stream(&rights, move |l, r| format!("{l} {}", text(r)), windows);
    left.named("left-meet").to("left-pairs");
}
