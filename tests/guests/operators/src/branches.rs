//! Ways that part and meet again.

use millstream_sdk::prelude::*;

pub fn topology(app: &mut Topology) {
    let mut sizes = app.stream::<String, i64>("sizes").split();
    let large = sizes.branch(|_, n| *n >= 100);
    let medium = sizes.branch(|_, n| *n >= 10);
    let small = sizes.default();
    large.to("large");
    medium.to("medium");
    small.to("small");
    // Each medium record comes twice, one behind the other; the large ones between them stay where they were.
    medium.flat_map_values(|n| [n, -n]).merge(&large).to("merged");
}
