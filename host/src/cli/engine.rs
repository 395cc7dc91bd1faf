//! The process's only engine, and where it keeps what it compiled.

use std::path::{Path, PathBuf};

use millstream_engine::config::{ByteSize, limits};
use millstream_engine::error::Problem;

use super::Global;
use crate::app::Application;
use crate::wasm::compile::Bounds;
use crate::wasm::{Cache, Compiler, Engine};

impl Global {
    /// The application that a verb runs, checks or shows: all that is wrong with its manifest comes at once.
    pub fn application(&self, path: &Path) -> Result<Application, Problem> {
        Application::open_with(path, &|manifest| self.engine_with(manifest.limits.stack).ok())
    }

    /// A guest's stack is the same for all, so it is the largest that a manifest asks for.
    pub fn engine(&self, apps: &[Application]) -> Result<Engine, Problem> {
        let stack = apps.iter().map(|app| app.manifest.limits.stack).max().unwrap_or(limits::STACK);
        self.engine_with(stack)
    }

    pub fn engine_with(&self, stack: ByteSize) -> Result<Engine, Problem> {
        let cache = match self.cache_dir() {
            Some(dir) => Some(Cache::open(&dir).map_err(|error| error.problem(&dir.display().to_string()))?),
            None => {
                tracing::warn!("no cache directory (--cache-dir, XDG_CACHE_HOME, HOME): components are compiled anew");
                None
            }
        };
        let compiler = Compiler::child(Compiler::this_program(), Bounds::default(), cache);
        Engine::new(stack, compiler).map_err(|error| error.problem("wasmtime"))
    }

    /// `--cache-dir` or MILLSTREAM_CACHE_DIR, else where the system wants it.
    fn cache_dir(&self) -> Option<PathBuf> {
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
        let system = || absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
        self.cache_dir.clone().or_else(|| Some(system()?.join("millstream")))
    }
}
