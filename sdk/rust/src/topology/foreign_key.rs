//! Joins of two tables by a key in the left one's values.

use super::graph::Draft;
use super::join::pairs;
use super::{Changes, Deletes, Table};
use crate::answer::{ALL, Field, SAME};
use crate::call::{Call, Function};
use crate::codec::Data;
use crate::description::Join;
use crate::frame::Kind;

impl<K: Data, V: Data, C: Changes> Table<K, V, C> {
    /// The rows of this table whose `foreign_key` is a key of the other one; a change of either one is a change of the
    /// result. A foreign key of `None` joins with nothing. Name it ([`Table::named`]): its store and topics are called
    /// after it.
    ///
    /// As in Kafka Streams, a row that loses its partner and changes again before the host has heard of it may keep its
    /// last result. A left join has no such gap.
    pub fn foreign_key_join<K2: Data, V2: Data, R: Data, C2: Changes>(
        &self,
        other: &Table<K2, V2, C2>,
        foreign_key: impl FnMut(&K, V) -> Option<K2> + 'static,
        mut join: impl FnMut(V, V2) -> R + 'static,
    ) -> Table<K, R, Deletes> {
        let joiner = pairs(move |left: V, right: V2| join(left, right));
        self.by_foreign_key(Join::Inner, other, (keys(foreign_key), joiner))
    }

    /// The same, and the rows without a partner.
    pub fn foreign_key_left_join<K2: Data, V2: Data, R: Data, C2: Changes>(
        &self,
        other: &Table<K2, V2, C2>,
        foreign_key: impl FnMut(&K, V) -> Option<K2> + 'static,
        mut join: impl FnMut(V, Option<V2>) -> R + 'static,
    ) -> Table<K, R, Deletes> {
        let joiner = pairs(move |left: V, right: Option<V2>| join(left, right));
        self.by_foreign_key(Join::Left, other, (keys(foreign_key), joiner))
    }

    /// The node is asked for foreign keys and for joined values.
    fn by_foreign_key<K2: Data, V2: Data, R: Data, C2: Changes>(
        &self,
        join: Join,
        other: &Table<K2, V2, C2>,
        (mut keys, mut joiner): (Function, Function),
    ) -> Table<K, R, Deletes> {
        let function: Function = Box::new(move |call: &mut Call<'_>| match call.frame.kind {
            Kind::Join => joiner(call),
            _ => keys(call),
        });
        let inputs = vec![self.port.clone(), other.port.clone()];
        let op = "foreign-key-join";
        let draft = Draft { op, inputs, join: Some(join), function: Some(function), ..Draft::default() };
        Table::new(self.topology.clone(), self.topology.add(draft))
    }
}

fn keys<K: Data, V: Data, K2: Data>(mut foreign_key: impl FnMut(&K, V) -> Option<K2> + 'static) -> Function {
    Box::new(move |call: &mut Call<'_>| {
        call.each(|input, answer| {
            let key = foreign_key(&input.key()?, input.value()?);
            answer.element(input.place, ALL, input.timestamp(), (Field::New(&key), SAME), None);
            Ok(())
        })
    })
}
