//! What each node does to a batch. One file per operator or family of operators.
//!
//! An operator takes the elements that stand in front of its node and answers the elements it gives to its children.
//! It sees bytes; what is the user's it asks the guest, once per batch ([`call`]). Nothing is kept between batches:
//! all state is in the task's stores.

mod advance;
mod aggregate;
mod apart;
mod batch;
mod cache;
mod call;
mod chain;
mod count;
mod extract;
mod foreign_key;
mod grace;
mod join;
mod keyed;
mod lookup;
mod process;
mod reached;
mod route;
mod run;
mod schedule;
mod sink;
mod stateless;
mod stream_join;
mod suppress;
mod table;
mod table_aggregate;
mod table_group;
mod windowed;

pub use advance::{has_more_closed, next_portion};
pub use apart::Apart;
pub use batch::{Batch, Element, Emitted, Path};
pub use call::{Limits, mix};
pub use process::{PunctuationCall, UnderWay};
pub use reached::Reached;
pub use run::{Dropped, Rejection, Run, Scratch, Stop, Unreadable};
pub use schedule::ScheduleRequest;
