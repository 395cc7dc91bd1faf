//! Lines for the operator's log; the host adds application, task and node.

use crate::host::{self, Level};

pub fn debug(message: impl AsRef<str>) {
    host::log(Level::Debug, message.as_ref());
}

pub fn info(message: impl AsRef<str>) {
    host::log(Level::Info, message.as_ref());
}

pub fn warn(message: impl AsRef<str>) {
    host::log(Level::Warn, message.as_ref());
}

/// For what a person must look at.
pub fn error(message: impl AsRef<str>) {
    host::log(Level::Error, message.as_ref());
}
