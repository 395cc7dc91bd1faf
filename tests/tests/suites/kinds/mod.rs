//! Every kind of store on disk, in a store provider and on a Redis server, against its model; in memory the engine's own tests do it.

mod disk;
#[path = "../../../../host/engine/tests/kinds/model/mod.rs"]
mod model;
mod provider;
mod server;
