//! A batch on its way through a topology: elements over one arena of bytes.

use crate::frame::{ALL_CHILDREN, Context};
use crate::record::{Headers, Record, Span};
use crate::store::PutVersion;

/// One thing that flows between two nodes. 56 bytes, copied freely; its bytes are in the batch's arena.
#[derive(Clone, Copy, Debug)]
pub struct Element {
    pub key: Span,
    pub value: Span,
    /// Tables: the value before this change, where the parent sends it. In front of a sink: the partition that the guest
    /// has chosen, an `i32`, big-endian.
    pub old: Span,
    pub headers: Span,
    pub timestamp: i64,
    /// Which record of the batch it comes from.
    pub context: u32,
    /// Rank of the parent it came from, among the inputs of the node it stands in front of.
    pub input: u16,
    /// Tables that keep versions: it is a version of the past, a later one is there.
    pub is_past: bool,
    pub path: Path,
}

/// The way an element took from its record: output ordinals and child ranks, in [`Batch::paths`]. Compared
/// lexicographically behind the record's place, it is depth-first order (design.md 2a).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Path {
    start: u32,
    len: u32,
}

/// An element a node gives away, and to which child: a rank, a branch, or [`ALL_CHILDREN`].
#[derive(Clone, Copy, Debug)]
pub struct Emitted {
    pub element: Element,
    pub target: u16,
}

impl Emitted {
    pub fn to_all(element: Element) -> Emitted {
        Emitted { element, target: ALL_CHILDREN }
    }

    /// A change that a table's store has taken so. What it refuses, because its history no longer reaches it, goes nowhere; a
    /// version of the past goes on as one (KIP-914).
    pub fn as_put(element: Element, put: PutVersion) -> Option<Emitted> {
        let is_past = put != PutVersion::Latest;
        (put != PutVersion::Refused).then_some(Emitted::to_all(Element { is_past, ..element }))
    }
}

/// What a batch holds while it runs. Reused from batch to batch.
#[derive(Default)]
pub struct Batch {
    pub arena: Vec<u8>,
    pub contexts: Vec<Context>,
    paths: Vec<u32>,
}

impl Batch {
    pub fn clear(&mut self) {
        self.arena.clear();
        self.contexts.clear();
        self.paths.clear();
    }

    /// Forgets what the nodes made, down to an arena of `bytes`.
    pub fn rewind(&mut self, bytes: usize) {
        self.arena.truncate(bytes);
        self.paths.clear();
    }

    /// The same, down to so many steps of paths: what came later is gone.
    pub fn go_back(&mut self, bytes: usize, steps: usize) {
        self.arena.truncate(bytes);
        self.paths.truncate(steps);
    }

    pub fn record(&self, element: &Element) -> Record<'_> {
        Record {
            key: element.key.of(&self.arena),
            value: element.value.of(&self.arena),
            headers: Headers(element.headers.bytes(&self.arena)),
            timestamp: element.timestamp,
        }
    }

    /// The path one step further.
    pub fn extend_path(&mut self, path: Path, step: u32) -> Path {
        let start = self.paths.len() as u32;
        self.paths.extend_from_within(path.start as usize..(path.start + path.len) as usize);
        self.paths.push(step);
        Path { start, len: path.len + 1 }
    }

    /// Steps of all paths together.
    pub fn steps(&self) -> usize {
        self.paths.len()
    }

    /// Depth-first order of two elements.
    pub fn order(&self, a: &Element, b: &Element) -> std::cmp::Ordering {
        let steps = |path: Path| &self.paths[path.start as usize..(path.start + path.len) as usize];
        a.context.cmp(&b.context).then_with(|| steps(a.path).cmp(steps(b.path)))
    }

    /// The span of a slice of the arena.
    pub fn span_of(&self, slice: Option<&[u8]>) -> Span {
        match slice {
            None => Span::NULL,
            Some([]) => Span::EMPTY,
            Some(slice) => Span::new(slice.as_ptr() as usize - self.arena.as_ptr() as usize, slice.len()),
        }
    }
}
