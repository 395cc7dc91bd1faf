//! Asks a running application: by the Unix socket in its state directory, or at an address that it has told its group.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use millstream_engine::error::{Problem, exit};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::state::TOKEN;
use super::{Error, Result};
use crate::api;

/// Longer than the application lets a query wait for its threads.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long an address that a member has told may take to be reached: one machine of a network that is there.
const CONNECT: Duration = Duration::from_secs(2);

/// More than the largest page: rows of a megabyte as base64, or one row of the largest value.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A process that runs an application.
pub struct Client {
    at: Place,
    runtime: tokio::runtime::Runtime,
}

/// Where it listens.
enum Place {
    Socket(PathBuf),
    /// `HOST:PORT`, and what it is to be shown.
    Tcp {
        address: String,
        token: Option<String>,
    },
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Socket(path) => write!(f, "{}", path.display()),
            Place::Tcp { address, .. } => f.write_str(address),
        }
    }
}

impl std::fmt::Display for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.at.fmt(f)
    }
}

/// In front of the path of a socket, in an address.
pub const SOCKET_PREFIX: &str = "unix:";

impl Client {
    /// `None`: nobody listens there.
    pub fn connect(socket: PathBuf) -> Result<Option<Client>> {
        let client = Client::new(Place::Socket(socket))?;
        match client.runtime.block_on(client.stream()) {
            Ok(_) => Ok(Some(client)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(unusable(&client.at, &error).into()),
        }
    }

    /// At an address that a member of the group has told. A socket of another user's is not asked: anybody may put one
    /// there. The token goes to addresses of the network alone.
    pub fn at(address: &str, token: Option<&str>) -> std::result::Result<Client, String> {
        let at = match address.strip_prefix(SOCKET_PREFIX) {
            None => Place::Tcp { address: address.to_owned(), token: token.map(str::to_owned) },
            Some(path) => {
                let owner = std::fs::metadata(path).map_err(|error| error.to_string())?.uid();
                if owner != rustix::process::geteuid().as_raw() {
                    return Err(format!("it is a socket of user {owner}"));
                }
                Place::Socket(PathBuf::from(path))
            }
        };
        let client = Client::new(at).map_err(|error| error.to_string())?;
        let connected = async { tokio::time::timeout(CONNECT, client.stream()).await };
        match client.runtime.block_on(connected) {
            Err(_) => Err("it does not answer".to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Ok(Ok(_)) => Ok(client),
        }
    }

    fn new(at: Place) -> std::result::Result<Client, Problem> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Client { runtime: runtime.map_err(|error| unusable(&at, &error))?, at })
    }

    /// The answer to `GET`; `None` when it is that the key is not there.
    pub fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Option<Value>> {
        let uri = uri(path, query);
        let answer = self.runtime.block_on(async { tokio::time::timeout(TIMEOUT, self.exchange(&uri)).await });
        let failed = |why: &dyn std::fmt::Display| unusable(&self.at, why);
        let (status, body) = answer.map_err(|late| failed(&late))?.map_err(|error| failed(&error))?;
        let answer: Value = serde_json::from_slice(&body).map_err(|error| failed(&error))?;
        match status {
            StatusCode::OK => Ok(Some(answer)),
            _ if answer["error"] == api::KEY_NOT_FOUND => Ok(None),
            StatusCode::UNAUTHORIZED => Err(Error::Told(wants_token(answer, &self.at))),
            _ => Err(Error::Told(answer)),
        }
    }

    async fn exchange(
        &self,
        uri: &str,
    ) -> std::result::Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
        let mut sender = match self.stream().await? {
            Stream::Unix(stream) => handshake(stream).await?,
            Stream::Tcp(stream) => handshake(stream).await?,
        };
        let mut request = Request::get(uri);
        request = match &self.at {
            Place::Socket(_) => request.header(header::HOST, "localhost"),
            Place::Tcp { address, token: None } => request.header(header::HOST, address),
            Place::Tcp { address, token: Some(token) } => {
                request.header(header::HOST, address).header(header::AUTHORIZATION, format!("Bearer {}", token.trim()))
            }
        };
        let request = request.body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        Ok((status, Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await?.to_bytes()))
    }

    async fn stream(&self) -> io::Result<Stream> {
        match &self.at {
            Place::Tcp { address, .. } => Ok(Stream::Tcp(TcpStream::connect(address).await?)),
            Place::Socket(socket) => {
                let stream = api::with_short_path(socket, |path| std::os::unix::net::UnixStream::connect(path))?;
                stream.set_nonblocking(true)?;
                Ok(Stream::Unix(UnixStream::from_std(stream)?))
            }
        }
    }
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> hyper::Result<hyper::client::conn::http1::SendRequest<Empty<Bytes>>> {
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

fn uri(path: &[&str], query: &[(&str, &str)]) -> String {
    let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    let mut uri: String = path.iter().map(|part| format!("/{}", encode(part))).collect();
    for (place, (name, value)) in query.iter().enumerate() {
        uri.push_str(if place == 0 { "?" } else { "&" });
        uri.push_str(&format!("{name}={}", encode(value)));
    }
    uri
}

/// No socket, one that a killed process left behind, or no such directory.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// What is sent by hand to HTTP is named to the command line in a file.
fn wants_token(mut answer: Value, at: &Place) -> Value {
    answer["message"] = format!("{at} asks for a token, and was sent none or another one").into();
    answer["fix"] = format!("name a file with the content of its --http-token file by {TOKEN}").into();
    answer["address"] = at.to_string().into();
    answer
}

fn unusable(at: &Place, why: &dyn std::fmt::Display) -> Problem {
    let message = format!("the running application cannot be asked: {why}");
    Problem::new("NotAvailable", "E0610", exit::FAILED, message)
        .field("socket", at.to_string())
        .why("it listens there, so what lies on its disk is not the last word")
        .fix("try again, or stop the application and read what it leaves")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_path_is_encoded() {
        assert_eq!(uri(&["v1", "a/b?"], &[("from", "x&y"), ("to", "ü")]), "/v1/a%2Fb%3F?from=x%26y&to=%C3%BC");
    }
}
