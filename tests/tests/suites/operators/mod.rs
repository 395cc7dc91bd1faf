//! Every operator through the wasm boundary, against cases worked by hand, on both logs and in both kinds of stores.
//!
//! The guest `operators` has one file for each family, and so has this suite. See [`runs`] for how they are run.

mod aggregations;
mod branches;
mod closing;
mod codecs;
mod grouping;
mod joins;
mod punctuations;
mod routes;
mod routing;
mod runs;
mod shown;
mod stateless;
mod stores;
mod tables;
mod timed;
mod times;
mod versions;
