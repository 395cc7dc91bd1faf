//! A row of the file, as far as it matters here.

use millstream_sdk::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Flight {
    /// The airport it leaves from, `EWR`.
    pub origin: String,
    pub dest: String,
    /// Miles.
    pub distance: i64,
    /// When it left, as hhmm; nothing when it was cancelled.
    pub dep_time: Option<i32>,
    /// Minutes behind schedule, negative when early.
    pub dep_delay: Option<i64>,
}

impl Json for Flight {}
