//! app

pub mod build;
