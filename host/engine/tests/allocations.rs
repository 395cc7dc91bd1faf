//! A record costs no allocation: neither through the operators and layers nor at the guest boundary. Counted, in a
//! steady state: whatever a batch allocates, it allocates once and not for each record.
#![allow(clippy::unwrap_used)]

mod rig;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use millstream_engine::functions::Fault;
use millstream_engine::store::TaskStores;
use millstream_engine::task::Settings;
use rig::{Code, asked, cut, give, no_code, plan, record, run, task};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    /// Inside of what plays the guest, whose allocations are its own.
    static IS_GUEST: Cell<bool> = const { Cell::new(false) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: the system's own allocator, with a counter beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + u64::from(!IS_GUEST.get()));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
}

const BATCH: usize = 500;
const BATCHES: usize = 40;
/// Of one batch: lists of keys and answers as a whole, and its part of the buffers that grow with an interval.
const PER_BATCH_MAX: u64 = 20;

/// Runs batches of records with many keys, cut after each round; counts in the third one.
fn assert_no_allocation_per_record(description: &str, code: Code) {
    let topics = [("in", 1 << 20), ("out", 1 << 20)];
    let mut task = task(plan("", description, &topics).unwrap(), Settings::default(), code);
    let keys: Vec<[u8; 8]> = (0..BATCH * BATCHES).map(|at| (at as u64 % 7_001).to_be_bytes()).collect();
    let mut offset = 0;
    for round in 1..=3 {
        let mut made = 0;
        for batch in keys.chunks(BATCH) {
            offset = give(&mut task, offset, batch.iter().map(|key| record(key, b"some value", round)));
            let before = ALLOCATIONS.get();
            run(&mut task).unwrap();
            made += ALLOCATIONS.get() - before;
        }
        let per_batch = made / BATCHES as u64;
        assert!(round < 3 || per_batch <= PER_BATCH_MAX, "{per_batch} allocations for a batch of {BATCH} records");
        assert!(cut(&mut task, round).0.len() == BATCH * BATCHES);
    }
}

#[test]
fn counting_allocates_nothing_per_record() {
    let description = r#"{"version":1,"nodes":[{"name":"in","op":"source"},
        {"name":"count","op":"count","inputs":["in"],"store":"s"},{"name":"change","op":"to-stream","inputs":["count"]},
        {"name":"out","op":"sink","inputs":["change"]}],
        "stores":[{"name":"s","kind":"key-value","key":"bytes","value":"i64"}]}"#;
    assert_no_allocation_per_record(description, no_code);
}

/// Gives every element back as it is, and drops none.
fn echo(_: u32, frame: &[u8], _: &mut TaskStores, out: &mut Vec<u8>) -> Result<(), Fault> {
    let count = asked(frame);
    out.extend(b"MSF1\x01\x00\x04\x00");
    for number in [0, 0, count, 0, 32 + 32 * count, 0] {
        out.extend(number.to_le_bytes());
    }
    for at in 0..count {
        out.extend(at.to_le_bytes());
        out.extend([0xFF, 0xFF, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        out.extend(1i64.to_le_bytes());
        out.extend([0xFF; 8]);
    }
    Ok(())
}

#[test]
fn calls_of_the_guest_allocate_nothing_per_record() {
    let ops = ["filter", "map", "flat-map-values", "peek", "select-key"];
    let mut nodes = vec![r#"{"name":"in","op":"source"}"#.to_owned()];
    let mut parent = "in";
    for op in ops {
        nodes.push(format!(r#"{{"name":"{op}","op":"{op}","inputs":["{parent}"]}}"#));
        parent = op;
    }
    nodes.push(format!(r#"{{"name":"out","op":"sink","inputs":["{parent}"]}}"#));
    // A peek has no results.
    let code: Code = |node, frame, stores, out| match node {
        4 => {
            out.extend(b"MSF1\x01\x00\x04\x00");
            [0u32, 0, 0, 0, 32, 0].iter().for_each(|number| out.extend(number.to_le_bytes()));
            Ok(())
        }
        _ => echo(node, frame, stores, out),
    };
    assert_no_allocation_per_record(&format!(r#"{{"version":1,"nodes":[{}]}}"#, nodes.join(",")), code);
}

/// Reads and writes one entry for each element, in two calls into the host.
fn reads_and_writes(node: u32, frame: &[u8], stores: &mut TaskStores, out: &mut Vec<u8>) -> Result<(), Fault> {
    IS_GUEST.set(true);
    let count = asked(frame);
    let (mut keys, mut writes) = (count.to_le_bytes().to_vec(), count.to_le_bytes().to_vec());
    for at in 0..count {
        let key = (u64::from(at) * 7).to_be_bytes();
        keys.extend(8u32.to_le_bytes());
        keys.extend(key);
        writes.extend([at.to_le_bytes(), 8u32.to_le_bytes(), 8u32.to_le_bytes()].concat());
        writes.extend([key, key].concat());
    }
    let mut values = Vec::new();
    IS_GUEST.set(false);
    stores.get_many(0, &keys, &mut values).unwrap();
    stores.apply_writes(0, &writes).unwrap();
    echo(node, frame, stores, out)
}

#[test]
fn store_calls_of_the_guest_allocate_nothing_per_record() {
    let description = r#"{"version":1,"nodes":[{"name":"in","op":"source"},
        {"name":"it","op":"process","inputs":["in"],"stores":["s"]},{"name":"out","op":"sink","inputs":["it"]}],
        "stores":[{"name":"s","kind":"key-value","key":"bytes","value":"bytes"}]}"#;
    assert_no_allocation_per_record(description, reads_and_writes);
}
