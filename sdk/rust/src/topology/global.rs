//! Global tables, and joins with them.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;

use super::graph::{Draft, Port};
use super::join::pairs;
use super::{Consumed, Materialized, Stream, Topology};
use crate::answer::{ALL, Field, SAME};
use crate::call::{Call, Function};
use crate::codec::Data;
use crate::description::Join;
use crate::frame::Kind;
use crate::store::Buffer;

/// All partitions of a topic in one table, of which every process has a whole copy: Kafka Streams' `GlobalKTable`. It is
/// there before the first record is processed, and follows its topic by itself, whatever the time of the records is.
pub struct GlobalTable<K, V> {
    port: Port,
    pub(crate) buffer: Rc<RefCell<Buffer>>,
    types: PhantomData<(K, V)>,
}

impl Topology {
    /// A topic read as a table that every task has all of; a null value deletes. It needs no changelog, and a
    /// [`Stream::join_global`] with it no repartition. A processor reads it with [`crate::Init::global_store`].
    ///
    /// ```
    /// # use millstream_sdk::prelude::*;
    /// # fn topology(app: &mut Topology) {
    /// let shops = app.global_table::<String, String>("shops", "shops");
    /// let sales = app.stream::<String, String>("sales");
    /// // A sale is `shop|article`.
    /// let shop = |_: &String, sale: &String| sale.split_once('|').map(|(shop, _)| shop.to_owned());
    /// sales.join_global(&shops, shop, |sale, city| format!("{sale} in {city}")).to("placed-sales");
    /// # }
    /// ```
    pub fn global_table<K: Data, V: Data>(&mut self, name: &str, store: impl Into<Materialized>) -> GlobalTable<K, V> {
        let op = "global-table-source";
        let store = self.add_store::<K, V>(op, store.into());
        let port = self.add(Draft { store: Some(store), ..Consumed::<K, V>::named(name).into_draft(op) });
        let buffer = self.graph.borrow().buffer(store);
        GlobalTable { port, buffer, types: PhantomData }
    }
}

impl<K: Data, V: Data> Stream<K, V> {
    /// Each record with the row that the table has for `key` of it when the record comes. Without a key or a row there is
    /// no result. The result has the record's own key and time.
    pub fn join_global<K2: Data, V2: Data, R: Data>(
        &self,
        table: &GlobalTable<K2, V2>,
        key: impl FnMut(&K, &V) -> Option<K2> + 'static,
        mut join: impl FnMut(V, V2) -> R + 'static,
    ) -> Stream<K, R> {
        self.with_global(Join::Inner, table, (keys(key), pairs(move |left: V, right: V2| join(left, right))))
    }

    /// The same, and records without a row.
    pub fn left_join_global<K2: Data, V2: Data, R: Data>(
        &self,
        table: &GlobalTable<K2, V2>,
        key: impl FnMut(&K, &V) -> Option<K2> + 'static,
        mut join: impl FnMut(V, Option<V2>) -> R + 'static,
    ) -> Stream<K, R> {
        self.with_global(Join::Left, table, (keys(key), pairs(move |left: V, right: Option<V2>| join(left, right))))
    }

    /// The node is asked for keys and for joined values.
    pub(super) fn with_global<K2: Data, V2: Data, R: Data>(
        &self,
        join: Join,
        table: &GlobalTable<K2, V2>,
        (mut keys, mut joiner): (Function, Function),
    ) -> Stream<K, R> {
        let function: Function = Box::new(move |call: &mut Call<'_>| match call.frame.kind {
            Kind::Join => joiner(call),
            _ => keys(call),
        });
        let inputs = vec![self.port.clone(), table.port.clone()];
        let op = "stream-global-join";
        let draft = Draft { op, inputs, join: Some(join), function: Some(function), ..Draft::default() };
        Stream::new(self.topology.clone(), self.topology.add(draft))
    }
}

pub(super) fn keys<K: Data, V: Data, K2: Data>(mut key: impl FnMut(&K, &V) -> Option<K2> + 'static) -> Function {
    Box::new(move |call: &mut Call<'_>| {
        call.each(|input, answer| {
            let key = key(&input.key()?, &input.value()?);
            answer.element(input.place, ALL, input.timestamp(), (Field::New(&key), SAME), None);
            Ok(())
        })
    })
}
