//! `store import`: entries into the store of an application that does not run.
//!
//! The log first: they go into the store's changelog, each into the partition of its task, and the next start restores
//! them as it restores anything that local state has not seen.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use millstream_engine::error::{Problem, exit};
use millstream_engine::partitioner;
use millstream_engine::record::{Headers, Record};
use millstream_engine::topology::Plan;

use super::super::codecs::CodecFlags;
use super::super::lines::{LINE_BYTES_MAX, Lines, Next};
use super::super::output::{self, Output};
use super::super::produce::now_ms;
use super::super::{Error, Global, Result};
use crate::api::socket_path;
use crate::app::{Loaded, plan, query};
use crate::cli::client::Client;
use crate::lmdb::StateDirectory;
use crate::log::Writer;
use crate::text::entry::{Imported, parse};
use crate::text::{Codec, Codecs};

/// A file has its next line at once.
const WAIT: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub struct Import {
    pub app: PathBuf,
    store: String,
    /// What `store export` has written, or lines of {"key":…,"value":…}; a null value deletes, a task puts the entry
    /// into that task's part, else the key does
    file: PathBuf,
    #[command(flatten)]
    codecs: CodecFlags,
}

/// Where the entries of a store go.
struct Target {
    topic: String,
    partitions: i32,
    subtopology: u32,
    key_bytes: usize,
    value_bytes: usize,
    entry_bytes: usize,
}

impl Import {
    pub fn run(&self, global: &Global, state_dir: Option<&Path>, output: Output) -> Result {
        let application = global.application(&self.app)?;
        let id = application.manifest.id.clone();
        let state_dir = application.state_dir(state_dir);
        let log = global.open_log_of(&application)?;
        if Client::connect(socket_path(&state_dir, &id))?.is_some() {
            return Err(self.refused("the application runs", "stop it, import, and start it again").into());
        }
        let engine = global.engine(std::slice::from_ref(&application))?;
        let loaded = Loaded::load_kept(&engine, &self.app, Some(&state_dir))?;
        // From here on nobody starts it on this state; of another machine its group tells.
        let _locked = StateDirectory::open(&state_dir, &id).map_err(|error| error.problem())?;
        if log.members(&id)?.is_some_and(|members| !members.is_empty()) {
            return Err(self.refused("the application runs elsewhere", "stop all of its processes").into());
        }
        let plan = plan::plan(&*log, &loaded.blueprint)?;
        let (codecs, target) = self.target(&plan, &loaded)?;
        plan::create_internal_topics(&*log, &plan)?;
        let sent = self.send(&mut *log.writer()?, codecs, &target)?;
        let report = serde_json::json!({ "store": self.store, "entries": sent, "changelog_topic": target.topic });
        output::object(output.format, &report, || {
            format!("imported {sent} entries into {}; the next start has them\n", self.store)
        })
    }

    fn target(&self, plan: &Plan, loaded: &Loaded) -> Result<(Codecs, Target)> {
        let number = plan.stores.iter().position(|store| store.description.name == self.store);
        let known = || plan.stores.iter().map(|store| store.description.name.as_str()).collect::<Vec<_>>();
        let number = number.ok_or_else(|| query::unknown_store(&self.store, &known()))?;
        let store = &plan.stores[number];
        if store.description.kind != "key-value" {
            let why = "only entries of key-value stores are put back";
            return Err(query::other_kind(&self.store, &store.description.kind, why).into());
        }
        let no_changelog =
            || self.refused("the store has no changelog", "give it one ([stores.NAME] changelog = true)");
        if store.reuses_source {
            let topic = store.changelog.map_or("", |topic| plan.topics[topic.0 as usize].name.as_str());
            let fix = format!("produce them into {topic}: the application reads the table from there");
            return Err(self.refused("its table's topic is its changelog", &fix).into());
        }
        let topic = &plan.topics[store.changelog.ok_or_else(no_changelog)?.0 as usize];
        let limits = &loaded.application.manifest.limits;
        let (key, value) = (&store.description.key, &store.description.value);
        let codecs = self.codecs.or(Codecs { key: Codec::declared(key), value: Codec::declared(value) });
        let bytes = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
        let target = Target {
            topic: topic.name.clone(),
            partitions: topic.partitions,
            subtopology: store.subtopology,
            key_bytes: bytes(limits.key_bytes.0),
            value_bytes: bytes(limits.value_bytes.0),
            entry_bytes: plan.entry_bytes_max(number),
        };
        Ok((codecs, target))
    }

    /// Checks all lines, then sends them: a bad one leaves the store as it is.
    fn send(&self, writer: &mut dyn Writer, codecs: Codecs, target: &Target) -> Result<u64> {
        let checked = self.each(codecs, target, &mut |_, _| Ok(()))?;
        let mut sent = 0;
        let all = self.each(codecs, target, &mut |entry, partition| {
            target.send(writer, entry, partition)?;
            sent += 1;
            Ok(())
        });
        let all = all.and_then(|all| writer.flush().map(|()| all).map_err(Into::into));
        match all {
            Ok(all) if all == checked => Ok(all),
            Ok(all) => Err(self.halfway(all, format!("the file had {checked} entries when it was checked")).into()),
            Err(Error::Problem(problem)) if sent > 0 => Err(self.halfway(sent, problem.to_string()).into()),
            Err(error) => Err(error),
        }
    }

    fn halfway(&self, sent: u64, why: String) -> Problem {
        let message = format!(
            "store {} has been given {sent} entries of {}, and perhaps not all of them: {why}",
            self.store,
            self.file.display()
        );
        Problem::new("ImportHalfway", "E0624", exit::FAILED, message)
            .field("store", self.store.as_str())
            .field("sent", sent)
            .why("entries that the changelog has are restored by the next start")
            .fix("import the same file again: an entry that is there already is set to the same value")
    }

    fn each(
        &self,
        codecs: Codecs,
        target: &Target,
        take: &mut dyn FnMut(&Imported, i32) -> crate::log::Result<()>,
    ) -> Result<u64> {
        let unreadable = |error: io::Error| {
            let message = format!("cannot read {}: {error}", self.file.display());
            Problem::new("InputFailed", "E0005", exit::FAILED, message)
                .field("file", self.file.display().to_string())
                .why("the entries stand there")
                .fix("name a file that `store export` has written")
        };
        let file = File::open(&self.file).map_err(unreadable)?;
        if !file.metadata().map_err(unreadable)?.is_file() {
            let why = "it is read twice, to be checked before anything is taken, and is no regular file";
            return Err(unreadable(io::Error::other(why)).into());
        }
        let mut lines = Lines::new(file);
        let (mut number, mut taken) = (0, 0);
        loop {
            let line = match lines.next(WAIT).map_err(unreadable)? {
                Next::Idle => continue,
                Next::End => return Ok(taken),
                Next::TooLong => Err(format!("it is longer than {} MiB", LINE_BYTES_MAX >> 20)),
                Next::Line(line) => Ok(line),
            };
            number += 1;
            if line.as_ref().is_ok_and(|line| line.trim_ascii().is_empty()) {
                continue;
            }
            let entry = line.and_then(|line| parse(line, codecs)).and_then(|entry| {
                let partition = target.check(&entry)?;
                Ok((entry, partition))
            });
            let (entry, partition) = entry.map_err(|why| self.bad_line(number, &why))?;
            take(&entry, partition)?;
            taken += 1;
        }
    }

    fn refused(&self, why: &str, fix: &str) -> Problem {
        let message = format!("nothing is imported into store {}: {why}", self.store);
        Problem::new("ImportRefused", "E0620", exit::FAILED, message)
            .field("store", self.store.as_str())
            .why("entries go into the changelog of a store that nobody writes, and the next start restores them")
            .fix(fix)
    }

    fn bad_line(&self, line: u64, why: &str) -> Problem {
        Problem::new("InvalidRecord", "E0501", exit::FAILED, format!("line {line}: {why}"))
            .field("file", self.file.display().to_string())
            .field("line", line)
            .why("all lines are checked before the first one is taken, so the store is as it was")
            .fix("mend the line, and import again")
    }
}

impl Target {
    /// The partition of an entry, when the store can take it.
    fn check(&self, entry: &Imported) -> std::result::Result<i32, String> {
        let within = |what: &str, bytes: usize, max: usize| match bytes {
            bytes if bytes > max => Err(format!("the {what} has {bytes} bytes, and may have {max}")),
            _ => Ok(()),
        };
        let value = entry.value.as_deref().unwrap_or_default();
        within("key", entry.key.len(), self.key_bytes)?;
        within("value", value.len(), self.value_bytes)?;
        within("entry", entry.key.len() + value.len(), self.entry_bytes)?;
        match entry.task {
            None => Ok(partitioner::partition(&entry.key, self.partitions)),
            Some((subtopology, partition)) => {
                let exists = subtopology == self.subtopology && (0..self.partitions).contains(&partition);
                let (of, last) = (self.subtopology, self.partitions - 1);
                exists.then_some(partition).ok_or_else(|| {
                    format!("there is no task {subtopology}_{partition}; the store is in {of}_0 to {of}_{last}")
                })
            }
        }
    }

    fn send(&self, writer: &mut dyn Writer, entry: &Imported, partition: i32) -> crate::log::Result<()> {
        let timestamp = entry.timestamp.unwrap_or_else(now_ms);
        let (key, value) = (Some(entry.key.as_slice()), entry.value.as_deref());
        writer.send(&self.topic, Some(partition), Record { key, value, headers: Headers(&[]), timestamp })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::log;

    /// A log that is gone after some records.
    struct Failing(u64);

    impl Writer for Failing {
        fn send(&mut self, _: &str, _: Option<i32>, _: Record<'_>) -> log::Result<()> {
            self.0 = self.0.checked_sub(1).ok_or_else(|| log::Error::unreachable("write", "gone"))?;
            Ok(())
        }

        fn flush(&mut self) -> log::Result<()> {
            Ok(())
        }
    }

    fn import(records: u64) -> Result<u64> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "{\"key\":\"a\",\"value\":\"1\"}\n".repeat(4)).unwrap();
        let codecs = Codecs { key: Codec::Utf8, value: Codec::Utf8 };
        let target = Target {
            topic: "changelog".to_owned(),
            partitions: 1,
            subtopology: 0,
            key_bytes: 10,
            value_bytes: 10,
            entry_bytes: 20,
        };
        let (app, store, file_path) = (PathBuf::new(), "counts".to_owned(), file.path().to_owned());
        let import = Import { app, store, file: file_path, codecs: CodecFlags::default() };
        import.send(&mut Failing(records), codecs, &target)
    }

    #[test]
    fn a_log_that_fails_half_way_says_what_it_has() {
        assert_eq!(import(4).unwrap(), 4);
        let Err(Error::Problem(problem)) = import(2) else { panic!("imported") };
        assert_eq!((problem.code, &problem.to_json()["sent"]), ("E0624", &serde_json::json!(2)));
        let Err(Error::Problem(problem)) = import(0) else { panic!("imported") };
        assert_eq!(problem.code, "E0401");
    }
}
