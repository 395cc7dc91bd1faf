//! Swapping the component of a running application, in place.
//!
//! ```text
//! compile beside what runs ▸ compare ▸ Command::Swap to every thread ▸ Swapped ▸ trial ▸ all Kept: keep the file
//!                                                                                └ one PutBack: the others go back too
//! ```

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
use super::running::deployment;
use super::{kept, parts, plan};
use crate::desk::Link;
use crate::lmdb::StateDirectory;
use crate::log::Log;
use crate::thread::{Command, StartFunctions, Swap, Verdict};
use crate::wasm::Component;

/// How long a thread may take to reach a cut and replace its tasks' code: beyond any commit that works.
const SWAP_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an answer waits for the trial. An application that gets few records is answered while it is on trial.
const TRIAL_WAIT: Duration = Duration::from_secs(3);
/// The name of the problem that a component is which running tasks cannot go on with.
pub const NEEDS_RESTART: &str = "SwapNeedsRestart";
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
    current: Mutex<Current>,
    /// What became of the last swap.
    last: Mutex<Option<Swapped>>,
}

/// What runs, and who runs it.
struct Current {
    loaded: Arc<Loaded>,
    plan: Arc<Plan>,
    threads: Vec<(Sender<Command>, Link)>,
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
        threads: Vec<(Sender<Command>, Link)>,
    ) -> Swapper {
        let (path, instance) = (directory.path().to_owned(), directory.instance().to_owned());
        Swapper {
            handle,
            log,
            directory: path,
            instance,
            current: Mutex::new(Current { loaded, plan, threads }),
            last: Mutex::default(),
        }
    }

    /// What runs now.
    pub fn loaded(&self) -> Arc<Loaded> {
        self.lock().loaded.clone()
    }

    /// The plan that runs now.
    pub fn plan(&self) -> Arc<Plan> {
        self.lock().plan.clone()
    }

    /// What became of the last swap, as far as it is known.
    pub fn last(&self) -> Option<Swapped> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Compiles a component under the running manifest and swaps it in. Blocks for as long as that takes.
    pub fn swap_component(self: &Arc<Self>, bytes: &[u8], allow: &[String]) -> Result<Swapped, Problem> {
        let running = self.lock().loaded.clone();
        let (application, named) = (running.application.clone(), running.named.clone());
        let component = Component::load(running.component.engine(), bytes, application.manifest.limits)
            .map_err(|error| error.problem("the new component"))?;
        let loaded = Loaded { named, ..Loaded::with(application, component)? };
        self.swap(loaded, Some(bytes.to_vec()), allow)
    }

    /// Swaps in what was loaded under the same manifest. `bytes`: kept with the state once the trial has passed.
    pub fn swap(
        self: &Arc<Self>,
        loaded: Loaded,
        bytes: Option<Vec<u8>>,
        allow: &[String],
    ) -> Result<Swapped, Problem> {
        let mut current = self.lock();
        let old = Build::new(current.loaded.clone(), current.plan.clone());
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
        let verdicts = send_all(&current, &new, true)?;
        let gap = wait_swapped(&current, &verdicts)?;
        self.handle.deploy(deployment(&new.loaded, &new.plan, links(&current)));
        current.loaded = new.loaded.clone();
        current.plan = new.plan.clone();
        drop(current);
        let swapped = Swapped {
            state: SwapState::OnTrial,
            digest: format!("sha256:{}", new.loaded.component.digest()),
            verdict,
            differences,
            gap_ms: gap.as_secs_f64() * 1000.0,
            reason: None,
        };
        Ok(self.watch(swapped, old, new, bytes, verdicts))
    }

    /// Hears the trial's end on a thread of its own; waits for it a little.
    fn watch(
        self: &Arc<Self>,
        swapped: Swapped,
        old: Build,
        new: Build,
        bytes: Option<Vec<u8>>,
        verdicts: Vec<Receiver<Verdict>>,
    ) -> Swapped {
        self.tell(&swapped);
        let (heard, answer) = sync_channel(1);
        let (swapper, on_trial) = (self.clone(), swapped.clone());
        let watching = std::thread::Builder::new().name("swap-trial".into()).spawn(move || {
            let ended = swapper.conclude(on_trial, &old, &new, bytes.as_deref(), &verdicts);
            swapper.tell(&ended);
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

    fn conclude(
        &self,
        swapped: Swapped,
        old: &Build,
        new: &Build,
        bytes: Option<&[u8]>,
        verdicts: &[Receiver<Verdict>],
    ) -> Swapped {
        let mut put_back = vec![false; verdicts.len()];
        let mut reason = None;
        for (thread, verdict) in verdicts.iter().enumerate() {
            // A thread that ended has said why itself.
            if let Ok(Verdict::PutBack { why }) = verdict.recv() {
                put_back[thread] = true;
                reason.get_or_insert(why);
            }
        }
        let Some(reason) = reason else {
            self.keep(new, bytes);
            return Swapped { state: SwapState::Kept, ..swapped };
        };
        self.go_back(old, new, &put_back);
        let digest = format!("sha256:{}", old.loaded.component.digest());
        Swapped { state: SwapState::PutBack, digest, reason: Some(reason), ..swapped }
    }

    /// The threads whose trial has passed go back too: an application runs one build.
    fn go_back(&self, old: &Build, new: &Build, put_back: &[bool]) {
        let mut current = self.lock();
        if !Arc::ptr_eq(&current.loaded, &new.loaded) {
            return; // another swap has come since
        }
        let (verdict, _unheard) = sync_channel(VERDICTS);
        for ((commands, _), _) in current.threads.iter().zip(put_back).filter(|(_, back)| !**back) {
            let (plan, functions, verdict) = (old.plan.clone(), old.functions.clone(), verdict.clone());
            // A thread that has ended runs nothing.
            let _ = commands.send(Command::Swap(Swap { plan, functions, on_trial: false, verdict }));
        }
        self.handle.deploy(deployment(&old.loaded, &old.plan, links(&current)));
        current.loaded = old.loaded.clone();
        current.plan = old.plan.clone();
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

    fn tell(&self, swapped: &Swapped) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(swapped.clone());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn links(current: &Current) -> Vec<Link> {
    current.threads.iter().map(|(_, link)| link.clone()).collect()
}

fn send_all(current: &Current, build: &Build, on_trial: bool) -> Result<Vec<Receiver<Verdict>>, Problem> {
    let send = |(commands, _): &(Sender<Command>, Link)| {
        let (verdict, heard) = sync_channel(VERDICTS);
        let (plan, functions) = (build.plan.clone(), build.functions.clone());
        let sent = commands.send(Command::Swap(Swap { plan, functions, on_trial, verdict }));
        sent.map(|()| heard).map_err(|_| ended(&build.loaded))
    };
    current.threads.iter().map(send).collect()
}

/// The longest gap of any thread.
fn wait_swapped(current: &Current, verdicts: &[Receiver<Verdict>]) -> Result<Duration, Problem> {
    let deadline = Instant::now() + SWAP_TIMEOUT;
    let mut longest = Duration::ZERO;
    for verdict in verdicts {
        match verdict.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Verdict::Swapped { gap }) => longest = longest.max(gap),
            Ok(Verdict::Kept | Verdict::PutBack { .. }) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(ended(&current.loaded)),
            Err(RecvTimeoutError::Timeout) => {
                return Err(refused(&current.loaded.application.manifest.id, "a thread did not come to a cut in time")
                    .why("the log did not answer for what was under way; the swap happens when it does")
                    .fix("look at the log and at the application's status"));
            }
        }
    }
    Ok(longest)
}

fn check(old: &Loaded, differences: &[Difference], allow: &[String]) -> Result<(), Problem> {
    let application = &old.application.manifest.id;
    if differences.iter().any(|one| one.class == Class::Refused) {
        return Err(refused(application, "the new component does not fit the application's state")
            .field("verdict", "refused")
            .field("differences", json(differences))
            .why("what lies in its stores and topics could not be read any more")
            .fix(
                "give the store another name, and it begins empty; or leave it as it is and convert in the code; or run \
                 the component under another application id",
            ));
    }
    let missing: Vec<&str> = differences
        .iter()
        .filter_map(|one| one.allow)
        .filter(|word| !allow.iter().any(|given| given == word))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut missing = missing;
    missing.sort_unstable();
    missing.dedup();
    Err(refused(application, "the new component changes what somebody must allow")
        .field("verdict", "needs-allow")
        .field("differences", json(differences))
        .field("allow", missing.clone())
        .why("it reads, writes or leaves behind what the one before it did not")
        .fix(format!("if it is meant, send it again with ?allow={}", missing.join(","))))
}

fn json(differences: &[Difference]) -> serde_json::Value {
    serde_json::to_value(differences).unwrap_or_default()
}

fn refused(application: &str, what: &str) -> Problem {
    Problem::new("SwapRefused", "E0810", exit::FAILED, format!("application {application}: {what}"))
        .field("application", application)
}

fn needs_restart(old: &Loaded, why: &str, differences: &[Difference]) -> Problem {
    let application = &old.application.manifest.id;
    Problem::new(
        NEEDS_RESTART,
        "E0811",
        exit::FAILED,
        format!("application {application}: this component cannot take over while tasks run: {why}"),
    )
    .field("application", application.as_str())
    .field("differences", json(differences))
    .why("running tasks keep their inputs, their stores and their topics")
    .fix("stop the application, name the component in the manifest, and start again: state is kept")
}

fn ended(loaded: &Loaded) -> Problem {
    refused(&loaded.application.manifest.id, "a stream thread has ended")
        .why("an application that does not run has nothing to swap")
        .fix("look at its status; start it again with the new component")
}
