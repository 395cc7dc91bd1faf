//! The import interface `runtime`: a guest's lines in the operator's log, and the names of what it reads.
//!
//! They come as events of the target `guest` with the fields `application` and `task`, so that no text a guest
//! writes can pass for the host's own.

use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::bindings::millstream::plugin::runtime::{Host, LogLevel};
use super::host::{HostState, Owner};
use super::limits::LOG_LINE_BYTES;

/// How many seconds' worth of lines may come at once.
const BURST_S: f64 = 10.0;

impl Host for HostState {
    fn log(&mut self, level: LogLevel, message: String) -> wasmtime::Result<()> {
        let line = printable(&message);
        self.log.write(level, &line);
        if matches!(level, LogLevel::Error) {
            self.last_words = Some(line);
        }
        Ok(())
    }

    fn topics(&mut self, source: u32) -> wasmtime::Result<Vec<String>> {
        self.clock.begin_host_call()?;
        Ok(self.stores.topics_of(source).to_vec())
    }
}

/// The log of one task's guest. It outlives the guest's instances, so that trapping gives nobody new lines.
pub(super) struct GuestLog {
    owner: Owner,
    lines_per_s: f64,
    allowance: Mutex<Allowance>,
}

/// A token bucket.
struct Allowance {
    lines: f64,
    filled: Instant,
    suppressed: u64,
}

impl GuestLog {
    pub(super) fn new(owner: Owner, lines_per_s: u32) -> GuestLog {
        let lines_per_s = f64::from(lines_per_s);
        let allowance = Allowance { lines: lines_per_s * BURST_S, filled: Instant::now(), suppressed: 0 };
        GuestLog { owner, lines_per_s, allowance: Mutex::new(allowance) }
    }

    fn write(&self, level: LogLevel, line: &str) {
        let Some(suppressed) = self.take() else { return };
        if suppressed > 0 {
            self.emit(LogLevel::Warn, &format!("{suppressed} lines of this guest suppressed: too many a second"));
        }
        self.emit(level, line);
    }

    /// Takes one line's allowance; answers how many were suppressed before it, `None` when there is none left.
    fn take(&self) -> Option<u64> {
        let mut allowance = self.allowance.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let gained = now.duration_since(allowance.filled).as_secs_f64() * self.lines_per_s;
        allowance.lines = (allowance.lines + gained).min(self.lines_per_s * BURST_S);
        allowance.filled = now;
        if allowance.lines < 1.0 {
            allowance.suppressed += 1;
            return None;
        }
        allowance.lines -= 1.0;
        Some(std::mem::take(&mut allowance.suppressed))
    }

    fn emit(&self, level: LogLevel, line: &str) {
        let application = &*self.owner.application;
        let task = self.owner.task.map(tracing::field::display);
        match level {
            LogLevel::Debug => tracing::debug!(target: "guest", application, task, "{line}"),
            LogLevel::Info => tracing::info!(target: "guest", application, task, "{line}"),
            LogLevel::Warn => tracing::warn!(target: "guest", application, task, "{line}"),
            LogLevel::Error => tracing::error!(target: "guest", application, task, "{line}"),
        }
    }
}

/// One line of bounded length in which nothing moves a terminal's cursor, changes its colours or turns its text
/// round.
fn printable(message: &str) -> String {
    let mut line = String::new();
    for (at, char) in message.char_indices() {
        if line.len() >= LOG_LINE_BYTES {
            let _ = write!(line, "… ({} bytes more)", message.len() - at);
            break;
        }
        match is_inert(char) {
            true => line.push(char),
            false => line.extend(char.escape_default()),
        }
    }
    line
}

fn is_inert(char: char) -> bool {
    let reorders = matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !char.is_control() && !reorders
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(lines_per_s: u32) -> GuestLog {
        GuestLog::new(Owner { application: "app".into(), task: None }, lines_per_s)
    }

    #[test]
    fn a_line_cannot_move_the_cursor_or_start_another() {
        assert_eq!(printable("a\u{1b}[2Jb\r\nERROR c\u{202e}d"), "a\\u{1b}[2Jb\\r\\nERROR c\\u{202e}d");
        assert_eq!(printable("grüße 🦀"), "grüße 🦀");
    }

    #[test]
    fn a_long_line_is_cut_and_says_so() {
        let line = printable(&"x".repeat(LOG_LINE_BYTES + 10));
        assert_eq!(line, format!("{}… (10 bytes more)", "x".repeat(LOG_LINE_BYTES)));
    }

    #[test]
    fn a_flood_is_suppressed_and_counted() {
        let log = log(1);
        let passed = (0..10_000).filter(|_| log.take().is_some()).count();
        assert!((10..20).contains(&passed), "{passed} lines passed");
        let suppressed = log.allowance.lock().unwrap_or_else(PoisonError::into_inner).suppressed;
        assert_eq!(suppressed, 10_000 - passed as u64);
    }
}
