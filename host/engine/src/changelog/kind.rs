//! Kinds of stores, as far as their changelogs differ by them.

/// The shortest span of a segment: what expires goes by segments, and many small ones cost more than they free
/// (semantics.md B6).
const SEGMENT_MS_MIN: i64 = 60_000;

/// What a store keeps, beside the bytes of its values. Times are milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreKind {
    #[default]
    KeyValue,
    /// Of each key what a suppression holds back. A key-value store to all but that operator and the changelog.
    Buffer,
    /// Of each key one value for each start of a window, or many. `closing`: its windows are also found by their time.
    Window { size_ms: i64, retention_ms: i64, duplicates: bool, closing: bool },
    /// Of each key one value for each session, from a start to an end, both included. `closing`: as above.
    Session { retention_ms: i64, closing: bool },
    /// Of each key its values of the last `history_ms`, and the latest one whatever its age.
    Versioned { history_ms: i64 },
}

impl StoreKind {
    pub const NAMES: [&'static str; 4] = ["key-value", "window", "session", "versioned"];

    pub fn name(self) -> &'static str {
        match self {
            StoreKind::KeyValue | StoreKind::Buffer => "key-value",
            StoreKind::Window { .. } => "window",
            StoreKind::Session { .. } => "session",
            StoreKind::Versioned { .. } => "versioned",
        }
    }

    /// How long it keeps what time leaves behind; `None`: for ever.
    pub fn retention_ms(self) -> Option<i64> {
        match self {
            StoreKind::KeyValue | StoreKind::Buffer => None,
            StoreKind::Window { retention_ms, .. } | StoreKind::Session { retention_ms, .. } => Some(retention_ms),
            StoreKind::Versioned { history_ms } => Some(history_ms),
        }
    }

    /// The earliest time that it shows once it has observed this one. Where windows are given away as they close, one more
    /// is shown, as in Kafka Streams: what closes now has just been kept for long enough.
    pub fn first_visible(self, observed: i64) -> i64 {
        let hidden = observed.saturating_sub(self.retention_ms().unwrap_or(i64::MAX));
        hidden.saturating_add(if matches!(self, StoreKind::Window { closing: true, .. }) { 0 } else { 1 })
    }

    /// Whether time makes it forget.
    pub fn goes_by_time(self) -> bool {
        !matches!(self, StoreKind::KeyValue | StoreKind::Buffer)
    }

    /// The same kind with another retention.
    pub fn with_retention_ms(self, ms: i64) -> StoreKind {
        match self {
            StoreKind::KeyValue | StoreKind::Buffer => self,
            StoreKind::Window { size_ms, duplicates, closing, .. } => {
                StoreKind::Window { size_ms, retention_ms: ms, duplicates, closing }
            }
            StoreKind::Session { closing, .. } => StoreKind::Session { retention_ms: ms, closing },
            StoreKind::Versioned { .. } => StoreKind::Versioned { history_ms: ms },
        }
    }

    /// Whether its windows or sessions are also found by their time, as they close.
    pub fn is_closing(self) -> bool {
        matches!(self, StoreKind::Window { closing: true, .. } | StoreKind::Session { closing: true, .. })
    }

    /// The same kind, of windows or sessions that are also found by their time.
    pub fn with_closing(self) -> StoreKind {
        match self {
            StoreKind::Window { size_ms, retention_ms, duplicates, .. } => {
                StoreKind::Window { size_ms, retention_ms, duplicates, closing: true }
            }
            StoreKind::Session { retention_ms, .. } => StoreKind::Session { retention_ms, closing: true },
            other => other,
        }
    }

    /// What its changelog's keys carry beside the user's key.
    pub fn changelog_key_overhead(self) -> usize {
        match self {
            StoreKind::KeyValue | StoreKind::Buffer | StoreKind::Versioned { .. } => 0,
            StoreKind::Window { .. } => super::keys::WINDOW_SUFFIX_LEN,
            StoreKind::Session { .. } => super::keys::SESSION_SUFFIX_LEN,
        }
    }

    /// The span of one segment: what a store keeps goes away by whole segments.
    pub fn segment_ms(self) -> i64 {
        self.retention_ms().map_or(SEGMENT_MS_MIN, |retention| (retention / 2).max(SEGMENT_MS_MIN))
    }
}

/// Bytes of a key that one more byte goes with in a store that goes by time.
pub const ROW_GROUP: usize = 8;

/// How long the longest row of such a store is, with a key of this length: a tag, a segment, the key, two times.
pub fn row_len_max(key: usize) -> usize {
    1 + 8 + (key / ROW_GROUP + 1) * (ROW_GROUP + 1) + 16
}
