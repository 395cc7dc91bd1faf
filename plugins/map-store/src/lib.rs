//! The smallest store provider: ordered maps in memory. What it holds goes with the instance, and comes back from the
//! changelogs.

use std::collections::BTreeMap;

use millstream_sdk::provider::{
    Capabilities, Extent, Failure, Keys, Options, Position, Provider, Rows, Scan, Values, Writes,
};

#[derive(Default)]
pub struct Maps(BTreeMap<u32, Map>);

#[derive(Default)]
struct Map {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    bytes: usize,
    position: Position,
    epoch: u64,
}

impl Map {
    fn write(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.bytes += value.map_or(0, |value| key.len() + value.len());
        let old = match value {
            Some(value) => self.rows.insert(key.to_vec(), value.to_vec()),
            None => self.rows.remove(key),
        };
        self.bytes -= old.map_or(0, |old| key.len() + old.len());
    }
}

impl Maps {
    fn map(&mut self, store: u32) -> Result<&mut Map, Failure> {
        self.0.get_mut(&store).ok_or_else(|| Failure::Refused(format!("store {store} is not open")))
    }

    /// The map, if it is the epoch's.
    fn owned(&mut self, store: u32, epoch: u64) -> Result<&mut Map, Failure> {
        let map = self.map(store)?;
        if map.epoch == epoch { Ok(map) } else { Err(Failure::Conflict(format!("epoch {} has it", map.epoch))) }
    }
}

impl Provider for Maps {
    fn open(&mut self, store: u32, options: Options) -> Result<Capabilities, Failure> {
        self.0.insert(store, Map { epoch: options.epoch, ..Map::default() });
        Ok(Capabilities { persistent: false })
    }

    fn get_many(&mut self, store: u32, mut keys: Keys<'_>, values: &mut Values) -> Result<Position, Failure> {
        let map = self.map(store)?;
        let _ = keys.all(|key| values.push(map.rows.get(key).map(Vec::as_slice)));
        Ok(map.position.clone())
    }

    fn scan(&mut self, store: u32, scan: &Scan, rows: &mut Rows) -> Result<Position, Failure> {
        let map = self.map(store)?;
        let range = map.rows.range::<[u8], _>(scan.bounds());
        if scan.reverse {
            rows.fill(range.rev())
        } else {
            rows.fill(range)
        }
        Ok(map.position.clone())
    }

    fn apply(&mut self, store: u32, epoch: u64, from: &[u8], to: &[u8], writes: Writes<'_>) -> Result<(), Failure> {
        let map = self.owned(store, epoch)?;
        if map.position != from {
            return Err(Failure::Conflict("it does not stand there".to_owned()));
        }
        writes.for_each(|(key, value)| map.write(key, value));
        map.position = to.to_vec();
        Ok(())
    }

    fn position(&mut self, store: u32) -> Result<Position, Failure> {
        Ok(self.map(store)?.position.clone())
    }

    fn size(&mut self, store: u32) -> Result<Extent, Failure> {
        let map = self.map(store)?;
        Ok(Extent { entries: map.rows.len() as u64, bytes: map.bytes as u64 })
    }

    fn wipe(&mut self, store: u32, epoch: u64) -> Result<(), Failure> {
        *self.owned(store, epoch)? = Map { epoch, ..Map::default() };
        Ok(())
    }
}

millstream_sdk::provider!(Maps);
