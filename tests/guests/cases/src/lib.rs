//! The topologies of the cases in `tests/vectors`, with the user functions that its README fixes. Which one it is says the
//! configuration: `topology` is the case's own.

mod chain;
mod grouped;
mod interop;
mod joined_windows;
mod joins;
mod kv;
mod punctuations;
mod shown;
mod timed;
mod windowed;

use std::time::Duration;

use millstream_sdk::prelude::{Config, Topology as App};
use serde_json::Value;

use shown::Finish;

/// Where everything is forwarded to.
const OUT: &str = "out";

type Text = Option<String>;

fn topology(app: &mut App, config: &Config) -> Result<(), String> {
    let case: Value = config.get("topology")?.ok_or("a configuration without `topology`")?;
    let finish = Finish::of(&case);
    match text(&case, "kind") {
        "group_agg" => grouped::group_agg(app, &case, &finish),
        "windowed_agg" => windowed::aggregate(app, &case, &finish),
        "cogroup" if case.get("window").is_some() => windowed::cogroup(app, &case, &finish),
        "cogroup" => grouped::cogroup(app, &case, &finish),
        "to_table" => grouped::to_table(app, &case, &finish),
        "table_ops" => grouped::table_ops(app, &case, &finish),
        "table_group" => grouped::table_group(app, &case, &finish),
        "stream_stream_join" => joins::streams(app, &case),
        "stream_table_join" if case["global"] == true => joins::global(app, &case),
        "stream_table_join" => joins::stream_table(app, &case),
        "table_table_join" | "fk_join" => joins::tables(app, &case, &finish),
        "kv_store" => kv::script(app),
        "ttl_store" => timed::windows(app, &case),
        "session_store" => timed::sessions(app, &case),
        "versioned_store" => timed::versions(app, &case),
        "punctuate" => punctuations::punctuate(app, &case),
        "walk" => punctuations::walk(app, &case),
        "chain" => chain::chain(app, &case),
        "interop" => interop::counts(app),
        other => Err(format!("kind {other}")),
    }
}

millstream_sdk::plugin!(topology);

fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field].as_str().unwrap_or_default()
}

/// A time of the case, if it has it.
fn ms(case: &Value, field: &str) -> Option<Duration> {
    case[field].as_u64().map(Duration::from_millis)
}

fn needed_ms(case: &Value, field: &str) -> Result<Duration, String> {
    ms(case, field).ok_or_else(|| format!("a case without `{field}`"))
}
