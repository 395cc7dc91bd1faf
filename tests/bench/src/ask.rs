//! `ask`: questions to a store by HTTP, as a client of the application asks them: one key each, on connections that stay
//! open.

use std::io::Read;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

use crate::queries::{Answered, KEYS, LOOK, Wait, paced};

/// Longer than the host lets a question wait for its threads.
const DEADLINE: Duration = Duration::from_secs(10);

/// Asks until its standard input ends, then prints how it fared.
#[derive(Args)]
pub struct Ask {
    /// HOST:PORT
    #[arg(long)]
    address: String,
    /// The application's id
    #[arg(long)]
    app: String,
    #[arg(long)]
    store: String,
    #[arg(long)]
    per_second: NonZeroU32,
    /// Each asks its part of the questions, one after the other
    #[arg(long, default_value = "16")]
    connections: NonZeroUsize,
}

impl Ask {
    pub fn run(self) -> Result<()> {
        let ended = AtomicBool::new(false);
        let answered = std::thread::scope(|scope| {
            scope.spawn(|| {
                // However it ends, nobody wants to know more.
                let _ = std::io::stdin().read_to_end(&mut Vec::new());
                ended.store(true, Ordering::Relaxed);
            });
            self.ask(&ended)
        })?;
        println!("{}", serde_json::to_string(&answered)?);
        Ok(())
    }

    fn ask(&self, ended: &AtomicBool) -> Result<Answered> {
        let paths = self.paths(ended)?;
        let connections = self.connections.get();
        let begun = Instant::now();
        let waits: Vec<Wait> = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..connections)
                .map(|number| {
                    let paths = &paths;
                    scope.spawn(move || self.part(number, paths, ended))
                })
                .collect();
            let parts =
                asking.into_iter().map(|part| part.join().map_err(|_| anyhow!("a connection's thread panicked"))?);
            parts.collect::<Result<Vec<_>>>()
        })?
        .concat();
        Ok(Answered::of(&waits, begun.elapsed()))
    }

    /// What one of the connections asks: each begins at another key and another moment.
    fn part(&self, number: usize, paths: &[String], ended: &AtomicBool) -> Result<Vec<Wait>> {
        let connections = self.connections.get();
        let per_second = f64::from(self.per_second.get()) / connections as f64;
        let (before, from) = paths.split_at(number * paths.len() / connections);
        let paths = [from, before].concat();
        let mut connection = Connection::new(&self.address)?;
        std::thread::sleep(Duration::from_secs_f64(number as f64 / connections as f64 / per_second));
        Ok(paced(&paths, per_second, ended, |path| matches!(connection.get(path), Ok((StatusCode::OK, _)))))
    }

    /// Of keys that the store has, as soon as it has enough of them.
    fn paths(&self, ended: &AtomicBool) -> Result<Vec<String>> {
        let entries = format!("/v1/apps/{}/stores/{}/entries", self.app, self.store);
        let mut connection = Connection::new(&self.address)?;
        loop {
            // It may be that nothing is there to ask yet.
            let page = match connection.get(&format!("{entries}?limit={KEYS}")) {
                Ok((StatusCode::OK, body)) => serde_json::from_slice(&body)?,
                _ => Value::Null,
            };
            let rows = page["entries"].as_array().map(Vec::as_slice).unwrap_or_default();
            if rows.len() == KEYS || ended.load(Ordering::Relaxed) {
                let path = |row: &Value| Ok(format!("{entries}/{}", key(&row["key"])?));
                return rows.iter().map(path).collect();
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// As it stands in a path.
fn key(shown: &Value) -> Result<String> {
    let text = match (shown.as_str(), shown["base64"].as_str()) {
        (Some(text), _) => text.to_owned(),
        (None, Some(base64)) => format!("base64:{base64}"),
        (None, None) => bail!("{shown} is no key that is asked for"),
    };
    Ok(utf8_percent_encode(&text, NON_ALPHANUMERIC).to_string())
}

/// A connection that stays open, and is made anew after a failure.
struct Connection {
    address: String,
    runtime: Runtime,
    sender: Option<SendRequest<Empty<Bytes>>>,
}

impl Connection {
    fn new(address: &str) -> Result<Connection> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let mut connection = Connection { address: address.to_owned(), runtime, sender: None };
        let sender = connection.runtime.block_on(connect(address)).context("the host does not answer")?;
        connection.sender = Some(sender);
        Ok(connection)
    }

    fn get(&mut self, path: &str) -> Result<(StatusCode, Bytes)> {
        let (sender, address) = (self.sender.take(), &self.address);
        let answer = async { tokio::time::timeout(DEADLINE, exchange(sender, address, path)).await };
        let (sender, status, body) = self.runtime.block_on(answer)??;
        self.sender = Some(sender);
        Ok((status, body))
    }
}

async fn connect(address: &str) -> Result<SendRequest<Empty<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn exchange(
    sender: Option<SendRequest<Empty<Bytes>>>,
    address: &str,
    path: &str,
) -> Result<(SendRequest<Empty<Bytes>>, StatusCode, Bytes)> {
    let mut sender = match sender {
        Some(sender) => sender,
        None => connect(address).await?,
    };
    sender.ready().await?;
    let request = Request::get(path).header(header::HOST, address).body(Empty::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    ensure!(!body.is_empty(), "{status} without a body");
    Ok((sender, status, body))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_stands_in_a_path_as_the_host_has_shown_it() {
        assert_eq!(key(&json!({"base64": "a/+="})).unwrap(), "base64%3Aa%2F%2B%3D");
        assert_eq!(key(&json!("a b")).unwrap(), "a%20b");
        assert!(key(&json!(7)).is_err());
    }
}
