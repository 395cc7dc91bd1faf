//! Every operator there is, family by family, in one topology.

use millstream_sdk::prelude::*;

mod aggregations;
mod branches;
mod closing;
mod codecs;
mod grouping;
mod joins;
mod punctuations;
mod routes;
mod routing;
mod stateless;
mod stores;
mod tables;
mod timed;
mod times;
mod versions;

fn topology(app: &mut Topology) {
    stateless::topology(app);
    branches::topology(app);
    grouping::topology(app);
    aggregations::topology(app);
    tables::topology(app);
    joins::topology(app);
    routes::topology(app);
    routing::topology(app);
    stores::topology(app);
    punctuations::topology(app);
    codecs::topology(app);
    timed::topology(app);
    times::topology(app);
    closing::topology(app);
    versions::topology(app);
}

millstream_sdk::plugin!(topology);
