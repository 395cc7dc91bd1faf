//! Whether LMDB's data file may be mapped: LMDB trusts it, and a page beyond the file's end kills the process. Here are
//! its two first pages; [`pages`] walks the others.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::pages::{self, Head, TREE_BYTES};
use super::rows::{Rows, StateRows};

/// The file's two first pages say how many pages there are. What follows are LMDB 0.9's own offsets in such a page:
/// a header of 16 bytes, then magic, version, address, map size, two tables of 48 bytes, last page, transaction.
const FLAGS: usize = 10;
const MAGIC: usize = 16;
const VERSION: usize = 20;
const PAGE_BYTES: usize = 40;
const FREE: usize = 40;
const MAIN: usize = 88;
const LAST_PAGE: usize = 136;
const TRANSACTION: usize = 144;
const META_BYTES: usize = 152;

const META_FLAG: u16 = 0x08;
const LMDB_MAGIC: u32 = 0xBEEF_C0DE;
const LMDB_VERSION: u32 = 1;

/// `Ok(Some(why))`: the file must not be opened. A file that is absent or empty is a new one. Nobody writes to it.
pub fn damage(data: &Path) -> io::Result<Option<String>> {
    damage_by(data, StateRows::default())
}

/// The same of any file of LMDB's.
pub fn damage_by(data: &Path, rows: impl Rows) -> io::Result<Option<String>> {
    let (file, metas) = match heads(data)? {
        Heads::New => return Ok(None),
        Heads::Damaged(why) => return Ok(Some(why)),
        Heads::Of(file, metas) => (file, metas),
    };
    let [first, second] = *metas;
    // Transaction N writes page N % 2, so that the two are neighbours: LMDB chooses by the one and by the other.
    let (one, other) = (first.transaction, second.transaction);
    let written_in_turn = one.abs_diff(other) == 1 && one % 2 == 0;
    if !written_in_turn && (one, other) != (0, 0) {
        return Ok(Some(format!("its first pages are of the transactions {one} and {other}")));
    }
    let newer = if other > one { &second } else { &first };
    pages::damage_in(&file, &newer.head(data), rows)
}

/// The same of a file that somebody else may be writing to: only whether it can be mapped.
pub fn damage_while_written(data: &Path) -> io::Result<Option<String>> {
    match heads(data)? {
        Heads::New => Ok(None),
        Heads::Damaged(why) => Ok(Some(why)),
        Heads::Of(file, metas) => {
            let [first, second] = *metas;
            let newer = if second.transaction > first.transaction { second } else { first };
            // Seldom: then only a walk can tell.
            let is_whole = file.metadata()?.len() >= newer.end();
            if is_whole { Ok(None) } else { pages::damage_in(&file, &newer.head(data), StateRows::default()) }
        }
    }
}

enum Heads {
    New,
    Damaged(String),
    Of(File, Box<[Meta; 2]>),
}

/// LMDB may never have written the free pages at its file's end; but no commit frees so many.
pub const UNWRITTEN_BYTES_MAX: u64 = 1 << 30;

fn heads(data: &Path) -> io::Result<Heads> {
    let file = match File::open(data) {
        Ok(file) => file,
        Err(why) if why.kind() == ErrorKind::NotFound => return Ok(Heads::New),
        Err(why) => return Err(why),
    };
    let len = file.metadata()?.len();
    if len == 0 {
        return Ok(Heads::New);
    }
    let Some(first) = Meta::read(&file, 0)? else {
        return Ok(Heads::Damaged("its first page is not LMDB's".to_owned()));
    };
    let second = Meta::read(&file, first.page_bytes)?.filter(|second| second.page_bytes == first.page_bytes);
    let Some(second) = second else {
        return Ok(Heads::Damaged("its second page is not LMDB's".to_owned()));
    };
    let needed = first.end().max(second.end());
    Ok(match needed > len.saturating_add(UNWRITTEN_BYTES_MAX) {
        true => Heads::Damaged(format!("it has {len} bytes, and its pages need {needed}: it was cut off")),
        false => Heads::Of(file, Box::new([first, second])),
    })
}

/// What one of the two pages says.
struct Meta {
    page_bytes: u64,
    last_page: u64,
    transaction: u64,
    free: [u8; TREE_BYTES],
    main: [u8; TREE_BYTES],
}

impl Meta {
    /// Where its last page ends.
    fn end(&self) -> u64 {
        self.last_page.saturating_add(1).saturating_mul(self.page_bytes)
    }

    fn head<'h>(&'h self, path: &'h Path) -> Head<'h> {
        Head {
            path,
            page_bytes: self.page_bytes as usize,
            last_page: self.last_page,
            transaction: self.transaction,
            free: &self.free,
            main: &self.main,
        }
    }

    fn read(file: &File, at: u64) -> io::Result<Option<Meta>> {
        let mut page = [0; META_BYTES];
        match file.read_exact_at(&mut page, at) {
            Err(why) if why.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let flags = u16::from_ne_bytes(bytes_at(&page, FLAGS));
        let magic = u32::from_ne_bytes(bytes_at(&page, MAGIC));
        let version = u32::from_ne_bytes(bytes_at(&page, VERSION));
        let page_bytes = u32::from_ne_bytes(bytes_at(&page, PAGE_BYTES));
        let legal = flags & META_FLAG != 0
            && (magic, version) == (LMDB_MAGIC, LMDB_VERSION)
            && page_bytes.is_power_of_two()
            && (512..=65_536).contains(&page_bytes);
        Ok(legal.then(|| Meta {
            page_bytes: page_bytes.into(),
            last_page: u64::from_ne_bytes(bytes_at(&page, LAST_PAGE)),
            transaction: u64::from_ne_bytes(bytes_at(&page, TRANSACTION)),
            free: bytes_at(&page, FREE),
            main: bytes_at(&page, MAIN),
        }))
    }
}

fn bytes_at<const N: usize>(page: &[u8; META_BYTES], at: usize) -> [u8; N] {
    page[at..at + N].try_into().expect("the offsets above lie inside the page")
}
