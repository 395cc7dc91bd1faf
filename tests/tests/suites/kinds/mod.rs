//! Every kind of store on disk and in a store provider, against its model; in memory the engine's own tests do it.

mod disk;
#[path = "../../../../host/engine/tests/kinds/model/mod.rs"]
mod model;
mod provider;
