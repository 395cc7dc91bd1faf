//! One connection, in bytes: whatever waits, waits until a deadline and no longer.
//!
//! WASI's own sockets and not the standard library's, whose timeouts WASI does not have.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use wasip2::clocks::monotonic_clock;
use wasip2::io::poll::{Pollable, poll};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::ip_name_lookup::resolve_addresses;
use wasip2::sockets::network::{
    ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress,
};
use wasip2::sockets::tcp::TcpSocket;
use wasip2::sockets::tcp_create_socket::create_tcp_socket;

use crate::settings::Place;

/// The one name whose address every host knows, and may grant as an address alone.
const LOCALHOST: &str = "localhost";

/// Bytes of one read.
const READ_BYTES: u64 = 64 << 10;

/// The moment behind which nothing is waited for.
#[derive(Clone, Copy)]
pub struct Deadline(u64);

/// Why bytes do not go: the connection is of no more use.
#[derive(Debug, PartialEq, Eq)]
pub enum Lost {
    /// Another attempt may do better.
    Broken(String),
    /// There is no time left for one.
    TimedOut,
    /// The host does not let it connect there.
    Denied,
}

impl Deadline {
    pub fn after(time: Duration) -> Deadline {
        Deadline(monotonic_clock::now().saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// The part of what is left that one of so many may have.
    fn part(self, of: usize) -> Deadline {
        let now = monotonic_clock::now();
        Deadline(now.saturating_add(self.0.saturating_sub(now) / of.max(1) as u64))
    }

    /// Waits; answers whether there is time left then.
    pub fn sleep(self, time: Duration) -> bool {
        let until = Deadline::after(time).0.min(self.0);
        monotonic_clock::subscribe_instant(until).block();
        until < self.0
    }

    fn wait(self, what: &Pollable) -> Result<(), Lost> {
        let over = monotonic_clock::subscribe_instant(self.0);
        match poll(&[what, &over]).contains(&0) {
            true => Ok(()),
            false => Err(Lost::TimedOut),
        }
    }
}

/// Streams go before their socket: WASI wants it so.
pub struct Connection {
    input: InputStream,
    output: OutputStream,
    _socket: TcpSocket,
}

impl Connection {
    /// Of a name's addresses the first that answers.
    pub fn open(place: &Place, deadline: Deadline) -> Result<Connection, Lost> {
        let (name, port) = match place {
            Place::Address(address) => return Connection::to(*address, deadline),
            Place::Named(name, port) => (name, *port),
        };
        let addresses = look_up(name, deadline)?;
        let mut lost = Lost::Broken(format!("{name} has no address"));
        for (tried, address) in addresses.iter().enumerate() {
            match Connection::to(SocketAddr::new(*address, port), deadline.part(addresses.len() - tried)) {
                Ok(connection) => return Ok(connection),
                Err(why) => lost = why,
            }
        }
        Err(lost)
    }

    fn to(address: SocketAddr, deadline: Deadline) -> Result<Connection, Lost> {
        let failed = |code: ErrorCode| match code {
            ErrorCode::AccessDenied => Lost::Denied,
            other => Lost::Broken(format!("{address} cannot be connected to: {}", other.name())),
        };
        let (family, there) = match address {
            SocketAddr::V4(address) => {
                let [a, b, c, d] = address.ip().octets();
                let there = Ipv4SocketAddress { port: address.port(), address: (a, b, c, d) };
                (IpAddressFamily::Ipv4, IpSocketAddress::Ipv4(there))
            }
            SocketAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h] = address.ip().segments();
                let there = Ipv6SocketAddress {
                    port: address.port(),
                    flow_info: address.flowinfo(),
                    address: (a, b, c, d, e, f, g, h),
                    scope_id: address.scope_id(),
                };
                (IpAddressFamily::Ipv6, IpSocketAddress::Ipv6(there))
            }
        };
        let socket = create_tcp_socket(family).map_err(failed)?;
        socket.start_connect(&instance_network(), there).map_err(failed)?;
        loop {
            match socket.finish_connect() {
                Ok((input, output)) => return Ok(Connection { input, output, _socket: socket }),
                Err(ErrorCode::WouldBlock) => deadline.wait(&socket.subscribe())?,
                Err(code) => return Err(failed(code)),
            }
        }
    }

    pub fn write(&self, mut bytes: &[u8], deadline: Deadline) -> Result<(), Lost> {
        while !bytes.is_empty() {
            let room = self.output.check_write().map_err(broken)?;
            if room == 0 {
                deadline.wait(&self.output.subscribe())?;
                continue;
            }
            let (now, later) = bytes.split_at(bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
            self.output.write(now).map_err(broken)?;
            bytes = later;
        }
        self.output.flush().map_err(broken)
    }

    /// Puts what has come behind `bytes`; waits for the first of it.
    pub fn read(&self, bytes: &mut Vec<u8>, deadline: Deadline) -> Result<(), Lost> {
        loop {
            let come = self.input.read(READ_BYTES).map_err(broken)?;
            if !come.is_empty() {
                bytes.extend_from_slice(&come);
                return Ok(());
            }
            deadline.wait(&self.input.subscribe())?;
        }
    }
}

/// What a name means, as far as the host says.
fn look_up(name: &str, deadline: Deadline) -> Result<Vec<IpAddr>, Lost> {
    let failed = |code: ErrorCode| match code {
        ErrorCode::AccessDenied => Lost::Denied,
        other => Lost::Broken(format!("{name} cannot be looked up: {}", other.name())),
    };
    let found = match resolve_addresses(&instance_network(), name) {
        Err(ErrorCode::AccessDenied) if name == LOCALHOST => return Ok(vec![Ipv4Addr::LOCALHOST.into()]),
        found => found.map_err(failed)?,
    };
    let mut addresses = Vec::new();
    loop {
        match found.resolve_next_address() {
            Ok(None) => return Ok(addresses),
            Ok(Some(IpAddress::Ipv4((a, b, c, d)))) => addresses.push(IpAddr::from([a, b, c, d])),
            Ok(Some(IpAddress::Ipv6((a, b, c, d, e, f, g, h)))) => {
                addresses.push(IpAddr::from([a, b, c, d, e, f, g, h]))
            }
            Err(ErrorCode::WouldBlock) => deadline.wait(&found.subscribe())?,
            Err(code) => return Err(failed(code)),
        }
    }
}

fn broken(error: StreamError) -> Lost {
    Lost::Broken(match error {
        StreamError::Closed => "the server closed the connection".to_owned(),
        StreamError::LastOperationFailed(error) => format!("the connection broke: {}", error.to_debug_string()),
    })
}
