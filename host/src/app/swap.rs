//! Swapping the component of a running application, in place.
//!
//! ```text
//! compile beside what runs ▸ compare ▸ Command::Swap to every thread ▸ Swapped ▸ trial ▸ Kept: keep the file
//!                                                                                └ PutBack: every thread goes back
//! ```
//! The threads come to one end of a trial ([`Probation`]), so one of them speaks for all.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use millstream_engine::error::{Problem, exit};
use millstream_engine::topology::Plan;
use serde::Serialize;

use super::compare::{Class, Difference, compare};
use super::handle::Handle;
use super::load::Loaded;
pub use super::refusal::NEEDS_RESTART;
use super::refusal::{beyond_limits, check, ended, json, needs_restart, refused};
use super::running::deployment;
use super::{kept, parts, plan};
use crate::desk::Link;
use crate::lmdb::StateDirectory;
use crate::log::Log;
use crate::thread::{Command, Permit, Probation, StartFunctions, Swap, Verdict};
use crate::wasm::Component;

/// How long a thread may take to reach a cut and replace its tasks' code: beyond any commit that works.
const SWAP_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an answer waits for the trial. An application that gets few records is answered while it is on trial.
const TRIAL_WAIT: Duration = Duration::from_secs(3);
/// How often all threads are asked for their verdicts: who hears one is not to wait for a thread that is in a long call.
const HEAR_EVERY: Duration = Duration::from_millis(50);
/// Verdicts one thread may send before anybody listens: two of each swap.
const VERDICTS: usize = 4;

/// What became of a swap.
#[derive(Clone, Debug, Serialize)]
pub struct Swapped {
    pub state: SwapState,
    /// Of the component that runs now.
    pub digest: String,
    pub verdict: Class,
    pub differences: Vec<Difference>,
    /// The longest time that no task of a thread ran, in ms.
    pub gap_ms: f64,
    /// Why it was put back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SwapState {
    /// It runs; its first records are still to come.
    OnTrial,
    Kept,
    PutBack,
    /// The application ended, or was given another component, before the trial was over.
    Undecided,
}

impl Swapped {
    /// Why a swap that was put back has failed.
    pub fn put_back(&self, application: &str) -> Option<Problem> {
        let reason = self.reason.as_ref().filter(|_| self.state == SwapState::PutBack)?;
        let message =
            format!("application {application}: the new component failed on trial, the build before it runs again");
        let problem = Problem::new("SwapPutBack", "E0812", exit::FAILED, message)
            .field("application", application)
            .field("digest", self.digest.clone())
            .field("verdict", serde_json::to_value(self.verdict).unwrap_or_default())
            .field("differences", json(&self.differences))
            .field("reason", reason.clone())
            .why(format!("{reason}; nothing that it did since the last commit was kept"))
            .fix("mend it and try again");
        Some(problem)
    }
}

/// Puts other components in the place of an application's.
pub struct Swapper {
    handle: Handle,
    log: Arc<dyn Log>,
    /// The application's state directory, and who this process is to the group.
    directory: PathBuf,
    instance: String,
    threads: Vec<Thread>,
    /// One swap at a time is on its way into the threads.
    under_way: Mutex<()>,
    current: Mutex<Current>,
}

/// What runs. Held for moments only.
struct Current {
    running: Build,
    /// Its trial; `None`: it never had one, or has come to its end.
    probation: Option<Probation>,
    /// What has passed its trial, or never had one: a failure goes back to it.
    proven: Build,
    /// Counts swaps.
    number: u64,
    /// Of the swap that brought what is proven, or after which it was gone back to.
    proven_number: u64,
    /// What became of the last swap.
    last: Option<Swapped>,
}

impl Current {
    /// What runs is proven as soon as its threads have found so, whoever has told of it.
    fn hear(&mut self) {
        if self.probation.take_if(|probation| probation.has_passed()).is_some() && self.proven_number < self.number {
            self.proven = self.running.clone();
            self.proven_number = self.number;
        }
    }
}

/// A stream thread: how it is told, and what it tells.
type Thread = (Sender<Command>, Link);

/// What one thread was sent.
struct Sent {
    verdicts: Receiver<Verdict>,
    permit: Permit,
}

/// One build as threads are given it.
#[derive(Clone)]
struct Build {
    loaded: Arc<Loaded>,
    plan: Arc<Plan>,
    functions: Arc<StartFunctions>,
}

impl Build {
    fn new(loaded: Arc<Loaded>, plan: Arc<Plan>) -> Build {
        Build { functions: parts::functions(&loaded, None), loaded, plan }
    }
}

impl Swapper {
    pub(super) fn new(
        handle: Handle,
        log: Arc<dyn Log>,
        directory: &StateDirectory,
        loaded: Arc<Loaded>,
        plan: Arc<Plan>,
        threads: Vec<Thread>,
    ) -> Swapper {
        let (path, instance) = (directory.path().to_owned(), directory.instance().to_owned());
        let running = Build::new(loaded, plan);
        let (proven, probation) = (running.clone(), None);
        let current = Current { proven, running, probation, number: 0, proven_number: 0, last: None };
        Swapper {
            handle,
            log,
            directory: path,
            instance,
            threads,
            under_way: Mutex::default(),
            current: Mutex::new(current),
        }
    }

    /// What runs now, on trial or not.
    pub fn loaded(&self) -> Arc<Loaded> {
        self.lock().running.loaded.clone()
    }

    /// What to start again after a failure.
    pub fn proven(&self) -> Arc<Loaded> {
        let mut current = self.lock();
        current.hear();
        current.proven.loaded.clone()
    }

    /// The plan that runs now.
    pub fn plan(&self) -> Arc<Plan> {
        self.lock().running.plan.clone()
    }

    /// What became of the last swap, as far as it is known.
    pub fn last(&self) -> Option<Swapped> {
        self.lock().last.clone()
    }

    /// Compiles a component under the running manifest and swaps it in. Blocks for as long as that takes.
    pub fn swap_component(self: &Arc<Self>, bytes: &[u8], allow: &[String]) -> Result<Swapped, Problem> {
        let running = self.loaded();
        let (application, named) = (running.application.clone(), running.named.clone());
        let beyond = |problem| beyond_limits(&running, problem);
        let component = Component::load(running.component.engine(), bytes, application.manifest.limits)
            .map_err(|error| beyond(error.problem("the new component")))?;
        let loaded = Loaded { named, ..Loaded::with(application, component).map_err(beyond)? };
        self.swap(loaded, Some(bytes.to_vec()), allow)
    }

    /// Swaps in what was loaded under the same manifest. `bytes`: kept with the state once the trial has passed.
    pub fn swap(
        self: &Arc<Self>,
        loaded: Loaded,
        bytes: Option<Vec<u8>>,
        allow: &[String],
    ) -> Result<Swapped, Problem> {
        let one_at_a_time = self.one_at_a_time();
        let old = self.lock().running.clone();
        let differences = compare(&old.loaded.blueprint, &loaded.blueprint);
        let verdict = differences.iter().map(|one| one.class).max().unwrap_or(Class::Safe);
        check(&old.loaded, &differences, allow)?;
        let shared = self.check_alone(&old.loaded)?;
        let plan = plan::plan(&*self.log, &loaded.blueprint)?;
        let plan = plan.in_place_of(&old.plan).map_err(|why| needs_restart(&old.loaded, &why, &differences))?;
        if shared && plan.fingerprint() != old.plan.fingerprint() {
            return Err(needs_restart(&old.loaded, "members of one group must run one plan", &differences));
        }
        let new = Build::new(Arc::new(loaded), Arc::new(plan));
        let probation = Probation::of(self.threads.len());
        let sent = self.send_all(&new, Some(&probation));
        let gap = match wait_swapped(&old.loaded, &sent) {
            Ok(gap) => gap,
            Err(problem) => {
                self.take_back(&sent);
                return Err(problem);
            }
        };
        let swapped = Swapped {
            state: SwapState::OnTrial,
            digest: format!("sha256:{}", new.loaded.component.digest()),
            verdict,
            differences,
            gap_ms: gap.as_secs_f64() * 1000.0,
            reason: None,
        };
        let number = {
            let mut current = self.lock();
            current.hear();
            current.number += 1;
            current.running = new.clone();
            current.probation = Some(probation);
            current.last = Some(swapped.clone());
            current.number
        };
        self.handle.deploy(deployment(&new.loaded, &new.plan, self.links(), self.handle.globals()));
        let verdicts = sent.into_iter().map(|sent| sent.verdicts).collect();
        // Who hears the trial's end may have to send everybody back.
        drop(one_at_a_time);
        Ok(self.watch(number, swapped, new, bytes, verdicts))
    }

    /// Hears the trial's end on a thread of its own; waits for it a little.
    fn watch(
        self: &Arc<Self>,
        number: u64,
        swapped: Swapped,
        new: Build,
        bytes: Option<Vec<u8>>,
        verdicts: Vec<Receiver<Verdict>>,
    ) -> Swapped {
        let (heard, answer) = sync_channel(1);
        let (swapper, on_trial) = (self.clone(), swapped.clone());
        let watching = std::thread::Builder::new().name("swap-trial".into()).spawn(move || {
            let ended = swapper.conclude(number, on_trial, &new, bytes.as_deref(), &verdicts);
            // Nobody may be waiting any more.
            let _ = heard.try_send(ended);
        });
        match watching {
            Ok(_) => answer.recv_timeout(TRIAL_WAIT).unwrap_or(swapped),
            Err(error) => {
                tracing::error!(%error, "nobody hears the trial's end");
                swapped
            }
        }
    }

    /// Waits for the verdict. Threads that have ended, or were given another build meanwhile, give none: then nothing is
    /// proven.
    fn conclude(
        &self,
        number: u64,
        swapped: Swapped,
        new: &Build,
        bytes: Option<&[u8]>,
        verdicts: &[Receiver<Verdict>],
    ) -> Swapped {
        let reason = match hear(verdicts) {
            Some(Verdict::Kept) => return self.conclude_kept(number, swapped, new, bytes),
            Some(Verdict::PutBack { why }) => Some(why),
            Some(Verdict::Swapped { .. }) | None => None,
        };
        // Not into the midst of the next swap: what runs then is not known before its end.
        let _one_at_a_time = self.one_at_a_time();
        let mut current = self.lock();
        if current.number != number {
            return Swapped { state: SwapState::Undecided, ..swapped };
        }
        let ended = match reason {
            Some(reason) => {
                // Each thread has put itself back, or does so at its next turn.
                let digest = self.went_back(&mut current);
                Swapped { state: SwapState::PutBack, digest, reason: Some(reason), ..swapped }
            }
            None => Swapped { state: SwapState::Undecided, ..swapped },
        };
        current.last = Some(ended.clone());
        ended
    }

    /// Every thread goes back to it from now on, whether the next swap is under way or not.
    fn conclude_kept(&self, number: u64, swapped: Swapped, new: &Build, bytes: Option<&[u8]>) -> Swapped {
        let mut current = self.lock();
        if current.proven_number > number {
            return Swapped { state: SwapState::Undecided, ..swapped };
        }
        current.proven = new.clone();
        current.proven_number = number;
        self.keep(new, bytes);
        let ended = Swapped { state: SwapState::Kept, ..swapped };
        if current.number == number {
            current.last = Some(ended.clone());
        }
        ended
    }

    /// What is proven runs again in all threads. Answers its digest.
    fn went_back(&self, current: &mut Current) -> String {
        let proven = current.proven.clone();
        self.handle.deploy(deployment(&proven.loaded, &proven.plan, self.links(), self.handle.globals()));
        let digest = format!("sha256:{}", proven.loaded.component.digest());
        current.running = proven;
        current.probation = None;
        current.proven_number = current.number;
        digest
    }

    fn send_all(&self, build: &Build, probation: Option<&Probation>) -> Vec<Sent> {
        let send = |(commands, _): &Thread| {
            let (swap, sent) = order(build, probation);
            // Of a thread that has ended no verdict comes.
            let _ = commands.send(Command::Swap(swap));
            sent
        };
        self.threads.iter().map(send).collect()
    }

    /// Not every thread came to a cut: those that did go back, the others never begin. Where what ran before is on trial
    /// itself, it has ended in those that did, so all threads go back to what is proven.
    fn take_back(&self, sent: &[Sent]) {
        let mut current = self.lock();
        current.hear();
        let withdrawn: Vec<bool> = sent.iter().map(|sent| sent.permit.withdraw()).collect();
        if withdrawn.iter().all(|withdrawn| *withdrawn) {
            return;
        }
        if current.proven_number != current.number {
            // Whoever still listens to that trial has nothing more to say.
            current.number += 1;
            current.last = None;
            self.send_all(&current.proven, None);
            self.went_back(&mut current);
            return;
        }
        for ((commands, _), withdrawn) in self.threads.iter().zip(withdrawn) {
            if !withdrawn {
                let _ = commands.send(Command::Swap(order(&current.running, None).0));
            }
        }
    }

    fn one_at_a_time(&self) -> std::sync::MutexGuard<'_, ()> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn links(&self) -> Vec<Link> {
        self.threads.iter().map(|(_, link)| link.clone()).collect()
    }

    fn keep(&self, new: &Build, bytes: Option<&[u8]>) {
        let Some(bytes) = bytes else { return };
        let (directory, digest) = (&self.directory, new.loaded.component.digest());
        let kept = match digest == new.loaded.named.digest {
            true => kept::forget(directory),
            false => kept::keep(directory, bytes, digest, &new.loaded.named),
        };
        if let Err(error) = kept {
            tracing::error!(%error, "the new component is not kept: a restart runs what the manifest names");
        }
    }

    /// One member swaps for itself alone; others would run the old build beside it. Answers whether there may be
    /// others one day: a new member compares its plan with the one that stands in our client id.
    fn check_alone(&self, loaded: &Loaded) -> Result<bool, Problem> {
        let application = &loaded.application.manifest.id;
        let Some(mut others) = self.log.members(application)? else { return Ok(false) };
        others.retain(|id| !id.contains(&self.instance));
        if others.is_empty() {
            return Ok(true);
        }
        Err(refused(application, "the group has other members")
            .field("members", others)
            .why("each would go on with the build it has, and records would meet one or the other by chance")
            .fix("restart the members one after the other with the new component"))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a thread is told, and where its verdicts come.
fn order(build: &Build, probation: Option<&Probation>) -> (Swap, Sent) {
    let (verdict, verdicts) = sync_channel(VERDICTS);
    let (plan, functions, permit) = (build.plan.clone(), build.functions.clone(), Permit::default());
    let component = Some(build.loaded.component.digest_bytes());
    let probation = probation.cloned();
    (Swap { plan, functions, component, probation, verdict, permit: permit.clone() }, Sent { verdicts, permit })
}

/// The longest gap of any thread.
fn wait_swapped(old: &Loaded, sent: &[Sent]) -> Result<Duration, Problem> {
    let deadline = Instant::now() + SWAP_TIMEOUT;
    let mut longest = Duration::ZERO;
    for Sent { verdicts, .. } in sent {
        match verdicts.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Verdict::Swapped { gap }) => longest = longest.max(gap),
            Ok(Verdict::Kept | Verdict::PutBack { .. }) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(ended(old)),
            Err(RecvTimeoutError::Timeout) => {
                return Err(refused(&old.application.manifest.id, "a thread did not come to a cut in time")
                    .why("the log did not answer for what was under way, so nothing was swapped")
                    .fix("look at the log and at the application's status"));
            }
        }
    }
    Ok(longest)
}

/// What became of a trial, as the first thread says that knows it; `None`: all have ended without a word of it.
fn hear(verdicts: &[Receiver<Verdict>]) -> Option<Verdict> {
    let mut silent: Vec<&Receiver<Verdict>> = verdicts.iter().collect();
    let mut heard = None;
    while !silent.is_empty() && heard.is_none() {
        let wait = HEAR_EVERY / u32::try_from(silent.len()).unwrap_or(u32::MAX);
        silent.retain(|verdicts| match verdicts.recv_timeout(wait) {
            Ok(Verdict::Swapped { .. }) | Err(RecvTimeoutError::Timeout) => true,
            Ok(verdict @ (Verdict::Kept | Verdict::PutBack { .. })) => {
                heard.get_or_insert(verdict);
                false
            }
            Err(RecvTimeoutError::Disconnected) => false,
        });
    }
    heard
}
