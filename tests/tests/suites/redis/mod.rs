//! Stores on a real Redis server: the conformance kit, what a start refuses, and words counted exactly while the server
//! dies, hangs, forgets and goes back.

mod changelogs;
mod faults;
mod kit;
mod owners;
mod refusals;
