//! What writes do.

use super::super::frame::CALL_BYTES;
use super::bench::{Bench, Found, Model, Write, text};

/// Rows of a large batch: what a restore writes at once.
const LARGE: u32 = 20_000;

/// Bytes that are written over one key, beside the memory that an instance may have.
const OVERWRITTEN: usize = 2;

/// Batches of the random walk.
const BATCHES: usize = 200;

pub fn writes_in_order(bench: &mut Bench) -> Found {
    bench.open()?;
    let writes: [Write<'_>; 5] =
        [(b"k", Some(b"1")), (b"k", None), (b"k", Some(b"2")), (b"gone", Some(b"3")), (b"gone", None)];
    bench.write(0, &writes)?;
    bench.expect(0, &[(b"k".to_vec(), b"2".to_vec())].into())?;
    Ok("the last write of a key in a batch counts".to_owned())
}

pub fn takes_large_batches(bench: &mut Bench) -> Found {
    bench.open()?;
    let filler = vec![7; CALL_BYTES / LARGE as usize];
    let model: Model = (0..LARGE).map(|at| (at.to_be_bytes().to_vec(), filler.clone())).collect();
    let writes: Vec<Write<'_>> = model.iter().map(|(key, value)| (key.as_slice(), Some(value.as_slice()))).collect();
    bench.write(0, &writes)?;
    bench.expect(0, &model)?;
    let keys: Vec<&[u8]> = model.keys().map(Vec::as_slice).collect();
    let found = bench.get(0, &keys)?;
    if found.iter().any(|value| value.as_ref() != Some(&filler)) {
        return Err("get-many does not find all of a large batch".to_owned());
    }
    Ok(format!("{LARGE} rows of {CALL_BYTES} bytes in one batch"))
}

/// An instance that keeps what nobody can read any more runs out of memory here.
pub fn overwrites_in_place(bench: &mut Bench) -> Found {
    bench.open()?;
    let value = vec![1; 512 << 10];
    let memory = super::super::super::limits::bytes(bench.limits().memory);
    let times = OVERWRITTEN * memory / value.len();
    for _ in 0..times {
        bench.write(0, &[(b"k", Some(&value))])?;
    }
    bench.expect(0, &[(b"k".to_vec(), value)].into())?;
    Ok(format!("one key written {times} times takes the room of one"))
}

/// Random batches over few keys, reads between, all against a model.
pub fn stays_equal_to_a_model(bench: &mut Bench) -> Found {
    bench.open()?;
    let (mut model, mut dice) = (Model::new(), Dice(bench.seed));
    for batch in 0..BATCHES {
        let mut writes: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::new();
        for _ in 0..dice.below(20) {
            let key: Vec<u8> = (0..dice.below(4)).map(|_| [0, 1, b'a', 0xFF][dice.below(4)]).collect();
            let value = (dice.below(3) > 0).then(|| vec![dice.below(256) as u8; dice.below(40)]);
            match &value {
                Some(value) => model.insert(key.clone(), value.clone()),
                None => model.remove(&key),
            };
            writes.push((key, value));
        }
        let writes: Vec<Write<'_>> = writes.iter().map(|(key, value)| (&key[..], value.as_deref())).collect();
        bench.write(0, &writes)?;
        if batch % 10 == 0 {
            bench.expect(0, &model).map_err(|wrong| format!("batch {batch} of seed {}: {wrong}", bench.seed))?;
        }
    }
    bench.expect(0, &model)?;
    Ok(format!("{BATCHES} random batches, seed {}", bench.seed))
}

pub fn moves_its_position(bench: &mut Bench) -> Found {
    bench.open()?;
    bench.write(0, &[(b"k", Some(b"v"))])?;
    bench.write(0, &[])?;
    let position = bench.call("position", |guest| guest.position(0))?;
    bench.check_position("position", 0, &position)?;
    bench.get(0, &[b"k"])?;
    bench.page(0, &super::bench::everything(false, 1))?;
    Ok(format!("get-many, scan and position all say {}, a batch without writes too", text(&position)))
}

pub fn keeps_stores_apart(bench: &mut Bench) -> Found {
    bench.open()?;
    bench.write(0, &[(b"k", Some(b"of the first"))])?;
    bench.write(1, &[(b"k", Some(b"of the second"))])?;
    let first: Model = [(b"k".to_vec(), b"of the first".to_vec())].into();
    bench.expect(0, &first)?;
    let epoch = bench.epoch;
    bench.call("wipe", |guest| guest.wipe(1, epoch))?;
    bench.leave_at(1, Vec::new());
    bench.expect(0, &first)?;
    bench.expect(1, &Model::new())?;
    Ok("writes and a wipe of one leave the other as it is".to_owned())
}

/// Numbers from a seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % end.max(1) as u64) as usize
    }
}
