//! What the child does: one component from stdin, machine code to stdout.

use std::io::{self, Read, Write};
use std::time::Duration;

use millstream_engine::config::ByteSize;
use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setpriority_process, setrlimit};

use super::super::engine;
use super::super::limits::COMPONENT_BYTES;
use super::bounds::{Bounds, NICE};

/// The hidden verb.
pub const VERB: &str = "compile-component";

/// Exit codes: the component is at fault; the child could not begin.
pub(super) const REFUSED: i32 = 3;
pub(super) const NOT_STARTED: i32 = 4;

/// The arguments the child is started with.
pub(super) fn arguments(bounds: &Bounds) -> [String; 3] {
    [VERB.to_owned(), bounds.cpu.as_secs().to_string(), bounds.address_space.as_u64().to_string()]
}

/// Binds itself, compiles, and answers the exit code. The component is not looked at before the bounds hold.
pub fn run(cpu_s: u64, address_space: u64) -> u8 {
    let bounds =
        Bounds { cpu: Duration::from_secs(cpu_s), address_space: ByteSize(address_space), ..Bounds::default() };
    let mut component = Vec::new();
    let begun = restrain(&bounds)
        .and_then(|()| io::stdin().lock().take(COMPONENT_BYTES as u64 + 1).read_to_end(&mut component));
    if let Err(error) = begun {
        eprintln!("{error}");
        return NOT_STARTED as u8;
    }
    let compiled = engine::compiling().and_then(|engine| engine.precompile_component(&component));
    match compiled {
        Ok(code) => match io::stdout().lock().write_all(&code) {
            Ok(()) => 0,
            Err(_) => NOT_STARTED as u8,
        },
        Err(error) => {
            eprintln!("{error:#}");
            REFUSED as u8
        }
    }
}

/// From here on it uses up little, opens nothing (no file, no socket: there is no descriptor left for one), writes no
/// file and no core, gives way to others, and does not outlive its parent.
fn restrain(bounds: &Bounds) -> io::Result<()> {
    let cpu_s = bounds.cpu.as_secs();
    set_parent_process_death_signal(Some(Signal::KILL))?;
    setpriority_process(None, NICE)?;
    limit(Resource::As, bounds.address_space.as_u64())?;
    setrlimit(Resource::Cpu, Rlimit { current: Some(cpu_s), maximum: Some(cpu_s + 1) })?;
    limit(Resource::Core, 0)?;
    limit(Resource::Fsize, 0)?;
    limit(Resource::Nofile, 3)
}

fn limit(resource: Resource, most: u64) -> io::Result<()> {
    Ok(setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?)
}
