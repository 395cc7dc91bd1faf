//! What each node does to a batch. One file per operator or family of operators.
//!
//! An operator takes the elements that stand in front of its node and answers the elements it gives to its children.
//! It sees bytes; what is the user's it asks the guest, once per batch ([`call`]). Nothing is kept between batches:
//! all state is in the task's stores.

mod aggregate;
mod batch;
mod call;
mod chain;
mod count;
mod keyed;
mod process;
mod run;
mod sink;
mod stateless;
mod table;

pub use batch::{Batch, Element, Emitted, Path};
pub use call::{Limits, mix};
pub use process::PunctuationCall;
pub use run::{Dropped, Rejection, Run, Scratch, Stop, Unreadable};
