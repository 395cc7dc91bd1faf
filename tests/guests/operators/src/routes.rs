//! Sinks whose records go where a function says: to one of several topics, to a partition.

use millstream_sdk::prelude::*;

pub fn topology(app: &mut Topology) {
    let parcels = app.stream::<String, i64>("parcels");
    let by_weight = |parcel: &Record<String, i64>| if parcel.value < 10 { "light" } else { "heavy" }.to_string();
    let to_last = |_: &String, weight: &i64, partitions: u32| (*weight > 20).then_some(partitions - 1);
    parcels.to(Produced::to_one_of("by-weight", ["light", "heavy"], by_weight).partitioner(to_last));
    parcels.to(Produced::named("dealt-out").partitioner(|_, weight, partitions| Some(*weight as u32 % partitions)));
    parcels.print("parcel");
}
