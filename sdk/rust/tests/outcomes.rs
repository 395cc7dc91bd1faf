//! What one call leaves behind when some of its records fail, frame in and frame out: below the host's own rollback.
#![allow(clippy::unwrap_used)]

use millstream_engine::frame::{Context as Origin, Element, Kind, OutcomeKind, ResultFrame, Writer};
use millstream_engine::functions::{Fault, FaultKind, Functions};
use millstream_engine::record::Headers as HeaderBytes;
use millstream_engine::store::{MemoryBase, SizeLimits, StoreKind, StoreSlot, TaskStores};
use millstream_sdk::Plugin;
use millstream_sdk::prelude::*;

/// Writes and forwards, then fails on values below zero: for -1 it drops, for -2 it fails, for -3 it panics.
struct Picky {
    store: KeyValueStore<String, i64>,
}

impl Processor<String, i64, String, i64> for Picky {
    fn process(&mut self, record: Record<String, i64>, ctx: &mut Context<String, i64>) -> Result<(), Failure> {
        let sum = self.store.get(&record.key)?.unwrap_or(0) + record.value;
        self.store.put(&record.key, &sum);
        ctx.forward(record.clone().with_value(sum));
        match record.value {
            -1 => Err(Failure::drop()),
            -2 => Err(Failure::fail("below zero")),
            -3 => panic!("far below zero"),
            _ => Ok(()),
        }
    }
}

fn topology(app: &mut Topology) {
    let store = app.store("store");
    app.stream("in").process("picky", |init| Picky { store: init.store(&store) }).to("out");
}

fn stores() -> TaskStores {
    let kind = StoreKind::KeyValue;
    let slot = StoreSlot { number: 0, name: "store".into(), base: 0, slot: 0, logged: false, kind };
    TaskStores::new(vec![slot], vec![Box::new(MemoryBase::new(1))], SizeLimits::default())
}

/// Calls the processor with these values under one key.
fn call(plugin: &mut Plugin, stores: &mut TaskStores, kind: Kind, values: &[i64]) -> Result<Vec<u8>, Fault> {
    let mut frame = Vec::new();
    let mut writer = Writer::new(&mut frame, kind);
    writer.context(&Origin { source: 0, topic: 0, partition: 0, offset: 0, timestamp: 1, stream_time: 1, seed: 0 });
    for value in values {
        let value = value.to_be_bytes();
        let (key, value, headers) = (Some(&b"k"[..]), Some(&value[..]), HeaderBytes(b""));
        writer.element(&Element { context: 0, input: 0, group: 0, timestamp: 1, key, value, headers });
    }
    writer.finish();
    let mut answer = Vec::new();
    stores.enter(&[0], values.iter().map(|_| 1));
    let called = plugin.call(1, &frame, stores, &mut answer);
    stores.leave();
    called.map(|()| answer)
}

/// From which inputs there are results, and the outcomes.
fn read(answer: &[u8], asked: u32) -> (Vec<u32>, Vec<(u32, OutcomeKind, String)>) {
    let mut frame = ResultFrame::parse(answer, asked).unwrap();
    let elements = std::iter::from_fn(|| frame.next_element().unwrap().map(|element| element.input)).collect();
    let outcomes = frame.outcomes().unwrap().into_iter().map(|one| (one.element, one.kind, one.text()));
    (elements, outcomes.collect())
}

fn stored(stores: &TaskStores) -> Option<i64> {
    let found = stores.get(0, b"k").unwrap()?;
    Some(i64::from_be_bytes(found.value.try_into().unwrap()))
}

#[test]
fn a_record_that_fails_leaves_no_write_and_no_result_among_the_others() {
    let (mut plugin, mut stores) = (Plugin::new(topology, "{}").unwrap(), stores());
    let answer = call(&mut plugin, &mut stores, Kind::Records, &[10, -2, -1, 5]).unwrap();
    let outcomes = vec![(1, OutcomeKind::Fail, "below zero".to_string()), (2, OutcomeKind::Drop, String::new())];
    assert_eq!(read(&answer, 4), (vec![0, 2, 3], outcomes));
    assert_eq!(stored(&stores), Some(14));
}

#[test]
fn a_panic_leaves_no_write_and_the_next_call_works() {
    let (mut plugin, mut stores) = (Plugin::new(topology, "{}").unwrap(), stores());
    match call(&mut plugin, &mut stores, Kind::Records, &[10, -3]) {
        Err(Fault::Guest(fault)) => {
            assert_eq!((fault.kind, fault.message.as_str()), (FaultKind::Trap, "far below zero"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(stored(&stores), None);
    let answer = call(&mut plugin, &mut stores, Kind::Records, &[3]).unwrap();
    assert_eq!(read(&answer, 1), (vec![0], Vec::new()));
    assert_eq!(stored(&stores), Some(3));
}

#[test]
fn a_frame_that_is_none_of_the_nodes_is_refused() {
    let (mut plugin, mut stores) = (Plugin::new(topology, "{}").unwrap(), stores());
    for kind in [Kind::Fold, Kind::Punctuation, Kind::Result] {
        let refused = call(&mut plugin, &mut stores, kind, &[1]);
        assert!(matches!(refused, Err(Fault::Guest(fault)) if fault.kind == FaultKind::Failed), "{kind:?}");
    }
    assert_eq!(stored(&stores), None);
}
