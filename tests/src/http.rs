//! As much of an HTTP client as the tests need.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// `GET http://ADDRESS PATH`: status code and body.
pub fn get(address: &str, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| std::io::Error::other("no head"))?;
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((code.ok_or_else(|| std::io::Error::other("no status"))?, body.to_owned()))
}

/// The same for an answer that must be 200 and JSON.
#[track_caller]
pub fn get_json(address: &str, path: &str) -> Value {
    let (code, body) = get(address, path).expect("the server answers");
    assert_eq!(code, 200, "{path}: {body}");
    serde_json::from_str(&body).expect("an answer is JSON")
}
