//! A task's stores over a base that holds nothing, and fails when it is told to.

use std::ops::ControlFlow;
use std::time::Duration;

use millstream_engine::store::{
    Base, Error, KeyRange, Position, SizeLimits, StoreChanges, StoreKind, StoreSlot, TaskStores,
};

/// What reading the base does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    Nothing,
    /// Takes 300 ms.
    Slowly,
    /// Takes one.
    InMilliseconds,
    Fails,
    Panics,
}

/// Stores with these numbers; what is written stays in their layers.
pub fn stores(numbers: &[u32], read: Read) -> TaskStores {
    let slot = |(slot, number): (usize, &u32)| StoreSlot {
        number: *number,
        name: format!("store-{number}"),
        base: 0,
        slot,
        logged: true,
        kind: StoreKind::KeyValue,
    };
    let slots = numbers.iter().enumerate().map(slot).collect();
    TaskStores::new(slots, vec![Box::new(Empty(read))], SizeLimits::default())
}

struct Empty(Read);

impl Empty {
    fn read(&self) -> Result<(), Error> {
        match self.0 {
            Read::Nothing => Ok(()),
            Read::Slowly => {
                std::thread::sleep(Duration::from_millis(300));
                Ok(())
            }
            Read::InMilliseconds => {
                std::thread::sleep(Duration::from_millis(1));
                Ok(())
            }
            Read::Fails => Err(Error::Retry("the disk is full".into())),
            Read::Panics => panic!("the base broke"),
        }
    }
}

impl Base for Empty {
    fn get_many(&self, _: usize, keys: &[&[u8]], visit: &mut dyn FnMut(usize, Option<&[u8]>)) -> Result<(), Error> {
        self.read()?;
        (0..keys.len()).for_each(|place| visit(place, None));
        Ok(())
    }

    fn scan(
        &self,
        _: usize,
        _: KeyRange<'_>,
        _: bool,
        _: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.read()
    }

    fn entries(&self, _: usize) -> Result<u64, Error> {
        self.read().map(|()| 0)
    }

    fn bytes(&self, _: usize) -> Result<u64, Error> {
        Ok(0)
    }

    fn position(&self, _: usize) -> Result<Option<Position>, Error> {
        Ok(None)
    }

    fn apply(&mut self, _: &[StoreChanges<'_>]) -> Result<(), Error> {
        self.read()
    }

    fn wipe(&mut self) -> Result<(), Error> {
        self.read()
    }

    fn wipe_store(&mut self, _: usize) -> Result<(), Error> {
        self.read()
    }
}
