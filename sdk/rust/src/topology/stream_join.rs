//! Joins of two streams in time.

use std::time::Duration;

use super::Stream;
use super::graph::Draft;
use super::join::pairs;
use crate::call::Function;
use crate::codec::{self, Data};
use crate::description::{Join, Windows};

/// How far apart the records of two streams may be to meet, and how long one that meets nobody is waited for: Kafka
/// Streams' `JoinWindows`. Times are milliseconds; what is finer is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinWindows {
    before: Duration,
    after: Duration,
    grace: Duration,
}

impl JoinWindows {
    /// A right record may be this much older or newer than the left one, both included. No grace.
    pub const fn of(difference: Duration) -> JoinWindows {
        JoinWindows { before: difference, after: difference, grace: Duration::ZERO }
    }

    /// How much older than the left record the right one may be.
    pub const fn before(self, before: Duration) -> JoinWindows {
        JoinWindows { before, ..self }
    }

    /// How much newer than the left record the right one may be.
    pub const fn after(self, after: Duration) -> JoinWindows {
        JoinWindows { after, ..self }
    }

    /// How much later than the time of the streams a record may come. Results without a partner wait as long.
    pub const fn grace(self, grace: Duration) -> JoinWindows {
        JoinWindows { grace, ..self }
    }

    fn describe(self) -> Windows {
        let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        Windows { before_ms: ms(self.before), after_ms: ms(self.after), grace_ms: ms(self.grace) }
    }
}

impl<K: Data, V: Data> Stream<K, V> {
    /// Each pair of records of equal keys whose times are within the windows: Kafka Streams' `join` of two streams. A
    /// result has the later one's time. Every record of both streams is kept that long.
    ///
    /// Name it ([`Stream::named`]): its stores are called after it, `NAME-this-join-store`, `NAME-other-join-store` and,
    /// for what waits for a partner, `NAME-left-shared-join-store`, as with Kafka Streams' `StreamJoined`.
    ///
    /// ```
    /// # use millstream_sdk::prelude::*;
    /// # fn topology(app: &mut Topology) {
    /// # let views = app.stream::<String, String>("views");
    /// # let clicks = app.stream::<String, String>("clicks");
    /// let windows = JoinWindows::of(Duration::from_secs(60)).before(Duration::ZERO).grace(Duration::from_secs(5));
    /// views.join_stream(&clicks, |view, click| format!("{view} {click}"), windows).named("clicked").to("clicked-views");
    /// # }
    /// ```
    pub fn join_stream<V2: Data, R: Data>(
        &self,
        other: &Stream<K, V2>,
        mut join: impl FnMut(V, V2) -> R + 'static,
        windows: JoinWindows,
    ) -> Stream<K, R> {
        self.join_in(Join::Inner, other, pairs(move |left: V, right: V2| join(left, right)), windows)
    }

    /// The same, and the records of this stream that meet nobody: once, when their windows and the grace are over. Kafka
    /// Streams' `leftJoin` of two streams.
    pub fn left_join_stream<V2: Data, R: Data>(
        &self,
        other: &Stream<K, V2>,
        mut join: impl FnMut(V, Option<V2>) -> R + 'static,
        windows: JoinWindows,
    ) -> Stream<K, R> {
        self.join_in(Join::Left, other, pairs(move |left: V, right: Option<V2>| join(left, right)), windows)
    }

    /// The same, and the records of either stream that meet nobody. Kafka Streams' `outerJoin`.
    pub fn outer_join_stream<V2: Data, R: Data>(
        &self,
        other: &Stream<K, V2>,
        mut join: impl FnMut(Option<V>, Option<V2>) -> R + 'static,
        windows: JoinWindows,
    ) -> Stream<K, R> {
        self.join_in(Join::Outer, other, pairs(move |left: Option<V>, right: Option<V2>| join(left, right)), windows)
    }

    pub(super) fn join_in<V2: Data, R: Data>(
        &self,
        join: Join,
        other: &Stream<K, V2>,
        function: Function,
        windows: JoinWindows,
    ) -> Stream<K, R> {
        let draft = Draft {
            op: "stream-join",
            inputs: vec![self.port.clone(), other.port.clone()],
            key: Some(codec::name::<K>()),
            value: Some(codec::name::<V>()),
            other_value: Some(codec::name::<V2>()),
            join: Some(join),
            join_windows: Some(windows.describe()),
            function: Some(function),
            ..Draft::default()
        };
        Stream::new(self.topology.clone(), self.topology.add(draft))
    }
}
