//! `wasi:sockets/ip-name-lookup` under a grant: names that it names, and what they meant when the host looked them up.

use std::net::IpAddr;
use std::pin::Pin;
use std::vec::IntoIter;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddress};
use wasmtime_wasi::p2::{DynPollable, Network, Pollable, subscribe};

use super::state::State;

/// As wasmtime's WASI has it, whose place this takes.
const INTERFACE: &str = "wasi:sockets/ip-name-lookup@0.2.12";

/// What a look-up has found and not told yet.
struct Found(IntoIter<IpAddr>);

impl Pollable for Found {
    /// It is there at once.
    fn ready<'s, 'a>(&'s mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>
    where
        's: 'a,
        Self: 'a,
    {
        Box::pin(std::future::ready(()))
    }
}

/// Puts it into a linker that has all of WASI.
pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut interface = linker.instance(INTERFACE)?;
    interface.resource("resolve-address-stream", ResourceType::host::<Found>(), |mut store, number| {
        store.data_mut().resources.delete(Resource::<Found>::new_own(number))?;
        Ok(())
    })?;
    interface.func_wrap(
        "resolve-addresses",
        |mut store: StoreContextMut<'_, State>, (_, name): (Resource<Network>, String)| {
            let state = store.data_mut();
            let Some(found) = state.grant.look_up(&name) else { return Ok((Err(ErrorCode::AccessDenied),)) };
            Ok((Ok(state.resources.push(Found(found.into_iter()))?),))
        },
    )?;
    interface.func_wrap(
        "[method]resolve-address-stream.resolve-next-address",
        |mut store: StoreContextMut<'_, State>, (found,): (Resource<Found>,)| {
            let next = store.data_mut().resources.get_mut(&found)?.0.next();
            Ok((Ok::<Option<IpAddress>, ErrorCode>(next.map(IpAddress::from)),))
        },
    )?;
    interface.func_wrap(
        "[method]resolve-address-stream.subscribe",
        |mut store: StoreContextMut<'_, State>,
         (found,): (Resource<Found>,)|
         -> wasmtime::Result<(Resource<DynPollable>,)> {
            Ok((subscribe(&mut store.data_mut().resources, found)?,))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}
