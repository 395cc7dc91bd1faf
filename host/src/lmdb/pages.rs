//! Walks all pages of a data file before LMDB maps it. LMDB follows every number it finds in a page: a wrong one reads
//! beyond the file (the process dies of SIGBUS), fails an assertion (it aborts), or answers wrongly.
//!
//! Whatever bytes the file holds, the walk ends: it reads with `pread`, takes no page twice, and no number for granted.
//! A file that passes is one that LMDB could have written: every page is where its parent says and holds what its
//! parent says, keys are in order and within the bounds that lead to them, free pages are nobody's, the counts are
//! right, and every row is what [`Rows`] want it to be.
//!
//! Of a state it costs 0.9 ms per MiB of a file in the page cache, measured with rows of some twenty bytes, where the checksums are
//! most of it (a test in `tests/spoilt.rs` prints it): a second per GiB, once for each start. It has no bound, for a page
//! that nobody has looked at can end the process, and a restore takes many times as long.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::progress::Progress;
use super::rows::Rows;

/// A page's header, LMDB 0.9's: its number (8 bytes), padding, flags, then where its free space begins and ends, or how
/// many pages one value takes.
const HEADER_BYTES: usize = 16;
const FLAGS: usize = 10;
const LOWER: usize = 12;
const UPPER: usize = 14;
const OVERFLOW_PAGES: usize = 12;

const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;
const OVERFLOW: u16 = 0x04;

/// A node's header: data size or page number (4 bytes), flags or the page number's highest bytes, key size.
const NODE_BYTES: usize = 8;
/// The data is the number of the page where the value begins.
const BIG_DATA: u16 = 0x01;
/// The data is a tree of its own.
const SUB_DATA: u16 = 0x02;

/// What LMDB says of a tree: padding, flags, depth, branch, leaf and overflow pages, entries, root.
pub const TREE_BYTES: usize = 48;
/// Keys are integers: the tree of free pages.
const INTEGER_KEYS: u16 = 0x08;
/// The root of a tree without pages.
const NO_PAGE: u64 = u64::MAX;
/// LMDB's own bound for the depth of a tree; deeper ones overrun its stack.
const DEPTH_MAX: u16 = 32;

/// The pages before the first that a tree may have.
const META_PAGES: u64 = 2;

/// What the newest of the first two pages says of the file.
pub struct Head<'h> {
    /// Where the file lies.
    pub path: &'h Path,
    pub page_bytes: usize,
    /// At most a few more than the file has.
    pub last_page: u64,
    pub transaction: u64,
    /// The tree of free pages.
    pub free: &'h [u8; TREE_BYTES],
    /// The tree of the named databases.
    pub main: &'h [u8; TREE_BYTES],
}

/// Why a walk ended before its end.
enum Stop {
    Damage(String),
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(why: io::Error) -> Stop {
        Stop::Io(why)
    }
}

type Result<T> = std::result::Result<T, Stop>;

fn damage<T>(why: impl Into<String>) -> Result<T> {
    Err(Stop::Damage(why.into()))
}

/// `Ok(Some(why))`: LMDB must not be let into this file.
pub fn damage_in<'f>(file: &'f File, head: &Head<'f>, rows: impl Rows) -> io::Result<Option<String>> {
    let file_bytes = file.metadata()?.len();
    match Walk::new(file, file_bytes, head, rows).all(head) {
        Ok(()) => Ok(None),
        Err(Stop::Damage(why)) => Ok(Some(why)),
        Err(Stop::Io(why)) => Err(why),
    }
}

/// What a tree holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Lists of free pages, by the transaction that freed them.
    Free,
    /// Trees, by their names.
    Main,
    /// A named database.
    Named,
}

/// What LMDB counts of a tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    branches: u64,
    leaves: u64,
    overflows: u64,
    entries: u64,
}

/// A tree as its record says.
struct Tree {
    kind: Kind,
    depth: u16,
    root: u64,
    said: Counts,
    found: Counts,
}

impl Tree {
    fn read(kind: Kind, record: &[u8; TREE_BYTES]) -> Result<Tree> {
        let number = |at| number(record, at);
        let flags = u16_at(record, 4);
        let expected = if kind == Kind::Free { INTEGER_KEYS } else { 0 };
        let said = Counts { branches: number(8), leaves: number(16), overflows: number(24), entries: number(32) };
        let (depth, root) = (u16_at(record, 6), number(40));
        if flags != expected || depth > DEPTH_MAX || (root == NO_PAGE) != (depth == 0) {
            return damage(format!("a tree has flags {flags}, depth {depth} and root {root}"));
        }
        Ok(Tree { kind, depth, root, said, found: Counts::default() })
    }
}

/// What a page's keys must be: not before the first, before the second.
#[derive(Clone, Copy, Default)]
struct Bounds<'k> {
    lower: Option<&'k [u8]>,
    upper: Option<&'k [u8]>,
}

/// A named database's name and record.
type Named = (Vec<u8>, [u8; TREE_BYTES]);

struct Walk<'f, R> {
    file: &'f File,
    file_bytes: u64,
    page_bytes: usize,
    last_page: u64,
    transaction: u64,
    /// A bit for each page: whether somebody has it.
    taken: Vec<u64>,
    progress: Progress<'f>,
    /// Buffers to read pages into.
    spare: Vec<Vec<u8>>,
    /// A value of more than one page.
    large: Vec<u8>,
    named: Vec<Named>,
    /// The name of the one that is walked through.
    database: Vec<u8>,
    rows: R,
}

impl<'f, R: Rows> Walk<'f, R> {
    fn new(file: &'f File, file_bytes: u64, head: &Head<'f>, rows: R) -> Walk<'f, R> {
        let words = head.last_page / u64::from(u64::BITS) + 1;
        Walk {
            file,
            file_bytes,
            page_bytes: head.page_bytes,
            last_page: head.last_page,
            transaction: head.transaction,
            taken: vec![0; words as usize],
            progress: Progress::new(head.path, head.last_page),
            spare: Vec::new(),
            large: Vec::new(),
            named: Vec::new(),
            database: Vec::new(),
            rows,
        }
    }

    fn all(mut self, head: &Head<'_>) -> Result<()> {
        self.tree(Kind::Free, head.free)?;
        self.tree(Kind::Main, head.main)?;
        for (name, record) in std::mem::take(&mut self.named) {
            self.database = name;
            self.tree(Kind::Named, &record)?;
        }
        self.rows.end().or_else(damage)
    }

    fn tree(&mut self, kind: Kind, record: &[u8; TREE_BYTES]) -> Result<()> {
        let mut tree = Tree::read(kind, record)?;
        if tree.depth > 0 {
            let root = tree.root;
            self.page(&mut tree, root, 1, Bounds::default())?;
        }
        match tree.found == tree.said {
            true => Ok(()),
            false => damage(format!("a tree should have {:?} and has {:?}", tree.said, tree.found)),
        }
    }

    fn page(&mut self, tree: &mut Tree, number: u64, level: u16, bounds: Bounds<'_>) -> Result<()> {
        self.take(number)?;
        let mut bytes = self.spare.pop().unwrap_or_else(|| vec![0; self.page_bytes]);
        self.read(&mut bytes, number)?;
        let is_leaf = level == tree.depth;
        let page = Page::read(&bytes, number, is_leaf, tree.kind == Kind::Free)?;
        match is_leaf {
            true => self.leaf(tree, &page, bounds)?,
            false => self.branch(tree, &page, level, bounds)?,
        }
        self.spare.push(bytes);
        Ok(())
    }

    fn branch(&mut self, tree: &mut Tree, page: &Page<'_>, level: u16, bounds: Bounds<'_>) -> Result<()> {
        tree.found.branches += 1;
        // The first key leads to everything before the second, whatever it says.
        let mut lower = bounds.lower;
        for index in 0..page.nodes {
            let child = page.node(index)?;
            let upper = match index + 1 < page.nodes {
                true => Some(page.node(index + 1)?.key),
                false => bounds.upper,
            };
            if let (Some(lower), Some(upper)) = (lower, upper)
                && order(tree.kind, lower, upper)?.is_ge()
            {
                return damage(format!("page {}: the keys are out of order", page.number));
            }
            self.page(tree, child.page(), level + 1, Bounds { lower, upper })?;
            lower = upper;
        }
        Ok(())
    }

    fn leaf(&mut self, tree: &mut Tree, page: &Page<'_>, bounds: Bounds<'_>) -> Result<()> {
        tree.found.leaves += 1;
        tree.found.entries += page.nodes as u64;
        let (mut before, mut used) = (None, 0);
        for index in 0..page.nodes {
            let node = page.node(index)?;
            let ordered = match before {
                Some(before) => order(tree.kind, before, node.key)?.is_lt(),
                None => match bounds.lower {
                    Some(lower) => order(tree.kind, lower, node.key)?.is_le(),
                    None => true,
                },
            };
            if !ordered || node.key.is_empty() {
                return damage(format!("page {}: the keys are out of order", page.number));
            }
            before = Some(node.key);
            used += node.bytes_taken();
            self.entry(tree, page, &node)?;
        }
        if let (Some(last), Some(upper)) = (before, bounds.upper)
            && order(tree.kind, last, upper)?.is_ge()
        {
            return damage(format!("page {}: the keys are out of bounds", page.number));
        }
        match used == page.used {
            true => Ok(()),
            false => damage(format!("page {}: its entries have {used} bytes of {}", page.number, page.used)),
        }
    }

    fn entry(&mut self, tree: &mut Tree, page: &Page<'_>, node: &Node<'_>) -> Result<()> {
        let expected = if tree.kind == Kind::Main { SUB_DATA } else { node.flags & BIG_DATA };
        if node.flags != expected {
            return damage(format!("page {}: an entry has flags {:#x}", page.number, node.flags));
        }
        if node.flags & BIG_DATA == 0 {
            return self.content(tree.kind, node.key, node.data);
        }
        let mut large = std::mem::take(&mut self.large);
        let is_read = tree.kind != Kind::Named || self.rows.reads(&self.database);
        tree.found.overflows += self.overflow(node, is_read, &mut large)?;
        self.content(tree.kind, node.key, &large)?;
        self.large = large;
        Ok(())
    }

    /// Reads a value that has pages of its own, or only where it begins; answers how many. They may be more than it needs:
    /// LMDB leaves them to a smaller one that takes its place in the same transaction, as lists of free pages often are.
    fn overflow(&mut self, node: &Node<'_>, is_read: bool, value: &mut Vec<u8>) -> Result<u64> {
        let first = number(node.data, 0);
        let needed = (HEADER_BYTES + node.size).div_ceil(self.page_bytes) as u64;
        self.take_all(first, needed)?;
        value.resize(HEADER_BYTES + if is_read { node.size } else { 0 }, 0);
        self.read(value, first)?;
        let (flags, pages) = (u16_at(value, FLAGS), u64::from(u32_at(value, OVERFLOW_PAGES)));
        if number(value, 0) != first || flags != OVERFLOW || pages < needed {
            return damage(format!("page {first}: not the beginning of {needed} pages of one value"));
        }
        // `first` lies in the file.
        self.take_all(first + needed, pages - needed)?;
        if (first + pages) * self.page_bytes as u64 > self.file_bytes {
            return self.cut_off(first);
        }
        value.drain(..HEADER_BYTES);
        Ok(pages)
    }

    fn content(&mut self, kind: Kind, key: &[u8], data: &[u8]) -> Result<()> {
        match kind {
            Kind::Free => self.free_list(key, data),
            Kind::Main => match data.try_into() {
                Ok(record) => {
                    self.named.push((key.to_vec(), record));
                    Ok(())
                }
                Err(_) => damage(format!("a database's record has {} bytes", data.len())),
            },
            Kind::Named => self.rows.row(&self.database, key, data).or_else(damage),
        }
    }

    /// How many pages, then their numbers from the last to the first; nobody has them.
    fn free_list(&mut self, key: &[u8], data: &[u8]) -> Result<()> {
        let room = (data.len() / 8) as u64;
        if key.len() != 8 || room == 0 || number(data, 0) >= room || number(key, 0) > self.transaction {
            return damage("a list of free pages is longer than it can be");
        }
        let mut before = u64::MAX;
        for place in 1..=number(data, 0) as usize {
            let page = number(data, place * 8);
            if page >= before {
                return damage("a list of free pages is out of order");
            }
            before = page;
            self.take(page)?;
        }
        Ok(())
    }

    /// Reads what begins with a page that is in use. Free pages at the file's end need not be there: LMDB may never have
    /// written them.
    fn read(&mut self, bytes: &mut [u8], page: u64) -> Result<()> {
        self.progress.say();
        match self.file.read_exact_at(bytes, page * self.page_bytes as u64) {
            Err(why) if why.kind() == io::ErrorKind::UnexpectedEof => self.cut_off(page),
            read => Ok(read?),
        }
    }

    fn cut_off<T>(&self, page: u64) -> Result<T> {
        damage(format!("page {page} of {} is not there as a whole: it was cut off", self.last_page))
    }

    fn take_all(&mut self, first: u64, pages: u64) -> Result<()> {
        (first..first.saturating_add(pages)).try_for_each(|page| self.take(page))
    }

    fn take(&mut self, page: u64) -> Result<()> {
        if !(META_PAGES..=self.last_page).contains(&page) {
            return damage(format!("something points to page {page} of {}", self.last_page));
        }
        let (word, bit) = ((page / u64::from(u64::BITS)) as usize, 1 << (page % u64::from(u64::BITS)));
        if self.taken[word] & bit != 0 {
            return damage(format!("page {page} is in two places"));
        }
        self.taken[word] |= bit;
        self.progress.count();
        Ok(())
    }
}

/// As LMDB compares the keys of such a tree.
fn order(kind: Kind, one: &[u8], other: &[u8]) -> Result<std::cmp::Ordering> {
    match kind {
        Kind::Free if one.len() != 8 || other.len() != 8 => damage("the key of a list of free pages is no number"),
        Kind::Free => Ok(number(one, 0).cmp(&number(other, 0))),
        Kind::Main | Kind::Named => Ok(one.cmp(other)),
    }
}

/// A page of a tree; its header is legal.
struct Page<'p> {
    bytes: &'p [u8],
    number: u64,
    nodes: usize,
    upper: usize,
    /// Bytes that its nodes take, from `upper` to the end.
    used: usize,
    is_leaf: bool,
}

impl<'p> Page<'p> {
    fn read(bytes: &'p [u8], number: u64, is_leaf: bool, is_free: bool) -> Result<Page<'p>> {
        let (lower, upper) = (usize::from(u16_at(bytes, LOWER)), usize::from(u16_at(bytes, UPPER)));
        let flags = if is_leaf { LEAF } else { BRANCH };
        let legal = self::number(bytes, 0) == number
            && u16_at(bytes, FLAGS) == flags
            && (HEADER_BYTES..=upper).contains(&lower)
            && lower.is_multiple_of(2)
            && upper <= bytes.len();
        if !legal {
            return damage(format!("page {number} is not a {} page", if is_leaf { "leaf" } else { "branch" }));
        }
        let nodes = (lower - HEADER_BYTES) / 2;
        // LMDB lets only the tree of free pages have a branch with one child.
        let least = if is_leaf || is_free { 1 } else { 2 };
        if nodes < least {
            return damage(format!("page {number} has {nodes} entries"));
        }
        Ok(Page { bytes, number, nodes, upper, used: bytes.len() - upper, is_leaf })
    }

    fn node(&self, index: usize) -> Result<Node<'p>> {
        let at = usize::from(u16_at(self.bytes, HEADER_BYTES + 2 * index));
        let Some(bytes) = self.bytes.get(at..).filter(|bytes| at >= self.upper && bytes.len() >= NODE_BYTES) else {
            return damage(format!("page {}: entry {index} lies outside", self.number));
        };
        let (size, flags) = (u32_at(bytes, 0) as usize, u16_at(bytes, 4));
        let key_end = NODE_BYTES + usize::from(u16_at(bytes, 6));
        let data = match (self.is_leaf, flags & BIG_DATA != 0) {
            (false, _) => 0,
            (true, true) => 8,
            (true, false) => size,
        };
        match (bytes.get(NODE_BYTES..key_end), bytes.get(key_end..key_end + data)) {
            (Some(key), Some(data)) => Ok(Node { size, flags, key, data }),
            _ => damage(format!("page {}: entry {index} is too long", self.number)),
        }
    }
}

struct Node<'p> {
    /// Of the value, wherever that is; of a branch's node the lower half of its child's number.
    size: usize,
    flags: u16,
    key: &'p [u8],
    data: &'p [u8],
}

impl Node<'_> {
    /// The child that a branch's node leads to.
    fn page(&self) -> u64 {
        self.size as u64 | u64::from(self.flags) << 32
    }

    /// Nodes begin at even places.
    fn bytes_taken(&self) -> usize {
        (NODE_BYTES + self.key.len() + self.data.len()).next_multiple_of(2)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes(array(bytes, at))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(array(bytes, at))
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(array(bytes, at))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the slice has N bytes")
}
