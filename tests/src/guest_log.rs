//! What guests write to their operator's log, for tests to look at.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

/// The log of this process from the first call on.
pub fn guest_log() -> &'static GuestLog {
    static LOG: OnceLock<GuestLog> = OnceLock::new();
    LOG.get_or_init(|| {
        let log = GuestLog::default();
        // An error: a test has set up a log of its own already, and this one stays empty.
        let _ = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).try_init();
        log
    })
}

#[derive(Clone, Default)]
pub struct GuestLog(Arc<Mutex<Vec<u8>>>);

impl GuestLog {
    /// The lines of an application's guests that hold this text.
    pub fn count(&self, application: &str, text: &str) -> usize {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = String::from_utf8_lossy(&bytes);
        let guests = lines.lines().filter(|line| line.contains(" guest: ") && line.contains(application));
        guests.filter(|line| line.contains(text)).count()
    }
}

impl Write for GuestLog {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for GuestLog {
    type Writer = GuestLog;

    fn make_writer(&self) -> GuestLog {
        self.clone()
    }
}
