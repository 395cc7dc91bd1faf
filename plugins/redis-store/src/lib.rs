//! A store provider on a Redis server: ordered maps of bytes that outlive the process.
//!
//! | file | holds |
//! |---|---|
//! | `settings` | which server, as whom |
//! | `connection` | bytes to and from it, with a deadline |
//! | `server` | commands and replies, connecting again |
//! | `script`, `scripts/` | what runs inside the server, one script a call |
//!
//! A store is three keys of one hash slot: a hash with its epoch, its position and its count of rows, a sorted set of its
//! keys whose scores are all 0, so that they are in byte order, and a hash of its values.

mod connection;
mod script;
mod server;
mod settings;

use std::collections::BTreeMap;

use millstream_sdk::log;
use millstream_sdk::provider::{
    Capabilities, Extent, Failure, Keys, Options, Position, Provider, Rows, Scan, Values, Writes,
};
use redis_protocol::resp2::types::OwnedFrame;

use script::Script;
use server::Server;
use settings::Settings;

/// Bytes of values and of rows that one reply brings, as many as one answer of ours has.
const VALUES_BYTES: &[u8] = b"4194304";
const ROWS_BYTES: &[u8] = b"1048576";

#[derive(Default)]
pub struct Redis {
    server: Option<Server>,
    stores: BTreeMap<u32, Store>,
}

struct Store {
    /// Of place, order and values.
    names: [Vec<u8>; 3],
    epoch: u64,
    /// Where it stands, if that is known: what every answer of the server must say.
    left_at: Option<Position>,
}

impl Store {
    fn new(id: &str, epoch: u64) -> Store {
        let names = ["place", "order", "values"].map(|part| format!("millstream:{{{id}}}:{part}").into_bytes());
        Store { names, epoch, left_at: None }
    }

    /// Holds where the server says it stands against where it was left.
    fn check(&mut self, position: &[u8]) -> Result<Position, Failure> {
        match &self.left_at {
            Some(left_at) if left_at != position => Err(set_back()),
            _ => Ok(self.left_at.insert(position.to_vec()).clone()),
        }
    }
}

fn set_back() -> Failure {
    Failure::Corrupted(
        "the server holds another state than was left there: it was flushed, or set back to a copy".to_owned(),
    )
}

/// In digits whose order as text is that of the numbers.
fn digits(epoch: u64) -> String {
    format!("{epoch:020}")
}

impl Redis {
    /// Runs a script on a store, as the owner of an epoch; answers what stands behind its `ok`.
    fn run(&mut self, store: u32, epoch: u64, script: Script, args: &[&[u8]]) -> Result<(&mut Store, Reply), Failure> {
        let not_open = || Failure::Refused(format!("store {store} is not open"));
        let store = self.stores.get_mut(&store).ok_or_else(not_open)?;
        let server = self.server.as_mut().ok_or_else(not_open)?;
        let digits = digits(epoch);
        let args = [&[digits.as_bytes()], args].concat();
        let reply = server.run(script, store.names.each_ref().map(Vec::as_slice), &args)?;
        let mut reply = Reply(reply.into_iter());
        match reply.bytes()?.as_slice() {
            b"ok" => Ok((store, reply)),
            b"newer" => Err(Failure::Conflict("a later owner has taken it".to_owned())),
            b"gone" => Err(set_back()),
            b"elsewhere" => {
                store.check(&reply.bytes()?)?;
                Err(Failure::Conflict("it does not stand there".to_owned()))
            }
            other => Err(Failure::Refused(format!("a script answered {}", other.escape_ascii()))),
        }
    }

    fn epoch(&self, store: u32) -> u64 {
        self.stores.get(&store).map_or(0, |store| store.epoch)
    }
}

impl Provider for Redis {
    fn open(&mut self, store: u32, options: Options) -> Result<Capabilities, Failure> {
        let settings = Settings::read(&options.config).map_err(Failure::Refused)?;
        self.server.get_or_insert_with(|| Server::new(settings));
        self.stores.insert(store, Store::new(&options.id, options.epoch));
        let (_, mut reply) = self.run(store, options.epoch, Script::Open, &[])?;
        if reply.number()? == 0 {
            log::warn(format!("{} was not whole and is emptied: somebody has removed some of its keys", options.id));
        }
        Ok(Capabilities { persistent: true })
    }

    fn get_many(&mut self, store: u32, keys: Keys<'_>, values: &mut Values) -> Result<Position, Failure> {
        let mut asked = Vec::new();
        for key in keys {
            asked.extend_from_slice(&(key.len() as u32).to_le_bytes());
            asked.extend_from_slice(key);
        }
        let (store, mut reply) = self.run(store, self.epoch(store), Script::Get, &[&asked, VALUES_BYTES])?;
        let position = store.check(&reply.bytes()?)?;
        let mut found = reply.many()?;
        while let Some(value) = found.maybe()? {
            if !values.push(value.as_deref()) {
                break;
            }
        }
        Ok(position)
    }

    fn scan(&mut self, store: u32, scan: &Scan, rows: &mut Rows) -> Result<Position, Failure> {
        let (lower, upper) = bounds(scan);
        // One more than the page takes says that there are more.
        let limit = (u64::from(scan.limit) + 1).to_string();
        let args: [&[u8]; 5] = match scan.reverse {
            false => [b"ZRANGEBYLEX", &lower, &upper, limit.as_bytes(), ROWS_BYTES],
            true => [b"ZREVRANGEBYLEX", &upper, &lower, limit.as_bytes(), ROWS_BYTES],
        };
        let (store, mut reply) = self.run(store, self.epoch(store), Script::Scan, &args)?;
        let position = store.check(&reply.bytes()?)?;
        let mut found = reply.many()?;
        while let Some(key) = found.maybe()? {
            if !rows.push(&key.ok_or_else(set_back)?, &found.bytes()?) {
                break;
            }
        }
        Ok(position)
    }

    fn apply(&mut self, store: u32, epoch: u64, from: &[u8], to: &[u8], writes: Writes<'_>) -> Result<(), Failure> {
        let mut frame = Vec::new();
        for (key, value) in writes {
            frame.extend_from_slice(&(key.len() as u32).to_le_bytes());
            frame.extend_from_slice(&value.map_or(-1, |value| value.len() as i32).to_le_bytes());
            frame.extend_from_slice(key);
            frame.extend_from_slice(value.unwrap_or_default());
        }
        match self.run(store, epoch, Script::Apply, &[from, to, &frame]) {
            Ok((store, _)) => {
                store.left_at = Some(to.to_vec());
                Ok(())
            }
            Err(failure) => {
                // Nobody knows whether it was done.
                if let (Failure::Retry(_), Some(store)) = (&failure, self.stores.get_mut(&store)) {
                    store.left_at = None;
                }
                Err(failure)
            }
        }
    }

    fn position(&mut self, store: u32) -> Result<Position, Failure> {
        let (store, mut reply) = self.run(store, self.epoch(store), Script::Position, &[])?;
        store.check(&reply.bytes()?)
    }

    fn size(&mut self, store: u32) -> Result<Extent, Failure> {
        let (_, mut reply) = self.run(store, self.epoch(store), Script::Size, &[])?;
        Ok(Extent { entries: reply.number()?, bytes: reply.number()? })
    }

    fn wipe(&mut self, store: u32, epoch: u64) -> Result<(), Failure> {
        let (store, _) = self.run(store, epoch, Script::Wipe, &[])?;
        store.left_at = Some(Position::new());
        Ok(())
    }

    fn close(&mut self, store: u32) -> Result<(), Failure> {
        self.stores.remove(&store);
        Ok(())
    }
}

/// What is left of the range, in the words of the sorted set.
fn bounds(scan: &Scan) -> (Vec<u8>, Vec<u8>) {
    let bound = |bound: &Option<Vec<u8>>, sign: &[u8], open: &[u8]| {
        bound.as_ref().map_or(open.to_vec(), |bound| [sign, bound].concat())
    };
    let (lower, upper) = (bound(&scan.lower, b"[", b"-"), bound(&scan.upper, b"[", b"+"));
    match &scan.after {
        None => (lower, upper),
        Some(_) if scan.reverse => (lower, bound(&scan.after, b"(", b"+")),
        Some(_) => (bound(&scan.after, b"(", b"-"), upper),
    }
}

/// What a script answered, part by part.
struct Reply(std::vec::IntoIter<OwnedFrame>);

impl Reply {
    fn next(&mut self) -> Result<OwnedFrame, Failure> {
        self.0.next().ok_or_else(|| Failure::Refused("a script answered too little".to_owned()))
    }

    fn bytes(&mut self) -> Result<Vec<u8>, Failure> {
        match self.next()? {
            OwnedFrame::BulkString(bytes) => Ok(bytes),
            other => Err(Failure::Refused(format!("a script answered {other:?} in the place of bytes"))),
        }
    }

    /// `None` at the end; within, what is absent.
    fn maybe(&mut self) -> Result<Option<Option<Vec<u8>>>, Failure> {
        match self.0.as_slice() {
            [] => Ok(None),
            [OwnedFrame::Null, ..] => self.next().map(|_| Some(None)),
            _ => self.bytes().map(|bytes| Some(Some(bytes))),
        }
    }

    fn many(&mut self) -> Result<Reply, Failure> {
        match self.next()? {
            OwnedFrame::Array(parts) => Ok(Reply(parts.into_iter())),
            other => Err(Failure::Refused(format!("a script answered {other:?} in the place of a list"))),
        }
    }

    fn number(&mut self) -> Result<u64, Failure> {
        match self.next()? {
            OwnedFrame::Integer(number) => Ok(number.unsigned_abs()),
            other => Err(Failure::Refused(format!("a script answered {other:?} in the place of a number"))),
        }
    }
}

millstream_sdk::provider!(Redis);
