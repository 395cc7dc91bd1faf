//! The embedded log: topics, groups and atomic commits in one LMDB file, for one machine.
//!
//! It is the only copy of its data, so acknowledged means synced to disk. Several processes use one directory at
//! once: LMDB's snapshots let all of them read, and one commit at a time writes.
//!
//! # A commit's way
//! ```text
//! Writer, Client ──Change──▶ committer thread ──▶ file lock ──▶ LMDB transaction ──▶ sync ──▶ replies, wake-up
//!    (batches are encoded here)   (all that wait go together: one sync)
//! ```
//!
//! # Layout
//! | file | holds |
//! |---|---|
//! | [`directory`] | the files of a log, their format's version, what is refused before LMDB sees it |
//! | [`environment`] | the open log, one per directory and process |
//! | [`tables`] | keys and rows |
//! | [`topic`], [`batch`] | a topic's row; a run of records |
//! | [`commit`], [`change`] | the one thread that writes; what it can write |
//! | [`janitor`], [`tidy`], [`cleaned`] | compaction and retention in small steps; one step; how far they came |
//! | [`lock`], [`ownership`] | the file lock before LMDB's own; one running instance per application |
//! | [`presence`] | who has the log open; the first one looks through its pages |
//! | [`cursor`], [`watch`] | reading one partition; waiting for more |
//! | [`reader`], [`writer`], [`client`] | the contract's three handles |
//! | [`pinned`], [`publish`] | a client's topics; what it sends ahead of an interval |
//! | [`fault`] | LMDB's errors in the log's words |

mod batch;
mod change;
mod cleaned;
mod client;
mod commit;
mod cursor;
mod directory;
mod environment;
mod fault;
mod janitor;
mod lock;
mod ownership;
mod pinned;
mod presence;
mod publish;
mod reader;
mod tables;
mod tidy;
mod topic;
mod watch;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use change::Change;
use environment::Environment;

use super::{
    Client, Committed, Error, Isolation, Log, NewTopic, Offsets, Reader, Result, Space, Subscription, Swept, Topic,
    Writer,
};

/// Opens the log in a directory, which is created when it is not there. Two opens of one directory share one
/// environment.
pub fn open(url: &str, dir: &Path) -> Result<Arc<dyn Log>> {
    Ok(Arc::new(EmbeddedLog { url: url.to_owned(), environment: environment::open(dir)? }))
}

struct EmbeddedLog {
    url: String,
    environment: Arc<Environment>,
}

impl Log for EmbeddedLog {
    fn url(&self) -> &str {
        &self.url
    }

    fn ping(&self, _timeout: Duration) -> Result<()> {
        self.environment.snapshot().map(drop)
    }

    fn topics(&self) -> Result<Vec<String>> {
        self.environment.snapshot()?.topic_names()
    }

    fn describe(&self, names: &[&str]) -> Result<Vec<Option<Topic>>> {
        let snapshot = self.environment.snapshot()?;
        names.iter().map(|name| Ok(snapshot.topic(name)?.map(|row| row.describe(name)))).collect()
    }

    fn create(&self, topic: &NewTopic) -> Result<()> {
        let row = topic::Row::of(topic)?;
        self.environment.commit(Change::Create { name: topic.name.clone(), row }).map(drop)
    }

    fn delete(&self, name: &str) -> Result<()> {
        self.environment.commit(Change::Delete { name: name.to_owned() }).map(drop)
    }

    fn offsets(&self, topic: &str, partition: i32) -> Result<Offsets> {
        let snapshot = self.environment.snapshot()?;
        let handle = snapshot.handle(topic)?;
        handle.check(partition)?;
        snapshot.offsets(&handle, partition)
    }

    fn space(&self) -> Result<Option<Space>> {
        let (file_bytes, free_bytes) = self.environment.space()?;
        Ok(Some(Space { file_bytes, free_bytes }))
    }

    fn sweep(&self, topic: &str) -> Result<Swept> {
        let (mut all, mut first) = (Swept::default(), None);
        self.environment.house().tend(topic, true, &mut |_, done| match done {
            Ok(swept) => all += swept,
            Err(error) => drop(first.get_or_insert(error)),
        })?;
        first.map_or(Ok(all), Err)
    }

    fn delete_records(&self, below: &[(String, i32, i64)]) -> Result<()> {
        let house = self.environment.house();
        below.iter().try_for_each(|(topic, partition, offset)| house.delete_records(topic, *partition, *offset))
    }

    fn committed(&self, application: &str, partitions: &[(String, i32)]) -> Result<Vec<Option<Committed>>> {
        let snapshot = self.environment.snapshot()?;
        let one = |(topic, partition): &(String, i32)| match snapshot.topic(topic)? {
            None => Ok(None),
            Some(row) => snapshot.committed(&row.handle(topic), *partition, application),
        };
        partitions.iter().map(one).collect()
    }

    fn committed_partitions(&self, application: &str) -> Result<Vec<(String, i32)>> {
        let (snapshot, mut found) = (self.environment.snapshot()?, Vec::new());
        for name in snapshot.topic_names()? {
            let Some(row) = snapshot.topic(&name)? else { continue };
            let handle = row.handle(&name);
            for partition in 0..row.partitions {
                if snapshot.committed(&handle, partition, application)?.is_some() {
                    found.push((name.clone(), partition));
                }
            }
        }
        Ok(found)
    }

    fn members(&self, _application: &str) -> Result<Option<Vec<String>>> {
        Ok(None)
    }

    /// Nothing uncommitted is ever visible here, so both isolations are the same.
    fn holder(&self, application: &str) -> Result<Option<String>> {
        self.environment.ownerships.holder(&self.environment, application)
    }

    fn forget(&self, application: &str) -> Result<()> {
        self.environment.ownerships.forget(&self.environment, application)
    }

    fn reader(&self, _isolation: Isolation) -> Result<Box<dyn Reader>> {
        Ok(Box::new(reader::EmbeddedReader::new(self.environment.clone())))
    }

    fn writer(&self) -> Result<Box<dyn Writer>> {
        self.environment.start_janitor()?;
        Ok(Box::new(writer::EmbeddedWriter::new(self.environment.clone())))
    }

    fn client(&self, subscription: Subscription) -> Result<Box<dyn Client>> {
        self.environment.start_janitor()?;
        Ok(Box::new(client::EmbeddedClient::open(self.environment.clone(), subscription)?))
    }
}
