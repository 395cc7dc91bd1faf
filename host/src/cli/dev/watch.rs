//! Which changes of a project are worth a build.

use std::path::{Component, Path};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use millstream_engine::error::{Problem, exit};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// Editors save in several steps: a build waits until it has been quiet this long.
const QUIET: Duration = Duration::from_millis(200);

/// What builds write, and what nobody edits.
const IGNORED: &[&str] = &["target", "node_modules", "dist", "Cargo.lock", "package-lock.json"];

pub struct Watch {
    changed: Arc<AtomicBool>,
    _watcher: RecommendedWatcher,
}

impl Watch {
    pub fn start(dir: &Path) -> Result<Watch, Problem> {
        let failed = |error: &dyn std::fmt::Display| {
            let message = format!("{} cannot be watched: {error}", dir.display());
            Problem::new("NotAvailable", "E0614", exit::FAILED, message)
                .field("dir", dir.display().to_string())
                .why("a change that is not seen is not built")
                .fix("name a directory that can be read; on Linux raise fs.inotify.max_user_watches")
        };
        let root = dir.canonicalize().map_err(|error| failed(&error))?;
        // With room for one: a second change before the first was looked at says nothing new.
        let (sender, receiver) = sync_channel(1);
        let within = root.clone();
        let seen = move |event: notify::Result<notify::Event>| {
            let matters = |event: &notify::Event| {
                !matches!(event.kind, EventKind::Access(_)) && event.paths.iter().any(|path| is_source(&within, path))
            };
            if event.is_ok_and(|event| matters(&event)) {
                let _ = sender.try_send(());
            }
        };
        let mut watcher = notify::recommended_watcher(seen).map_err(|error| failed(&error))?;
        watcher.watch(&root, RecursiveMode::Recursive).map_err(|error| failed(&error))?;
        let changed = Arc::new(AtomicBool::new(false));
        let settled = changed.clone();
        std::thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || settle(&receiver, &settled))
            .map_err(|error| failed(&error))?;
        Ok(Watch { changed, _watcher: watcher })
    }

    /// Whether something has changed, and been quiet since, after the last time this was asked.
    pub fn has_changed(&self) -> bool {
        self.changed.swap(false, Ordering::Relaxed)
    }
}

fn settle(events: &Receiver<()>, changed: &AtomicBool) {
    while events.recv().is_ok() {
        loop {
            match events.recv_timeout(QUIET) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        changed.store(true, Ordering::Relaxed);
    }
}

fn is_source(root: &Path, path: &Path) -> bool {
    let inside = path.strip_prefix(root).unwrap_or(path);
    inside.components().all(|part| match part {
        Component::Normal(name) => {
            let name = name.to_string_lossy();
            // Hidden: the log and the state, version control, the editors' own files.
            !name.starts_with('.') && !name.ends_with('~') && !IGNORED.contains(&&*name)
        }
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_sources_are_worth_a_build() {
        let root = Path::new("/p/target/app");
        for source in ["src/lib.rs", "app.toml", "package.json", "src/deep/x.js"] {
            assert!(is_source(root, &root.join(source)), "{source}");
        }
        for other in ["target/release/x", ".millstream/log/data.mdb", "src/.lib.rs.swp", "src/lib.rs~", "Cargo.lock"] {
            assert!(!is_source(root, &root.join(other)), "{other}");
        }
    }

    #[test]
    fn a_saved_file_is_seen_once_it_is_quiet() {
        let dir = tempfile::tempdir().unwrap();
        let watch = Watch::start(dir.path()).unwrap();
        std::fs::create_dir(dir.path().join(".millstream")).unwrap();
        std::fs::write(dir.path().join(".millstream/x"), "x").unwrap();
        std::thread::sleep(3 * QUIET);
        assert!(!watch.has_changed());
        std::fs::write(dir.path().join("lib.rs"), "x").unwrap();
        let seen = (0..50).any(|_| {
            std::thread::sleep(QUIET);
            watch.has_changed()
        });
        assert!(seen);
        std::thread::sleep(2 * QUIET);
        assert!(!watch.has_changed());
    }
}
