//! `store import`: entries into the store of an application that does not run.
//!
//! The log first: they go into the store's changelog, each into the partition of its task, and the next start restores
//! them as it restores anything that local state has not seen. What a store that goes by time would forget at once is left
//! out.

mod seen;
mod target;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use millstream_engine::error::{Problem, exit};
use millstream_engine::record::TopicId;
use millstream_engine::store::StoreKind;
use millstream_engine::topology::Plan;

use super::super::codecs::CodecFlags;
use super::super::lines::{LINE_BYTES_MAX, Lines, Next};
use super::super::local::Local;
use super::super::output::{self, Output, say};
use super::super::produce::now_ms;
use super::super::{Error, Global, Result};
use crate::api::socket_path;
use crate::app::topics::Topics;
use crate::app::{Loaded, plan, query};
use crate::cli::client::Client;
use crate::lmdb::StateDirectory;
use crate::log::Writer;
use crate::text::entry::parse;
use crate::text::{Codec, Codecs};
use seen::Seen;
use target::{Placed, Target};

/// A file has its next line at once.
const WAIT: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub struct Import {
    pub app: PathBuf,
    store: String,
    /// What `store export` has written, or lines of {"key":…,"value":…}, of windows with "start", of sessions with "start"
    /// and "end"; a null value deletes, a task puts the entry into that task's part, else the key does
    file: PathBuf,
    #[command(flatten)]
    codecs: CodecFlags,
}

/// A line of the file, where it begins.
#[derive(Clone, Copy)]
struct At {
    number: u64,
    offset: u64,
}

/// What became of the entries of a file.
#[derive(Default)]
struct Taken {
    sent: u64,
    /// Entries that the store would forget at once, and the first of them.
    too_old: u64,
    first_too_old: Option<String>,
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
        let loaded = Loaded::load_to_look(&engine, &self.app, Some(&state_dir))?;
        // From here on nobody starts it on this state; of other states and machines its log tells.
        let _locked = StateDirectory::open(&state_dir, &id).map_err(|error| error.problem())?;
        if let Some(holder) = log.holder(&id)? {
            let why = format!("the application runs elsewhere: {holder}");
            return Err(self.refused(&why, "stop all of its processes").into());
        }
        let mut plan = plan::plan(&*log, &loaded.blueprint)?;
        self.target(&plan, &loaded)?;
        if plan::create_internal_topics(&*log, &plan)? {
            // What a topic takes is known when it is there.
            plan = plan::plan(&*log, &loaded.blueprint)?;
        }
        let (codecs, target) = self.target(&plan, &loaded)?;
        let mut seen = Vec::new();
        if target.kind.goes_by_time() {
            let local = Local::new(loaded.blueprint, &state_dir, log.clone());
            let read = |partition| {
                Seen::read(&*log, &target, partition, local.observed(&self.store, partition).ok().flatten())
            };
            seen = (0..target.partitions).map(read).collect::<Result<_>>()?;
        }
        let deletes_after_ms = Topics::look(&*log, &plan)?.deletes_after_ms(&*log, &plan);
        let topic = plan.topics.iter().position(|topic| topic.name == target.topic);
        let deletes_after_ms = topic.and_then(|topic| deletes_after_ms.get(&TopicId(topic as u32)).copied());
        let taken = self.send(&mut *log.writer()?, codecs, &target, (&mut seen, deletes_after_ms))?;
        if let Some(first) = &taken.first_too_old {
            say(format_args!("{} entries are too old for store {} and left out: {first}", taken.too_old, self.store));
        }
        let (sent, too_old) = (taken.sent, taken.too_old);
        let report = serde_json::json!({
            "store": self.store, "entries": sent, "too_old": too_old, "changelog_topic": target.topic,
        });
        output::object(output.format, &report, || {
            format!("imported {sent} entries into {}; the next start has them\n", self.store)
        })
    }

    fn target(&self, plan: &Plan, loaded: &Loaded) -> Result<(Codecs, Target)> {
        let number = plan.stores.iter().position(|store| store.description.name == self.store);
        let known = || plan.stores.iter().map(|store| store.description.name.as_str()).collect::<Vec<_>>();
        let number = number.ok_or_else(|| query::unknown_store(&self.store, &known()))?;
        let store = &plan.stores[number];
        let no_changelog =
            || self.refused("the store has no changelog", "give it one ([stores.NAME] changelog = true)");
        if store.reuses_source {
            let topic = store.changelog.map_or("", |topic| plan.topics[topic.0 as usize].name.as_str());
            let fix = format!("produce them into {topic}: the application reads the table from there");
            return Err(self.refused("its table's topic is its changelog", &fix).into());
        }
        if store.skips_restoration {
            let (why, fix) = ("skip_restoration is true: a start would pass over them", "take it out of the manifest");
            return Err(self.refused(why, fix).into());
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
            kind: store.kind,
            key_bytes: bytes(limits.key_bytes.0),
            value_bytes: bytes(limits.value_bytes.0),
            entry_bytes: plan.entry_bytes_max(number),
            ahead_ms: topic.timestamp_ahead_max_ms,
            now: now_ms(),
        };
        Ok((codecs, target))
    }

    /// Checks all lines, then sends them: a bad one leaves the store as it is. `seen`: of each partition of a store that
    /// goes by time; and how old by the clock an entry may be before the changelog deletes it.
    fn send(
        &self,
        writer: &mut dyn Writer,
        codecs: Codecs,
        target: &Target,
        (seen, deletes_after_ms): (&mut [Seen], Option<i64>),
    ) -> Result<Taken> {
        let (mut checked, mut order) = (0, Vec::new());
        self.each(codecs, target, &mut |placed, at| {
            checked += 1;
            if let Some(seen) = seen.get_mut(placed.partition as usize) {
                seen.note(target, &placed);
            }
            if let StoreKind::Versioned { .. } = target.kind {
                order.push((placed.time, at));
            }
            Ok(())
        })?;
        if let Some(after) = deletes_after_ms {
            self.check_age(codecs, target, seen, after)?;
        }
        let mut taken = Taken::default();
        let mut send = |placed: Placed, at: At| {
            let Some(seen) = seen.get_mut(placed.partition as usize) else {
                target.send(writer, &placed, 0)?;
                taken.sent += 1;
                return Ok(());
            };
            if !seen.keeps(target, &placed) {
                taken.too_old += 1;
                taken.first_too_old.get_or_insert_with(|| too_old(target, seen, &placed, at));
                return Ok(());
            }
            target.send(writer, &placed, seen.next_number(target))?;
            taken.sent += 1;
            Ok(())
        };
        // A store refuses a version that is behind what it has seen by more than it keeps: the older ones go first.
        order.sort_by_key(|(time, at)| (*time, at.number));
        let all = match target.kind {
            StoreKind::Versioned { .. } => self.each_at(&order, codecs, target, &mut send),
            _ => self.each(codecs, target, &mut send),
        };
        let all = all.and_then(|()| writer.flush().map_err(Into::into));
        let read = taken.sent + taken.too_old;
        match all {
            Ok(()) if read == checked => Ok(taken),
            Ok(()) => {
                let why = format!("the file had {checked} entries when it was checked");
                Err(self.halfway(target, taken.sent, why).into())
            }
            Err(Error::Problem(problem)) if taken.sent > 0 => {
                Err(self.halfway(target, taken.sent, problem.to_string()).into())
            }
            Err(error) => Err(error),
        }
    }

    /// Refuses what the store would keep and its changelog would not, before anything of it is sent.
    fn check_age(&self, codecs: Codecs, target: &Target, seen: &[Seen], after_ms: i64) -> Result {
        self.each(codecs, target, &mut |placed, at| {
            let is_kept = seen.get(placed.partition as usize).is_none_or(|seen| seen.keeps(target, &placed));
            let age = target.now.saturating_sub(placed.timestamp);
            if age <= after_ms || placed.entry.value.is_none() || !is_kept {
                return Ok(());
            }
            let (line, topic) = (at.number, &target.topic);
            let why = format!("line {line} is {age} ms old, and {topic} deletes what is older than {after_ms} ms");
            let fix = format!("kafka-configs --alter --topic {topic} --add-config retention.ms=-1, then import");
            Err(self.refused(&why, &fix).into())
        })
    }

    fn halfway(&self, target: &Target, sent: u64, why: String) -> Problem {
        let message = format!(
            "store {} has been given {sent} entries of {}, and perhaps not all of them: {why}",
            self.store,
            self.file.display()
        );
        let fix = match target.retains_duplicates() {
            true => "start the application, see which ones it has (store export), and import the others alone",
            false => "import the same file again: an entry that is there already is set to the same value",
        };
        Problem::new("ImportHalfway", "E0624", exit::FAILED, message)
            .field("store", self.store.as_str())
            .field("sent", sent)
            .why("entries that the changelog has are restored by the next start")
            .fix(fix)
    }

    fn open(&self) -> Result<File> {
        let file = File::open(&self.file).map_err(|error| self.unreadable(&error))?;
        if !file.metadata().map_err(|error| self.unreadable(&error))?.is_file() {
            let why = "it is read twice, to be checked before anything is taken, and is no regular file";
            return Err(self.unreadable(&io::Error::other(why)).into());
        }
        Ok(file)
    }

    fn unreadable(&self, error: &io::Error) -> Problem {
        let message = format!("cannot read {}: {error}", self.file.display());
        Problem::new("InputFailed", "E0005", exit::FAILED, message)
            .field("file", self.file.display().to_string())
            .why("the entries stand there")
            .fix("name a file that `store export` has written")
    }

    /// The entries in the order of their lines.
    fn each(&self, codecs: Codecs, target: &Target, take: &mut dyn FnMut(Placed, At) -> Result) -> Result {
        let mut lines = Lines::new(self.open()?);
        let (mut number, mut offset) = (0, 0);
        loop {
            let line = match lines.next(WAIT).map_err(|error| self.unreadable(&error))? {
                Next::Idle => continue,
                Next::End => return Ok(()),
                Next::TooLong => Err(format!("it is longer than {} MiB", LINE_BYTES_MAX >> 20)),
                Next::Line(line) => Ok(line),
            };
            number += 1;
            let at = At { number, offset };
            offset += line.as_ref().map_or(0, |line| line.len()) as u64 + 1;
            if line.as_ref().is_ok_and(|line| line.trim_ascii().is_empty()) {
                continue;
            }
            let placed = line.and_then(|line| parse(line, codecs)).and_then(|entry| target.place(entry));
            take(placed.map_err(|why| self.bad_line(number, &why))?, at)?;
        }
    }

    /// Those of these lines, one after the other.
    fn each_at(
        &self,
        order: &[(i64, At)],
        codecs: Codecs,
        target: &Target,
        take: &mut dyn FnMut(Placed, At) -> Result,
    ) -> Result {
        let mut file = BufReader::new(self.open()?);
        let mut line = Vec::new();
        for (_, at) in order {
            line.clear();
            let read = file.seek(SeekFrom::Start(at.offset)).and_then(|_| file.read_until(b'\n', &mut line));
            read.map_err(|error| self.unreadable(&error))?;
            let placed = parse(&line, codecs).and_then(|entry| target.place(entry));
            take(placed.map_err(|why| self.bad_line(at.number, &why))?, *at)?;
        }
        Ok(())
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

/// The first entry that is left out, and why.
fn too_old(target: &Target, seen: &Seen, placed: &Placed, at: At) -> String {
    let what = match target.kind {
        StoreKind::Window { .. } => "a window that starts at",
        StoreKind::Session { .. } => "a session that ends at",
        _ => "a version of",
    };
    let (line, time, partition) = (at.number, placed.time, placed.partition);
    match seen.first_kept(target) {
        first if time < first => {
            format!("line {line} is {what} {time}, and partition {partition} keeps {first} and later")
        }
        _ => format!("line {line} is {what} {time}, and its key has a later one"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use millstream_engine::record::Record;

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
            kind: StoreKind::KeyValue,
            ahead_ms: i64::MAX,
            now: 0,
        };
        let (app, store, file_path) = (PathBuf::new(), "counts".to_owned(), file.path().to_owned());
        let import = Import { app, store, file: file_path, codecs: CodecFlags::default() };
        import.send(&mut Failing(records), codecs, &target, (&mut [], None)).map(|taken| taken.sent)
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
