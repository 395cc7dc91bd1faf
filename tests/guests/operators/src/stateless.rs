//! One record at a time, nothing remembered.

use millstream_sdk::prelude::*;

pub fn topology(app: &mut Topology) {
    let numbers = app.stream::<String, i64>("numbers");
    numbers.filter(|_, n| n % 2 == 0).to("filtered");
    numbers.filter_not(|_, n| n % 2 == 0).to("filtered-not");
    numbers.map(|key, n| (n, key)).to("mapped");
    numbers.map_values(|n| n * 10).to("mapped-values");
    numbers.map_values_with_key(|key, n| format!("{key}{n}")).to("mapped-with-key");
    numbers.flat_map(|key, n| (0..n).map(move |i| (format!("{key}{i}"), i))).to("flat-mapped");
    numbers.flat_map_values(|n| 0..n).to("flat-mapped-values");
    numbers.select_key(|key, n| format!("{key}{n}")).to("re-keyed");
    numbers.peek(|key, n| log::info(format!("saw {key}={n}"))).to("peeked");
}
