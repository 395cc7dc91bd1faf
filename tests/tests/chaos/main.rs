//! The real program is hurt while it works; outputs, stores and changelogs must come out as if nothing had happened.
//! `tests/chaos` kills for longer. Every test prints its seed and how to run it again.

mod brokers;
mod disks;
mod fail_points;
mod groups;
mod kills;
mod topics;
mod wire;
