//! What is there when the instance is gone.

use super::bench::{Bench, Found, Model};

/// A store that stands at its second write.
fn written(bench: &mut Bench) -> Result<(bool, Model), String> {
    let is_persistent = bench.open()?;
    bench.write(0, &[(b"a", Some(b"1")), (b"b", Some(b"2"))])?;
    bench.write(0, &[(b"a", None), (b"c", Some(b"3"))])?;
    Ok((is_persistent, [(b"b".to_vec(), b"2".to_vec()), (b"c".to_vec(), b"3".to_vec())].into()))
}

/// What does not outlive its instance must not seem to: rows without their position would be taken for the store.
fn expect_nothing(bench: &mut Bench) -> Found {
    bench.leave_at(0, Vec::new());
    let position = bench.call("position", |guest| guest.position(0))?;
    bench.check_position("position", 0, &position)?;
    bench.expect(0, &Model::new())?;
    Ok("it does not outlive its instance, and says so: no rows, no position".to_owned())
}

pub fn reopens_as_it_was(bench: &mut Bench) -> Found {
    let (is_persistent, model) = written(bench)?;
    let epoch = bench.epoch;
    bench.call("flush", |guest| guest.flush(0, epoch))?;
    bench.call("close", |guest| guest.close(0))?;
    bench.crash();
    bench.epoch += 1;
    bench.open()?;
    if !is_persistent {
        return expect_nothing(bench);
    }
    let position = bench.call("position", |guest| guest.position(0))?;
    bench.check_position("position", 0, &position)?;
    bench.expect(0, &model)?;
    bench.write(0, &[(b"b", None)])?;
    Ok("rows and position are there after a flush and a close, and the next owner writes on".to_owned())
}

/// The instance goes between a write and its flush: the rows must be those of the position, whichever it is.
pub fn survives_a_crash(bench: &mut Bench) -> Found {
    let (is_persistent, after) = written(bench)?;
    let left = bench.position_of(0);
    bench.crash();
    bench.open()?;
    if !is_persistent {
        return expect_nothing(bench);
    }
    let before: Model = [(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), b"2".to_vec())].into();
    let position = bench.call("position", |guest| guest.position(0))?;
    let (model, what) = match position.as_slice() {
        position if position == left => (after, "the write"),
        b"position-1" => (before, "the write before"),
        b"" => (Model::new(), "nothing"),
        other => return Err(format!("it stands at {}, where nobody left it", super::bench::text(other))),
    };
    bench.leave_at(0, position);
    bench.expect(0, &model)?;
    Ok(format!("behind a crash it holds {what}, rows and position"))
}
