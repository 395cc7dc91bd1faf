//! What one guest may use: the manifest's `[limits]` ([`Limits`], with the reason of each), and what no manifest
//! changes. Each is broken by a guest in `tests/guests`.

use std::time::Duration;

use millstream_engine::config::{ByteSize, Limits};
use wasmtime::ResourceLimiter;

/// Calls into the host during one guest call. A batch of 500 records that looks up and writes every key by itself
/// makes 1,000.
pub const HOST_CALLS: u32 = 100_000;

/// Time inside host calls during one guest call, in multiples of what the guest has for itself (`[limits] call`): a
/// slow disk is not held against a record, and a flood of large scans does not hold the thread for minutes.
pub const HOST_TIME: u32 = 4;

/// Host calls that are slower than this on the average are the disk's doing; a page of a scan takes a millisecond.
pub const SLOW_HOST_CALL: Duration = Duration::from_millis(100);

/// Answers of a batch as multiples of what one record may become (`[limits] output_bytes`): a larger one is replayed
/// record by record.
pub const ANSWER_RECORDS: usize = 4;

/// Memories and tables of one component: as instances, more than any toolchain makes.
const MEMORIES: usize = 32;
const TABLES: usize = 64;

/// Size of a component file. A Python component, the largest kind there is, has 18 MiB.
pub const COMPONENT_BYTES: usize = 64 << 20;

/// Size of a description. A topology of a thousand nodes has some 200 KiB.
pub const DESCRIPTION_BYTES: usize = 1 << 20;

/// A line in the operator's log.
pub const LOG_LINE_BYTES: usize = 1024;

/// Why the host ended a guest's call: travels as the trap's error through wasmtime and comes out of it typed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Overrun {
    #[error(
        "wanted {} of linear memory, has {}, may have {} ([limits] memory)",
        mib(*wanted), mib(*held), mib(*limit)
    )]
    Memory { wanted: usize, held: usize, limit: usize },
    #[error("wanted tables of {wanted} elements, may have {limit} ([limits] tables)")]
    Table { wanted: usize, limit: usize },
    #[error("made more than {HOST_CALLS} calls into the host during one call")]
    HostCalls,
    #[error("{0}")]
    Stores(String),
    #[error(
        "{calls} calls into the host took longer than {} ({HOST_TIME} times [limits] call)",
        humantime::format_duration(*limit)
    )]
    HostTime { calls: u32, limit: Duration },
    #[error("waited longer than {} ([limits] call)", humantime::format_duration(*limit))]
    Waited { limit: Duration },
    #[error("handed {bytes} bytes to one host call, may hand over {limit} ([limits] transfer)")]
    Transfer { bytes: usize, limit: usize },
}

impl Overrun {
    /// The key of `[limits]` that was gone beyond, where there is one to raise.
    pub fn key(&self) -> Option<&'static str> {
        match self {
            Overrun::Memory { .. } => Some("memory"),
            Overrun::Table { .. } => Some("tables"),
            Overrun::HostTime { .. } | Overrun::Waited { .. } => Some("call"),
            Overrun::Transfer { .. } => Some("transfer"),
            Overrun::HostCalls | Overrun::Stores(_) => None,
        }
    }
}

/// A limit as a count of bytes; what does not fit into an address is none.
pub(super) fn bytes(size: ByteSize) -> usize {
    usize::try_from(size.as_u64()).unwrap_or(usize::MAX)
}

fn mib(bytes: usize) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// Meters what one instance holds. A growth over the limit is a trap and not a refused `memory.grow`: allocators
/// answer that with an abort that names no reason.
pub(super) struct Meter {
    memory_bytes: usize,
    table_elements: usize,
    memory_limit: usize,
    table_limit: usize,
    instances: usize,
}

impl Meter {
    pub(super) fn new(limits: &Limits) -> Meter {
        Meter {
            memory_bytes: 0,
            table_elements: 0,
            memory_limit: bytes(limits.memory),
            table_limit: limits.tables.get() as usize,
            instances: limits.instances.get() as usize,
        }
    }

    /// Linear memory held, which never shrinks: the peak too.
    pub(super) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let (held, limit) = (self.memory_bytes, self.memory_limit);
        let wanted = held.saturating_add(desired - current);
        if wanted > limit {
            return Err(wasmtime::Error::new(Overrun::Memory { wanted, held, limit }));
        }
        self.memory_bytes = wanted;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let (wanted, limit) = (self.table_elements.saturating_add(desired - current), self.table_limit);
        if wanted > limit {
            return Err(wasmtime::Error::new(Overrun::Table { wanted, limit }));
        }
        self.table_elements = wanted;
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn memories(&self) -> usize {
        MEMORIES
    }

    fn tables(&self) -> usize {
        TABLES
    }
}
