//! The guest's half of `reduce` and `aggregate`: from a group's aggregate and the next value to the next aggregate.

use crate::answer::{ALL, Field, SAME};
use crate::call::{Call, Function};
use crate::codec::{self, Data, DecodeError};
use crate::failure::Failure;
use crate::frame::{Group, Kind};

/// A key and its aggregate, which moves on with every value.
struct Running<K, A> {
    key: K,
    so_far: Option<A>,
}

pub(super) fn fold<K: Data, V: Data, A: Data>(mut step: impl FnMut(&K, V, Option<A>) -> A + 'static) -> Function {
    Box::new(move |call: &mut Call<'_>| {
        call.expect(Kind::Fold)?;
        let mut groups: Vec<_> = call.frame.groups.iter().map(start::<K, A>).collect();
        call.run(|input, answer| {
            let group = groups[input.element.group].as_mut().map_err(|error| Failure::fail(error.to_string()))?;
            let next = step(&group.key, input.value()?, group.so_far.take());
            answer.element(input.place, ALL, input.timestamp(), (SAME, Field::New(&next)), None);
            group.so_far = Some(next).filter(|next| !codec::is_null(next));
            Ok(())
        });
        Ok(())
    })
}

fn start<K: Data, A: Data>(group: &Group<'_>) -> Result<Running<K, A>, DecodeError> {
    let so_far = group.aggregate.map(|bytes| codec::decode("aggregate so far", Some(bytes)));
    Ok(Running { key: codec::decode("key", Some(group.key))?, so_far: so_far.transpose()? })
}
