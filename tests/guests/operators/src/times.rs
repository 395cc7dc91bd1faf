//! Two streams in the order in which things happened: one says it in its values, the other in its timestamps.

use millstream_sdk::prelude::*;

pub fn topology(app: &mut Topology) {
    let told = Consumed::named("told")
        .extract_timestamp(|told: &Record<String, i64>, _| told.value)
        .on_invalid_timestamp(InvalidTimestamp::Skip);
    let told = app.stream(told).map_values(|_| "told".to_string());
    told.merge(&app.stream::<String, String>("seen")).to("in-order");
}
