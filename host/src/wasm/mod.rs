//! wasm

mod version;

pub use version::{CONTRACT, ENGINE_VERSION};
