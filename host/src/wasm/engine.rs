//! wasmtime as we want it.

use std::num::NonZeroUsize;
use std::time::Duration;

use millstream_engine::config::{ByteSize, limits};
use wasmtime::{Config, EngineWeak, OptLevel, Strategy};

use super::compile::Compiler;
use super::limits::bytes;
use super::{Error, Result};

/// How often running guests look at the clock. Ten milliseconds cost nothing and end a loop soon enough; it is
/// what other hosts of many tenants use.
pub const TICK: Duration = Duration::from_millis(10);

/// Frames of a trap's backtrace: enough to pass the SDK's dispatch and reach the user's function, and a bound on
/// what a deep recursion writes into a dead letter.
const BACKTRACE_FRAMES: NonZeroUsize = NonZeroUsize::new(32).expect("32 is not zero");

/// What a host function has of the stack that a provider's call runs on, beside the guest's part.
const CALL_STACK: ByteSize = ByteSize::mib(1);

/// What a stream thread needs of its stack besides its guest's part: Rust's default for a whole thread.
const THREAD_STACK: ByteSize = ByteSize::mib(2);

/// The engine of all processors of a process. One per process: code of different engines cannot meet.
///
/// A thread of its own advances the epoch every [`TICK`], so that no busy runtime can keep it from ending a loop;
/// it ends with the last clone of the engine.
#[derive(Clone)]
pub struct Engine {
    engine: wasmtime::Engine,
    compiler: Compiler,
    stack: ByteSize,
}

impl Engine {
    /// `stack`: what a guest may use of its thread's ([limits] stack), the same for all guests of a process.
    pub fn new(stack: ByteSize, compiler: Compiler) -> Result<Engine> {
        let engine = wasmtime::Engine::new(&config(stack)).map_err(Error::engine)?;
        let weak = engine.weak();
        std::thread::Builder::new()
            .name("wasm-tick".into())
            .spawn(move || tick(&weak))
            .map_err(|error| Error::Engine(format!("the tick thread does not start: {error}")))?;
        Ok(Engine { engine, compiler, stack })
    }

    /// The stack to start a thread with that calls guests: a guest that used its part up must find a trap and not
    /// the end of the thread's. A provider, which is called inside a processor's call, has a stack of its own.
    pub fn thread_stack_bytes(&self) -> usize {
        bytes(self.stack + THREAD_STACK)
    }

    pub(super) fn inner(&self) -> &wasmtime::Engine {
        &self.engine
    }

    /// `digest` is that of `bytes`.
    pub(super) fn compile(&self, bytes: &[u8], digest: &str) -> Result<wasmtime::component::Component> {
        self.compiler.compile(&self.engine, bytes, digest)
    }
}

/// An engine that only compiles, for every [`Engine`]: a guest's stack is no part of its code.
pub(super) fn compiling() -> wasmtime::Result<wasmtime::Engine> {
    wasmtime::Engine::new(&config(limits::STACK))
}

/// Without concurrency support, which costs 1.2 to 1.7 times at the boundary. Off is whatever a plugin does not
/// need and an advisory has been written about.
fn config(stack: ByteSize) -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .concurrency_support(false)
        .epoch_interruption(true)
        .max_wasm_stack(bytes(stack))
        .async_stack_size(bytes(stack + CALL_STACK))
        .wasm_backtrace_max_frames(Some(BACKTRACE_FRAMES))
        .relaxed_simd_deterministic(true)
        .wasm_memory64(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false);
    config
}

fn tick(engine: &EngineWeak) {
    loop {
        std::thread::sleep(TICK);
        match engine.upgrade() {
            Some(engine) => engine.increment_epoch(),
            None => return,
        }
    }
}
