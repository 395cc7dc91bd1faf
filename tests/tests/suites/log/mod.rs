//! The log contract (`millstream::log`), on every log there is. What only the embedded log promises is in
//! [`embedded`] and [`processes`].

mod client;
mod embedded;
mod flips;
mod intervals;
mod processes;
mod records;
mod topics;
mod truncated;
