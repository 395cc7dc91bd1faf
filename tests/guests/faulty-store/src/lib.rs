//! A store provider in memory that does one thing wrong: `config = { fault = "NAME", call = "N" }`. Without `call` it does
//! so always; else in the Nth call that could, or in the first behind it in which that makes a difference, and then no more
//! while this instance lives. It says so in the log, `NAME shows`, where what it does is not what it should have done.

use std::collections::BTreeMap;

use millstream_sdk::log;
use millstream_sdk::provider::{
    Capabilities, Extent, Failure, Keys, Options, Position, Provider, Rows, Scan, Values, Writes,
};

/// More than any instance may have.
const BEYOND_ALL_BYTES: usize = 1 << 30;
/// What `hoards` keeps of each write: a few of them are more than a small limit.
const HOARDED_BYTES: usize = 4 << 20;

#[derive(Default)]
pub struct Faulty {
    maps: BTreeMap<u32, Map>,
    fault: String,
    call: Option<u32>,
    calls: u32,
    has_shown: bool,
    hoard: Vec<Vec<u8>>,
}

#[derive(Default)]
struct Map {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    position: Position,
    before: Position,
    epoch: u64,
}

impl Faulty {
    /// Whether the fault of this name shows in this call, if it makes a difference.
    fn is_due(&mut self, fault: &str) -> bool {
        if self.fault != fault {
            return false;
        }
        self.calls += 1;
        self.call.is_none_or(|call| self.calls >= call && !self.has_shown)
    }

    /// It has made a difference, or will at once.
    fn show(&mut self) {
        self.has_shown = true;
        log::info(format!("{} shows", self.fault));
    }

    fn trap(&mut self, hook: &str) {
        if self.is_due(&format!("traps-in-{hook}")) {
            self.show();
            panic!("{hook} traps");
        }
        if self.is_due(&format!("stalls-in-{hook}")) {
            self.show();
            loop {
                std::hint::spin_loop();
            }
        }
    }

    fn fails(&mut self, hook: &str) -> Result<(), Failure> {
        if self.is_due(&format!("no-answer-in-{hook}")) {
            self.show();
            return Err(Failure::Retry("the server does not answer".to_owned()));
        }
        Ok(())
    }

    fn map(&mut self, store: u32) -> &mut Map {
        let store = if self.fault == "mixes-stores" { 0 } else { store };
        self.maps.entry(store).or_default()
    }

    fn served_at(&mut self, store: u32) -> Position {
        let (is_old, is_new) = (self.is_due("position-behind"), self.is_due("position-ahead"));
        let (is_none, is_garbage) = (self.is_due("position-gone"), self.is_due("position-garbage"));
        let map = self.map(store);
        let said = match () {
            () if is_old => map.before.clone(),
            () if is_new => [&map.position[..], b"9"].concat(),
            () if is_none => Vec::new(),
            () if is_garbage => b"garbage".to_vec(),
            () => map.position.clone(),
        };
        if said != map.position {
            self.show();
        }
        said
    }
}

impl Provider for Faulty {
    fn open(&mut self, store: u32, options: Options) -> Result<Capabilities, Failure> {
        self.fault = options.config.get("fault").map_err(Failure::Refused)?.unwrap_or_default();
        let call: Option<String> = options.config.get("call").map_err(Failure::Refused)?;
        self.call = call.and_then(|call| call.parse().ok());
        if self.fault == "refuses" {
            return Err(Failure::Refused("the password is wrong".to_owned()));
        }
        self.trap("open");
        self.fails("open")?;
        self.map(store).epoch = options.epoch;
        Ok(Capabilities { persistent: self.fault == "says-it-keeps" })
    }

    fn get_many(&mut self, store: u32, keys: Keys<'_>, values: &mut Values) -> Result<Position, Failure> {
        self.trap("get-many");
        self.fails("get-many")?;
        let (is_short, is_blind) = (self.is_due("answers-no-values"), self.fault == "takes-empty-for-absent");
        let shuffles = self.is_due("shuffles-values");
        let map = self.map(store);
        let find = |key| map.rows.get(key).map(Vec::as_slice).filter(|value: &&[u8]| !is_blind || !value.is_empty());
        let honest: Vec<Option<&[u8]>> = keys.map(find).collect();
        let mut answered = honest.clone();
        if shuffles {
            answered.reverse();
        }
        if is_short {
            answered.clear();
        }
        let lies = answered != honest;
        for value in answered {
            if !values.push(value) {
                break;
            }
        }
        if lies {
            self.show();
        }
        Ok(self.served_at(store))
    }

    fn scan(&mut self, store: u32, scan: &Scan, rows: &mut Rows) -> Result<Position, Failure> {
        self.trap("scan");
        self.fails("scan")?;
        let (unsorted, beyond) = (self.is_due("sorts-wrongly"), self.is_due("goes-beyond-bounds"));
        let (one_way, misses) = (self.is_due("scans-one-way"), self.is_due("misses-a-row"));
        let turned = self.is_due("turns-scans-round");
        let map = self.map(store);
        let mut honest: Vec<(&Vec<u8>, &Vec<u8>)> = map.rows.range::<[u8], _>(scan.bounds()).collect();
        let mut found = match beyond {
            true => map.rows.iter().collect(),
            false => honest.clone(),
        };
        if scan.reverse {
            honest.reverse();
        }
        if scan.reverse && !one_way {
            found.reverse();
        }
        if turned {
            found.reverse();
        }
        if unsorted {
            found.sort_by_key(|(key, _)| key.len());
        }
        if misses {
            found.pop();
        }
        // Of a page nobody sees more.
        let page = scan.limit as usize;
        let lies = found.iter().take(page).ne(honest.iter().take(page));
        rows.fill(found);
        if lies {
            self.show();
        }
        Ok(self.served_at(store))
    }

    fn apply(&mut self, store: u32, epoch: u64, from: &[u8], to: &[u8], writes: Writes<'_>) -> Result<(), Failure> {
        self.trap("apply");
        self.fails("apply")?;
        let (takes_all, any_epoch) = (self.fault == "ignores-the-position", self.fault == "ignores-the-epoch");
        if self.is_due("grows-at-once") {
            self.show();
            self.hoard.push(vec![1; BEYOND_ALL_BYTES]);
        }
        if self.fault == "hoards" {
            self.show();
            self.hoard.push(vec![1; HOARDED_BYTES]);
        }
        if self.fault == "grows" {
            self.hoard.extend(writes.clone().filter_map(|(_, value)| value.map(<[u8]>::to_vec)));
        }
        let count = writes.clone().count();
        let forgets = self.is_due("forgets-a-write") && count > 0;
        let half = self.is_due("writes-half") && count > 0;
        let (done, stays) = (self.is_due("writes-and-traps"), self.is_due("leaves-its-position"));
        let map = self.map(store);
        if map.epoch != epoch && !any_epoch {
            return Err(Failure::Conflict("another owner has it".to_owned()));
        }
        if map.position != from && !takes_all {
            return Err(Failure::Conflict("it does not stand there".to_owned()));
        }
        if forgets || half || done || stays {
            self.show();
        }
        let map = self.map(store);
        for (at, (key, value)) in writes.enumerate() {
            match value {
                _ if forgets && at + 1 == count => {}
                Some(value) => drop(map.rows.insert(key.to_vec(), value.to_vec())),
                None => drop(map.rows.remove(key)),
            }
            if half && at >= count / 2 {
                panic!("half of it is written");
            }
        }
        if !stays {
            map.before = std::mem::replace(&mut map.position, to.to_vec());
        }
        if done {
            panic!("all of it is written, and nobody is told");
        }
        Ok(())
    }

    fn position(&mut self, store: u32) -> Result<Position, Failure> {
        self.trap("position");
        self.fails("position")?;
        Ok(self.map(store).position.clone())
    }

    fn size(&mut self, store: u32) -> Result<Extent, Failure> {
        let entries = self.map(store).rows.len() as u64 + u64::from(self.fault == "counts-wrongly");
        Ok(Extent { entries, bytes: 0 })
    }

    fn wipe(&mut self, store: u32, epoch: u64) -> Result<(), Failure> {
        self.trap("wipe");
        self.fails("wipe")?;
        let (keeps_rows, any_epoch) = (self.fault == "wipes-half", self.fault == "ignores-the-epoch");
        let map = self.map(store);
        if map.epoch != epoch && !any_epoch {
            return Err(Failure::Conflict("another owner has it".to_owned()));
        }
        map.position.clear();
        if !keeps_rows {
            map.rows.clear();
        }
        Ok(())
    }

    fn close(&mut self, _store: u32) -> Result<(), Failure> {
        self.trap("close");
        self.fails("close")
    }
}

millstream_sdk::provider!(Faulty);
