//! Millstream: a native host for stateful stream processing, with all user logic in WebAssembly components.
//!
//! # Layout, from the ground up (a room uses only rooms below it; siblings never)
//!
//! | rank | room | holds |
//! |---|---|---|
//! | – | `millstream_engine` | the pure part: tasks, operators, stores, frames |
//! | 4 | [`fail_point`] | where a test may end the process |
//! | 5 | [`lmdb`], [`desk`] | the store on disk, the state directory; what a thread tells and can be asked, as values |
//! | 6 | [`log`], [`wasm`], [`text`] | the log contract, Kafka, embedded; components and their limits; records as text |
//! | 7 | [`thread`] | the one loop that owns a log client and its tasks; restoring |
//! | 8 | [`app`] | an application: plan, validate, threads, status, queries |
//! | 9 | [`api`], [`case`] | HTTP; case files of a plugin's tests |
//! | 10 | [`cli`] | the verbs; `run` serves the HTTP |

pub mod fail_point;
pub mod lmdb;
pub mod desk;
pub mod log;
pub mod wasm;
pub mod text;
pub mod thread;
pub mod app;
pub mod api;
pub mod case;
pub mod cli;

pub use app::App;
