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
//! | 0 | [`record`], [`error`], [`partitioner`] | bytes of a record; what a failure asks of its caller; murmur2 |
//! | 1 | [`frame`], [`config`], [`metadata`] | a batch's bytes at the guest boundary; the manifest; the text beside an offset |
//! | 2 | [`changelog`] | names, configurations and bytes of internal topics |
//! | 3 | [`topology`] | a guest's description → checked graph → plan |
//! | 4 | [`store`] | uncommitted layers over a committed base |
//! | 5 | [`functions`] | the one trait between operators and user code |
//! | 6 | [`operator`] | what each node of a topology does to a batch |
//! | 7 | [`task`] | queues, choice by time, batches, replay, intervals |
//! | 8 | [`driver`] | all tasks of an application in one thread, over topics in memory |

pub mod changelog;
pub mod config;
pub mod driver;
pub mod error;
pub mod frame;
pub mod functions;
pub mod metadata;
pub mod operator;
pub mod partitioner;
pub mod record;
pub mod store;
pub mod task;
pub mod topology;
