//! `--http`: the address that a running verb answers on, and the sockets in the state directories.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};

use clap::Args;
use millstream_engine::error::{Problem, exit};

use super::Result;
use super::client::SOCKET_PREFIX;
use super::output::{say, usage};
use crate::api::{self, Apps, Guard, Listen, Server, socket_path};
use crate::app::Handle;

#[derive(Clone, Debug, Args)]
pub struct HttpFlags {
    /// Answer HTTP on this address: PORT (of this machine only) or HOST:PORT
    #[arg(long = "http", value_name = "ADDR")]
    address: Option<String>,
    /// Ask HTTP requests for the token in this file; needed for an address that other machines reach
    #[arg(long = "http-token", value_name = "FILE", requires = "address")]
    token: Option<PathBuf>,
    /// Where the other processes of the group and the command line reach --http: HOST:PORT. Default: the Unix socket in
    /// the state directory, for this user on this machine
    #[arg(long = "http-advertise", value_name = "HOST:PORT", requires = "address")]
    advertise: Option<String>,
}

/// An address that was taken and who may ask there.
pub struct Address {
    listener: TcpListener,
    guard: Guard,
}

impl HttpFlags {
    /// Takes the address, so that a wrong one is known before anything starts.
    pub fn bind(&self) -> Result<Option<Address>> {
        let Some(text) = &self.address else { return Ok(None) };
        let address = resolve(text)?;
        if !address.ip().is_loopback() && self.token.is_none() {
            let problem = usage(format!("--http {text}: other machines could reach it without a token"));
            return Err(problem.fix("add --http-token FILE, or use 127.0.0.1").into());
        }
        let failed = |error| cannot_listen(api::Error { place: text.clone(), error });
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(Some(Address { listener, guard: self.guard()? }))
    }

    /// What the group is told, of an application with this socket.
    pub fn advertised(&self, socket: &Path) -> Result<String> {
        let Some(address) = &self.advertise else {
            let path = std::path::absolute(socket).map_err(|error| usage(format!("{}: {error}", socket.display())))?;
            return Ok(format!("{SOCKET_PREFIX}{}", path.display()));
        };
        let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
        match address.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && is_port(port) => Ok(address.clone()),
            _ => Err(usage(format!("--http-advertise {address}: it is no HOST:PORT")).into()),
        }
    }

    fn guard(&self) -> std::result::Result<Guard, Problem> {
        let Some(file) = &self.token else { return Ok(Guard::default()) };
        let name = file.display();
        let token = std::fs::read_to_string(file).map_err(|error| usage(format!("--http-token {name}: {error}")))?;
        if token.trim().is_empty() {
            return Err(usage(format!("--http-token {name}: the file is empty")));
        }
        Ok(Guard::token(&token))
    }
}

/// Serves all applications on the address, and each on the socket in its state directory.
pub fn serve(
    handles: &[Handle],
    state_dirs: &[PathBuf],
    address: Option<Address>,
) -> std::result::Result<Server, Problem> {
    let mut listeners: Vec<Listen> = handles
        .iter()
        .zip(state_dirs)
        .map(|(app, dir)| Listen::Unix { path: socket_path(dir, app.id()), apps: Apps::new([app.clone()]) })
        .collect();
    if let Some(Address { listener, guard }) = address {
        listeners.push(Listen::Tcp { listener, guard, apps: Apps::new(handles.iter().cloned()) });
    }
    let server = Server::start(listeners).map_err(cannot_listen)?;
    for address in server.addresses() {
        say(format_args!("listening on http://{address}"));
    }
    Ok(server)
}

/// `8080`, `:8080`, `localhost:8080`, `[::1]:8080`
fn resolve(text: &str) -> Result<SocketAddr> {
    let port = text.strip_prefix(':').unwrap_or(text);
    if let Ok(port) = port.parse::<u16>() {
        return Ok((IpAddr::from(Ipv4Addr::LOCALHOST), port).into());
    }
    let found = text.to_socket_addrs().map(|mut addresses| addresses.next());
    match found {
        Ok(Some(address)) => Ok(address),
        Ok(None) => Err(usage(format!("--http {text}: no such host")).into()),
        Err(error) => Err(usage(format!("--http {text}: {error}")).into()),
    }
}

fn cannot_listen(error: api::Error) -> Problem {
    Problem::new("NotAvailable", "E0612", exit::FAILED, error.to_string())
        .field("address", error.place)
        .why("something else listens there, or the address is not this machine's")
        .fix("name another address: --http 0 takes any free port of this machine")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn flags(address: &str) -> HttpFlags {
        HttpFlags { address: Some(address.to_owned()), token: None, advertise: None }
    }

    #[test]
    fn an_address_is_a_port_of_this_machine_or_a_host_and_a_port() {
        for (text, expected) in [
            ("8080", "127.0.0.1:8080"),
            (":8080", "127.0.0.1:8080"),
            ("[::1]:1", "[::1]:1"),
            ("10.1.2.3:4", "10.1.2.3:4"),
        ] {
            assert_eq!(resolve(text).unwrap().to_string(), expected);
        }
        for bad in ["", "x", "127.0.0.1", "127.0.0.1:x", "99999"] {
            assert!(resolve(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_that_others_reach_needs_a_token() {
        assert!(flags("0.0.0.0:0").bind().is_err());
        assert!(flags("127.0.0.1:0").bind().unwrap().is_some());
    }
}
