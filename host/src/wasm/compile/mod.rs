//! From a component's bytes to machine code.
//!
//! Compiling is where a component costs most before it runs: a small file can ask for hours and gigabytes. So it is
//! done in a child process — this program once more, by a hidden verb — that holds itself to bounds of time and
//! memory and has no environment, no files and no network. What came of it, code or refusal, is kept in a cache that
//! nobody else can write to.
//!
//! | file | holds |
//! |---|---|
//! | `child` | starting the child, and what its end says |
//! | [`worker`] | what the child does |
//! | [`cache`](Cache) | what was compiled before, authenticated |
//! | `mac` | the authentication code |
//! | `name` | what an entry of the cache is found by |
//! | [`bounds`](Bounds) | how much compiling may cost |

mod bounds;
mod cache;
mod child;
mod mac;
mod name;
mod refusal;
pub mod worker;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

pub use bounds::Bounds;
pub use cache::Cache;
use cache::Entry;
use name::Name;
pub use refusal::Refusal;

use super::{Error, Result};

/// Who compiles components. Cheap to clone.
#[derive(Clone)]
pub struct Compiler(Arc<Way>);

enum Way {
    InProcess,
    Child(Child),
}

struct Child {
    program: PathBuf,
    bounds: Bounds,
    cache: Option<Cache>,
    /// One component at a time: the bounds are those of the whole process.
    turn: Mutex<()>,
}

impl Compiler {
    /// Compiles in this process, without bounds, every time anew. For components that one has built oneself: tests,
    /// benchmarks, a library that is used without the program.
    pub fn in_process() -> Compiler {
        Compiler(Arc::new(Way::InProcess))
    }

    /// Compiles in a child of `program`, which is `millstream`. Without a cache it is done every time anew.
    pub fn child(program: PathBuf, bounds: Bounds, cache: Option<Cache>) -> Compiler {
        Compiler(Arc::new(Way::Child(Child { program, bounds, cache, turn: Mutex::new(()) })))
    }

    /// The running program's own file, whatever has happened to its name since it started.
    pub fn this_program() -> PathBuf {
        let linux = PathBuf::from("/proc/self/exe");
        if linux.exists() { linux } else { std::env::current_exe().unwrap_or_else(|_| "millstream".into()) }
    }

    /// `digest` is that of `bytes`.
    pub(super) fn compile(
        &self,
        engine: &wasmtime::Engine,
        bytes: &[u8],
        digest: &str,
    ) -> Result<wasmtime::component::Component> {
        match &*self.0 {
            Way::InProcess => wasmtime::component::Component::from_binary(engine, bytes).map_err(Error::invalid),
            Way::Child(child) => child.compile(engine, bytes, digest),
        }
    }
}

impl Child {
    fn compile(&self, engine: &wasmtime::Engine, bytes: &[u8], digest: &str) -> Result<wasmtime::component::Component> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let name = Name::of(engine, digest, &self.bounds);
        match self.cache.as_ref().and_then(|cache| cache.get(&name)) {
            // A damaged entry does not pass the cache; what passes and is refused all the same is another build's.
            Some(Entry::Code(code)) => {
                if let Ok(component) = component(engine, &code) {
                    return Ok(component);
                }
            }
            Some(Entry::Refusal(refusal)) => return Err(Error::Refused(refusal)),
            None => {}
        }
        let compiled = child::compile(&self.program, &self.bounds, bytes)?;
        let entry = match compiled {
            Ok(code) => Entry::Code(code),
            Err(refusal) => Entry::Refusal(refusal),
        };
        if let Some(cache) = &self.cache {
            cache.put(&name, &entry);
        }
        match entry {
            Entry::Code(code) => component(engine, &code),
            Entry::Refusal(refusal) => Err(Error::Refused(refusal)),
        }
    }
}

fn component(engine: &wasmtime::Engine, code: &[u8]) -> Result<wasmtime::component::Component> {
    // SAFETY: the bytes were written by the compiler of this very program: by the child a moment ago, or before that
    // and since then under a key that only this user has. wasmtime itself looks at version, flags and CPU features.
    unsafe { wasmtime::component::Component::deserialize(engine, code) }.map_err(Error::invalid)
}
