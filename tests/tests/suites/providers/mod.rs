//! Store providers as components: the conformance kit, an application over providers that work and over ones that trap,
//! stall and lie, and what the command line says of them.

mod command;
mod faults;
mod kit;
mod limits;
mod network;
mod scans;
mod whole;
