//! The log contract (`millstream::log`), on every log there is. What only the embedded log promises is in
//! [`embedded`].

#![allow(clippy::unwrap_used)]

mod client;
mod embedded;
mod intervals;
mod records;
mod topics;
