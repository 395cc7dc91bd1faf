//! What becomes of records that are dropped, rejected or trapped, through the wasm boundary, on both logs and in both
//! kinds of stores: only the guilty meet their policy, and nobody can see that they were there.
//!
//! The guest `outcomes` does to each record what its value says.

mod batches;
mod commands;
mod failures;
mod held;
mod letters;
mod punctuations;
mod retries;
