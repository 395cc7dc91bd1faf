//! The conformance kit: what a provider must do, clause by clause. Each clause has stores of its own, which are empty
//! before and wiped behind it, and an instance of its own; what one breaks is not held against the next.

mod bench;
mod durable;
mod owners;
mod reads;
mod writes;

use std::sync::Arc;

use serde::Serialize;

use super::component::Provider;
use bench::{Bench, Found};

/// One clause and how the provider did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Clause {
    pub clause: &'static str,
    pub ok: bool,
    /// What was seen; where it is not ok, what is wrong.
    pub found: String,
}

type Check = fn(&mut Bench) -> Found;

/// All clauses, in the order of their rows.
const CLAUSES: [(&str, Check); 21] = [
    ("opens-empty", reads::opens_empty),
    ("reads-what-was-written", reads::reads_what_was_written),
    ("keeps-empty-keys-and-values", reads::keeps_empty_keys_and_values),
    ("keeps-the-largest-entries", reads::keeps_the_largest_entries),
    ("answers-in-the-order-of-keys", reads::answers_in_the_order_of_keys),
    ("scans-in-byte-order", reads::scans_in_byte_order),
    ("scans-backwards", reads::scans_backwards),
    ("keeps-to-bounds", reads::keeps_to_bounds),
    ("pages-to-the-end", reads::pages_to_the_end),
    ("tells-its-size", reads::tells_its_size),
    ("writes-in-order", writes::writes_in_order),
    ("takes-large-batches", writes::takes_large_batches),
    ("overwrites-in-place", writes::overwrites_in_place),
    ("stays-equal-to-a-model", writes::stays_equal_to_a_model),
    ("moves-its-position", writes::moves_its_position),
    ("keeps-stores-apart", writes::keeps_stores_apart),
    ("refuses-another-position", owners::refuses_another_position),
    ("refuses-another-epoch", owners::refuses_another_epoch),
    ("wipes-everything", owners::wipes_everything),
    ("reopens-as-it-was", durable::reopens_as_it_was),
    ("survives-a-crash", durable::survives_a_crash),
];

/// Runs all clauses. `run` makes the stores' ids ones of this run; `seed` draws what is random.
pub fn check(provider: &Provider, run: &str, seed: u64) -> Vec<Clause> {
    let log = provider.log();
    let one = |(at, (clause, check)): (usize, &(&'static str, Check))| {
        let mut bench = Bench::new(provider, Arc::clone(&log), format!("check-{run}/{at}"), seed);
        let found = check(&mut bench);
        let found = found.and_then(|found| bench.clean_up().map(|()| found));
        Clause { clause, ok: found.is_ok(), found: found.unwrap_or_else(|wrong| wrong) }
    };
    CLAUSES.iter().enumerate().map(one).collect()
}
