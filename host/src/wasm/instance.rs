//! The user code of one task.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use millstream_engine::functions::{Fault, FaultKind, Functions};
use millstream_engine::store::{self, TaskStores};
use millstream_engine::topology::description::Description;

use super::component::{self, Component};
use super::fault;
use super::guest::Guest;
use super::host::Owner;
use super::limits::bytes;
use super::runtime::GuestLog;

/// Calls a component for one task. The guest is started at the first call and after each loss: a trap, a rollback
/// ([`Functions::discard`]), or a memory that has grown too far.
pub struct Instance {
    component: Component,
    /// What `describe` is called with.
    config: Arc<str>,
    /// What it must answer.
    planned: Arc<Description>,
    log: Arc<GuestLog>,
    guest: Option<Guest>,
}

impl Instance {
    /// `config` and `planned`: what [`Component::describe`] was given and gave when the plan was made.
    pub fn new(component: Component, config: Arc<str>, planned: Arc<Description>, owner: Owner) -> Instance {
        let log = Arc::new(GuestLog::new(owner, component.limits().log_lines.get()));
        Instance { component, config, planned, log, guest: None }
    }

    /// A guest whose topology is the planned one: nodes and stores are numbers from here on.
    fn start(&self) -> Result<Guest, Fault> {
        let limits = self.component.limits();
        let mut guest =
            Guest::start(&self.component, &self.log).map_err(|error| fault::of_start(error, limits, None))?;
        let json = match guest.describe(&self.config) {
            Ok(Ok(json)) => json,
            Ok(Err(message)) => return Err(Fault::guest(FaultKind::Start, format!("describe() failed: {message}"))),
            Err(error) => return Err(fault::of_start(error, limits, guest.last_words())),
        };
        match component::parse(&json) {
            Ok(description) if description == *self.planned => Ok(guest),
            Ok(_) => Err(Fault::guest(
                FaultKind::Start,
                "describe() returned another topology than when the application was planned; the same configuration \
                 must give the same one",
            )),
            Err(error) => Err(Fault::guest(FaultKind::Start, error.to_string())),
        }
    }

    /// One call with the stores inside the guest's `Store`; they come back whatever happens.
    fn process(&self, guest: &mut Guest, node: u32, frame: &[u8], stores: &mut TaskStores) -> Result<Vec<u8>, Fault> {
        guest.state().stores = std::mem::take(stores);
        let answer = catch_unwind(AssertUnwindSafe(|| guest.process(node, frame)));
        *stores = std::mem::take(&mut guest.state().stores);
        match answer {
            Ok(Ok(Ok(frame))) => Ok(frame),
            Ok(Ok(Err(message))) => Err(Fault::guest(FaultKind::Failed, message)),
            Ok(Err(error)) => Err(fault::of_call(error, self.component.limits(), guest.last_words())),
            Err(panic) => Err(Fault::Host(store::Error::Retry(format!(
                "the host panicked inside a guest's call: {}",
                panic_message(&*panic)
            )))),
        }
    }
}

impl Functions for Instance {
    fn call(&mut self, node: u32, frame: &[u8], stores: &mut TaskStores, out: &mut Vec<u8>) -> Result<(), Fault> {
        let mut guest = match self.guest.take() {
            Some(guest) => guest,
            None => self.start()?,
        };
        let answer = self.process(&mut guest, node, frame, stores)?;
        if out.is_empty() {
            *out = answer;
        } else {
            out.extend_from_slice(&answer);
        }
        self.guest = (!guest.is_worn(bytes(self.component.limits().memory))).then_some(guest);
        Ok(())
    }

    fn discard(&mut self) {
        self.guest = None;
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}
