//! From a guest's description to a checked plan.

pub mod description;
