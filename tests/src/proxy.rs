//! A wire between Kafka's clients and its broker that can be slow, break, and lose or hold back a chosen message.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
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
    /// The broker hears of it when [`Proxy::deliver`] is called; the client never does.
    Held,
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
    /// On each way.
    delay: Duration,
    open: Vec<TcpStream>,
    held: Option<Held>,
}

#[derive(Clone, Copy)]
struct Fault {
    request: i16,
    lost: Lost,
    down: Duration,
}

/// A request whose client is gone, and the connection it belongs to.
struct Held {
    request: Vec<u8>,
    broker: TcpStream,
    /// What the broker has answered on it so far.
    answers: Arc<AtomicU64>,
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

    /// Gives the broker what was held back, as if the network had only been slow.
    pub fn deliver(&self) {
        let held = self.state().held.take();
        let Held { request, mut broker, answers } = held.expect("something is held back");
        let before = answers.load(Ordering::Relaxed);
        broker.write_all(&request).expect("the broker still waits for it");
        let start = Instant::now();
        while answers.load(Ordering::Relaxed) == before {
            assert!(start.elapsed() < ANSWER, "the broker did not answer what was held back");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Cuts every connection and takes no new one for a while.
    pub fn cut(&self, down: Duration) {
        self.state().cut(down);
    }

    /// Every message takes this long from now on, in each direction.
    pub fn delay(&self, each_way: Duration) {
        self.state().delay = each_way;
    }

    /// Loses, delays and cuts nothing any more.
    pub fn heal(&self) {
        let mut state = self.state();
        (state.armed, state.down_until, state.delay) = (None, None, Duration::ZERO);
    }

    fn is_down(&self) -> bool {
        self.state().down_until.is_some_and(|until| Instant::now() < until)
    }

    /// One connection, both ways, until either side ends it.
    fn pass(&self, client: TcpStream, broker: TcpStream) {
        let twice = |stream: &TcpStream| Some((stream.try_clone().ok()?, stream.try_clone().ok()?));
        let ends = twice(&client).zip(twice(&broker)).zip(client.try_clone().ok()).zip(broker.try_clone().ok());
        let Some(((((client_end, client_too), (broker_end, mut from_broker)), to_client), to_broker)) = ends else {
            return;
        };
        self.state().open.extend([client_end, broker_end]);
        // The exchange whose answer is to be lost, by its correlation id.
        let awaited = Arc::new(Mutex::new(None));
        let (proxy, id, answers) = (self.clone(), awaited.clone(), Arc::new(AtomicU64::new(0)));
        let answered = answers.clone();
        std::thread::spawn(move || {
            let line = Line::to(to_client);
            while let Some(answer) = frame(&mut from_broker) {
                answered.fetch_add(1, Ordering::Relaxed);
                let found = answer.get(4..8).map(<[u8]>::to_vec);
                if found.is_some() && *id.lock().unwrap_or_else(PoisonError::into_inner) == found {
                    proxy.fail();
                }
                line.send(proxy.state().delay, answer);
            }
            // The end of one side is the end of the other.
            let _ = client_too.shutdown(Shutdown::Both);
        });
        let (mut from_client, line) = (client, Line::to(to_broker));
        while let Some(request) = frame(&mut from_client) {
            let kind = request.get(4..6).map(|kind| i16::from_be_bytes([kind[0], kind[1]]));
            let fault = self.state().armed.filter(|fault| Some(fault.request) == kind);
            match fault.map(|fault| fault.lost) {
                Some(Lost::Request) => return self.fail(),
                Some(Lost::Held) => return self.hold(Held { request, broker, answers }),
                Some(Lost::Answer) => {
                    let id = request.get(8..12).map(<[u8]>::to_vec);
                    *awaited.lock().unwrap_or_else(PoisonError::into_inner) = id;
                }
                None => {}
            }
            line.send(self.state().delay, request);
        }
        let _ = broker.shutdown(Shutdown::Both);
    }

    fn fail(&self) {
        let mut state = self.state();
        if let Some(fault) = state.armed.take() {
            state.cut(fault.down);
        }
    }

    /// Keeps the connection to the broker open, without the client.
    fn hold(&self, held: Held) {
        let mut state = self.state();
        let Some(fault) = state.armed.take() else { return };
        let name = |stream: &TcpStream| stream.local_addr().ok().zip(stream.peer_addr().ok());
        let own = name(&held.broker);
        state.open.retain(|stream| name(stream) != own);
        state.cut(fault.down);
        state.held = Some(held);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long the broker may take to answer what was held back.
const ANSWER: Duration = Duration::from_secs(30);

impl State {
    fn cut(&mut self, down: Duration) {
        self.down_until = Some(Instant::now() + down);
        for stream in self.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// One way of a connection: messages arrive in their order, each when it is due.
struct Line(Sender<(Instant, Vec<u8>)>);

impl Line {
    fn to(mut stream: TcpStream) -> Line {
        let (sender, waiting) = channel::<(Instant, Vec<u8>)>();
        std::thread::spawn(move || {
            for (due, message) in waiting {
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                if stream.write_all(&message).is_err() {
                    break;
                }
            }
        });
        Line(sender)
    }

    /// An error: the other side is gone, and the connection ends by itself.
    fn send(&self, delay: Duration, message: Vec<u8>) {
        let _ = self.0.send((Instant::now() + delay, message));
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
