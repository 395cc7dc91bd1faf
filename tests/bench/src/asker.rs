//! The side of the host in questions by HTTP: it listens, and starts `ask` as a process of its own, whose CPU is not the
//! host's.

use std::net::{Ipv4Addr, TcpListener};
use std::num::NonZeroU32;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use millstream::api::{Apps, Guard, Listen, Server};
use millstream::app::Handle;

use crate::queries::{Answered, Questions};

/// Asks until it is ended, or this process is.
pub struct Asker {
    child: Child,
    /// Answers as long as it is held.
    _server: Server,
}

impl Asker {
    pub fn start(handle: &Handle, store: &str, per_second: NonZeroU32, questions: &Questions) -> Result<Asker> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?.to_string();
        let apps = Apps::new([handle.clone()]);
        let server = Server::start(vec![Listen::Tcp { listener, guard: Guard::default(), apps }])?;
        let program = std::env::current_exe()?;
        let mut command = match questions.asker_core {
            None => Command::new(program),
            Some(core) => {
                let mut pinned = Command::new("taskset");
                pinned.args(["-c", &core.to_string()]).arg(program);
                pinned
            }
        };
        command.args(["ask", "--address", &address, "--app", handle.id(), "--store", store]);
        command.args(["--per-second", &per_second.to_string(), "--connections", &questions.connections.to_string()]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("who asks does not start")?;
        Ok(Asker { child, _server: server })
    }

    /// Its input ends, and it tells how it fared.
    pub fn end(self) -> Result<Answered> {
        let told = self.child.wait_with_output()?;
        ensure!(told.status.success(), "who asks by HTTP: {}", told.status);
        Ok(serde_json::from_slice(&told.stdout)?)
    }
}
