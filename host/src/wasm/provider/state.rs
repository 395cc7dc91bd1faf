//! What the `Store` of a provider's instance holds: what every guest's holds, and what WASI shows it.

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::super::host::HostState;
use super::grant::Grant;

/// Sockets, streams and pollables of one instance: a few for each connection, and each socket is a descriptor of the
/// host's.
const RESOURCES: usize = 128;

pub(super) struct State {
    pub host: HostState,
    /// Of a provider without a grant nothing is linked to it.
    wasi: WasiCtx,
    pub resources: ResourceTable,
    pub grant: Grant,
}

impl State {
    pub fn new(host: HostState, grant: Option<&Grant>) -> State {
        let mut resources = ResourceTable::new();
        resources.set_max_capacity(RESOURCES);
        let grant = grant.cloned().unwrap_or_default();
        State { host, wasi: grant.context(), resources, grant }
    }
}

impl AsMut<HostState> for State {
    fn as_mut(&mut self) -> &mut HostState {
        &mut self.host
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.resources }
    }
}
