//! What one guest may use.

use std::time::Duration;

use wasmtime::ResourceLimiter;

/// The limits of the guests of one application, from the manifest's `[limits]`. Each is broken by a guest in
/// `tests/guests`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of one instance, all of its memories together. 128 MiB: the largest language runtime settles
    /// at 81 MiB; and one bulk fill of it, which no tick can interrupt, stays near 0.1 s.
    pub memory_bytes: usize,
    /// Elements of all tables together. A plugin has some thousands of functions; 100,000 is what other hosts of
    /// polyglot components allow.
    pub table_elements: usize,
    /// Core instances inside one component. Python's components have the most, some dozens.
    pub instances: usize,
    /// Resource handles of one instance. Our contract has none; a component may define its own, and the host pays for
    /// the table.
    pub handles: usize,
    /// Guest time of one call, a start included; time inside the host's stores does not count. Batches take
    /// milliseconds; far below the poll interval, so that an endless loop never costs the group membership.
    pub call: Duration,
    /// Calls into the host during one guest call: a batch of 500 that looks up every key by itself needs 1,000.
    pub host_calls: u32,
    /// Bytes that one call may move from the guest into the host, the answer frame included: the host holds a copy
    /// of them. wasmtime's own default is 128 MiB.
    pub transfer_bytes: usize,
    /// Log lines a second; ten seconds' worth may come at once.
    pub log_lines: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            memory_bytes: 128 << 20,
            table_elements: 100_000,
            instances: 200,
            handles: 1_024,
            call: Duration::from_secs(5),
            host_calls: 100_000,
            transfer_bytes: 16 << 20,
            log_lines: 100,
        }
    }
}

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
    #[error("made more than {0} calls into the host during one call")]
    HostCalls(u32),
}

fn mib(bytes: usize) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// Meters what one instance holds. A growth over the limit is a trap and not a refused `memory.grow`: allocators
/// answer that with an abort that names no reason.
pub(super) struct Meter {
    memory_bytes: usize,
    table_elements: usize,
    limits: Limits,
}

impl Meter {
    pub(super) fn new(limits: &Limits) -> Meter {
        Meter { memory_bytes: 0, table_elements: 0, limits: limits.clone() }
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
        let (held, limit) = (self.memory_bytes, self.limits.memory_bytes);
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
        let (wanted, limit) = (self.table_elements.saturating_add(desired - current), self.limits.table_elements);
        if wanted > limit {
            return Err(wasmtime::Error::new(Overrun::Table { wanted, limit }));
        }
        self.table_elements = wanted;
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.limits.instances
    }

    fn memories(&self) -> usize {
        MEMORIES
    }

    fn tables(&self) -> usize {
        TABLES
    }
}
