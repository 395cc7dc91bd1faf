//! Whether LMDB's data file may be mapped: LMDB trusts it, and a page beyond the file's end kills the process.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The file's two first pages say how many pages there are. What follows are LMDB 0.9's own offsets in such a page:
/// a header of 16 bytes, then magic, version, address, map size, two tables of 48 bytes, last page, transaction.
const FLAGS: usize = 10;
const MAGIC: usize = 16;
const VERSION: usize = 20;
const PAGE_BYTES: usize = 40;
const LAST_PAGE: usize = 136;
const TRANSACTION: usize = 144;
const META_BYTES: usize = 152;

const META_FLAG: u16 = 0x08;
const LMDB_MAGIC: u32 = 0xBEEF_C0DE;
const LMDB_VERSION: u32 = 1;

/// `Ok(Some(why))`: the file must not be opened. A file that is absent or empty is a new one.
///
/// LMDB may leave free pages at the end unwritten, so a whole file could be taken for one that was cut off: that costs
/// a restore, the other mistake the process.
pub fn damage(data: &Path) -> io::Result<Option<String>> {
    let file = match File::open(data) {
        Ok(file) => file,
        Err(why) if why.kind() == ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(why),
    };
    let len = file.metadata()?.len();
    if len == 0 {
        return Ok(None);
    }
    let Some(first) = Meta::read(&file, 0)? else { return Ok(Some("its first page is not LMDB's".to_owned())) };
    let Some(second) = Meta::read(&file, first.page_bytes)? else {
        return Ok(Some("its second page is not LMDB's".to_owned()));
    };
    let newer = if second.transaction > first.transaction { &second } else { &first };
    let needed = newer.last_page.saturating_add(1).saturating_mul(first.page_bytes);
    Ok((len < needed).then(|| format!("it has {len} bytes, and its pages need {needed}: it was cut off")))
}

/// What one of the two pages says.
struct Meta {
    page_bytes: u64,
    last_page: u64,
    transaction: u64,
}

impl Meta {
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
        }))
    }
}

fn bytes_at<const N: usize>(page: &[u8; META_BYTES], at: usize) -> [u8; N] {
    page[at..at + N].try_into().expect("the offsets above lie inside the page")
}
