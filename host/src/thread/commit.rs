//! Cutting intervals, and what their outcomes do.

use std::collections::BTreeMap;
use std::time::Instant;

use millstream_engine::record::TopicPartition;
use millstream_engine::store;
use millstream_engine::task::{Cut, TaskId};

use super::active::State;
use super::{Error, StreamThread, report, wall_clock_ms};
use crate::fail_point::{self, Point};
use crate::log::Interval;

/// An interval the log has not answered for, or whose answer is not applied everywhere.
pub(super) struct InFlight {
    pub sequence: u64,
    pub tasks: Vec<TaskId>,
    /// `Some`: the log has it; positions of the changelog partitions.
    pub committed: Option<BTreeMap<TopicPartition, i64>>,
}

impl StreamThread {
    /// Cuts when it is time, something is full, or somebody must go; never while an interval is in flight.
    pub(super) fn maybe_cut(&mut self) -> Result<(), Error> {
        if self.in_flight.is_some() || self.has_failed_trial() {
            return Ok(());
        }
        if self.tasks.values().any(|active| active.state == State::Created) && self.stopping.is_none() {
            return self.cut_taking();
        }
        let asked = self.tasks.values().any(|active| active.is_running() && active.task.wants_commit());
        let due = asked || self.last_cut.elapsed() >= self.commit_interval;
        let full = self.tasks.values().any(|active| active.is_running() && active.task.is_full());
        let must = full || self.stopping.is_some() || !self.revoking.is_empty() || self.is_settling();
        if (must || (due && !self.is_held())) && self.flush_caches()? {
            self.cut_open()?;
        }
        Ok(())
    }

    /// Taking tasks is itself an interval: their incarnations are committed before anything else of them happens.
    fn cut_taking(&mut self) -> Result<(), Error> {
        let mut cut = Cut::default();
        let mut tasks = Vec::new();
        for (id, active) in &mut self.tasks {
            if active.state == State::Created {
                active.cut_taking(&mut cut);
                tasks.push(*id);
            }
        }
        self.submit(cut, tasks)
    }

    fn cut_open(&mut self) -> Result<(), Error> {
        self.last_cut = Instant::now();
        let mut cut = Cut::default();
        let mut tasks = Vec::new();
        let sequence = i64::try_from(self.sequence + 1).unwrap_or(i64::MAX);
        for (id, active) in &mut self.tasks {
            if active.cut_open(sequence, self.recommit_interval, &mut cut) {
                tasks.push(*id);
            }
        }
        if let Some(problem) = self.too_old.look(&self.plan, &cut.changelog, wall_clock_ms()) {
            self.truncated.warn(&problem);
        }
        if cut.is_empty() { Ok(()) } else { self.submit(cut, tasks) }
    }

    fn submit(&mut self, cut: Cut, tasks: Vec<TaskId>) -> Result<(), Error> {
        fail_point::pass(Point::Cut);
        if !cut.changelog.is_empty() {
            fail_point::pass(Point::CutLogged);
        }
        self.sequence += 1;
        report::count_produced(&mut self.counters, &self.plan, &cut.outgoing);
        report::count_produced(&mut self.counters, &self.plan, &cut.changelog);
        self.in_flight = Some(InFlight { sequence: self.sequence, tasks, committed: None });
        let Cut { outgoing, changelog, offsets, proofs } = cut;
        Ok(self.client.submit(Interval { sequence: self.sequence, outgoing, changelog, offsets, proofs })?)
    }

    pub(super) fn on_committed(&mut self, sequence: u64, positions: Vec<(TopicPartition, i64)>) {
        let Some(in_flight) = self.in_flight.as_mut().filter(|in_flight| in_flight.sequence == sequence) else {
            return;
        };
        for id in &in_flight.tasks {
            if let Some(active) = self.tasks.get_mut(id) {
                if active.state == State::Created {
                    active.task.inputs().for_each(|input| self.anew.begun(input));
                }
                active.on_committed();
            }
        }
        in_flight.committed = Some(positions.into_iter().collect());
        self.counters.commits_committed += 1;
    }

    /// The log first, local state last: puts what the log has committed into the tasks' bases. A base that does not
    /// take it is asked again at a later turn; nothing is lost meanwhile, the log has it.
    pub(super) fn apply_committed(&mut self) -> Result<(), Error> {
        let Some(InFlight { committed: Some(_), .. }) = self.in_flight else { return Ok(()) };
        let Some(in_flight) = self.in_flight.take() else { return Ok(()) };
        // Between the two there is something only where a changelog was written.
        if in_flight.committed.as_ref().is_some_and(|positions| !positions.is_empty()) {
            fail_point::pass(Point::LogCommitted);
        }
        let positions = in_flight.committed.unwrap_or_default();
        let mut waiting = Vec::new();
        for id in in_flight.tasks {
            let Some(active) = self.tasks.get_mut(&id).filter(|active| active.takes_committed()) else { continue };
            if active.is_resting() {
                waiting.push(id);
                continue;
            }
            match active.task.apply_committed(&positions) {
                Ok(()) => {
                    active.resting = None;
                    if active.state == State::Created {
                        active.state = State::Opening;
                    }
                }
                Err(error @ (store::Error::Retry(_) | store::Error::Full(_))) => {
                    waiting.push(id);
                    self.on_store_error(id, error)?;
                }
                Err(error) => self.on_store_error(id, error)?,
            }
        }
        if !waiting.is_empty() {
            let sequence = in_flight.sequence;
            self.in_flight = Some(InFlight { sequence, tasks: waiting, committed: Some(positions) });
        }
        Ok(())
    }
}
