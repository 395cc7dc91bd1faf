//! `groups describe APPID`

use clap::{Args, Subcommand};
use millstream_engine::error::{Problem, exit};
use serde::Serialize;

use super::output::{self, Output};
use super::{Global, Result};
use crate::app::reset::{CommittedOffset, committed};
use crate::log::{self, Log};

#[derive(Debug, Args)]
pub struct Groups {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the committed offset, the end and the lag of each input partition of an application
    Describe {
        /// The application's id
        #[arg(value_name = "APPID")]
        id: String,
    },
}

#[derive(Debug, Serialize)]
struct Group {
    id: String,
    partitions: Vec<Progress>,
    /// Of all partitions.
    lag: i64,
}

#[derive(Debug, Serialize)]
struct Progress {
    topic: String,
    partition: i32,
    committed: i64,
    end: i64,
    lag: i64,
}

impl Groups {
    pub fn run(self, global: &Global) -> Result {
        let Verb::Describe { id } = self.verb;
        let log = global.open_log()?;
        let partitions = progress(&*log, &id)?;
        if partitions.is_empty() {
            let message = format!("no application {id} has committed anything on this log");
            return Err(Problem::new("GroupIdNotFound", "E0407", exit::FAILED, message)
                .field("id", id)
                .field("log", log.url())
                .why("a group begins with the first commit of its application")
                .fix("check the id, and the log by --log or MILLSTREAM_LOG; or run the application")
                .into());
        }
        let lag = partitions.iter().map(|partition| partition.lag).sum();
        let group = Group { id, partitions, lag };
        output::object(self.output.format, &group, || group.text())
    }
}

/// All partitions on which the application has committed.
fn progress(log: &dyn Log, id: &str) -> log::Result<Vec<Progress>> {
    let known = committed(log, id)?.into_iter();
    known
        .map(|CommittedOffset { topic, partition, committed }| {
            let end = log.offsets(&topic, partition)?.end;
            let lag = (end - committed).max(0);
            Ok(Progress { topic, partition, committed, end, lag })
        })
        .collect()
}

impl Group {
    fn text(&self) -> String {
        let rows = self.partitions.iter().map(|row| {
            let [partition, committed, end, lag] =
                [row.partition.into(), row.committed, row.end, row.lag].map(|n: i64| n.to_string());
            [row.topic.clone(), partition, committed, end, lag]
        });
        let table = output::table(["topic", "partition", "committed", "end", "lag"], &[1, 2, 3, 4], rows);
        format!("{table}\ntotal lag: {}\n", self.lag)
    }
}
