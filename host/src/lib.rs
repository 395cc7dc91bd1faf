//! Millstream: a native host for stateful stream processing, with all user logic in WebAssembly components.
//!
//! # Layout, from the ground up (a room uses only rooms below it; siblings never)
//!
//! | rank | room | holds |
//! |---|---|---|
//! | – | `millstream_engine` | the pure part: tasks, operators, stores, frames |
//! | 5 | [`lmdb`] | the store on disk, the state directory |
//! | 6 | [`log`], [`wasm`] | the log contract, Kafka, embedded; components and their limits |
//! | 6½ | [`desk`] | what a thread tells and can be asked, as plain values |
//! | 7 | `thread`, `restore` | the one loop that owns a log client and its tasks |
//! | 8 | [`app`] | an application: plan, validate, threads, status, queries |
//! | 9 | [`text`] | records and values as text |
//! | 10 | [`api`] | HTTP |
//! | 11 | [`cli`] | the verbs; `run` serves the HTTP |

pub mod lmdb;
pub mod log;
pub mod wasm;
pub mod desk;
pub mod thread;
pub mod app;
pub mod text;
pub mod api;
pub mod cli;
