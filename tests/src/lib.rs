//! What the tests of Millstream share. Each file in `tests/` is one suite over one subject.

pub mod application;
pub mod guest_log;
pub mod guests;
pub mod logs;
pub mod member;
pub mod millstream;
pub mod stores;
