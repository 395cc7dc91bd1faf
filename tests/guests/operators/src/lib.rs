//! Every operator there is, family by family, in one topology.

use millstream_sdk::prelude::*;

mod aggregations;
mod branches;
mod codecs;
mod grouping;
mod punctuations;
mod routing;
mod stateless;
mod stores;
mod tables;

fn topology(app: &mut Topology) {
    stateless::topology(app);
    branches::topology(app);
    grouping::topology(app);
    aggregations::topology(app);
    tables::topology(app);
    routing::topology(app);
    stores::topology(app);
    punctuations::topology(app);
    codecs::topology(app);
}

millstream_sdk::plugin!(topology);
