//! Store providers: components that keep the committed state of stores.
//!
//! | file | holds |
//! |---|---|
//! | [`component`](Provider) | bytes → checked, compiled; its name and its configuration |
//! | [`grant`](Grant) | the addresses that one may connect to |
//! | `lookup` | what the names among them mean |
//! | `state` | what the `Store` of an instance holds |
//! | `guest` | one running instance in its `Store`, each call under its deadline |
//! | `frame` | the bytes that go over, and whether those that come back can be |
//! | `position` | where a store stands, as the provider keeps it |
//! | [`base`](ProviderBase) | the engine's committed state over it |
//! | `faults` | how often one may trap and lie |
//! | [`kit`] | what a provider must do, clause by clause |
//!
//! # What is believed
//! Nothing. Every read says which position it was served at, and what it says is held against what was written: a
//! provider that was flushed, that went back to an older copy, that another owner wrote to, that answers rows which are
//! out of order or out of the range makes the task's state corrupted, which is wiped and restored. A trap, a stall and an
//! unknown outcome of a write throw the instance away, and the next one is asked where it stands. So an answer is right or
//! there is none.
//!
//! # How long
//! The deadline of a guest's call (`[limits] call`) is one of its own code where a provider imports nothing that could
//! wait. With a grant it may wait for sockets and clocks, and the same deadline ends the wait.

mod base;
mod bindings;
mod component;
mod faults;
mod frame;
mod grant;
mod guest;
pub mod kit;
mod lookup;
mod position;
mod state;

pub use base::{ProviderBase, ProviderStore};
pub use component::{Provider, is_provider};
pub use grant::Grant;
pub use position::Changelog;
