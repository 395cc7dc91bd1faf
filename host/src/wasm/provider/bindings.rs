//! What `wit/provider.wit` says, as Rust. The log is that of processors.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "store-provider",
    imports: { default: trappable },
    exports: { default: async },
    with: { "millstream:plugin/runtime": crate::wasm::bindings::millstream::plugin::runtime },
});
