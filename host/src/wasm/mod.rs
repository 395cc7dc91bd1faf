//! User logic: WebAssembly components, started, called and held to their limits.
//!
//! | file | holds |
//! |---|---|
//! | [`engine`](Engine) | wasmtime as we want it, and the tick that ends endless loops |
//! | `limits` | what one guest may use: the manifest's `[limits]`, and what no manifest changes |
//! | [`imports`] | a component's door, read before anything is compiled: nothing but our contract is let in |
//! | [`compile`] | bytes → machine code, in a child process, or from the cache of what was compiled before |
//! | [`component`](Component) | bytes → checked, compiled, described |
//! | [`instance`](Instance) | the user code of one task: a wasmtime `Store`, started when needed, thrown away after a trap |
//! | `guest` | one running instance in its `Store` |
//! | `host` | what an instance's `Store` holds: the task's stores while a call runs, the meters, the log |
//! | `stores`, `runtime` | our two import interfaces |
//! | [`provider`] | store providers: components that keep state |
//! | `fault` | what a call that did not return says about whom |
//!
//! # How often
//! Once per process: [`Engine::new`]. Once per component file: [`Component::load`]. Once per plan:
//! [`Component::describe`]. Once per task: [`Instance::new`]. Once per batch and node: [`Instance`]'s `call`.
//!
//! # Who is to blame
//! A guest's trap, its overrun and its `err` are a `Fault::Guest` and meet the record's policy. A store that fails
//! inside a guest's call is a `Fault::Host` and is never blamed on the record.

mod bindings;
pub mod compile;
mod component;
mod engine;
mod error;
mod fault;
mod guest;
mod host;
pub mod imports;
mod instance;
mod limits;
pub mod provider;
mod runtime;
mod stores;
mod version;

pub use compile::{Cache, Compiler};
pub use component::Component;
pub use engine::Engine;
pub use error::{Error, LIMITS_KEY};
pub use host::Owner;
pub use instance::Instance;
pub use limits::COMPONENT_BYTES;
pub use provider::{Changelog, Provider, ProviderBase, ProviderStore};
pub use version::{CONTRACT, ENGINE_VERSION};

pub type Result<T> = std::result::Result<T, Error>;
