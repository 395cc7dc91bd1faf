//! Rows of several tasks as one list, in pages.

use millstream_engine::task::TaskId;

use super::ROWS_MAX;

/// Where a row stands: [`Row::place`], and its task.
pub type Place = (Vec<u8>, TaskId);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub rows: Vec<Row>,
    /// There may be rows behind this place, which is the last one's or behind it: [`Range::after`] of the next page.
    pub next: Option<Place>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    pub task: TaskId,
    pub window: Option<Window>,
}

/// What a row of a window or session store has beside its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    pub start: i64,
    pub end: i64,
    /// See [`Row::place`].
    pub place: Vec<u8>,
}

impl Row {
    /// What rows are ordered by inside a task; opaque.
    pub fn place(&self) -> &[u8] {
        self.window.as_ref().map_or(&self.key, |window| &window.place)
    }
}

impl Page {
    /// The next page begins behind the last row.
    pub(super) fn end(&mut self) {
        self.next = self.rows.last().map(|last| (last.place().to_vec(), last.task));
    }
}

/// Puts the pages of several tasks together: the first `limit` rows of all.
pub fn merge(pages: Vec<Page>, reverse: bool, limit: usize) -> Page {
    let limit = limit.min(ROWS_MAX);
    // Behind the end of a page that has more there may be rows of that task that nobody has read.
    let ends = pages.iter().filter_map(|page| page.next.clone());
    let next = if reverse { ends.max() } else { ends.min() };
    let mut rows: Vec<Row> = pages.into_iter().flat_map(|page| page.rows).collect();
    rows.sort_by(|a, b| (a.place(), a.task).cmp(&(b.place(), b.task)));
    if reverse {
        rows.reverse();
    }
    if let Some((place, task)) = &next {
        rows.retain(|row| {
            let order = (row.place(), row.task).cmp(&(place, *task));
            if reverse { order.is_ge() } else { order.is_le() }
        });
    }
    let mut page = Page { next, rows };
    if page.rows.len() > limit {
        page.rows.truncate(limit);
        page.end();
    }
    page
}
