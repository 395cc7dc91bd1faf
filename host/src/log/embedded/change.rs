//! What can be written: each change is checked against the log as it is inside the transaction, and then written.
//! A refused change leaves nothing, so that the others in the transaction go on.

use std::sync::Arc;

use heed::{RoTxn, RwTxn};

use super::batch::Drafts;
use super::ownership::Ownership;
use super::publish::Published;
use super::tables::Tables;
use super::tidy::Tidy;
use super::topic::{Handle, Row};
use super::{Committed, Error, Result};

pub enum Change {
    Create {
        name: String,
        row: Row,
    },
    Delete {
        name: String,
    },
    /// A new owner for an application.
    Own {
        application: String,
    },
    /// Everything that an application has committed goes.
    Forget {
        owner: Arc<Ownership>,
    },
    Append(Append),
    Tidy(Tidy),
}

/// Records and offsets that are written together.
#[derive(Default)]
pub struct Append {
    pub runs: Vec<Run>,
    pub offsets: Vec<Moved>,
    /// Written only while this is the application's owner. Its lock is held until the change is done.
    pub owner: Option<Arc<Ownership>>,
    /// Written only if everything published ahead of it was.
    pub behind: Option<Arc<Published>>,
}

/// Records for one partition.
pub struct Run {
    pub handle: Arc<Handle>,
    pub partition: i32,
    pub drafts: Drafts,
}

/// An application's offset on one partition.
pub struct Moved {
    pub handle: Arc<Handle>,
    pub partition: i32,
    pub committed: Committed,
}

#[derive(Clone, Debug)]
pub enum Outcome {
    Done,
    Owned {
        epoch: u64,
    },
    /// Of each run, the offset of its last record.
    Appended {
        last: Vec<i64>,
    },
}

impl Change {
    /// About how much it writes.
    pub fn bytes(&self) -> usize {
        match self {
            Change::Append(append) => append.runs.iter().flat_map(|run| run.drafts.iter()).map(|d| d.len()).sum(),
            Change::Tidy(tidy) => tidy.bytes(),
            Change::Create { .. } | Change::Delete { .. } | Change::Own { .. } | Change::Forget { .. } => 0,
        }
    }

    /// Whether it may be written; reads only.
    pub fn check(&self, tables: &Tables, txn: &RoTxn) -> Result<()> {
        match self {
            Change::Create { name, .. } => match tables.topic(txn, name)? {
                Some(_) => Err(Error::TopicExists(name.clone())),
                None => Ok(()),
            },
            Change::Delete { name } => match tables.topic(txn, name)? {
                Some(_) => Ok(()),
                None => Err(Error::UnknownTopic(name.clone())),
            },
            Change::Own { .. } => Ok(()),
            Change::Forget { owner } => owner.check(tables.epoch(txn, &owner.application)?),
            Change::Append(append) => append.check(tables, txn),
            Change::Tidy(tidy) => tidy.check(tables, txn),
        }
    }

    /// Tells those behind it in the same transaction, who must not wait for its reply.
    pub fn refuse(&self, error: &Error) {
        if let Change::Append(Append { behind: Some(published), .. }) = self {
            published.fail(error.clone());
        }
    }

    /// Writes it. An error here leaves the transaction half-written: it must not be committed.
    pub fn write(self, tables: &Tables, txn: &mut RwTxn) -> Result<Outcome> {
        match self {
            Change::Create { name, row } => tables.create_topic(txn, &name, row).map(|()| Outcome::Done),
            Change::Delete { name } => {
                if let Some(row) = tables.topic(txn, &name)? {
                    tables.delete_topic(txn, &name, row.number)?;
                }
                Ok(Outcome::Done)
            }
            Change::Own { application } => {
                let epoch = tables.epoch(txn, &application)? + 1;
                tables.put_epoch(txn, &application, epoch)?;
                Ok(Outcome::Owned { epoch })
            }
            Change::Forget { owner } => tables.forget(txn, &owner.application).map(|()| Outcome::Done),
            Change::Append(append) => append.write(tables, txn),
            Change::Tidy(tidy) => tidy.write(tables, txn).map(|()| Outcome::Done),
        }
    }
}

impl Append {
    fn check(&self, tables: &Tables, txn: &RoTxn) -> Result<()> {
        if let Some(error) = self.behind.as_ref().and_then(|published| published.failure()) {
            return Err(error);
        }
        if let Some(owner) = &self.owner {
            owner.check(tables.epoch(txn, &owner.application)?)?;
        }
        let places = self.runs.iter().map(|run| (&run.handle, run.partition));
        for (handle, partition) in places.chain(self.offsets.iter().map(|moved| (&moved.handle, moved.partition))) {
            handle.check(partition)?;
            tables.check_handle(txn, handle)?;
        }
        Ok(())
    }

    fn write(self, tables: &Tables, txn: &mut RwTxn) -> Result<Outcome> {
        let mut last = Vec::with_capacity(self.runs.len());
        for run in &self.runs {
            last.push(tables.append(txn, &run.handle, run.partition, run.drafts.iter())?);
        }
        if let Some(owner) = &self.owner {
            for moved in &self.offsets {
                tables.put_committed(txn, &moved.handle, moved.partition, &owner.application, &moved.committed)?;
            }
        }
        Ok(Outcome::Appended { last })
    }
}
