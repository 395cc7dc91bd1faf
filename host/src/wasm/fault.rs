//! What a call that did not return says about whom.

use millstream_engine::config::Limits;
use millstream_engine::functions::{Fault, FaultKind, GuestFault};
use millstream_engine::store;
use wasmtime::{FrameInfo, Trap, WasmBacktrace};

use super::limits::Overrun;

/// A trapped call's fault. `last_words`: the error line the guest logged last in this call.
pub(super) fn of_call(error: wasmtime::Error, limits: &Limits, last_words: Option<String>) -> Fault {
    let error = match error.downcast::<store::Error>() {
        Ok(host) => return Fault::Host(host),
        Err(error) => error,
    };
    Fault::Guest(guest(&error, limits, last_words))
}

/// The fault of an instance that does not start. What is neither a trap nor an overrun is the host's: no memory
/// left, say.
pub(super) fn of_start(error: wasmtime::Error, limits: &Limits, last_words: Option<String>) -> Fault {
    if error.downcast_ref::<Trap>().is_none() && error.downcast_ref::<Overrun>().is_none() {
        return Fault::Host(store::Error::Retry(format!("a guest cannot be started: {error:#}")));
    }
    let fault = guest(&error, limits, last_words);
    Fault::Guest(GuestFault { message: format!("{}: {}", fault.kind, fault.message), kind: FaultKind::Start, ..fault })
}

/// As the guest's own doing, whatever it was.
pub(super) fn guest(error: &wasmtime::Error, limits: &Limits, last_words: Option<String>) -> GuestFault {
    let (kind, what) = cause(error, limits);
    let message = match last_words {
        Some(words) if kind == FaultKind::Trap => format!("{words} ({what})"),
        _ => what,
    };
    let backtrace = error.downcast_ref::<WasmBacktrace>().map(lines).unwrap_or_default();
    GuestFault { kind, message, backtrace }
}

fn cause(error: &wasmtime::Error, limits: &Limits) -> (FaultKind, String) {
    if let Some(overrun) = error.downcast_ref::<Overrun>() {
        let kind = match overrun {
            Overrun::Memory { .. } | Overrun::Table { .. } => FaultKind::Memory,
            Overrun::HostTime { .. } | Overrun::Waited { .. } => FaultKind::Deadline,
            Overrun::HostCalls | Overrun::Stores(_) | Overrun::Transfer { .. } => FaultKind::Trap,
        };
        return (kind, overrun.to_string());
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => (
            FaultKind::Deadline,
            format!("ran longer than {} ([limits] call)", humantime::format_duration(limits.call)),
        ),
        Some(trap) => (FaultKind::Trap, trap.to_string()),
        None => (FaultKind::Trap, error.root_cause().to_string()),
    }
}

/// The key of `[limits]` that a call went beyond: by what ended it, for its message may hold the guest's own words.
pub(super) fn limit_of(error: &wasmtime::Error) -> Option<&'static str> {
    match error.downcast_ref::<Overrun>() {
        Some(overrun) => overrun.key(),
        None => matches!(error.downcast_ref::<Trap>(), Some(Trap::Interrupt)).then_some("call"),
    }
}

/// One function a line, innermost first.
fn lines(backtrace: &WasmBacktrace) -> String {
    backtrace.frames().iter().map(name).collect::<Vec<_>>().join("\n")
}

fn name(frame: &FrameInfo) -> String {
    match frame.func_name() {
        Some(name) => format!("{:#}", rustc_demangle::demangle(name)),
        None => format!("function {}", frame.func_index()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_known_by_what_ended_the_call_and_not_by_the_guests_words() {
        let transfer = wasmtime::Error::from(Overrun::Transfer { bytes: 2, limit: 1 });
        assert_eq!(limit_of(&transfer), Some("transfer"));
        assert_eq!(limit_of(&wasmtime::Error::from(Trap::Interrupt)), Some("call"));
        let (limits, crash) = (Limits::default(), wasmtime::Error::from(Trap::UnreachableCodeReached));
        let fault = guest(&crash, &limits, Some("I wanted more ([limits] memory)".to_owned()));
        assert!(fault.message.contains("[limits] memory)"), "{fault}");
        assert_eq!(limit_of(&crash), None);
        assert_eq!(limit_of(&wasmtime::Error::from(Overrun::Stores("([limits] tables)".to_owned()))), None);
    }
}
