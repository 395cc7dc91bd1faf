//! What a topic's configurations say of how long its records live. The names are Kafka's.

use crate::log::embedded::topic::Row;

/// Less than this that was not looked through yet is left as it is: what Kafka's active segment is for. A topic with
/// smaller segments (`segment.bytes`) is compacted sooner.
const DIRTY_BYTES_MIN: u64 = 1 << 20;

/// A topic's `cleanup.policy`, with what it goes by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cleanup {
    pub retention: Option<Retention>,
    pub compaction: Option<Compaction>,
}

/// `delete`. `None`: without a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// `retention.ms`
    pub age_ms: Option<i64>,
    /// `retention.bytes`, of one partition
    pub bytes: Option<u64>,
    /// Whether records age by the partition's own time, its greatest timestamp, where the clock is ahead of that: so does
    /// the store whose changelog it is, and records of another year are not old because they are read today.
    pub by_newest: bool,
}

/// `compact`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Compaction {
    /// `min.compaction.lag.ms`: younger records are left, by the partition's own time.
    pub lag_ms: i64,
    /// `max.compaction.lag.ms`: what has waited so long is compacted however little it is.
    pub wait_ms: i64,
    /// `delete.retention.ms`
    pub tombstones_ms: i64,
    /// `min.cleanable.dirty.ratio`
    pub ratio: f64,
    /// Less than this is left.
    pub bytes_min: u64,
    /// Whether a record of the greatest timestamp stays: it is the time by which the rest has expired.
    pub keep_newest: bool,
}

impl Cleanup {
    pub fn of(row: &Row) -> Cleanup {
        let number = |name| row.config(name).and_then(|value| value.parse::<i64>().ok());
        let bound = |name| number(name).filter(|bound| *bound >= 0);
        let policies: Vec<&str> = row.config("cleanup.policy").unwrap_or_default().split(',').map(str::trim).collect();
        let (deletes, compacts) = (policies.contains(&"delete"), policies.contains(&"compact"));
        let lag_ms = bound("min.compaction.lag.ms").unwrap_or_default();
        let retention = Retention {
            age_ms: bound("retention.ms"),
            bytes: bound("retention.bytes").map(i64::unsigned_abs),
            by_newest: compacts,
        };
        let segment = bound("segment.bytes").map_or(DIRTY_BYTES_MIN, i64::unsigned_abs);
        let compaction = Compaction {
            lag_ms,
            wait_ms: bound("max.compaction.lag.ms").unwrap_or(i64::MAX),
            tombstones_ms: bound("delete.retention.ms").unwrap_or_default(),
            ratio: row.config("min.cleanable.dirty.ratio").and_then(|value| value.parse().ok()).unwrap_or(0.5),
            bytes_min: segment.min(DIRTY_BYTES_MIN),
            keep_newest: deletes || lag_ms > 0,
        };
        Cleanup {
            retention: (deletes && (retention.age_ms.is_some() || retention.bytes.is_some())).then_some(retention),
            compaction: compacts.then_some(compaction),
        }
    }
}

impl Compaction {
    /// Whether a later record takes an earlier one away only if its timestamp is not less. Where records must not be
    /// compacted for a time, they are versions: the latest of a key is the one with the greatest timestamp, and it may
    /// have been written before others.
    pub fn by_time(&self) -> bool {
        self.lag_ms > 0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::log::NewTopic;

    fn cleanup(configs: &[(&str, &str)]) -> Cleanup {
        let configs = configs.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        let topic = NewTopic { name: "t".into(), partitions: 1, replication_factor: None, configs };
        Cleanup::of(&Row::of(&topic).unwrap())
    }

    #[test]
    fn a_topic_of_which_nothing_is_said_keeps_everything() {
        assert_eq!(cleanup(&[]), Cleanup { retention: None, compaction: None });
    }

    #[test]
    fn policies_are_read_with_their_bounds() {
        let both = cleanup(&[("cleanup.policy", "compact,delete"), ("retention.ms", "5"), ("segment.bytes", "7")]);
        assert_eq!(both.retention, Some(Retention { age_ms: Some(5), bytes: None, by_newest: true }));
        let compaction = both.compaction.unwrap();
        assert_eq!((compaction.tombstones_ms, compaction.ratio, compaction.bytes_min), (86_400_000, 0.5, 7));
        assert!(compaction.keep_newest && !compaction.by_time());
        let deleting = cleanup(&[("retention.bytes", "9")]);
        assert_eq!(deleting.retention, Some(Retention { age_ms: None, bytes: Some(9), by_newest: false }));
        assert_eq!(deleting.compaction, None);
        let versions = cleanup(&[("cleanup.policy", "compact"), ("min.compaction.lag.ms", "3"), ("retention.ms", "1")]);
        assert_eq!(versions.retention, None, "a compacted topic does not age");
        assert!(versions.compaction.unwrap().by_time());
    }
}
