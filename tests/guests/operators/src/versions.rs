//! Results that are kept as versions, and tables of windows that are joined.

use millstream_sdk::prelude::*;

pub fn topology(app: &mut Topology) {
    let moves = app.stream::<String, i64>("moves");
    let checks = app.stream::<String, String>("checks");
    let day = Duration::from_secs(24 * 3600);
    let stock = moves.group_by_key().reduce(|stock, moved| stock + moved, Materialized::named("stock").versioned(day));
    checks.join(&stock, |check, stock| format!("{check}, of {stock} then")).to("checked");

    let windows = TimeWindows::of(Duration::from_millis(20)).grace(Duration::from_millis(100));
    let mut count = |topic: &str| app.stream::<String, i64>(topic).group_by_key().windowed_by(windows).count(topic);
    let (arrivals, departures) = (count("arrivals"), count("departures"));
    let traffic = arrivals.join(&departures, |came, went| format!("{came}/{went}"));
    traffic.to_stream().map(|gate, pair| (format!("{}@{}", gate.key, gate.start % 1_000), pair)).to("traffic");
}
