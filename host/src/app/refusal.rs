//! Why a component does not take the place of the one that runs.

use millstream_engine::error::{Problem, exit};

use super::compare::{Class, Difference, limit};
use super::load::Loaded;
use crate::wasm::LIMITS_KEY;

/// The name of the problem that a component is which running tasks cannot go on with.
pub const NEEDS_RESTART: &str = "SwapNeedsRestart";

pub fn check(old: &Loaded, differences: &[Difference], allow: &[String]) -> Result<(), Problem> {
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

/// A component that wants more than `[limits]` has the line that says so for its whole list; any other problem stays what
/// it is.
pub fn beyond_limits(old: &Loaded, problem: Problem) -> Problem {
    let Some(key) = problem.fields.iter().find(|(name, _)| *name == LIMITS_KEY).and_then(|(_, key)| key.as_str())
    else {
        return problem;
    };
    let differences = [limit(key, &problem.message)];
    refused(&old.application.manifest.id, &format!("the new component does not fit [limits] {key}"))
        .field("verdict", "refused")
        .field("differences", json(&differences))
        .field(LIMITS_KEY, key)
        .why(problem.message.clone())
        .fix(format!("let it do with less; or raise {key} in the manifest's [limits], name it there, and start again"))
}

pub fn json(differences: &[Difference]) -> serde_json::Value {
    serde_json::to_value(differences).unwrap_or_default()
}

pub fn refused(application: &str, what: &str) -> Problem {
    Problem::new("SwapRefused", "E0810", exit::FAILED, format!("application {application}: {what}"))
        .field("application", application)
}

pub fn needs_restart(old: &Loaded, why: &str, differences: &[Difference]) -> Problem {
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

pub fn ended(loaded: &Loaded) -> Problem {
    refused(&loaded.application.manifest.id, "a stream thread has ended")
        .why("an application that does not run has nothing to swap")
        .fix("look at its status; start it again with the new component")
}
