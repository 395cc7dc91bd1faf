//! The server: connected to, greeted, asked; connected to again when the connection is gone.

use std::time::Duration;

use millstream_sdk::provider::Failure;
use redis_protocol::resp2::decode::decode;
use redis_protocol::resp2::encode::encode_borrowed;
use redis_protocol::resp2::types::{BorrowedFrame, OwnedFrame};

use crate::connection::{Connection, Deadline, Lost};
use crate::script::Script;
use crate::settings::Settings;

/// Between two attempts to connect: a restart takes some tenths of a second, and a server that is away is not pestered.
const PAUSE: Duration = Duration::from_millis(50);

/// Bytes of one reply: more than one page or one answer of values ever has, and a bound on what a stranger behind the
/// address could make this instance hold.
const REPLY_BYTES_MAX: usize = 64 << 20;

/// The names of a store's three keys.
pub type Keys<'a> = [&'a [u8]; 3];

pub struct Server {
    settings: Settings,
    link: Option<Link>,
}

/// A connection whose server knows us, and our scripts by these digests.
struct Link {
    connection: Connection,
    digests: Vec<Vec<u8>>,
}

/// Why a command has no reply of use.
enum Undone {
    Lost(Lost),
    /// The server's word.
    Error(String),
}

impl From<Lost> for Undone {
    fn from(lost: Lost) -> Undone {
        Undone::Lost(lost)
    }
}

impl Server {
    /// Connects at the first call.
    pub fn new(settings: Settings) -> Server {
        Server { settings, link: None }
    }

    /// Runs a script, over a new connection where the old one is gone, until the time of a call is over. Each script does
    /// the same again when it is run again.
    pub fn run(&mut self, script: Script, keys: Keys<'_>, args: &[&[u8]]) -> Result<Vec<OwnedFrame>, Failure> {
        let deadline = Deadline::after(self.settings.timeout);
        loop {
            let undone = match self.attempt(script, keys, args, deadline) {
                Ok(OwnedFrame::Array(reply)) => return Ok(reply),
                Ok(other) => return Err(Failure::Refused(format!("the server answered a script with {other:?}"))),
                Err(undone) => undone,
            };
            self.link = None;
            let address = &self.settings.place;
            match undone {
                Undone::Error(error) => return Err(failure(&error)),
                Undone::Lost(Lost::Denied) => {
                    return Err(Failure::Refused(format!(
                        "the host does not let it connect to {address}: grant it by `network = [\"{address}\"]`"
                    )));
                }
                Undone::Lost(Lost::TimedOut) => {
                    let timeout = self.settings.timeout;
                    return Err(Failure::Retry(format!("{address} did not answer within {timeout:?}")));
                }
                Undone::Lost(Lost::Broken(why)) if !deadline.sleep(PAUSE) => return Err(Failure::Retry(why)),
                Undone::Lost(Lost::Broken(_)) => {}
            }
        }
    }

    fn attempt(
        &mut self,
        script: Script,
        keys: Keys<'_>,
        args: &[&[u8]],
        deadline: Deadline,
    ) -> Result<OwnedFrame, Undone> {
        let link = match self.link.take() {
            Some(link) => link,
            None => Link::open(&self.settings, deadline)?,
        };
        let link = self.link.insert(link);
        let rest = [&[&b"3"[..]], &keys[..], args].concat();
        let digest = link.digests[script as usize].as_slice();
        match ask(&link.connection, &[&[&b"EVALSHA"[..], digest], &rest[..]].concat(), deadline) {
            // Somebody has emptied the server's scripts.
            Err(Undone::Error(error)) if error.starts_with("NOSCRIPT") => {
                let text = script.text().as_bytes();
                ask(&link.connection, &[&[&b"EVAL"[..], text], &rest[..]].concat(), deadline)
            }
            answered => answered,
        }
    }
}

impl Link {
    fn open(settings: &Settings, deadline: Deadline) -> Result<Link, Undone> {
        let connection = Connection::open(&settings.place, deadline)?;
        let tell = |command: &[&[u8]]| ask(&connection, command, deadline);
        if let Some(password) = &settings.password {
            let user = settings.user.as_deref().map(str::as_bytes);
            tell(&[&[&b"AUTH"[..]], user.as_slice(), &[password.as_bytes()]].concat())?;
        }
        if settings.database != 0 {
            tell(&[b"SELECT", settings.database.to_string().as_bytes()])?;
        }
        check_policy(&tell(&[b"INFO", b"memory"])?)?;
        let mut digests = Vec::new();
        for script in Script::ALL {
            match tell(&[b"SCRIPT", b"LOAD", script.text().as_bytes()])? {
                OwnedFrame::BulkString(digest) => digests.push(digest),
                other => return Err(Undone::Error(format!("ERR SCRIPT LOAD was answered with {other:?}"))),
            }
        }
        Ok(Link { connection, digests })
    }
}

/// A server that throws keys away when its memory is full would throw away state.
fn check_policy(info: &OwnedFrame) -> Result<(), Undone> {
    let OwnedFrame::BulkString(info) = info else {
        return Err(Undone::Error(format!("ERR INFO memory was answered with {info:?}")));
    };
    let info = String::from_utf8_lossy(info);
    match info.lines().find_map(|line| line.strip_prefix("maxmemory_policy:")).map(str::trim) {
        None | Some("noeviction") => Ok(()),
        Some(policy) => Err(Undone::Error(format!("EVICTION {policy}"))),
    }
}

/// One command and its reply.
fn ask(connection: &Connection, command: &[&[u8]], deadline: Deadline) -> Result<OwnedFrame, Undone> {
    let broken = |error: redis_protocol::error::RedisProtocolError| {
        Undone::Lost(Lost::Broken(format!("the server speaks something else than RESP: {error}")))
    };
    let parts: Vec<BorrowedFrame<'_>> = command.iter().map(|part| BorrowedFrame::BulkString(part)).collect();
    let frame = BorrowedFrame::Array(&parts);
    let mut bytes = vec![0; frame.encode_len(false)];
    encode_borrowed(&mut bytes, &frame, false).map_err(broken)?;
    connection.write(&bytes, deadline)?;
    bytes.clear();
    loop {
        connection.read(&mut bytes, deadline)?;
        match decode(&bytes).map_err(broken)? {
            Some((OwnedFrame::Error(error), _)) => return Err(Undone::Error(error)),
            Some((reply, _)) => return Ok(reply),
            None if bytes.len() > REPLY_BYTES_MAX => {
                return Err(Undone::Lost(Lost::Broken(format!("the server's reply has over {REPLY_BYTES_MAX} bytes"))));
            }
            None => {}
        }
    }
}

/// Errors that only a person can mend, by how they begin.
const REFUSED: [&str; 11] = [
    "WRONGPASS",
    "NOAUTH",
    "NOPERM",
    "WRONGTYPE",
    "MOVED",
    "CROSSSLOT",
    "ERR AUTH",
    "ERR Client sent AUTH",
    "ERR invalid password",
    "ERR DB index",
    "ERR unknown command",
];

/// What an error of the server's means for the call. What is not known may pass: waiting loses nothing.
fn failure(error: &str) -> Failure {
    if let Some(policy) = error.strip_prefix("EVICTION ") {
        return Failure::Refused(format!(
            "the server's maxmemory-policy is {policy}, which throws state away when its memory is full: set \
             `maxmemory-policy noeviction`"
        ));
    }
    match REFUSED.iter().any(|begin| error.starts_with(begin)) {
        true => Failure::Refused(format!("the server answered: {error}")),
        false => Failure::Retry(format!("the server answered: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_refused_where_only_a_person_can_help() {
        for error in
            ["WRONGPASS invalid username-password pair", "NOAUTH Authentication required.", "EVICTION allkeys-lru"]
        {
            assert!(matches!(failure(error), Failure::Refused(_)), "{error}");
        }
        for error in ["LOADING Redis is loading the dataset in memory", "OOM command not allowed", "READONLY", "BUSY"] {
            assert!(matches!(failure(error), Failure::Retry(_)), "{error}");
        }
    }
}
