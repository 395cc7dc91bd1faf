//! How a table or a processor's state is kept.

use std::time::Duration;

/// The name and the keeping of a state store. A plain name will do: `count("word-counts")`.
///
/// The manifest's `[stores.NAME]` wins over what is said here.
#[derive(Clone, Debug, Default)]
pub struct Materialized {
    pub(crate) name: Option<String>,
    pub(crate) provider: Option<String>,
    pub(crate) changelog: Option<bool>,
    pub(crate) window_size: Option<Duration>,
    pub(crate) retention: Option<Duration>,
    pub(crate) versioned: bool,
    pub(crate) retain_duplicates: bool,
    pub(crate) cache_bytes: Option<u64>,
    pub(crate) reuse_source_topic: bool,
}

impl Materialized {
    pub fn named(name: impl Into<String>) -> Materialized {
        Materialized { name: Some(name.into()), ..Materialized::default() }
    }

    /// A store called after its operator and its place among the stores, `count-store-0`. A later version of the
    /// topology that adds a store in front of it renames it: name what shall live.
    pub fn unnamed() -> Materialized {
        Materialized::default()
    }

    /// `memory`, `lmdb` or one of the manifest's `[providers]`.
    pub fn provider(self, provider: impl Into<String>) -> Materialized {
        Materialized { provider: Some(provider.into()), ..self }
    }

    /// Of a window store, which needs it: how long a window is.
    pub fn window_size(self, size: Duration) -> Materialized {
        Materialized { window_size: Some(size), ..self }
    }

    /// Of a window, session or versioned store, which need it: how long it keeps what its own time has passed. Not less
    /// than a window's size. The manifest's `[stores.NAME] retention` wins.
    pub fn retention(self, retention: Duration) -> Materialized {
        Materialized { retention: Some(retention), ..self }
    }

    /// Of a table that is not of windows: keep the versions of each key, so that for as long as `history` it is known what the
    /// key's value was at a time. A stream that is joined with such a table, or with what is filtered or mapped of it, meets
    /// the row of its own time, and a row of the past changes no joined and no grouped table. It is read with
    /// [`crate::Table::versioned_store`]. A row older than the history goes nowhere; the table has no cache and is not
    /// suppressed.
    ///
    /// ```
    /// # use millstream_sdk::prelude::*;
    /// # fn topology(app: &mut Topology) {
    /// let day = Duration::from_secs(24 * 3600);
    /// let moves = app.stream::<String, i64>("stock-moves");
    /// let stock = moves.group_by_key().reduce(|stock, moved| stock + moved, Materialized::named("stock").versioned(day));
    /// let orders = app.stream::<String, String>("orders");
    /// orders.join(&stock, |order, stock| format!("{order}, of {stock} then")).to("checked-orders");
    /// # }
    /// ```
    pub fn versioned(self, history: Duration) -> Materialized {
        Materialized { versioned: true, ..self.retention(history) }
    }

    /// Of a window store: keep every value that is put for one key and one start, in their order.
    pub fn retain_duplicates(self) -> Materialized {
        Materialized { retain_duplicates: true, ..self }
    }

    /// `false`: no changelog, so the state is lost with its disk. The manifest must allow it under exactly-once.
    pub fn changelog(self, changelog: bool) -> Materialized {
        Materialized { changelog: Some(changelog), ..self }
    }

    /// Holds updates of the table back until a commit, or until a task holds this many bytes of them: of each key only what it
    /// has come to goes downstream and into the changelog (Kafka Streams' caching). 0 is none, which is the default. The
    /// manifest's `[stores.NAME] cache` wins.
    pub fn caching(self, bytes: u64) -> Materialized {
        Materialized { cache_bytes: Some(bytes), ..self }
    }

    /// Of a table that is read from a compacted topic: that topic is its changelog, and no second one is made. Processors
    /// may then read the table and not write it. The manifest's `[stores.NAME] changelog` wins.
    pub fn reuse_source_topic(self) -> Materialized {
        Materialized { reuse_source_topic: true, ..self }
    }
}

impl From<&str> for Materialized {
    fn from(name: &str) -> Materialized {
        Materialized::named(name)
    }
}

impl From<String> for Materialized {
    fn from(name: String) -> Materialized {
        Materialized::named(name)
    }
}
