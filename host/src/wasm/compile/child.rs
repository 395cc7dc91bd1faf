//! The child that compiles, from outside.

use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::super::{Error, Result};
use super::bounds::{ARENAS, Bounds, MESSAGE_BYTES, THREADS};
use super::refusal::Refusal;
use super::worker;

/// How often a child that has said everything is asked whether it has ended.
const WAIT_STEP: Duration = Duration::from_millis(2);

/// Machine code, or why there is none and never will be. An `Err` is about this attempt only.
pub(super) fn compile(
    program: &Path,
    bounds: &Bounds,
    component: &[u8],
) -> Result<std::result::Result<Vec<u8>, Refusal>> {
    let failed = |error: io::Error| Error::Compiler(format!("the child does not start: {error}"));
    let child = command(program, bounds).spawn().map_err(failed)?;
    let ended = converse(child, component, bounds).map_err(failed)?;
    verdict(ended, bounds)
}

/// This program once more, with no environment but what keeps its allocator small, in a process group of its own: a
/// Ctrl-C is for the host.
fn command(program: &Path, bounds: &Bounds) -> Command {
    let mut command = Command::new(program);
    command
        .arg0("millstream")
        .args(worker::arguments(bounds))
        .env_clear()
        .env("RAYON_NUM_THREADS", THREADS)
        .env("MALLOC_ARENA_MAX", ARENAS)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// How a child ended.
struct Ended {
    /// `None`: it was killed because its time was over, or it gave too much.
    status: Option<ExitStatus>,
    is_too_much: bool,
    code: Vec<u8>,
    message: String,
}

/// Hands the component over and takes what comes back, all at once so that neither side waits for the other.
fn converse(mut child: Child, component: &[u8], bounds: &Bounds) -> io::Result<Ended> {
    let (deadline, code_bytes_max) = (Instant::now() + bounds.wall, bounds.code.as_u64());
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        // A child that refuses early reads no further.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(component)));
        let message = scope.spawn(move || read_message(stderr));
        let (sender, code) = channel();
        scope.spawn(move || sender.send(read_code(stdout, code_bytes_max)));
        let code = code.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        let status = match &code {
            Ok(Ok(Some(_))) => wait(&mut child, deadline)?,
            _ => None,
        };
        let is_too_much = matches!(&code, Ok(Ok(None)));
        if status.is_none() {
            child.kill()?;
            child.wait()?;
        }
        let code = code.ok().and_then(io::Result::ok).flatten().unwrap_or_default();
        Ok(Ended { status, is_too_much, code, message: message.join().unwrap_or_default() })
    })
}

fn wait(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        let status = child.try_wait()?;
        if status.is_some() || Instant::now() > deadline {
            return Ok(status);
        }
        std::thread::sleep(WAIT_STEP);
    }
}

/// `None`: it is more than that.
fn read_code(pipe: Option<ChildStdout>, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let mut code = Vec::new();
    if let Some(mut pipe) = pipe {
        Read::by_ref(&mut pipe).take(bytes_max.saturating_add(1)).read_to_end(&mut code)?;
    }
    Ok(Some(code).filter(|code| code.len() as u64 <= bytes_max))
}

fn read_message(pipe: Option<ChildStderr>) -> String {
    let mut message = Vec::new();
    if let Some(mut pipe) = pipe {
        let _ = Read::by_ref(&mut pipe).take(MESSAGE_BYTES).read_to_end(&mut message);
        let _ = io::copy(&mut pipe, &mut io::sink());
    }
    String::from_utf8_lossy(&message).trim().to_owned()
}

/// What the end of a child says about the component, or about this machine.
fn verdict(ended: Ended, bounds: &Bounds) -> Result<std::result::Result<Vec<u8>, Refusal>> {
    let Ended { status, is_too_much, code, message } = ended;
    if is_too_much {
        return Err(Error::Compiler(format!("the child was stopped: it gave more than {} of code", bounds.code)));
    }
    let Some(status) = status else {
        let after = humantime::format_duration(bounds.wall);
        return Err(Error::Compiler(format!("the child was stopped after {after}")));
    };
    let memory = Refusal::Memory(bounds.address_space.to_string());
    let out_of_memory = ["memory allocation of", "annot allocate memory", "os error 12"];
    let refusal = match (status.code(), status.signal().and_then(Signal::from_named_raw)) {
        (Some(0), _) => return Ok(Ok(code)),
        (_, Some(Signal::XCPU)) => Refusal::Cpu(bounds.cpu.as_secs()),
        _ if out_of_memory.iter().any(|words| message.contains(words)) => memory,
        (Some(worker::REFUSED), _) => Refusal::Invalid(message),
        // Not its own doing: the system was short of memory, or somebody stopped it.
        (_, Some(Signal::KILL | Signal::TERM | Signal::INT | Signal::HUP)) => {
            return Err(Error::Compiler(format!("the child was stopped from outside ({status})")));
        }
        (Some(worker::NOT_STARTED), _) => return Err(Error::Compiler(message)),
        _ => Refusal::Crash(format!("{status}: {message}")),
    };
    Ok(Err(refusal))
}
