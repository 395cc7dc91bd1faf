//! The pure part of Millstream: what a task does with records, without any I/O.
//!
//! No sockets, no files, no clocks and no WebAssembly: time, positions and randomness come in as
//! arguments, records and commits as values. The host wraps it with logs, LMDB and wasmtime; the
//! SDK's native test driver and the property tests stand on it alone.
//!
//! # Layout, from the ground up (a room uses only rooms below it)
//!
//! | rank | room | holds |
//! |---|---|---|
//! | 0 | [`record`], [`partitioner`], [`error`] | bytes of a record; the partition of a key; what a failure asks of its caller |
//! | 1 | [`frame`], [`config`] | a batch's bytes at the guest boundary; the manifest |
//! | 2 | [`topology`] | a guest's description → checked graph → subtopologies |
//! | 3 | [`store`], [`changelog`] | uncommitted layers over a committed base; names and bytes of changelogs |
//! | 4 | [`functions`] | the one trait between operators and user code |
//! | 5 | [`operator`] | what each node of a topology does to a batch |
//! | 6 | [`task`] | queues, choice by time, batches, replay, intervals |

pub mod record;
pub mod partitioner;
pub mod error;
pub mod frame;
pub mod config;
pub mod topology;
pub mod store;
pub mod changelog;
pub mod functions;
pub mod operator;
pub mod task;
