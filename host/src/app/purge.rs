//! Deletes what repartition topics no longer need: everything that is processed and committed, as Kafka Streams does
//! (KIP-204). Whoever is behind goes on at what is committed, so nobody reads it again.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use millstream_engine::topology::{Operator, Plan};

use crate::log::{self, Log};

/// A thread of its own beside the stream threads. Dropping it ends the thread at the next look.
pub struct Purge {
    /// Hung up to end the thread. `None`: there is nothing to delete.
    _running: Option<Sender<()>>,
}

impl Purge {
    pub fn start(log: Arc<dyn Log>, plan: &Plan, every: Duration) -> io::Result<Purge> {
        let partitions = partitions(plan);
        if partitions.is_empty() {
            return Ok(Purge { _running: None });
        }
        let application = plan.application.clone();
        let (running, ended) = channel();
        let work = move || {
            let mut told = None;
            while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                match purge(&*log, &application, &partitions) {
                    Ok(()) => told = None,
                    // The stream threads tell of a log that does not answer.
                    Err(log::Error::Unreachable { .. }) => {}
                    Err(error) => {
                        let text = error.to_string();
                        if told.as_ref() != Some(&text) {
                            tracing::warn!(error = text, "repartition topics keep what is processed, and grow");
                            told = Some(text);
                        }
                    }
                }
            }
        };
        std::thread::Builder::new().name(format!("{}-purge", plan.application)).spawn(work)?;
        Ok(Purge { _running: Some(running) })
    }
}

/// Of the topics that an application writes and reads itself.
fn partitions(plan: &Plan) -> Vec<(String, i32)> {
    let mut partitions = BTreeSet::new();
    for subtopology in &plan.subtopologies {
        for (source, topic, count) in plan.inputs(subtopology) {
            if plan.nodes[source].operator == Operator::RepartitionSource {
                let name = &plan.topics[topic.0 as usize].name;
                partitions.extend((0..count).map(|partition| (name.clone(), partition)));
            }
        }
    }
    partitions.into_iter().collect()
}

/// Deletes what lies below the committed offsets.
fn purge(log: &dyn Log, application: &str, partitions: &[(String, i32)]) -> log::Result<()> {
    let committed = log.committed(application, partitions)?;
    let at = partitions.iter().zip(committed);
    let below: Vec<(String, i32, i64)> = at
        .filter_map(|((topic, partition), committed)| Some((topic.clone(), *partition, committed?.offset)))
        .filter(|(_, _, offset)| *offset > 0)
        .collect();
    log.delete_records(&below)
}
