//! Enough of an HTTP client to ask like a stranger: one request a connection, headers of the test's choice.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::millstream::complete;

/// How long an answer may take: as long as a component may take to be compiled, and half a minute.
const ANSWER: Duration = Duration::from_secs(120);

/// An answer as it came.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// `GET path` at `host:port`.
pub fn get(address: &str, path: &str) -> Answer {
    request(address, "GET", path, &[("host", address)])
}

/// Any request; `headers` are sent as they are.
pub fn request(address: &str, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    send(address, method, path, headers, b"")
}

/// `PUT path` with a body, at `host:port`.
pub fn put(address: &str, path: &str, body: &[u8]) -> Answer {
    let length = body.len().to_string();
    send(address, "PUT", path, &[("host", address), ("content-length", &length)], body)
}

/// Sends such a request to a process that will not live to answer it, or not even to hear it. Comes back when the
/// connection is gone.
pub fn put_in_vain(address: &str, path: &str, body: &[u8]) {
    let Ok(mut stream) = TcpStream::connect(address) else { return };
    let head = format!("PUT {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n\r\n", body.len());
    let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    let heard = sent.and_then(|()| stream.read_to_end(&mut Vec::new()));
    println!("PUT {path}: {heard:?}");
}

fn send(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).expect("the address answers");
    stream.set_read_timeout(Some(ANSWER)).expect("a socket has timeouts");
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    write!(stream, "{method} {path} HTTP/1.1\r\n{headers}connection: close\r\n\r\n").expect("a request can be sent");
    // Whoever refuses it may do so before it has come.
    let _ = stream.write_all(body);
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer comes");
    Answer::parse(&text)
}

impl Answer {
    fn parse(text: &str) -> Answer {
        let (head, body) = text.split_once("\r\n\r\n").expect("an answer has a head");
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
        let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        Answer { status, headers: lines.filter_map(header).collect(), body: body.to_owned() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The body. An error is complete.
    #[track_caller]
    pub fn json(&self) -> Value {
        let body = serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        if self.header("content-type") == Some("application/problem+json") { complete(body) } else { body }
    }

    /// Fails the test unless the answer has this status.
    #[track_caller]
    pub fn is(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{self:?}");
        self
    }
}
