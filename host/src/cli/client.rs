//! Asks a running application by the Unix socket in its state directory.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use millstream_engine::error::{Problem, exit};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::net::UnixStream;

use super::{Error, Result};
use crate::api;

/// Longer than the application lets a query wait for its threads.
const TIMEOUT: Duration = Duration::from_secs(10);

/// More than the largest page: rows of a megabyte as base64, or one row of the largest value.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A running application.
pub struct Client {
    socket: PathBuf,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    /// `None`: nobody listens there.
    pub fn connect(socket: PathBuf) -> Result<Option<Client>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let client = Client { runtime: runtime.map_err(|error| unusable(&socket, &error))?, socket };
        match client.runtime.block_on(client.stream()) {
            Ok(_) => Ok(Some(client)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(unusable(&client.socket, &error).into()),
        }
    }

    /// The answer to `GET`; `None` when it is that the key is not there.
    pub fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Option<Value>> {
        let uri = uri(path, query);
        let answer = self.runtime.block_on(async { tokio::time::timeout(TIMEOUT, self.exchange(&uri)).await });
        let failed = |why: &dyn std::fmt::Display| unusable(&self.socket, why);
        let (status, body) = answer.map_err(|late| failed(&late))?.map_err(|error| failed(&error))?;
        let answer: Value = serde_json::from_slice(&body).map_err(|error| failed(&error))?;
        match status {
            StatusCode::OK => Ok(Some(answer)),
            _ if answer["error"] == api::KEY_NOT_FOUND => Ok(None),
            _ => Err(Error::Told(answer)),
        }
    }

    async fn exchange(
        &self,
        uri: &str,
    ) -> std::result::Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(self.stream().await?)).await?;
        tokio::spawn(connection);
        let request = Request::get(uri).header(header::HOST, "localhost").body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        Ok((status, Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await?.to_bytes()))
    }

    async fn stream(&self) -> io::Result<UnixStream> {
        let stream = api::with_short_path(&self.socket, |path| std::os::unix::net::UnixStream::connect(path))?;
        stream.set_nonblocking(true)?;
        UnixStream::from_std(stream)
    }
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

fn unusable(socket: &Path, why: &dyn std::fmt::Display) -> Problem {
    let message = format!("the running application cannot be asked: {why}");
    Problem::new("NotAvailable", "E0610", exit::FAILED, message)
        .field("socket", socket.display().to_string())
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
