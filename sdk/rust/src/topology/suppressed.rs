//! Tables whose changes are held back.

use std::time::Duration;

use super::graph::Draft;
use super::{Changes, Materialized, Table};
use crate::codec::Data;
use crate::description::{Suppress, WhenFull};

/// How long a table's changes are held back: Kafka Streams' `Suppressed`.
#[derive(Clone, Debug)]
pub struct Suppressed {
    name: Option<String>,
    /// `None`: until windows close.
    limit: Option<Duration>,
    buffer: BufferConfig,
}

/// How much of what is held back a buffer holds, and what it does when that is more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BufferConfig {
    max_records: Option<u64>,
    max_bytes: Option<u64>,
    shuts_down: bool,
}

impl Suppressed {
    /// One final result of each window, when it has closed: behind its end and grace (of a session: its gap too). The buffer
    /// must be strict, unbounded or one that shuts down, since a result that comes early is not final.
    pub fn until_window_closes(buffer: BufferConfig) -> Suppressed {
        Suppressed { name: None, limit: None, buffer }
    }

    /// Of each row the last change in this time, which begins with the first one that is held back.
    pub fn until_time_limit(limit: Duration, buffer: BufferConfig) -> Suppressed {
        Suppressed { name: None, limit: Some(limit), buffer }
    }

    /// Names the node; its buffer is the store `NAME-store`.
    pub fn with_name(self, name: impl Into<String>) -> Suppressed {
        Suppressed { name: Some(name.into()), ..self }
    }
}

impl BufferConfig {
    pub fn unbounded() -> BufferConfig {
        BufferConfig::default()
    }

    /// Holds so many rows; when there are more, the one that is due first goes downstream early.
    pub fn max_records(max: u64) -> BufferConfig {
        BufferConfig::default().with_max_records(max)
    }

    /// Holds so many bytes of keys, values, topics and headers; when there are more, the row that is due first goes downstream
    /// early.
    pub fn max_bytes(max: u64) -> BufferConfig {
        BufferConfig::default().with_max_bytes(max)
    }

    pub fn with_max_records(self, max: u64) -> BufferConfig {
        BufferConfig { max_records: Some(max), ..self }
    }

    pub fn with_max_bytes(self, max: u64) -> BufferConfig {
        BufferConfig { max_bytes: Some(max), ..self }
    }

    /// When it is full, what is due first goes downstream early: as it is without this word.
    pub fn emit_early_when_full(self) -> BufferConfig {
        BufferConfig { shuts_down: false, ..self }
    }

    /// When it is full, the record fails that it has no room for; its source's `on_error` says what becomes of that.
    pub fn shut_down_when_full(self) -> BufferConfig {
        BufferConfig { shuts_down: true, ..self }
    }

    fn is_strict(self) -> bool {
        self.shuts_down || (self.max_records, self.max_bytes) == (None, None)
    }
}

impl<K: Data, V: Data, C: Changes> Table<K, V, C> {
    /// Holds the table's changes back, and lets of each row only the last one go on. By the time of the records alone: when
    /// no more come, nothing is let go. What is held back survives a restart, in a store of the table's own.
    ///
    /// ```
    /// # use millstream_sdk::prelude::*;
    /// # fn topology(app: &mut Topology) {
    /// # let clicks = app.stream::<String, String>("clicks");
    /// let minute = TimeWindows::of(Duration::from_secs(60)).grace(Duration::from_secs(5));
    /// let counts = clicks.group_by_key().windowed_by(minute).count("counts");
    /// counts.suppress(Suppressed::until_window_closes(BufferConfig::unbounded()).with_name("final"));
    /// # }
    /// ```
    pub fn suppress(&self, suppressed: Suppressed) -> Table<K, V, C> {
        let Suppressed { name, limit, buffer } = suppressed;
        let BufferConfig { max_records, max_bytes, shuts_down } = buffer;
        let op = "suppress";
        let suppress = match limit {
            Some(limit) => Suppress::TimeLimit {
                ms: i64::try_from(limit.as_millis()).unwrap_or(i64::MAX),
                max_records,
                max_bytes,
                when_full: shuts_down.then_some(WhenFull::ShutDown),
            },
            None => Suppress::WindowClose { max_records, max_bytes },
        };
        if limit.is_none() && !buffer.is_strict() {
            let why = "a final result must not come early: let the buffer be unbounded, or shut down when it is full";
            self.topology.graph.borrow_mut().error(format!("a `{op}` until windows close: {why}"));
        }
        let store = Materialized { name: name.as_ref().map(|name| format!("{name}-store")), ..Materialized::unnamed() };
        let store = Some(self.topology.add_store::<K, Vec<u8>>(op, store));
        Table::new(
            self.topology.clone(),
            self.behind(Draft { op, name, store, suppress: Some(suppress), ..Draft::default() }),
        )
    }
}
