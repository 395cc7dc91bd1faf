//! SIGINT as something a loop can look at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millstream_engine::error::exit;
use tokio::signal::unix::{SignalKind, signal};

/// Knows whether SIGINT came. A second one ends the process at once.
#[derive(Clone, Debug)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    pub fn watch() -> std::io::Result<Interrupt> {
        let interrupt = Interrupt(Arc::new(AtomicBool::new(false)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let mut signals = {
            let _inside = runtime.enter();
            signal(SignalKind::interrupt())?
        };
        let came = interrupt.0.clone();
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(async {
                signals.recv().await;
                came.store(true, Ordering::Relaxed);
                signals.recv().await;
                std::process::exit(exit::INTERRUPTED.into());
            });
        })?;
        Ok(interrupt)
    }

    pub fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
