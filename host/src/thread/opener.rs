//! Opening the stores of tasks, beside the thread's loop: a look through a large state takes as long as reading it, and the
//! tasks that run go on meanwhile.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use millstream_engine::store::{self, TaskStores};
use millstream_engine::task::TaskId;

use super::OpenStores;

/// States that one thread opens at the same time: two keep a disk busy, and leave it to those that run, too.
const OPENINGS_MAX: usize = 2;

pub(super) type Opened = Result<TaskStores, store::Error>;

pub(super) struct Opener {
    open: Arc<OpenStores>,
    /// With the incarnation that each is opened for.
    running: BTreeMap<TaskId, (i64, JoinHandle<Opened>)>,
}

impl Opener {
    pub fn new(open: Arc<OpenStores>) -> Opener {
        Opener { open, running: BTreeMap::new() }
    }

    /// Begins to open a task's stores, unless that goes on already, be it for an incarnation before this one, or there is
    /// no room: then it is asked again.
    pub fn begin(&mut self, task: TaskId, incarnation: i64) -> io::Result<()> {
        if self.running.len() < OPENINGS_MAX && !self.is_opening(task) {
            let open = self.open.clone();
            let opening =
                std::thread::Builder::new().name(format!("open-{task}")).spawn(move || open(task, incarnation))?;
            self.running.insert(task, (incarnation, opening));
        }
        Ok(())
    }

    pub fn is_opening(&self, task: TaskId) -> bool {
        self.running.contains_key(&task)
    }

    /// What has come to its end, and the incarnation that it was opened for. A panic of it is the caller's.
    pub fn take_opened(&mut self) -> Option<(TaskId, i64, Opened)> {
        let task = *self.running.iter().find(|(_, (_, opening))| opening.is_finished())?.0;
        let (incarnation, opening) = self.running.remove(&task)?;
        Some((task, incarnation, join(opening)))
    }

    /// Waits for all of it, and lets go what was opened: whoever comes next must find it free.
    pub fn end(&mut self) {
        std::mem::take(&mut self.running).into_values().for_each(|(_, opening)| drop(opening.join()));
    }
}

fn join(opening: JoinHandle<Opened>) -> Opened {
    opening.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
