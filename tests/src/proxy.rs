//! A wire between Kafka's clients and its broker that loses one chosen message and then fails for a while.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// EndTxn: the request to commit or to abort a transaction.
pub const END_TRANSACTION: i16 = 26;

/// Which half of an exchange is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The broker never hears of it.
    Request,
    /// The broker did it; the client never hears of it.
    Answer,
}

/// Passes on what comes to its port until it is dropped with its process.
#[derive(Clone)]
pub struct Proxy {
    listener: Arc<TcpListener>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    armed: Option<Fault>,
    down_until: Option<Instant>,
    open: Vec<TcpStream>,
}

#[derive(Clone, Copy)]
struct Fault {
    request: i16,
    lost: Lost,
    down: Duration,
}

impl Proxy {
    /// Takes a port; nobody is served yet.
    pub fn bind() -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        Proxy { listener: Arc::new(listener), state: Arc::default() }
    }

    pub fn port(&self) -> u16 {
        self.listener.local_addr().expect("a bound listener has an address").port()
    }

    /// Passes on to the broker at this address.
    pub fn serve(&self, broker: &str) {
        let (proxy, broker) = (self.clone(), broker.to_owned());
        std::thread::spawn(move || {
            for client in proxy.listener.incoming().map_while(Result::ok) {
                if proxy.is_down() {
                    continue;
                }
                let Ok(upstream) = TcpStream::connect(&broker) else { continue };
                let (proxy, streams) = (proxy.clone(), (client, upstream));
                std::thread::spawn(move || proxy.pass(streams.0, streams.1));
            }
        });
    }

    /// Loses one half of the next exchange of this kind, cuts every connection and takes no new one for a while.
    pub fn lose(&self, request: i16, lost: Lost, down: Duration) {
        self.state().armed = Some(Fault { request, lost, down });
    }

    /// Whether the fault has happened.
    pub fn has_lost(&self) -> bool {
        self.state().armed.is_none()
    }

    fn is_down(&self) -> bool {
        self.state().down_until.is_some_and(|until| Instant::now() < until)
    }

    /// One connection, both ways, until either side ends it.
    fn pass(&self, client: TcpStream, broker: TcpStream) {
        let twice = |stream: &TcpStream| Some((stream.try_clone().ok()?, stream.try_clone().ok()?));
        let Some(((client_end, mut to_client), (broker_end, mut from_broker))) = twice(&client).zip(twice(&broker))
        else {
            return;
        };
        self.state().open.extend([client_end, broker_end]);
        // The exchange whose answer is to be lost, by its correlation id.
        let awaited = Arc::new(Mutex::new(None));
        let (proxy, id) = (self.clone(), awaited.clone());
        std::thread::spawn(move || {
            while let Some(answer) = frame(&mut from_broker) {
                let found = answer.get(4..8).map(<[u8]>::to_vec);
                if found.is_some() && *id.lock().unwrap_or_else(PoisonError::into_inner) == found {
                    proxy.fail();
                }
                if to_client.write_all(&answer).is_err() {
                    return;
                }
            }
        });
        let (mut from_client, mut to_broker) = (client, broker);
        while let Some(request) = frame(&mut from_client) {
            let kind = request.get(4..6).map(|kind| i16::from_be_bytes([kind[0], kind[1]]));
            let fault = self.state().armed.filter(|fault| Some(fault.request) == kind);
            match fault.map(|fault| fault.lost) {
                Some(Lost::Request) => return self.fail(),
                Some(Lost::Answer) => {
                    let id = request.get(8..12).map(<[u8]>::to_vec);
                    *awaited.lock().unwrap_or_else(PoisonError::into_inner) = id;
                }
                None => {}
            }
            if to_broker.write_all(&request).is_err() {
                return;
            }
        }
        // The end of one side is the end of the other.
        let _ = to_broker.shutdown(Shutdown::Both);
    }

    fn fail(&self) {
        let mut state = self.state();
        if let Some(fault) = state.armed.take() {
            state.down_until = Some(Instant::now() + fault.down);
            for stream in state.open.drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One message with its length in front; `None` at the end of the stream.
fn frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut frame = vec![0; 4];
    stream.read_exact(&mut frame).ok()?;
    let len = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
    frame.resize(4 + len, 0);
    stream.read_exact(&mut frame[4..]).ok()?;
    Some(frame)
}
