//! The guest's half of `reduce` and `aggregate`: from a group's aggregate and the next value to the next aggregate.

use crate::answer::{ALL, Field, SAME};
use crate::call::{Call, Function};
use crate::codec::{self, Data, DecodeError};
use crate::failure::Failure;
use crate::frame::{Group, Kind};

/// A key and its aggregate, which moves on with every value.
struct Running<K> {
    key: K,
    /// As bytes: each step reads what the step before has written, as it would in a batch of its own. What a codec
    /// does not carry (a skipped field, a NaN) is lost in every batch or in none.
    so_far: Option<Vec<u8>>,
}

pub(super) fn fold<K: Data, V: Data, A: Data>(mut step: impl FnMut(&K, V, Option<A>) -> A + 'static) -> Function {
    Box::new(move |call: &mut Call<'_>| {
        call.expect(Kind::Fold)?;
        let mut groups: Vec<_> = call.frame.groups.iter().map(start::<K>).collect();
        call.run(|input, answer| {
            let group = groups[input.element.group].as_mut().map_err(|error| Failure::fail(error.to_string()))?;
            let so_far = group.so_far.as_ref().map(|bytes| codec::decode("aggregate so far", Some(bytes)));
            let next = codec::to_bytes(&step(&group.key, input.value()?, so_far.transpose()?));
            answer.element(input.place, ALL, input.timestamp(), (SAME, Field::New(&next)), None);
            group.so_far = next;
            Ok(())
        });
        Ok(())
    })
}

fn start<K: Data>(group: &Group<'_>) -> Result<Running<K>, DecodeError> {
    Ok(Running { key: codec::decode("key", Some(group.key))?, so_far: group.aggregate.map(<[u8]>::to_vec) })
}
