//! Whether the rows that a walk over pages comes by are what was put there.

use super::layout;

/// Looks at the rows of a file's named databases, one database after the other in the order of their names.
pub trait Rows {
    /// Whether values of this database that have pages of their own are to be read.
    fn reads(&self, database: &[u8]) -> bool;

    /// `Err(why)`: the row is damaged. A value that was not read is empty.
    fn row(&mut self, database: &[u8], key: &[u8], value: &[u8]) -> Result<(), &'static str>;

    /// After the last row.
    fn end(&self) -> Result<(), &'static str>;
}

/// Those of a state: each has its checksum, in the layout that the file says it has.
#[derive(Default)]
pub struct StateRows {
    /// Told by the first database by its name.
    format: Option<u32>,
    /// Whether a row beside the format does not have its checksum.
    meta_is_wrong: bool,
}

const WRONG: &str = "a row does not have its checksum";

impl StateRows {
    /// Whether rows have checksums: another format is not damage, and for others to refuse.
    fn is_sealed(&self) -> bool {
        self.format == Some(layout::FORMAT)
    }
}

impl Rows for StateRows {
    fn reads(&self, _: &[u8]) -> bool {
        true
    }

    fn row(&mut self, database: &[u8], key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        match database == layout::META.as_bytes() {
            true if key == layout::FORMAT_KEY => self.format = value.try_into().ok().map(u32::from_le_bytes),
            true => self.meta_is_wrong |= layout::unseal(key, value).is_none(),
            false if self.is_sealed() && layout::unseal(key, value).is_none() => return Err(WRONG),
            false => {}
        }
        Ok(())
    }

    fn end(&self) -> Result<(), &'static str> {
        if self.is_sealed() && self.meta_is_wrong { Err(WRONG) } else { Ok(()) }
    }
}
