//! Reads of committed state, by serialised key.

use std::ops::ControlFlow;
use std::sync::mpsc::SyncSender;

use millstream_engine::store::{Base, Error, KeyRange, split_timestamp};
use millstream_engine::task::TaskId;

/// Rows of one answer: a thread serves it between two batches, so it must be short.
pub const ROWS_MAX: usize = 1_000;

/// Bytes of one answer, keys and values together; one row more than that is always served.
pub const BYTES_MAX: usize = 1 << 20;

/// A query on its way to a thread. A thread that cannot send its answer lets it fall: nobody waits any more.
pub struct Request {
    pub query: Query,
    /// With room for one.
    pub reply: SyncSender<Reply>,
}

/// What is asked of one store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    pub store: String,
    pub keys: Keys,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    One(Vec<u8>),
    Range(Range),
}

/// Bounds are inclusive, an absent one is open. Rows come in the order of (key, task), or the other way round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    pub from: Option<Vec<u8>>,
    pub to: Option<Vec<u8>>,
    pub prefix: Option<Vec<u8>>,
    pub reverse: bool,
    /// Rows behind this one, in the direction of the scan.
    pub after: Option<(Vec<u8>, TaskId)>,
    /// At most [`ROWS_MAX`].
    pub limit: usize,
}

/// Of all the tasks of a thread that have the store.
#[derive(Debug)]
pub struct Reply(pub Vec<TaskReply>);

#[derive(Debug)]
pub struct TaskReply {
    pub task: TaskId,
    /// `Err`: why the task cannot answer now.
    pub page: Result<Page, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub rows: Vec<Row>,
    /// There are rows behind the last one.
    pub more: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    pub task: TaskId,
}

impl Keys {
    /// Reads them from one task's committed state: the base that holds the store, and its place there.
    pub fn read(&self, task: TaskId, base: &dyn Base, store: usize) -> Result<Page, Error> {
        match self {
            Keys::One(key) => {
                let mut found = None;
                base.get_many(store, &[key], &mut |_, value| found = value.map(<[u8]>::to_vec))?;
                let mut page = Page::default();
                if let Some(stored) = found {
                    let (timestamp, value) = split(&stored)?;
                    page.rows.push(Row { key: key.clone(), value: value.to_vec(), timestamp, task });
                }
                Ok(page)
            }
            Keys::Range(range) => range.read(task, base, store),
        }
    }
}

impl Range {
    fn read(&self, task: TaskId, base: &dyn Base, store: usize) -> Result<Page, Error> {
        let (lower, upper) = self.bounds();
        let bounds = KeyRange { lower: lower.as_deref(), upper: upper.as_deref() };
        let mut page = Page::default();
        if bounds.is_inverted() || self.limit == 0 {
            return Ok(page);
        }
        let (mut bytes, mut broken) = (0, None);
        base.scan(store, bounds, self.reverse, &mut |key, stored| {
            if !self.holds(key, task) {
                return ControlFlow::Continue(());
            }
            if page.rows.len() >= self.limit.min(ROWS_MAX) || bytes >= BYTES_MAX {
                page.more = true;
                return ControlFlow::Break(());
            }
            match split(stored) {
                Ok((timestamp, value)) => {
                    bytes += key.len() + value.len();
                    page.rows.push(Row { key: key.to_vec(), value: value.to_vec(), timestamp, task });
                    ControlFlow::Continue(())
                }
                Err(error) => {
                    broken = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        broken.map_or(Ok(page), Err)
    }

    /// The tightest inclusive bounds; what they cannot say, [`Range::holds`] does.
    fn bounds(&self) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        let after = self.after.as_ref().map(|(key, _)| key);
        let begins = if self.reverse { None } else { after };
        let ends = if self.reverse { after } else { None };
        let lower = self.from.iter().chain(&self.prefix).chain(begins).max().cloned();
        let upper = self.to.iter().chain(ends).cloned().chain(self.prefix.as_deref().and_then(successor)).min();
        (lower, upper)
    }

    fn holds(&self, key: &[u8], task: TaskId) -> bool {
        let behind = self.after.as_ref().is_none_or(|(after, of)| {
            let order = (key, task).cmp(&(after.as_slice(), *of));
            if self.reverse { order.is_lt() } else { order.is_gt() }
        });
        behind && self.prefix.as_ref().is_none_or(|prefix| key.starts_with(prefix))
    }
}

fn split(stored: &[u8]) -> Result<(i64, &[u8]), Error> {
    split_timestamp(stored).ok_or_else(|| Error::Corrupted("a stored value is shorter than its timestamp".to_owned()))
}

/// The first key behind all keys with this prefix; `None` when there is no such key.
fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte < u8::MAX)?;
    let mut key = prefix[..=last].to_vec();
    key[last] += 1;
    Some(key)
}

/// Puts the pages of several tasks together: the first `limit` rows of all.
pub fn merge(pages: Vec<Page>, reverse: bool, limit: usize) -> Page {
    let limit = limit.min(ROWS_MAX);
    // Behind the last row of a page that has more there may be rows of that task that nobody has read.
    let ends = pages.iter().filter(|page| page.more).filter_map(|page| page.rows.last());
    let place = |row: &Row| (row.key.clone(), row.task);
    let horizon = if reverse { ends.map(place).max() } else { ends.map(place).min() };
    let mut more = horizon.is_some();
    let mut rows: Vec<Row> = pages.into_iter().flat_map(|page| page.rows).collect();
    rows.sort_by(|a, b| (&a.key, a.task).cmp(&(&b.key, b.task)));
    if reverse {
        rows.reverse();
    }
    if let Some((key, task)) = &horizon {
        rows.retain(|row| {
            let order = (&row.key, row.task).cmp(&(key, *task));
            if reverse { order.is_ge() } else { order.is_le() }
        });
    }
    more |= rows.len() > limit;
    rows.truncate(limit);
    Page { rows, more }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use millstream_engine::store::{Changes, MemoryBase, StoreChanges, with_timestamp};

    fn task(partition: i32) -> TaskId {
        TaskId { subtopology: 0, partition }
    }

    fn base(keys: &[&str]) -> MemoryBase {
        let mut base = MemoryBase::new(1);
        let entry = |key: &&str| (key.as_bytes().to_vec(), Some(with_timestamp(7, b"v")));
        let changes: Changes = keys.iter().map(entry).collect();
        base.apply(&[StoreChanges { store: 0, changes: &changes, position: None }]).unwrap();
        base
    }

    fn keys(page: &Page) -> Vec<String> {
        page.rows.iter().map(|row| format!("{}@{}", String::from_utf8_lossy(&row.key), row.task.partition)).collect()
    }

    /// All rows of two tasks, page by page.
    fn walk(range: Range) -> Vec<String> {
        let bases = [base(&["a", "b", "d", "p1", "p2"]), base(&["b", "c", "p", "q"])];
        let (mut range, mut found) = (range, Vec::new());
        loop {
            let read = |(part, base): (usize, &MemoryBase)| {
                Keys::Range(range.clone()).read(task(part as i32), base, 0).unwrap()
            };
            let page = merge(bases.iter().enumerate().map(read).collect(), range.reverse, range.limit);
            found.extend(keys(&page));
            match page.rows.last() {
                Some(last) if page.more => range.after = Some((last.key.clone(), last.task)),
                _ => return found,
            }
        }
    }

    #[test]
    fn pages_of_any_size_are_one_scan_in_key_order() {
        let all = ["a@0", "b@0", "b@1", "c@1", "d@0", "p@1", "p1@0", "p2@0", "q@1"];
        for limit in [1, 2, 3, 100] {
            assert_eq!(walk(Range { limit, ..Range::default() }), all, "{limit}");
            let mut back = walk(Range { limit, reverse: true, ..Range::default() });
            back.reverse();
            assert_eq!(back, all, "{limit}");
        }
    }

    #[test]
    fn bounds_are_inclusive_and_a_prefix_narrows_them() {
        let bytes = |text: &str| Some(text.as_bytes().to_vec());
        let range = Range { limit: 2, ..Range::default() };
        assert_eq!(walk(Range { from: bytes("b"), to: bytes("d"), ..range.clone() }), ["b@0", "b@1", "c@1", "d@0"]);
        assert_eq!(walk(Range { prefix: bytes("p"), ..range.clone() }), ["p@1", "p1@0", "p2@0"]);
        assert_eq!(walk(Range { prefix: bytes("p"), reverse: true, ..range.clone() }), ["p2@0", "p1@0", "p@1"]);
        assert_eq!(walk(Range { prefix: bytes("p"), from: bytes("p1"), ..range.clone() }), ["p1@0", "p2@0"]);
        assert!(walk(Range { from: bytes("d"), to: bytes("b"), ..range }).is_empty());
    }

    #[test]
    fn one_key_is_found_or_not() {
        let base = base(&["a"]);
        let found = Keys::One(b"a".to_vec()).read(task(0), &base, 0).unwrap();
        assert_eq!(found.rows, [Row { key: b"a".to_vec(), value: b"v".to_vec(), timestamp: 7, task: task(0) }]);
        assert_eq!(Keys::One(b"x".to_vec()).read(task(0), &base, 0).unwrap(), Page::default());
    }

    #[test]
    fn the_successor_of_a_prefix_skips_bytes_that_cannot_grow() {
        assert_eq!(successor(b"a\xff"), Some(b"b".to_vec()));
        assert_eq!(successor(b"\xff\xff"), None);
        assert_eq!(successor(b""), None);
    }
}
