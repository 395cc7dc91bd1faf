//! What is held back and let go later: the key says what becomes of it then.

use millstream_sdk::prelude::*;

use crate::strike;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub fn topology(app: &mut Topology) {
    let held = app.stream::<String, String>("held");
    let tens = TimeWindows::of(ms(10));
    let keys = held.group_by_key();

    // Longer than any pause between records: what has expired is not given away.
    let kept = Materialized::named("closing-windows").retention(ms(1_000));
    let closing = keys.windowed_by(tens).emit_strategy(EmitStrategy::OnWindowClose).count(kept);
    let closing = closing.to_stream().try_map(|window, count| struck(window.key, count));
    closing.named("closes").to("closed");

    let final_ones = Suppressed::until_window_closes(BufferConfig::unbounded()).with_name("suppressed-windows");
    let suppressed = keys.windowed_by(tens).count("open-windows").suppress(final_ones);
    let suppressed = suppressed.to_stream().try_map(|window, count| struck(window.key, count));
    suppressed.named("is-let-go").to("let-go");

    let partners = app.stream::<String, String>("partners");
    let windows = JoinWindows::of(ms(10)).grace(Duration::ZERO);
    let alone = held.left_join_stream(&partners, |_, partner| i64::from(partner.is_none()), windows);
    alone.named("waits").try_map(struck).named("gives-up").to("gave-up");
}

fn struck(key: String, count: i64) -> Result<(String, i64), Failure> {
    strike(&key).map(|()| (key, count))
}
