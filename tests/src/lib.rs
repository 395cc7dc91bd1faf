//! What the tests of Millstream share. Each file in `tests/` is one suite over one subject.

pub mod application;
pub mod broker;
pub mod builds;
pub mod chance;
pub mod chaos;
pub mod flights;
pub mod guest_log;
pub mod guests;
pub mod http;
pub mod january;
pub mod logs;
pub mod member;
pub mod millstream;
pub mod process;
pub mod proxy;
pub mod rig;
pub mod schema;
pub mod source;
pub mod stores;
pub mod vectors;
