//! The joins of streams with a function that is given the key too: Kafka Streams' `ValueJoinerWithKey`.

use std::time::Duration;

use super::global::keys;
use super::join::keyed_pairs;
use super::{Changes, GlobalTable, JoinWindows, Stream, Table};
use crate::codec::Data;
use crate::description::Join;

impl<K: Data, V: Data> Stream<K, V> {
    /// As [`Stream::join`].
    ///
    /// ```
    /// # use millstream_sdk::prelude::*;
    /// # fn topology(app: &mut Topology) {
    /// # let orders = app.stream::<String, String>("orders");
    /// # let prices = app.table::<String, String>("prices", "prices");
    /// orders.join_with_key(&prices, |article, order, price| format!("{article}: {order} {price}")).to("priced-orders");
    /// # }
    /// ```
    pub fn join_with_key<V2: Data, R: Data, C: Changes>(
        &self,
        table: &Table<K, V2, C>,
        join: impl FnMut(&K, V, V2) -> R + 'static,
    ) -> Stream<K, R> {
        self.join_table(Join::Inner, table, keyed_pairs(join), None)
    }

    /// As [`Stream::left_join`].
    pub fn left_join_with_key<V2: Data, R: Data, C: Changes>(
        &self,
        table: &Table<K, V2, C>,
        join: impl FnMut(&K, V, Option<V2>) -> R + 'static,
    ) -> Stream<K, R> {
        self.join_table(Join::Left, table, keyed_pairs(join), None)
    }

    /// As [`Stream::join_with_grace`].
    pub fn join_with_grace_and_key<V2: Data, R: Data, C: Changes>(
        &self,
        table: &Table<K, V2, C>,
        join: impl FnMut(&K, V, V2) -> R + 'static,
        grace: Duration,
    ) -> Stream<K, R> {
        self.join_table(Join::Inner, table, keyed_pairs(join), Some(grace))
    }

    /// As [`Stream::left_join_with_grace`].
    pub fn left_join_with_grace_and_key<V2: Data, R: Data, C: Changes>(
        &self,
        table: &Table<K, V2, C>,
        join: impl FnMut(&K, V, Option<V2>) -> R + 'static,
        grace: Duration,
    ) -> Stream<K, R> {
        self.join_table(Join::Left, table, keyed_pairs(join), Some(grace))
    }

    /// As [`Stream::join_stream`].
    pub fn join_stream_with_key<V2: Data, R: Data>(
        &self,
        other: &Stream<K, V2>,
        join: impl FnMut(&K, V, V2) -> R + 'static,
        windows: JoinWindows,
    ) -> Stream<K, R> {
        self.join_in(Join::Inner, other, keyed_pairs(join), windows)
    }

    /// As [`Stream::left_join_stream`].
    pub fn left_join_stream_with_key<V2: Data, R: Data>(
        &self,
        other: &Stream<K, V2>,
        join: impl FnMut(&K, V, Option<V2>) -> R + 'static,
        windows: JoinWindows,
    ) -> Stream<K, R> {
        self.join_in(Join::Left, other, keyed_pairs(join), windows)
    }

    /// As [`Stream::outer_join_stream`].
    pub fn outer_join_stream_with_key<V2: Data, R: Data>(
        &self,
        other: &Stream<K, V2>,
        join: impl FnMut(&K, Option<V>, Option<V2>) -> R + 'static,
        windows: JoinWindows,
    ) -> Stream<K, R> {
        self.join_in(Join::Outer, other, keyed_pairs(join), windows)
    }

    /// As [`Stream::join_global`]; the key is the record's own.
    pub fn join_global_with_key<K2: Data, V2: Data, R: Data>(
        &self,
        table: &GlobalTable<K2, V2>,
        key: impl FnMut(&K, &V) -> Option<K2> + 'static,
        join: impl FnMut(&K, V, V2) -> R + 'static,
    ) -> Stream<K, R> {
        self.with_global(Join::Inner, table, (keys(key), keyed_pairs(join)))
    }

    /// As [`Stream::left_join_global`]; the key is the record's own.
    pub fn left_join_global_with_key<K2: Data, V2: Data, R: Data>(
        &self,
        table: &GlobalTable<K2, V2>,
        key: impl FnMut(&K, &V) -> Option<K2> + 'static,
        join: impl FnMut(&K, V, Option<V2>) -> R + 'static,
    ) -> Stream<K, R> {
        self.with_global(Join::Left, table, (keys(key), keyed_pairs(join)))
    }
}
