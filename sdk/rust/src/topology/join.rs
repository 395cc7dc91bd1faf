//! Joins with a table by its key.

use std::time::Duration;

use super::graph::Draft;
use super::{Changes, Deletes, Materialized, Stream, Table, Upserts};
use crate::answer::{ALL, Field, SAME};
use crate::call::{Call, Function, Input};
use crate::codec::{self, Data};
use crate::description::Join;
use crate::failure::Failure;
use crate::frame::Kind;

impl<K: Data, V: Data> Stream<K, V> {
    /// Each record with the table's row of its key as it is when the record comes. Without a row there is no result.
    /// The result has the record's key and time.
    pub fn join<V2: Data, R: Data, C: Changes>(
        &self,
        table: &Table<K, V2, C>,
        mut join: impl FnMut(V, V2) -> R + 'static,
    ) -> Stream<K, R> {
        self.join_table(Join::Inner, table, pairs(move |left: V, right: V2| join(left, right)), None)
    }

    /// The same, and records without a row.
    pub fn left_join<V2: Data, R: Data, C: Changes>(
        &self,
        table: &Table<K, V2, C>,
        mut join: impl FnMut(V, Option<V2>) -> R + 'static,
    ) -> Stream<K, R> {
        self.join_table(Join::Left, table, pairs(move |left: V, right: Option<V2>| join(left, right)), None)
    }

    /// As [`Stream::join`] with a [`Topology::versioned_table`](super::Topology::versioned_table) whose history is `grace`
    /// or longer: each record waits until the stream's time has passed it by `grace`, and then meets the row of its own
    /// time. Results come in the order of time; a record that is later than `grace` does not wait. Kafka Streams'
    /// `Joined.withGracePeriod`.
    ///
    /// Name it ([`Stream::named`]): what waits is kept in a store called after it, `NAME-Buffer`.
    ///
    /// ```
    /// # use millstream_sdk::prelude::*;
    /// # fn topology(app: &mut Topology) {
    /// # let orders = app.stream::<String, String>("orders");
    /// let day = Duration::from_secs(86_400);
    /// let prices = app.versioned_table::<String, String>("prices", Materialized::named("prices").retention(day));
    /// let minute = Duration::from_secs(60);
    /// orders.join_with_grace(&prices, |order, price| format!("{order} {price}"), minute).named("priced").to("priced-orders");
    /// # }
    /// ```
    pub fn join_with_grace<V2: Data, R: Data, C: Changes>(
        &self,
        table: &Table<K, V2, C>,
        mut join: impl FnMut(V, V2) -> R + 'static,
        grace: Duration,
    ) -> Stream<K, R> {
        self.join_table(Join::Inner, table, pairs(move |left: V, right: V2| join(left, right)), Some(grace))
    }

    /// The same, and records without a row. One without a key does not wait.
    pub fn left_join_with_grace<V2: Data, R: Data, C: Changes>(
        &self,
        table: &Table<K, V2, C>,
        mut join: impl FnMut(V, Option<V2>) -> R + 'static,
        grace: Duration,
    ) -> Stream<K, R> {
        self.join_table(Join::Left, table, pairs(move |left: V, right: Option<V2>| join(left, right)), Some(grace))
    }

    pub(super) fn join_table<V2: Data, R: Data, C: Changes>(
        &self,
        join: Join,
        table: &Table<K, V2, C>,
        function: Function,
        grace: Option<Duration>,
    ) -> Stream<K, R> {
        let draft = Draft {
            op: "stream-table-join",
            inputs: vec![self.port.clone(), table.port.clone()],
            key: Some(codec::name::<K>()),
            join: Some(join),
            grace_ms: grace.map(|grace| i64::try_from(grace.as_millis()).unwrap_or(i64::MAX)),
            function: Some(function),
            ..Draft::default()
        };
        Stream::new(self.topology.clone(), self.topology.add(draft))
    }

    /// The stream read as a table, the latest value of each key kept in a store; a null value deletes.
    pub fn to_table(&self, store: impl Into<Materialized>) -> Table<K, V, Upserts> {
        let op = "to-table";
        let store = Some(self.topology.add_store::<K, V>(op, store.into()));
        let inputs = vec![self.port.clone()];
        Table::new(self.topology.clone(), self.topology.add(Draft { op, inputs, store, ..Draft::default() }))
    }
}

impl<K: Data, V: Data, C: Changes> Table<K, V, C> {
    /// The rows of keys that both tables have; a change of either one is a change of the result.
    ///
    /// Tables of windows meet in the windows that both have, where these are equally long; tables of sessions in the sessions
    /// that begin and end together. Each side is looked up in its own store, which shows a window for as long as its retention
    /// says ([`Materialized::retention`]): give both what the later one needs.
    ///
    /// ```
    /// # use millstream_sdk::prelude::*;
    /// # fn topology(app: &mut Topology) {
    /// # let clicks = app.stream::<String, String>("clicks");
    /// # let sales = app.stream::<String, String>("sales");
    /// let hours = TimeWindows::of(Duration::from_secs(3600));
    /// let clicks_per_hour = clicks.group_by_key().windowed_by(hours).count("clicks-per-hour");
    /// let sales_per_hour = sales.group_by_key().windowed_by(hours).count("sales-per-hour");
    /// let rates = clicks_per_hour.join(&sales_per_hour, |clicks, sales| 100 * sales / clicks);
    /// rates.to_stream().to("rates-per-hour");
    /// # }
    /// ```
    pub fn join<V2: Data, R: Data, C2: Changes>(
        &self,
        other: &Table<K, V2, C2>,
        mut join: impl FnMut(V, V2) -> R + 'static,
    ) -> Table<K, R, Deletes> {
        self.join_table(Join::Inner, other, pairs(move |left: V, right: V2| join(left, right)))
    }

    /// The rows of keys that this table has.
    pub fn left_join<V2: Data, R: Data, C2: Changes>(
        &self,
        other: &Table<K, V2, C2>,
        mut join: impl FnMut(V, Option<V2>) -> R + 'static,
    ) -> Table<K, R, Deletes> {
        self.join_table(Join::Left, other, pairs(move |left: V, right: Option<V2>| join(left, right)))
    }

    /// The rows of keys that either table has.
    pub fn outer_join<V2: Data, R: Data, C2: Changes>(
        &self,
        other: &Table<K, V2, C2>,
        mut join: impl FnMut(Option<V>, Option<V2>) -> R + 'static,
    ) -> Table<K, R, Deletes> {
        self.join_table(Join::Outer, other, pairs(move |left: Option<V>, right: Option<V2>| join(left, right)))
    }

    fn join_table<V2: Data, R: Data, C2: Changes>(
        &self,
        join: Join,
        other: &Table<K, V2, C2>,
        function: Function,
    ) -> Table<K, R, Deletes> {
        let inputs = vec![self.port.clone(), other.port.clone()];
        let draft = Draft { op: "table-join", inputs, join: Some(join), function: Some(function), ..Draft::default() };
        Table::new(self.topology.clone(), self.topology.add(draft))
    }
}

/// The left side is the element, the right one its row.
pub(super) fn pairs<L: Data, R: Data, J: Data>(mut join: impl FnMut(L, R) -> J + 'static) -> Function {
    rows(move |input, row| Ok(join(input.value()?, row)))
}

/// The same, with the element's key.
pub(super) fn keyed_pairs<K: Data, L: Data, R: Data, J: Data>(
    mut join: impl FnMut(&K, L, R) -> J + 'static,
) -> Function {
    rows(move |input, row| Ok(join(&input.key()?, input.value()?, row)))
}

fn rows<R: Data, J: Data>(mut join: impl FnMut(&Input<'_>, R) -> Result<J, Failure> + 'static) -> Function {
    Box::new(move |call: &mut Call<'_>| {
        call.expect(Kind::Join)?;
        let rows = std::mem::take(&mut call.frame.groups);
        call.run(|input, answer| {
            let row = codec::decode("row", rows[input.element.group].aggregate)?;
            let joined = join(&input, row)?;
            answer.element(input.place, ALL, input.timestamp(), (SAME, Field::New(&joined)), None);
            Ok(())
        });
        Ok(())
    })
}
