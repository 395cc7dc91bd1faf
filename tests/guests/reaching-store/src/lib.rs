//! A store provider that reaches out when it is opened, by the standard library: `config = { tries = "NAME", at =
//! "HOST:PORT" }`. What came of it is the reason why it then refuses to work.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};

use millstream_sdk::provider::{
    Capabilities, Extent, Failure, Keys, Options, Position, Provider, Rows, Scan, Values, Writes,
};

#[derive(Default)]
pub struct Reaching;

/// What is there of what was tried for; the error says what stood in the way.
fn reach(what: &str, at: &str) -> Result<String, String> {
    let said = |error: std::io::Error| error.to_string();
    match what {
        "connect" => TcpStream::connect(at).map(|_| "connected".to_owned()).map_err(said),
        "greet" => {
            let mut stream = TcpStream::connect(at).map_err(said)?;
            stream.write_all(b"hello").map_err(said)?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).map_err(said)?;
            Ok(String::from_utf8_lossy(&answer).into_owned())
        }
        "sleep" => {
            std::thread::sleep(std::time::Duration::from_secs(3_600));
            Ok("slept".to_owned())
        }
        "flood" => {
            let mut streams = Vec::new();
            while streams.len() < 10_000 {
                streams.push(TcpStream::connect(at).map_err(|error| format!("after {}: {error}", streams.len()))?);
            }
            Ok(format!("{} connections", streams.len()))
        }
        "listen" => TcpListener::bind(at).map(|_| "listens".to_owned()).map_err(said),
        "udp" => UdpSocket::bind(at).map(|_| "bound".to_owned()).map_err(said),
        "look-up" => at.to_socket_addrs().map(|found| format!("{:?}", found.collect::<Vec<_>>())).map_err(said),
        "files" => std::fs::read_dir("/").map(|files| format!("{} files", files.count())).map_err(said),
        "write" => std::fs::write(at, b"").map(|()| "written".to_owned()).map_err(said),
        "environment" => Ok(format!("{} variables", std::env::vars_os().count())),
        "arguments" => Ok(format!("{} arguments", std::env::args_os().count())),
        "input" => std::io::stdin().read_to_end(&mut Vec::new()).map(|read| format!("{read} bytes")).map_err(said),
        "exit" => std::process::exit(0),
        other => Err(format!("{other} is not known")),
    }
}

fn idle<T>() -> Result<T, Failure> {
    Err(Failure::Refused("it only reaches out".to_owned()))
}

impl Provider for Reaching {
    fn open(&mut self, _: u32, options: Options) -> Result<Capabilities, Failure> {
        let text = |name: &str| {
            let text = options.config.get::<String>(name).map_err(Failure::Refused)?;
            Ok::<_, Failure>(text.unwrap_or_default())
        };
        let (what, at) = (text("tries")?, text("at")?);
        Err(Failure::Refused(match reach(&what, &at) {
            Ok(found) => format!("{what} found: {found}"),
            Err(why) => format!("{what} failed: {why}"),
        }))
    }

    fn get_many(&mut self, _: u32, _: Keys<'_>, _: &mut Values) -> Result<Position, Failure> {
        idle()
    }

    fn scan(&mut self, _: u32, _: &Scan, _: &mut Rows) -> Result<Position, Failure> {
        idle()
    }

    fn apply(&mut self, _: u32, _: u64, _: &[u8], _: &[u8], _: Writes<'_>) -> Result<(), Failure> {
        idle()
    }

    fn position(&mut self, _: u32) -> Result<Position, Failure> {
        idle()
    }

    fn size(&mut self, _: u32) -> Result<Extent, Failure> {
        idle()
    }

    fn wipe(&mut self, _: u32, _: u64) -> Result<(), Failure> {
        idle()
    }
}

millstream_sdk::provider!(Reaching);
