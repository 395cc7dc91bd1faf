//! What a provider may reach: the addresses of `[providers.NAME] network`, and nothing else.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use wasmtime_wasi::sockets::SocketAddrUse;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder};

use super::super::{Error, Result};

/// The packages of WASI that the standard libraries of toolchains drag in. Behind files, arguments and environment there
/// is nothing; behind sockets there is the grant.
pub(super) const PACKAGES: [&str; 6] =
    ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:io/", "wasi:random/", "wasi:sockets/"];

/// The package that a grant is for.
pub(super) const SOCKETS: &str = "wasi:sockets/";

/// Addresses that a provider may connect to by TCP, and what they are called. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Grant(Arc<[Granted]>);

/// One address; a name may mean several.
#[derive(Clone, Debug)]
struct Granted {
    /// A name or an IP address, as it stands in the grant.
    host: String,
    address: SocketAddr,
}

impl Grant {
    /// Looks up the names among these `HOST:PORT`s, here and now: a provider that looks one up is told what was found then,
    /// and a name that means another address later does not move the grant.
    pub fn resolve(addresses: &[String]) -> Result<Grant> {
        let mut found = Vec::new();
        for address in addresses {
            let unknown = |why: String| Error::UnknownHost { address: address.clone(), why };
            let before = found.len();
            let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let means = address.to_socket_addrs().map_err(|error| unknown(error.to_string()))?;
            found.extend(means.map(|address| Granted { host: host.clone(), address }));
            if found.len() == before {
                return Err(unknown("it has no address".to_owned()));
            }
        }
        Ok(Grant(found.into()))
    }

    /// What a granted name means, each address once; `None`: no grant names it.
    pub(super) fn look_up(&self, name: &str) -> Option<Vec<IpAddr>> {
        let mut found = Vec::new();
        for granted in self.0.iter().filter(|granted| granted.host.eq_ignore_ascii_case(name)) {
            if !found.contains(&granted.address.ip()) {
                found.push(granted.address.ip());
            }
        }
        (!found.is_empty()).then_some(found)
    }

    /// What WASI shows an instance: empty but for connecting to what is granted.
    pub(super) fn context(&self) -> WasiCtx {
        let granted = self.0.clone();
        let mut builder = WasiCtxBuilder::new();
        // Names are looked up by `super::lookup`, in the place of WASI's own, which knows yes or no alone.
        builder.allow_tcp(true).allow_udp(false).allow_ip_name_lookup(false);
        builder.socket_addr_check(move |address, used_for| {
            let is_allowed = allows(&granted, address, used_for);
            Box::pin(async move { is_allowed })
        });
        builder.build()
    }
}

/// A connect is asked for twice: first for the port of its own end, which the system chooses.
fn allows(granted: &[Granted], address: SocketAddr, used_for: SocketAddrUse) -> bool {
    match used_for {
        SocketAddrUse::TcpBind => address.ip().is_unspecified() && address.port() == 0,
        SocketAddrUse::TcpConnect => granted.iter().any(|granted| granted.address == address),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_grant_lets_connect_to_its_addresses_and_do_nothing_else() {
        let granted = Grant::resolve(&["127.0.0.1:6379".to_owned(), "[::1]:6379".to_owned()]).unwrap();
        let allows = |address: &str, used_for| allows(&granted.0, address.parse().unwrap(), used_for);
        assert!(allows("0.0.0.0:0", SocketAddrUse::TcpBind) && allows("[::]:0", SocketAddrUse::TcpBind));
        assert!(allows("127.0.0.1:6379", SocketAddrUse::TcpConnect) && allows("[::1]:6379", SocketAddrUse::TcpConnect));
        for other in ["127.0.0.1:6380", "127.0.0.2:6379", "[::2]:6379", "0.0.0.0:6379"] {
            assert!(!allows(other, SocketAddrUse::TcpConnect), "{other}");
        }
        for bound in ["127.0.0.1:6379", "0.0.0.0:6379", "127.0.0.1:0"] {
            assert!(!allows(bound, SocketAddrUse::TcpBind), "{bound}");
        }
        for other in [
            SocketAddrUse::TcpListen,
            SocketAddrUse::UdpBind,
            SocketAddrUse::TcpAccept,
            SocketAddrUse::UdpSend,
            SocketAddrUse::UdpReceive,
        ] {
            assert!(!allows("127.0.0.1:6379", other) && !allows("0.0.0.0:0", other), "{other:?}");
        }
    }

    #[test]
    fn names_are_looked_up_at_once_and_unknown_ones_are_named() {
        let granted = Grant::resolve(&["localhost:6379".to_owned()]).unwrap();
        let is_right = |granted: &Granted| granted.address.ip().is_loopback() && granted.address.port() == 6379;
        assert!(granted.0.iter().all(is_right));
        let unknown = Grant::resolve(&["nowhere.invalid:6379".to_owned()]).unwrap_err();
        assert!(unknown.to_string().contains("nowhere.invalid:6379"), "{unknown}");
    }

    #[test]
    fn a_name_is_looked_up_when_a_grant_names_it_and_no_other() {
        let granted = Grant::resolve(&["localhost:6379".to_owned(), "localhost:6380".to_owned(), "[::1]:1".to_owned()]);
        let granted = granted.unwrap();
        for name in ["localhost", "LocalHost"] {
            let found = granted.look_up(name).unwrap();
            assert!(!found.is_empty() && found.iter().all(IpAddr::is_loopback), "{found:?}");
            assert!(found.iter().all(|one| found.iter().filter(|other| *other == one).count() == 1), "{found:?}");
        }
        assert_eq!(granted.look_up("::1"), Some(vec!["::1".parse().unwrap()]));
        for other in ["localhost.example", "local", "", "127.0.0.1", "localhost:6379"] {
            assert_eq!(granted.look_up(other), None, "{other}");
        }
    }
}
