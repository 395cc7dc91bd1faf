//! A component on trial: until it has proven itself, a call of its user code that fails is the component's failure and
//! not the record's, whatever `on_error` says.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use millstream_engine::error::{Problem, exit};
use millstream_engine::functions::{Fault, Functions, GuestFault};
use millstream_engine::store::{self, TaskStores};

/// What happens to a component on trial; the same for all of its instances.
#[derive(Clone, Debug, Default)]
pub struct Trial(Arc<State>);

#[derive(Debug, Default)]
struct State {
    over: OnceLock<()>,
    has_run: OnceLock<()>,
    /// The first failure: node and fault.
    failure: Mutex<Option<(String, GuestFault)>>,
}

impl Trial {
    /// It has proven itself: from now on its failures meet the policies of their records.
    pub fn end(&self) {
        let _ = self.0.over.set(());
    }

    /// Whether some of its user code has run well.
    pub fn has_run(&self) -> bool {
        self.0.has_run.get().is_some()
    }

    /// Why it has failed.
    pub fn failure(&self) -> Option<Problem> {
        let failure = self.0.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.as_ref().map(|(node, fault)| failed(node, fault))
    }

    fn is_over(&self) -> bool {
        self.0.over.get().is_some()
    }

    fn fail(&self, node: String, fault: GuestFault) {
        self.0.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert((node, fault));
    }
}

fn failed(node: &str, fault: &GuestFault) -> Problem {
    let problem = Problem::new("TrialFailed", "E0805", exit::FAILED, format!("the new component failed: {fault}"))
        .field("node", node)
        .field("exception", fault.kind.to_string())
        .why("it failed before it had committed anything, so no record has met its policy")
        .fix("mend it and save");
    match fault.backtrace.is_empty() {
        true => problem,
        false => problem.field("backtrace", fault.backtrace.lines().collect::<Vec<_>>()),
    }
}

/// The user code of a task on trial. A failure is told as one of the host: the task waits, nothing is blamed on the
/// record.
pub(super) struct OnTrial {
    pub functions: Box<dyn Functions>,
    pub trial: Trial,
    /// The names of the nodes by their numbers.
    pub nodes: Arc<[String]>,
}

impl Functions for OnTrial {
    fn call(&mut self, node: u32, frame: &[u8], stores: &mut TaskStores, out: &mut Vec<u8>) -> Result<(), Fault> {
        match self.functions.call(node, frame, stores, out) {
            Ok(()) => {
                let _ = self.trial.0.has_run.set(());
                Ok(())
            }
            Err(Fault::Guest(fault)) if !self.trial.is_over() => {
                let waits = format!("the component on trial failed: {fault}");
                self.trial.fail(self.nodes.get(node as usize).cloned().unwrap_or_default(), fault);
                Err(Fault::Host(store::Error::Retry(waits)))
            }
            failed => failed,
        }
    }

    fn discard(&mut self) {
        self.functions.discard();
    }
}
