//! Why a component is not compiled.

use serde::{Deserialize, Serialize};

/// The verdict on a component's bytes: the same whenever it is asked for, so it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    #[error("the component is damaged or uses what this host does not run: {0}")]
    Invalid(String),
    #[error("compiling the component took more than {0} s of CPU")]
    Cpu(u64),
    #[error("compiling the component took more than {0} of memory")]
    Memory(String),
    #[error("the compiler crashed on the component: {0}")]
    Crash(String),
}
