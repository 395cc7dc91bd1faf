//! The nine best practices of keeping state, each held against what is there: the log, the disk, the manifest.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use millstream_engine::config::{ByteSize, Provider};
use millstream_engine::error::Problem;
use millstream_engine::store::StoreKind;
use millstream_engine::topology::{Plan, description::Store};
use serde::Serialize;

use super::load::Loaded;
use super::topics::{self, differing};
use super::{orphans, plan, provided};
use crate::lmdb::{last_backup, task_directories};
use crate::log::{self, Log, Topic};

/// A backup that is older is none, where state changes all day.
const BACKUP_AGE_MAX_MS: i64 = 24 * 60 * 60 * 1_000;

/// Of a store's `max_size` and of the disk, in percent: what is left is the time to act.
const FULL_PERCENT: u64 = 80;

/// Kafka's own advice: one copy may be away for maintenance while another one is lost.
const REPLICAS_MIN: i32 = 3;

/// An application and where it lives.
pub struct Patient<'a> {
    pub loaded: &'a Loaded,
    pub log: &'a dyn Log,
    /// Its own state directory, there or not.
    pub directory: &'a Path,
    /// Milliseconds since the epoch.
    pub now_ms: i64,
}

/// What was found of one practice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    pub practice: &'static str,
    pub ok: bool,
    pub found: String,
    /// Of a finding.
    pub fix: Option<String>,
}

/// What the checks look at together.
struct Facts<'a> {
    patient: &'a Patient<'a>,
    /// The stores that have a changelog, its name, and the topic where it is there.
    changelogs: Vec<(&'a Store, String, Option<Topic>)>,
    plan: Result<Plan, Problem>,
}

/// All nine, in the order of the user's page. An error is that the log does not answer.
pub fn check(patient: &Patient<'_>) -> Result<Vec<Check>, Problem> {
    let facts = Facts::gather(patient)?;
    Ok(vec![
        facts.names(),
        facts.persistence()?,
        facts.retention(),
        facts.size(),
        facts.backup(),
        facts.created_before(),
        facts.partitions(),
        facts.replicas(),
        facts.start()?,
    ])
}

impl<'a> Facts<'a> {
    fn gather(patient: &'a Patient<'a>) -> Result<Facts<'a>, Problem> {
        let blueprint = &patient.loaded.blueprint;
        let logged = blueprint.graph.stores.iter().filter_map(|store| Some((store, blueprint.logged_topic(store)?)));
        let logged: Vec<(&Store, String)> = logged.collect();
        let names: Vec<&str> = logged.iter().map(|(_, topic)| topic.as_str()).collect();
        let topics = patient.log.describe(&names)?;
        let changelogs = logged.into_iter().zip(topics).map(|((store, name), topic)| (store, name, topic)).collect();
        Ok(Facts { patient, changelogs, plan: plan::plan(patient.log, blueprint) })
    }

    fn stores(&self) -> &'a [Store] {
        &self.patient.loaded.blueprint.graph.stores
    }

    fn provider(&self, store: &Store) -> Provider {
        self.patient.loaded.blueprint.provider(store)
    }

    /// The changelogs that are there.
    fn topics(&self) -> impl Iterator<Item = (&'a Store, &Topic)> {
        self.changelogs.iter().filter_map(|(store, _, topic)| Some((*store, topic.as_ref()?)))
    }

    fn names(&self) -> Check {
        let unnamed = list(self.stores().iter().map(|store| &store.name).filter(|name| orphans::is_generated(name)));
        match unnamed {
            None => ok("name-stores", format!("all {} stores have names of their own", self.stores().len())),
            Some(names) => finding(
                "name-stores",
                format!("called after their operator and place: {names}"),
                "name them in the component: an operator that comes in front renames and orphans them",
            ),
        }
    }

    fn persistence(&self) -> log::Result<Check> {
        let mut records = 0;
        let in_memory = |store: &Store| self.provider(store) == Provider::Memory;
        for (_, topic) in self.topics().filter(|(store, _)| in_memory(store)) {
            for partition in 0..topic.partitions {
                let offsets = self.patient.log.offsets(&topic.name, partition)?;
                records += offsets.end - offsets.begin;
            }
        }
        let names = list(self.stores().iter().filter(|store| in_memory(store)).map(|store| &store.name));
        let reads =
            |names| format!("in memory: {names}; every start reads up to {records} changelog records before it runs");
        let found: Vec<String> = names.map(reads).into_iter().chain(self.not_kept()).collect();
        Ok(match found.is_empty() {
            true => ok("persistent-stores", self.kept()),
            false => finding(
                "persistent-stores",
                found.join("; "),
                "[state] provider = \"lmdb\", [stores.NAME] provider = \"lmdb\", or a provider that is there and persistent: \
                 `millstream provider check` says what one is",
            ),
        })
    }

    /// The providers that keep stores for as long as their process runs, and those that do not answer.
    fn not_kept(&self) -> Vec<String> {
        let all = provided::of(&self.patient.loaded.blueprint);
        let providers: BTreeSet<&str> = all.iter().map(|one| one.provider.as_str()).collect();
        let say = |provider: &str| {
            let stores =
                list(all.iter().filter(|one| one.provider == provider).map(|one| &one.store)).unwrap_or_default();
            match provided::is_persistent(self.patient.loaded, provider) {
                Ok(true) => None,
                Ok(false) => Some(format!("{stores}: provider {provider} keeps them for as long as its process runs")),
                Err(error) => Some(format!("{stores}: provider {provider} does not answer: {error}")),
            }
        };
        providers.into_iter().filter_map(say).collect()
    }

    /// What keeps stores of which all are kept.
    fn kept(&self) -> String {
        match list(provided::of(&self.patient.loaded.blueprint).iter().map(|one| &one.store)) {
            None => format!("all {} stores are kept on disk", self.stores().len()),
            Some(names) => format!("kept by persistent providers: {names}; all others on disk"),
        }
    }

    fn retention(&self) -> Check {
        let policy = |topic: &Topic| topic.configs.get("cleanup.policy").cloned().unwrap_or_default();
        let kept_ms = |topic: &Topic| {
            let kept_ms = topic.configs.get("retention.ms").and_then(|ms| ms.parse::<i64>().ok());
            kept_ms.filter(|ms| *ms >= 0 && policy(topic).contains("delete"))
        };
        let blueprint = &self.patient.loaded.blueprint;
        // Windows and sessions may go when their store has forgotten them, and no earlier.
        let needed_ms = |store: &Store| match blueprint.kind(store) {
            StoreKind::Window { .. } | StoreKind::Session { .. } => blueprint.kind(store).retention_ms(),
            StoreKind::KeyValue | StoreKind::Buffer | StoreKind::Versioned { .. } => None,
        };
        let loses = |(store, topic): &(&Store, &Topic)| {
            let is_short = |kept_ms: i64| needed_ms(store).is_none_or(|needed| kept_ms < needed);
            !policy(topic).contains("compact") || kept_ms(topic).is_some_and(is_short)
        };
        let hoards = |(store, topic): &(&Store, &Topic)| needed_ms(store).is_some() && kept_ms(topic).is_none();
        let shown = |(_, topic): (&Store, &Topic)| {
            let retention = topic.configs.get("retention.ms").map_or("-1", String::as_str);
            format!("{} (cleanup.policy={}, retention.ms={retention})", topic.name, policy(topic))
        };
        let lost = list(self.topics().filter(loses).map(shown))
            .map(|topics| format!("changelogs that forget what their store still holds: {topics}"));
        let hoarded = list(self.topics().filter(hoards).map(shown))
            .map(|topics| format!("changelogs that keep for ever what their store has forgotten: {topics}"));
        match list(lost.into_iter().chain(hoarded)) {
            None => {
                ok("retention", "changelogs keep what their stores hold, and windows no longer than them".to_owned())
            }
            Some(found) => finding(
                "retention",
                found,
                "kafka-configs.sh --alter --entity-type topics --entity-name TOPIC --add-config, with what `millstream \
                 changelogs plan APP` shows",
            ),
        }
    }

    fn size(&self) -> Check {
        let manifest = &self.patient.loaded.application.manifest;
        let max = manifest.state_bytes_max(self.stores().iter().map(|store| store.name.as_str())).0;
        let tasks = task_directories(self.patient.directory).unwrap_or_default();
        let sizes: Vec<u64> = tasks.iter().filter_map(|task| used(&task.join("data.mdb"))).collect();
        let (largest, all) = (sizes.iter().copied().max().unwrap_or(0), sizes.iter().sum());
        let (largest, all, max) = (ByteSize(largest), ByteSize(all), ByteSize(max));
        let found = format!("{} tasks hold {all}; the largest {largest} of max_size {max}", sizes.len());
        if largest.0 * 100 > max.0 * FULL_PERCENT {
            return finding("state-size", found, "a larger [state] max_size, a shorter retention, or more partitions");
        }
        match disk(self.patient.directory) {
            Some((free, used)) if used * 100 > (used + free) * FULL_PERCENT => {
                let (free, total) = (ByteSize(free), ByteSize(used + free));
                let found = format!("{found}; the disk has {free} free of {total}");
                finding("state-size", found, "a larger disk, or less on it")
            }
            Some((free, _)) => ok("state-size", format!("{found}; the disk has {} free", ByteSize(free))),
            None => ok("state-size", found),
        }
    }

    fn backup(&self) -> Check {
        let has_state = task_directories(self.patient.directory).is_ok_and(|tasks| !tasks.is_empty());
        let fix = "millstream store backup APP DIR, every day";
        match last_backup(self.patient.directory) {
            _ if !has_state => ok("backup", "there is no state on this disk".to_owned()),
            None => finding("backup", "the state on this disk was never backed up".to_owned(), fix),
            Some(backup) => {
                let age = self.patient.now_ms - backup.at_ms;
                let hours = age / (60 * 60 * 1_000);
                let found = format!("the last backup, in {}, is {hours} hours old", backup.state_dir.display());
                if age > BACKUP_AGE_MAX_MS { finding("backup", found, fix) } else { ok("backup", found) }
            }
        }
    }

    fn created_before(&self) -> Check {
        let blueprint = &self.patient.loaded.blueprint;
        // A source topic is there before, or a start is refused.
        let own = || self.changelogs.iter().filter(|(store, ..)| !blueprint.reuses_source(store));
        let missing = || list(own().filter(|(_, _, topic)| topic.is_none()).map(|(_, name, _)| name));
        let auto_create = self.patient.loaded.application.manifest.changelog.topics.auto_create;
        if let Some(others) = self.others() {
            return finding(
                "pre-create-changelogs",
                format!("created otherwise than the manifest and the stores' kinds ask for: {others}"),
                "millstream changelogs plan APP -o kafka-topics shows the commands; or topic_configs that say what is meant",
            );
        }
        match (auto_create, missing()) {
            (true, missing) => finding(
                "pre-create-changelogs",
                match missing {
                    Some(names) => format!("a start creates what is missing, as it thinks right: {names}"),
                    None => "a start would create changelogs that went missing, empty".to_owned(),
                },
                "millstream changelogs plan APP -o kafka-topics, then [changelog] auto_create = false",
            ),
            (false, Some(names)) => finding(
                "pre-create-changelogs",
                format!("missing: {names}"),
                "millstream changelogs plan APP -o kafka-topics",
            ),
            (false, None) => ok("pre-create-changelogs", "all changelogs are there; none is created".to_owned()),
        }
    }

    /// Changelogs that are there with other configs than a start would give them.
    fn others(&self) -> Option<String> {
        let plan = self.plan.as_ref().ok()?;
        let differs = |(_, topic): (&Store, &Topic)| {
            let planned = plan.topics.iter().find(|planned| planned.name == topic.name)?;
            let wanted = &planned.internal.as_ref()?.configs;
            let has: Vec<String> = differing(wanted, &topic.configs)
                .iter()
                .map(|(name, has)| format!("{name}={has} and not {}", wanted[name]))
                .collect();
            (!has.is_empty()).then(|| format!("{} ({})", topic.name, has.join(", ")))
        };
        list(self.topics().filter_map(differs))
    }

    fn partitions(&self) -> Check {
        match &self.plan {
            Err(problem) if MISMATCHES.contains(&problem.name) => {
                finding("match-partitions", problem.message.clone(), problem.fix.clone())
            }
            Err(_) => ok("match-partitions", "not known before a start is possible: see startup-errors".to_owned()),
            Ok(_) => {
                ok("match-partitions", format!("{} changelogs have a partition for each task", self.topics().count()))
            }
        }
    }

    fn replicas(&self) -> Check {
        if self.patient.log.url().starts_with("embedded:") {
            let found = "the embedded log is one file: its copies are those of its disk";
            return ok("replication-factor", found.to_owned());
        }
        let few = |(_, topic): &(&Store, &Topic)| topic.replicas < REPLICAS_MIN;
        match list(self.topics().filter(few).map(|(_, topic)| format!("{} ({})", topic.name, topic.replicas))) {
            None => ok("replication-factor", format!("all changelogs have {REPLICAS_MIN} copies or more")),
            Some(topics) => finding(
                "replication-factor",
                format!("fewer than {REPLICAS_MIN} copies: {topics}"),
                "[changelog] replication_factor = 3 for new ones; kafka-reassign-partitions.sh for these",
            ),
        }
    }

    fn start(&self) -> Result<Check, Problem> {
        let blueprint = &self.patient.loaded.blueprint;
        let (log, directory) = (self.patient.log, self.patient.directory);
        let misfits = |plan| {
            let kept = orphans::check(log, blueprint, directory, false)?;
            topics::check_recreated(log, plan, &kept, false).map(drop)
        };
        let refused = match &self.plan {
            // Told where it belongs.
            Err(problem) if MISMATCHES.contains(&problem.name) => Ok(()),
            Err(problem) => Err(problem.clone()),
            Ok(plan) => misfits(plan),
        };
        Ok(match refused {
            Ok(()) if self.plan.is_ok() => ok("startup-errors", "a start would be taken".to_owned()),
            Ok(()) => finding("startup-errors", "a start is refused: see match-partitions", "as there"),
            Err(problem) => {
                let found = format!("a start is refused: [{}] {}", problem.code, problem.message);
                finding("startup-errors", found, problem.fix)
            }
        })
    }
}

/// Of a plan: topics that have another number of partitions than there are tasks.
const MISMATCHES: [&str; 3] = ["ChangelogPartitionMismatch", "RepartitionPartitionMismatch", "TasksPartitionMismatch"];

fn ok(practice: &'static str, found: String) -> Check {
    Check { practice, ok: true, found, fix: None }
}

fn finding(practice: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Check {
    Check { practice, ok: false, found: found.into(), fix: Some(fix.into()) }
}

/// `None`: there are none.
fn list(names: impl Iterator<Item = impl AsRef<str>>) -> Option<String> {
    let names: Vec<String> = names.map(|name| name.as_ref().to_owned()).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// Bytes that a file takes up on its disk.
fn used(file: &Path) -> Option<u64> {
    /// The unit of `st_blocks`, whatever the file system's own.
    const BLOCK_BYTES: u64 = 512;
    use std::os::unix::fs::MetadataExt;
    Some(fs::metadata(file).ok()?.blocks() * BLOCK_BYTES)
}

/// Bytes that are free for this user, and used, where the directory is or would be. (What the system keeps for itself
/// is neither.)
fn disk(directory: &Path) -> Option<(u64, u64)> {
    let there = directory.ancestors().find(|path| path.exists())?;
    let stat = rustix::fs::statvfs(there).ok()?;
    Some((stat.f_bavail * stat.f_frsize, (stat.f_blocks - stat.f_bfree) * stat.f_frsize))
}
