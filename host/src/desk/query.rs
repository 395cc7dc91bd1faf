//! Reads of committed state, by serialised key.

mod page;

use std::ops::ControlFlow;
use std::sync::mpsc::SyncSender;
use std::time::Instant;

use millstream_engine::store::{
    Base, CommittedRow, CommittedRows, CommittedScan, Error, KeyRange, StoreKind, committed_rows, committed_version,
    place_key, scan_versions, split_timestamp,
};
use millstream_engine::task::TaskId;

pub use page::{Page, Place, Row, Window, merge};

/// Rows of one answer: a thread serves it between two batches, so it must be short.
pub const ROWS_MAX: usize = 1_000;

/// Bytes of one answer, keys and values together; one row more than that is always served.
pub const BYTES_MAX: usize = 1 << 20;

/// Rows of a task that one answer looks at, of windows and sessions: some milliseconds' worth. Where keys have none of the
/// times asked for, a page is short or empty, and says where the next one begins.
pub const WALKED_MAX: usize = 5_000;

/// Bytes of those rows, before the row that goes beyond: what a provider hands over, or a disk, in some milliseconds.
pub const WALKED_BYTES_MAX: usize = 16 << 20;

/// A query on its way to a thread. A thread that cannot send its answer lets it fall: nobody waits any more.
pub struct Request {
    pub query: Query,
    /// How long anybody waits for the answer.
    pub until: Instant,
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
    /// The entry of a key; of a versioned store the latest.
    One(Vec<u8>),
    /// The version of a key at a time.
    AsOf(Vec<u8>, i64),
    /// The window of a key with this start.
    Window(Vec<u8>, i64),
    /// The session of a key with this start and end.
    Session(Vec<u8>, i64, i64),
    Range(Range),
}

/// Bounds are inclusive, an absent one is open. Rows come in the order of (key, time, task), or the other way round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    pub from: Option<Vec<u8>>,
    pub to: Option<Vec<u8>>,
    pub prefix: Option<Vec<u8>>,
    pub reverse: bool,
    /// Of windows those that start between these, of sessions those that end at or behind the first and start at or
    /// before the second.
    pub times: Option<(i64, i64)>,
    /// Rows behind the one at this place, in the direction of the scan.
    pub after: Option<Place>,
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

impl Keys {
    /// Whether at most one row is asked for.
    pub fn is_single(&self) -> bool {
        !matches!(self, Keys::Range(_))
    }

    /// Direction and length of the answer.
    pub fn order(&self) -> (bool, usize) {
        match self {
            Keys::Range(range) => (range.reverse, range.limit),
            _ => (false, 1),
        }
    }

    /// Why a store of this kind cannot be asked so.
    pub fn misfit(&self, kind: &str) -> Option<&'static str> {
        match (self, kind) {
            (Keys::One(_), "key-value" | "versioned") | (Keys::AsOf(..), "versioned") => None,
            (Keys::Window(..), "window") | (Keys::Session(..), "session") => None,
            (Keys::Range(Range { times: None, .. }), _) | (Keys::Range(_), "window" | "session") => None,
            (_, "key-value") => Some("it has one value for each key, and no times"),
            (_, "versioned") => Some("it is asked for the latest version of a key, or for the one as of a time"),
            (_, "window") => Some("it is asked for a window by key and start, or for a range of starts"),
            (_, _) => Some("it is asked for a session by key, start and end, or for a range of times"),
        }
    }

    /// Reads them from one task's committed state: the base that holds the store, its place there, and its kind.
    pub fn read(&self, task: TaskId, base: &dyn Base, store: usize, kind: StoreKind) -> Result<Page, Error> {
        let mut rows = Vec::new();
        match (self, kind) {
            (Keys::Range(range), StoreKind::KeyValue | StoreKind::Buffer) => return range.read(task, base, store),
            (Keys::Range(range), StoreKind::Versioned { .. }) => return range.read_versions(task, base, store),
            (Keys::Range(range), _) => return range.read_timed(task, base, store, kind),
            (Keys::One(key), StoreKind::KeyValue | StoreKind::Buffer) => {
                let mut found = None;
                base.get_many(store, &[key], &mut |_, value| found = value.map(<[u8]>::to_vec))?;
                if let Some(stored) = found {
                    let (timestamp, value) = split(&stored)?;
                    rows.push(Row { key: key.clone(), value: value.to_vec(), timestamp, task, window: None });
                }
            }
            (Keys::One(key) | Keys::AsOf(key, _), StoreKind::Versioned { .. }) => {
                let time = if let Keys::AsOf(_, time) = self { Some(*time) } else { None };
                committed_version((base, store, kind), key, time, &mut |version| {
                    let (value, timestamp) = (version.value.to_vec(), version.valid_from);
                    rows.push(Row { key: key.clone(), value, timestamp, task, window: None });
                })?;
            }
            (Keys::Window(key, start), StoreKind::Window { .. }) => {
                rows = one_timed((task, base, store, kind), key, (*start, *start), *start, None)?;
            }
            (Keys::Session(key, start, end), StoreKind::Session { .. }) => {
                rows = one_timed((task, base, store, kind), key, (*end, *start), *start, Some(*end))?;
            }
            // Whoever asks has looked at `misfit`.
            _ => {}
        }
        Ok(Page { rows, next: None })
    }
}

type Part<'b> = (TaskId, &'b dyn Base, usize, StoreKind);

/// The row of a key with this start and, of a session, this end.
fn one_timed(
    (task, base, store, kind): Part<'_>,
    key: &[u8],
    times: (i64, i64),
    start: i64,
    end: Option<i64>,
) -> Result<Vec<Row>, Error> {
    let keys = KeyRange { lower: Some(key), upper: Some(key) };
    let is_it = |row: &CommittedRow| row.start == start && end.is_none_or(|end| row.end == end);
    let (rows, bytes, walked, walked_bytes) = (1, BYTES_MAX, usize::MAX, usize::MAX);
    let scan = CommittedScan { keys, times, reverse: false, begin: None, rows, bytes, walked, walked_bytes };
    let found = committed_rows((base, store, kind), scan, &is_it)?.rows;
    Ok(found.into_iter().take(1).map(|row| timed_row(row, task)).collect())
}

fn timed_row(row: CommittedRow, task: TaskId) -> Row {
    let CommittedRow { key, start, end, timestamp, value, place } = row;
    Row { key, value, timestamp, task, window: Some(Window { start, end, place }) }
}

impl Range {
    /// Why no page of this list, of a store of this kind, has ended at the place that is to be gone on behind.
    pub fn misplaced(&self, kind: &str) -> Option<&'static str> {
        let (place, _) = self.after.as_ref()?;
        let key = match kind {
            "window" | "session" => place_key(kind, place),
            _ => Some(place.clone()),
        };
        let Some(key) = key else { return Some("it is no place in a store of this kind") };
        let (lower, upper) = Range { after: None, ..self.clone() }.bounds();
        let is_within = lower.is_none_or(|lower| lower <= key) && upper.is_none_or(|upper| key <= upper);
        (!is_within).then_some("it is of a key that is not among those asked for")
    }

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
                page.end();
                return ControlFlow::Break(());
            }
            match split(stored) {
                Ok((timestamp, value)) => {
                    bytes += key.len() + value.len();
                    page.rows.push(Row { key: key.to_vec(), value: value.to_vec(), timestamp, task, window: None });
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

    fn read_versions(&self, task: TaskId, base: &dyn Base, store: usize) -> Result<Page, Error> {
        let (lower, upper) = self.bounds();
        let bounds = KeyRange { lower: lower.as_deref(), upper: upper.as_deref() };
        let (mut page, mut bytes) = (Page::default(), 0);
        scan_versions((base, store), bounds, self.reverse, &mut |key, version| {
            if !self.holds(key, task) {
                return ControlFlow::Continue(());
            }
            if page.rows.len() >= self.limit.min(ROWS_MAX) || bytes >= BYTES_MAX {
                page.end();
                return ControlFlow::Break(());
            }
            let (key, value, timestamp) = (key.to_vec(), version.value.to_vec(), version.valid_from);
            bytes += key.len() + value.len();
            page.rows.push(Row { key, value, timestamp, task, window: None });
            ControlFlow::Continue(())
        })?;
        Ok(page)
    }

    fn read_timed(&self, task: TaskId, base: &dyn Base, store: usize, kind: StoreKind) -> Result<Page, Error> {
        // A place is behind its key and before the next one.
        let after = self.after.as_ref().and_then(|(place, task)| Some((place_key(kind.name(), place)?, *task)));
        let (lower, upper) = Range { after, ..self.clone() }.bounds();
        let bounds = KeyRange { lower: lower.as_deref(), upper: upper.as_deref() };
        let limit = self.limit.min(ROWS_MAX);
        let keep = |row: &CommittedRow| {
            self.is_behind(&row.place, task) && self.prefix.as_ref().is_none_or(|prefix| row.key.starts_with(prefix))
        };
        let times = self.times.unwrap_or((i64::MIN, i64::MAX));
        let begin = self.after.as_ref().map(|(place, _)| place.as_slice());
        let (reverse, rows, bytes) = (self.reverse, limit, BYTES_MAX);
        let (walked, walked_bytes) = (WALKED_MAX, WALKED_BYTES_MAX);
        let scan = CommittedScan { keys: bounds, times, reverse, begin, rows, bytes, walked, walked_bytes };
        let CommittedRows { rows, end } = committed_rows((base, store, kind), scan, &keep)?;
        let (mut page, mut bytes) = (Page { rows: Vec::new(), next: end.map(|end| (end, task)) }, 0);
        for row in rows {
            if page.rows.len() >= limit || bytes >= BYTES_MAX {
                page.end();
                break;
            }
            bytes += row.key.len() + row.value.len();
            page.rows.push(timed_row(row, task));
        }
        Ok(page)
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
        self.is_behind(key, task) && self.prefix.as_ref().is_none_or(|prefix| key.starts_with(prefix))
    }

    fn is_behind(&self, place: &[u8], task: TaskId) -> bool {
        self.after.as_ref().is_none_or(|(after, of)| {
            let order = (place, task).cmp(&(after.as_slice(), *of));
            if self.reverse { order.is_lt() } else { order.is_gt() }
        })
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use millstream_engine::store::{
        Changes, MemoryBase, SizeLimits, StoreChanges, StoreSlot, TaskStores, with_timestamp,
    };

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
                Keys::Range(range.clone()).read(task(part as i32), base, 0, StoreKind::KeyValue).unwrap()
            };
            let page = merge(bases.iter().enumerate().map(read).collect(), range.reverse, range.limit);
            found.extend(keys(&page));
            match page.next {
                Some(next) => range.after = Some(next),
                None => return found,
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
    fn windows_come_by_key_and_time_in_pages_of_any_size() {
        let kind = StoreKind::Window { size_ms: 10, retention_ms: 200_000, duplicates: false, closing: false };
        let slot = StoreSlot { number: 0, name: "w".into(), base: 0, slot: 0, logged: false, kind };
        let windows = [("b", 5), ("a", 190_000), ("a", 7), ("b", 150_000), ("a", 100_000), ("b", 70_000)];
        let filled = |of: &[(&str, i64)]| {
            let mut stores =
                TaskStores::new(vec![slot.clone()], vec![Box::new(MemoryBase::new(1))], SizeLimits::default());
            for (key, start) in of {
                stores.windows_mut(0).put(key.as_bytes(), *start, Some(b"v"), 1).unwrap();
            }
            stores.keep_batch();
            stores.seal(&mut |_, _| {});
            stores.apply_sealed(&[None]).unwrap();
            stores
        };
        let parts = [filled(&windows), filled(&[("a", 7), ("c", 1)])];
        let walk = |range: Range| {
            let (mut range, mut found) = (range, Vec::new());
            loop {
                let read = |(part, stores): (usize, &TaskStores)| {
                    let (base, slot) = stores.committed(0);
                    Keys::Range(range.clone()).read(task(part as i32), base, slot, kind).unwrap()
                };
                let page = merge(parts.iter().enumerate().map(read).collect(), range.reverse, range.limit);
                for row in &page.rows {
                    let window = row.window.as_ref().unwrap();
                    assert_eq!(window.end, window.start + 10);
                    let key = String::from_utf8_lossy(&row.key).into_owned();
                    found.push((key, window.start, row.task.partition));
                }
                match page.next {
                    Some(next) => range.after = Some(next),
                    None => return found,
                }
            }
        };
        let all = [
            ("a", 7, 0),
            ("a", 7, 1),
            ("a", 100_000, 0),
            ("a", 190_000, 0),
            ("b", 5, 0),
            ("b", 70_000, 0),
            ("b", 150_000, 0),
            ("c", 1, 1),
        ]
        .map(|(key, start, part)| (key.to_owned(), start, part));
        for limit in [1, 2, 3, 100] {
            assert_eq!(walk(Range { limit, ..Range::default() }), all, "{limit}");
            let mut back = walk(Range { limit, reverse: true, ..Range::default() });
            back.reverse();
            assert_eq!(back, all, "{limit}");
            let times = Some((7, 100_000));
            let some: Vec<_> = all.iter().filter(|row| (7..=100_000).contains(&row.1)).cloned().collect();
            assert_eq!(walk(Range { limit, times, ..Range::default() }), some, "{limit}");
        }
    }

    #[test]
    fn a_page_passes_by_no_more_bytes_than_it_may_and_the_next_one_goes_on() {
        const LARGE: usize = 1 << 20;
        let kind = StoreKind::Window { size_ms: 10, retention_ms: 1_000, duplicates: false, closing: false };
        let slot = StoreSlot { number: 0, name: "w".into(), base: 0, slot: 0, logged: false, kind };
        let mut stores = TaskStores::new(vec![slot], vec![Box::new(MemoryBase::new(1))], SizeLimits::default());
        let keys = 3 * WALKED_BYTES_MAX / LARGE;
        for key in 0..keys {
            let start = if key + 1 == keys { 41 } else { 40 };
            stores.windows_mut(0).put(&[key as u8], start, Some(&vec![7; LARGE]), 1).unwrap();
        }
        stores.keep_batch();
        stores.seal(&mut |_, _| {});
        stores.apply_sealed(&[None]).unwrap();
        let (base, slot) = stores.committed(0);
        let mut range = Range { times: Some((41, 41)), limit: 100, ..Range::default() };
        let mut pages = Vec::new();
        loop {
            let page = Keys::Range(range.clone()).read(task(0), base, slot, kind).unwrap();
            pages.push(page.rows.len());
            let Some(next) = page.next else { break };
            range.after = Some(next);
        }
        assert!((3..=4).contains(&pages.len()), "{pages:?}");
        assert_eq!((pages[0], pages[1], pages.iter().sum::<usize>()), (0, 0, 1), "{pages:?}");
    }

    #[test]
    fn a_place_outside_of_the_list_is_none_of_its_pages() {
        let bytes = |text: &str| Some(text.as_bytes().to_vec());
        let behind = |place: &[u8]| Range { after: Some((place.to_vec(), task(0))), limit: 1, ..Range::default() };
        assert_eq!(behind(b"b").misplaced("key-value"), None);
        let range = Range { from: bytes("b"), to: bytes("d"), ..behind(b"c") };
        assert_eq!(range.misplaced("versioned"), None);
        for (wrong, kind) in [
            (Range { from: bytes("d"), ..behind(b"c") }, "key-value"),
            (Range { to: bytes("b"), ..behind(b"c") }, "key-value"),
            (Range { prefix: bytes("p"), ..behind(b"c") }, "versioned"),
            (behind(b"c"), "window"),
            (behind(b""), "session"),
        ] {
            assert!(wrong.misplaced(kind).is_some(), "{wrong:?}");
        }
    }

    #[test]
    fn one_key_is_found_or_not() {
        let base = base(&["a"]);
        let found = Keys::One(b"a".to_vec()).read(task(0), &base, 0, StoreKind::KeyValue).unwrap();
        let (key, value) = (b"a".to_vec(), b"v".to_vec());
        assert_eq!(found.rows, [Row { key, value, timestamp: 7, task: task(0), window: None }]);
        let absent = Keys::One(b"x".to_vec()).read(task(0), &base, 0, StoreKind::KeyValue).unwrap();
        assert_eq!(absent, Page::default());
    }

    #[test]
    fn the_successor_of_a_prefix_skips_bytes_that_cannot_grow() {
        assert_eq!(successor(b"a\xff"), Some(b"b".to_vec()));
        assert_eq!(successor(b"\xff\xff"), None);
        assert_eq!(successor(b""), None);
    }
}
