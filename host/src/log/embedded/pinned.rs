//! The plan's topics as a client has found them, and its records encoded for them.

use std::sync::Arc;

use millstream_engine::record::{Outgoing, TopicId, TopicPartition};

use super::change::Run;
use super::environment::Snapshot;
use super::topic::Handle;
use super::{Error, Result};

/// Each topic as it was when it was first used: offsets and positions kept elsewhere are of that one, and must not
/// reach a successor of the same name.
pub struct Pinned {
    names: Arc<[String]>,
    handles: Vec<Option<Arc<Handle>>>,
}

impl Pinned {
    pub fn new(names: Arc<[String]>) -> Pinned {
        Pinned { handles: vec![None; names.len()], names }
    }

    pub fn handle(&mut self, snapshot: &Snapshot<'_>, id: TopicId) -> Result<Arc<Handle>> {
        let place = id.0 as usize;
        let unknown = || Error::UnknownTopic(format!("number {place} of the plan"));
        let known = self.handles.get_mut(place).ok_or_else(unknown)?;
        if let Some(handle) = known {
            return Ok(handle.clone());
        }
        let name = self.names.get(place).ok_or_else(unknown)?;
        Ok(known.insert(snapshot.handle(name)?).clone())
    }

    /// Encodes records, one run for each partition, and says for which.
    pub fn runs(&mut self, snapshot: &Snapshot<'_>, outgoing: &Outgoing) -> Result<(Vec<Run>, Vec<TopicPartition>)> {
        let (mut runs, mut places) = (Vec::<Run>::new(), Vec::new());
        for (to, record) in outgoing.by_partition() {
            if places.last() != Some(&to) {
                let handle = self.handle(snapshot, to.topic)?;
                handle.check(to.partition)?;
                runs.push(Run { handle, partition: to.partition, drafts: Default::default() });
                places.push(to);
            }
            if let Some(run) = runs.last_mut() {
                run.handle.check_size(run.partition, &record)?;
                run.drafts.push(&record);
            }
        }
        Ok((runs, places))
    }
}
