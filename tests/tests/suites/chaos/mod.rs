//! The real program is hurt while it works; outputs, stores and changelogs must come out as if nothing had happened.
//! `tests/chaos` kills for longer, and storms. Every test prints its seed and how to run it again.

mod backups;
mod brokers;
mod clocks;
mod coordinators;
mod crossroads;
mod disks;
mod fail_points;
mod flips;
mod formats;
mod groups;
mod janitor;
mod kills;
mod portions;
mod restores;
mod resumed;
mod rights;
mod storm;
mod topics;
mod truncated;
mod wire;
