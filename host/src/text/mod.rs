//! Records as text: what `produce` reads, what `consume`, the stores' verbs and HTTP show.
//!
//! Everything below this room sees bytes. Only the rim names a codec, and only to show or read a value.

pub mod codec;
mod coded;
pub mod entry;
pub mod record;

pub use codec::{Codec, Codecs, Shown};
pub use coded::{Coded, Json};
