//! What crosses the boundary to a component: batches, never records.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use millstream::wasm::{Compiler, Component, Engine, Instance, Owner};
use millstream_engine::config::Limits;
use millstream_engine::functions::{Fault, Functions};
use millstream_engine::store::TaskStores;
use millstream_sdk::Record;
use millstream_sdk::testing::Driver;

/// Records of a full batch.
const BATCH: u64 = 500;

/// Counts the calls on their way to the component.
struct Counted {
    calls: Arc<AtomicU64>,
    inner: Instance,
}

impl Functions for Counted {
    fn call(&mut self, node: u32, frame: &[u8], stores: &mut TaskStores, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.inner.call(node, frame, stores, out)
    }

    fn discard(&mut self) {
        self.inner.discard();
    }
}

/// A plugin on the test driver, and how often it was called.
fn driver(dir: &str) -> (Driver, Arc<AtomicU64>) {
    let engine = Engine::new(Limits::default().stack, Compiler::in_process()).unwrap();
    let file = tests::guests::plugin(&engine, dir).unwrap();
    let component = Component::load(&engine, &std::fs::read(file).unwrap(), Limits::default()).unwrap();
    let planned = Arc::new(component.describe("app", "{}").unwrap());
    let description = serde_json::to_string(&*planned).unwrap();
    let calls = Arc::new(AtomicU64::new(0));
    let start = || {
        let owner = Owner { application: "app".into(), task: None };
        let inner = Instance::new(component.clone(), "{}".into(), planned.clone(), owner);
        Box::new(Counted { calls: calls.clone(), inner }) as Box<dyn Functions>
    };
    (Driver::over(&description, "id = \"app\"", &start).unwrap(), calls)
}

#[test]
fn a_full_batch_crosses_once_for_stateless_nodes_in_a_row() {
    let (mut driver, calls) = driver("plugins/word-count");
    // Three words a line, so that what a guest makes more of is no reason for more calls.
    let batches = 10;
    let lines = (0..batches * BATCH).map(|i| Record::new((), format!("the wheel w{}", i % 97), 0));
    driver.pipe_all("lines", lines).unwrap();
    assert_eq!(driver.read_pairs::<String, i64>("counts").unwrap().len() as u64, 3 * batches * BATCH);
    // Words of a line and their key in one call; the host counts.
    assert_eq!(calls.load(Ordering::Relaxed), batches);
}
