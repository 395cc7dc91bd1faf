//! What reads answer.

use millstream_engine::changelog::row_len_max;

use super::super::super::limits::bytes;
use super::super::bindings::exports::millstream::plugin::provider::ScanRequest;
use super::bench::{Bench, Found, Model, Write, difference, everything, text};

/// Keys in whose order a comparison of anything but bytes goes wrong.
const KEYS: [&[u8]; 11] =
    [b"", b"\0", b"\0\0", b"\0\xff", b"10", b"9", b"A", b"a", b"a\0", b"\xc3\xa4", b"\xff\xff\xff\xff"];

/// A store with [`KEYS`], the last of them first.
fn filled(bench: &mut Bench) -> Result<Model, String> {
    bench.open()?;
    let writes: Vec<Write<'_>> = KEYS.iter().rev().map(|key| (*key, Some(*key))).collect();
    bench.write(0, &writes)?;
    Ok(KEYS.iter().map(|key| (key.to_vec(), key.to_vec())).collect())
}

fn rows(model: &Model) -> Vec<(Vec<u8>, Vec<u8>)> {
    model.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

pub fn opens_empty(bench: &mut Bench) -> Found {
    let is_persistent = bench.open()?;
    let position = bench.call("position", |guest| guest.position(0))?;
    bench.check_position("position", 0, &position)?;
    bench.expect(0, &Model::new())?;
    if bench.get(0, &[b"", b"k"])?.iter().any(Option::is_some) {
        return Err("get-many found a value in a new store".to_owned());
    }
    let kept = if is_persistent { "outlives" } else { "does not outlive" };
    Ok(format!("no rows, no position; what is flushed {kept} the instance"))
}

pub fn reads_what_was_written(bench: &mut Bench) -> Found {
    bench.open()?;
    bench.write(0, &[(b"a", Some(b"1")), (b"b", Some(b"2"))])?;
    bench.write(0, &[(b"a", None), (b"b", Some(b"3")), (b"never", None)])?;
    let found = bench.get(0, &[b"a", b"b", b"never"])?;
    if found != [None, Some(b"3".to_vec()), None] {
        return Err(
            "a deleted key, a key written again and one that never was are not what get-many answers".to_owned()
        );
    }
    bench.expect(0, &[(b"b".to_vec(), b"3".to_vec())].into())?;
    Ok("values, values written again, deletes, deletes of what is not there".to_owned())
}

pub fn keeps_empty_keys_and_values(bench: &mut Bench) -> Found {
    bench.open()?;
    bench.write(0, &[(b"", Some(b"of no key")), (b"empty", Some(b""))])?;
    let found = bench.get(0, &[b"", b"empty", b"absent"])?;
    if found != [Some(b"of no key".to_vec()), Some(Vec::new()), None] {
        return Err("the empty key, an empty value and an absent key are not told apart".to_owned());
    }
    bench.expect(0, &[(Vec::new(), b"of no key".to_vec()), (b"empty".to_vec(), Vec::new())].into())?;
    Ok("the empty key, an empty value, told from an absent one".to_owned())
}

pub fn keeps_the_largest_entries(bench: &mut Bench) -> Found {
    bench.open()?;
    // A row has more than the user's key in it, a value its timestamp in front.
    let key = vec![0xFF; row_len_max(bytes(bench.limits().key_bytes))];
    let value: Vec<u8> = (0..bytes(bench.limits().value_bytes) + 8).map(|at| (at % 251) as u8).collect();
    bench.write(0, &[(&key, Some(&value))])?;
    if bench.get(0, &[&key])? != [Some(value.clone())] {
        return Err(format!("get-many does not answer a value of {} bytes as it was written", value.len()));
    }
    bench.expect(0, &[(key.clone(), value.clone())].into())?;
    Ok(format!("a key of {} bytes, a value of {}", key.len(), value.len()))
}

pub fn answers_in_the_order_of_keys(bench: &mut Bench) -> Found {
    filled(bench)?;
    let asked: [&[u8]; 6] = [b"a", b"absent", b"\0", b"a", b"", b"9"];
    let found = bench.get(0, &asked)?;
    for (key, value) in asked.iter().zip(&found) {
        let expected = KEYS.contains(key).then_some(*key);
        if value.as_deref() != expected {
            return Err(format!("get-many answers another value in the place of {}", text(key)));
        }
    }
    Ok("unordered keys, one twice, one that is absent".to_owned())
}

pub fn scans_in_byte_order(bench: &mut Bench) -> Found {
    let model = filled(bench)?;
    let found = bench.scan(0, everything(false, 1_000))?;
    difference(&found, &rows(&model)).map_or(Ok(()), Err)?;
    Ok(format!("{} keys, unsigned bytes, the shorter one first", KEYS.len()))
}

pub fn scans_backwards(bench: &mut Bench) -> Found {
    let model = filled(bench)?;
    let mut found = bench.scan(0, everything(true, 1_000))?;
    found.reverse();
    difference(&found, &rows(&model)).map_or(Ok(()), Err)?;
    Ok(format!("{} keys", KEYS.len()))
}

/// Every pair of bounds, those between keys too.
pub fn keeps_to_bounds(bench: &mut Bench) -> Found {
    let model = filled(bench)?;
    let open = [None];
    let bounds: Vec<Option<&[u8]>> = open.into_iter().chain(KEYS.map(Some)).chain([Some(&b"B"[..])]).collect();
    let mut ranges = 0;
    for (lower, upper) in bounds.iter().flat_map(|lower| bounds.iter().map(move |upper| (*lower, *upper))) {
        if matches!((lower, upper), (Some(lower), Some(upper)) if lower > upper) {
            continue;
        }
        ranges += 1;
        for reverse in [false, true] {
            let owned = |bound: Option<&[u8]>| bound.map(<[u8]>::to_vec);
            let (lower, upper) = (owned(lower), owned(upper));
            let is_within = |key: &Vec<u8>| {
                lower.as_ref().is_none_or(|lower| lower <= key) && upper.as_ref().is_none_or(|upper| key <= upper)
            };
            let mut expected: Vec<_> = rows(&model).into_iter().filter(|(key, _)| is_within(key)).collect();
            if reverse {
                expected.reverse();
            }
            let request = ScanRequest { lower: lower.clone(), upper: upper.clone(), ..everything(reverse, 1_000) };
            let found = bench.scan(0, request)?;
            if let Some(wrong) = difference(&found, &expected) {
                let shown = |bound: &Option<Vec<u8>>| bound.as_deref().map_or("open".to_owned(), text);
                return Err(format!("from {} to {}, both included: {wrong}", shown(&lower), shown(&upper)));
            }
        }
    }
    Ok(format!("{ranges} ranges, open, inclusive, without a row, both ways"))
}

/// Pages of every size, each behind the one before.
pub fn pages_to_the_end(bench: &mut Bench) -> Found {
    let model = filled(bench)?;
    for limit in 1..=KEYS.len() as u32 + 1 {
        for reverse in [false, true] {
            let mut found = bench.scan(0, everything(reverse, limit))?;
            if reverse {
                found.reverse();
            }
            if let Some(wrong) = difference(&found, &rows(&model)) {
                return Err(format!("in pages of {limit}: {wrong}"));
            }
        }
    }
    let behind = ScanRequest { after: Some(b"a!".to_vec()), ..everything(false, 1) };
    if bench.page(0, &behind)?.0.first().map(|(key, _)| key.as_slice()) != Some(b"\xc3\xa4") {
        return Err("a page behind a key that is not there does not begin with the next one".to_owned());
    }
    Ok("pages of every size, both ways, behind a key that is not there".to_owned())
}

pub fn tells_its_size(bench: &mut Bench) -> Found {
    filled(bench)?;
    bench.write(0, &[(b"a", None), (b"9", Some(b"again"))])?;
    let extent = bench.call("size", |guest| guest.size(0))?;
    let expected = KEYS.len() as u64 - 1;
    match extent.entries == expected {
        true => Ok(format!("{expected} entries, {} bytes", extent.bytes)),
        false => Err(format!("size answers {} entries where there are {expected}", extent.entries)),
    }
}
