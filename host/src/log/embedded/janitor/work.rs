//! What the janitor finds and does.

use crate::log::Swept;
use crate::log::embedded::batch::Batch;
use crate::log::embedded::tidy::MARK_BYTES;

/// A stored batch.
pub struct Found<'b> {
    pub base: i64,
    pub mark: [u8; MARK_BYTES],
    pub bytes: u64,
    pub batch: Batch<'b>,
}

pub type Work = Swept;

impl Work {
    pub fn is_nothing(&self) -> bool {
        *self == Work::default()
    }
}
