//! Who may write, and from where.

use super::super::bindings::exports::millstream::plugin::provider::Failure;
use super::bench::{Bench, EPOCH, Found, Model, frame, shown};

/// Holds a call's answer against the conflict that it must be.
fn conflict<T>(what: &str, answer: Result<T, Failure>) -> Result<(), String> {
    match answer {
        Err(Failure::Conflict(_)) => Ok(()),
        Ok(_) => Err(format!("{what} was done, and is a conflict")),
        Err(other) => Err(format!("{what} is a conflict, and was answered with {}", shown(&other))),
    }
}

pub fn refuses_another_position(bench: &mut Bench) -> Found {
    bench.open()?;
    bench.write(0, &[(b"k", Some(b"1"))])?;
    bench.write(0, &[(b"k", Some(b"2"))])?;
    let (epoch, writes) = (bench.epoch, frame(&[(b"k", Some(b"late")), (b"l", Some(b"late"))]));
    for from in [&b""[..], b"position-1", b"elsewhere"] {
        let to = bench.next();
        let answer = bench.attempt("apply", |guest| guest.apply(0, epoch, from, &to, &writes))?;
        conflict("a write from where the store does not stand", answer)?;
    }
    bench.expect(0, &[(b"k".to_vec(), b"2".to_vec())].into())?;
    Ok("a write from an earlier position, or from none, writes nothing".to_owned())
}

pub fn refuses_another_epoch(bench: &mut Bench) -> Found {
    let is_persistent = bench.open()?;
    bench.write(0, &[(b"k", Some(b"1"))])?;
    let (from, writes) = (bench.position_of(0), frame(&[(b"k", Some(b"late"))]));
    let to = bench.next();
    let answer = bench.attempt("apply", |guest| guest.apply(0, EPOCH - 1, &from, &to, &writes))?;
    conflict("a write of an earlier epoch", answer)?;
    conflict("a wipe of an earlier epoch", bench.attempt("wipe", |guest| guest.wipe(0, EPOCH - 1))?)?;
    bench.expect(0, &[(b"k".to_vec(), b"1".to_vec())].into())?;
    if !is_persistent {
        return Ok("writes and wipes of an earlier epoch do nothing".to_owned());
    }
    // Another owner in an instance of its own; the first one wakes up.
    bench.call("flush", |guest| guest.flush(0, EPOCH))?;
    bench.crash();
    bench.epoch = EPOCH + 1;
    bench.open()?;
    let answer = bench.attempt("apply", |guest| guest.apply(0, EPOCH, &from, &to, &writes))?;
    conflict("a write of the owner before", answer)?;
    conflict("a wipe of the owner before", bench.attempt("wipe", |guest| guest.wipe(0, EPOCH))?)?;
    let before =
        super::super::bindings::exports::millstream::plugin::provider::Options { epoch: EPOCH, ..bench.options(0) };
    bench.crash();
    conflict("opening for the owner before", bench.attempt("open", |guest| guest.open(0, &before))?)?;
    bench.crash();
    bench.open()?;
    bench.expect(0, &[(b"k".to_vec(), b"1".to_vec())].into())?;
    Ok("what the owner before writes, wipes and opens does nothing".to_owned())
}

pub fn wipes_everything(bench: &mut Bench) -> Found {
    bench.open()?;
    bench.write(0, &[(b"a", Some(b"1")), (b"", Some(b"2")), (b"\xff\xff", Some(b"3"))])?;
    let epoch = bench.epoch;
    bench.call("wipe", |guest| guest.wipe(0, epoch))?;
    bench.leave_at(0, Vec::new());
    let position = bench.call("position", |guest| guest.position(0))?;
    bench.check_position("position", 0, &position)?;
    bench.expect(0, &Model::new())?;
    bench.write(0, &[(b"b", Some(b"4"))])?;
    bench.expect(0, &[(b"b".to_vec(), b"4".to_vec())].into())?;
    Ok("no rows, no position, and it takes writes again".to_owned())
}
