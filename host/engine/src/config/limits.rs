//! `[limits]`: what a component may use up, each with a default and the reason for it.

use std::num::NonZeroU32;
use std::time::Duration;

use bytesize::ByteSize;

use super::section::Section;
use super::value::{Positive, Value};

/// What a key in LMDB may have: 1,982 bytes (half of a 4 KiB page less its overhead), less the kind byte that every
/// key begins with.
pub const LMDB_KEY_BYTES_MAX: u64 = 1_981;

/// A 32-bit component cannot address more.
const MEMORY_MAX: ByteSize = ByteSize::gib(4);

/// `[limits]`. Why each of them is there: [`Limits::rows`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of one instance, all its memories together.
    pub memory: ByteSize,
    /// Elements of one instance's tables together.
    pub tables: NonZeroU32,
    /// Core instances that one component may be made of.
    pub instances: NonZeroU32,
    /// Stack of guest code.
    pub stack: ByteSize,
    /// Wall time of one guest call.
    pub call: Duration,
    /// Records one input record may become at one node.
    pub outputs: NonZeroU32,
    /// Bytes of these.
    pub output_bytes: ByteSize,
    /// Resource handles of one instance.
    pub handles: NonZeroU32,
    /// Bytes that one host call may move into or out of the guest.
    pub transfer: ByteSize,
    /// Lines a guest may log in a second.
    pub log_lines: NonZeroU32,
    /// Length of a store's key.
    pub key_bytes: ByteSize,
    /// Length of a store's value.
    pub value_bytes: ByteSize,
}

const fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("a constant above 0")
}

pub const MEMORY: ByteSize = ByteSize::mib(128);
pub const TABLES: NonZeroU32 = count(100_000);
pub const INSTANCES: NonZeroU32 = count(200);
pub const STACK: ByteSize = ByteSize::kib(512);
pub const CALL: Duration = Duration::from_secs(5);
pub const OUTPUTS: NonZeroU32 = count(1_000);
pub const OUTPUT_BYTES: ByteSize = ByteSize::mib(8);
pub const HANDLES: NonZeroU32 = count(1_024);
pub const TRANSFER: ByteSize = ByteSize::mib(8);
pub const LOG_LINES: NonZeroU32 = count(100);
pub const KEY_BYTES: ByteSize = ByteSize::kib(1);
pub const VALUE_BYTES: ByteSize = ByteSize::kib(900);

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            memory: MEMORY,
            tables: TABLES,
            instances: INSTANCES,
            stack: STACK,
            call: CALL,
            outputs: OUTPUTS,
            output_bytes: OUTPUT_BYTES,
            handles: HANDLES,
            transfer: TRANSFER,
            log_lines: LOG_LINES,
            key_bytes: KEY_BYTES,
            value_bytes: VALUE_BYTES,
        }
    }
}

/// One limit as `validate` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    pub name: &'static str,
    pub value: String,
    pub default: String,
    pub reason: &'static str,
}

impl Limits {
    pub(super) fn read(mut section: Section<'_>) -> Limits {
        let section = &mut section;
        let limits = Limits {
            memory: positive(section, "memory", MEMORY),
            tables: section.or("tables", TABLES),
            instances: section.or("instances", INSTANCES),
            stack: positive(section, "stack", STACK),
            call: positive(section, "call", CALL),
            outputs: section.or("outputs", OUTPUTS),
            output_bytes: positive(section, "output_bytes", OUTPUT_BYTES),
            handles: section.or("handles", HANDLES),
            transfer: positive(section, "transfer", TRANSFER),
            log_lines: section.or("log_lines", LOG_LINES),
            key_bytes: positive(section, "key_bytes", KEY_BYTES),
            value_bytes: positive(section, "value_bytes", VALUE_BYTES),
        };
        limits.check(section);
        limits
    }

    fn check(&self, section: &mut Section<'_>) {
        if self.memory > MEMORY_MAX {
            section.refuse("memory", format!("is {}, and may be up to {MEMORY_MAX}", self.memory));
        }
        let entry = self.key_bytes.0.saturating_add(self.value_bytes.0);
        if entry > self.transfer.0 {
            let culprit = ["value_bytes", "key_bytes", "transfer"].into_iter().find(|key| section.has(key));
            let message = format!(
                "does not fit: a key of {} and a value of {} do not pass through a host call of {} (transfer)",
                self.key_bytes, self.value_bytes, self.transfer
            );
            section.refuse(culprit.unwrap_or("transfer"), message);
        }
    }

    /// All limits with their defaults and reasons.
    pub fn rows(&self) -> Vec<Limit> {
        let values = self.values().into_iter().zip(Limits::default().values());
        REASONS
            .into_iter()
            .zip(values)
            .map(|((name, reason), (value, default))| Limit { name, value, default, reason })
            .collect()
    }

    /// In the order of [`REASONS`].
    fn values(&self) -> [String; 12] {
        [
            self.memory.to_string(),
            self.tables.to_string(),
            self.instances.to_string(),
            self.stack.to_string(),
            humantime::format_duration(self.call).to_string(),
            self.outputs.to_string(),
            self.output_bytes.to_string(),
            self.handles.to_string(),
            self.transfer.to_string(),
            self.log_lines.to_string(),
            self.key_bytes.to_string(),
            self.value_bytes.to_string(),
        ]
    }
}

const REASONS: [(&str, &str); 12] = [
    ("memory", "one task's guest must not starve the others of the host's memory"),
    ("tables", "table elements are host memory"),
    ("instances", "each core instance costs host memory before it runs"),
    ("stack", "deep recursion traps instead of crashing the thread"),
    ("call", "an endless loop ends long before max.poll.interval.ms costs the membership"),
    ("outputs", "what one input record becomes is held until the commit"),
    ("output_bytes", "what one input record becomes is held until the commit"),
    ("handles", "resource handles are host memory"),
    ("transfer", "what passes through a host call is copied into host memory"),
    ("log_lines", "a loop must not fill the operator's disk"),
    ("key_bytes", "equal on every provider, so that a store can change its provider"),
    ("value_bytes", "a changelog record must fit into max.message.bytes, 1 MiB by default"),
];

fn positive<T: Value + Default + PartialEq>(section: &mut Section<'_>, key: &'static str, default: T) -> T {
    section.get(key).map_or(default, |Positive(value)| value)
}
