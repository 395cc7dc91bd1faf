//! Signals as something a loop can look at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millstream_engine::error::exit;
use tokio::signal::unix::{SignalKind, signal};

/// Knows whether a signal came. A second one ends the process at once.
#[derive(Clone, Debug)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// SIGINT: for verbs that read or write records.
    pub fn watch() -> std::io::Result<Interrupt> {
        Interrupt::on(&[SignalKind::interrupt()])
    }

    /// SIGINT and SIGTERM: for verbs that run applications.
    pub fn watch_all() -> std::io::Result<Interrupt> {
        Interrupt::on(&[SignalKind::interrupt(), SignalKind::terminate()])
    }

    fn on(kinds: &[SignalKind]) -> std::io::Result<Interrupt> {
        let interrupt = Interrupt(Arc::new(AtomicBool::new(false)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let inside = runtime.enter();
        for kind in kinds {
            let mut signals = signal(*kind)?;
            let came = interrupt.0.clone();
            runtime.spawn(async move {
                while signals.recv().await.is_some() {
                    if came.swap(true, Ordering::Relaxed) {
                        std::process::exit(exit::INTERRUPTED.into());
                    }
                }
            });
        }
        drop(inside);
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
        Ok(interrupt)
    }

    pub fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
