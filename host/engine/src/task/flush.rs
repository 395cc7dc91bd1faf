//! Giving downstream what caches hold back: all of it before an interval is cut, that of one store as soon as its cache is
//! over its bound. In portions, each a batch of its own, so that a large cache keeps nobody waiting.

use super::apart::guilty;
use super::judge::describe;
use super::step::Step;
use super::{FailedRecord, Failure, Task};
use crate::config::OnError;
use crate::operator::{Run, Stop};

impl Task {
    /// Goes one step on with flushing everything, which is to be done before a cut. From the first step on no record is
    /// taken, until it was cut. [`Step::Idle`]: nothing is held back any more.
    pub fn flush(&mut self, now: i64) -> Result<Step, Failure> {
        self.now = self.now.max(now);
        self.flushing = true;
        let Some(at) = self.cache_due() else { return Ok(Step::Idle) };
        match self.go_on_closing_behind(at, now)? {
            Some(_) => Ok(Step::Ran),
            None => self.flush_some(at),
        }
    }

    /// Whether nothing is held back, so that the interval can be cut.
    pub fn is_flushed(&self) -> bool {
        !self.stores.holds_back()
    }

    /// The node whose cache is to be flushed next.
    pub(super) fn cache_due(&self) -> Option<usize> {
        if !self.stores.holds_back() {
            return None;
        }
        let nodes = self.subtopology().nodes.iter().map(|at| (*at, self.plan.nodes[*at].store));
        let nodes = nodes.filter_map(|(at, store)| Some((at, self.stores.place(store? as u32)?)));
        let place = self.stores.flushes_next(nodes.clone().map(|(_, place)| place), self.flushing)?;
        nodes.clone().find(|(_, other)| *other == place).map(|(at, _)| at)
    }

    pub(super) fn flush_some(&mut self, at: usize) -> Result<Step, Failure> {
        let alone = self.flushes_alone || self.subtopology().schedules;
        let most = if alone { 1 } else { self.settings.batch_records };
        match self.try_flush(at, most, true) {
            Ok(()) => Ok(Step::Ran),
            Err(stop) => {
                let stop = guilty(stop)?;
                // Judged only once it has run alone.
                if !alone {
                    self.flushes_alone = true;
                    return Ok(Step::Ran);
                }
                self.judge_flush(stop, at)
            }
        }
    }

    fn try_flush(&mut self, at: usize, most: usize, forwards: bool) -> Result<(), Stop> {
        let before = self.before();
        let mut rows = 0;
        self.begin_without_records();
        let ran = self.run(|run| {
            rows = run.flush(at, most, forwards)?;
            Ok(())
        });
        if let Err(stop) = ran.and_then(|()| self.keep_schedules()) {
            self.undo(before);
            return Err(stop);
        }
        self.keep_without_record();
        self.count_flushed(at, rows);
        Ok(())
    }

    /// The same with one row, and what it lets go run apart; answers why it failed by itself.
    fn flush_apart(&mut self, at: usize, source: Option<usize>) -> Result<Option<Stop>, Failure> {
        let mut rows = 0;
        let flush = |run: &mut Run<'_>| {
            rows = run.flush(at, 1, true)?;
            Ok(())
        };
        let failed = self.run_apart(None, flush, |task, stop, _| {
            task.count_fault(&stop);
            if !task.skips_flushed(source) {
                return Err(Failure::Record(Box::new(task.failed_flush(stop, source).of_let_go())));
            }
            task.open.dropped.skipped += 1;
            Ok(())
        })?;
        if failed.is_none() {
            self.count_flushed(at, rows);
        }
        Ok(failed)
    }

    fn count_flushed(&mut self, at: usize, rows: usize) {
        let place = self.plan.nodes[at].store.and_then(|store| self.stores.place(store as u32));
        if let Some(place) = place {
            self.flushes_alone &= !self.stores.flushed(place, rows);
        }
    }

    /// What has become of one key met the policy of the source that its last update came from. Its records are behind us,
    /// so there is none to be put aside: a dead letter is a failure, and what is skipped stays in the store alone.
    fn judge_flush(&mut self, stop: Stop, at: usize) -> Result<Step, Failure> {
        let context = self.batch.contexts.first().copied();
        let source = context.and_then(|context| self.plan.source_of(context.source));
        // Whatever the policy, as with what a record lets go.
        let failed = if self.can_run_apart() { self.flush_apart(at, source)? } else { Some(stop) };
        let Some(stop) = failed else { return Ok(Step::Ran) };
        self.count_fault(&stop);
        if !self.skips_flushed(source) {
            return Err(Failure::Record(Box::new(self.failed_flush(stop, source))));
        }
        self.open.dropped.skipped += 1;
        match self.try_flush(at, 1, false) {
            Ok(()) => Ok(Step::Ran),
            Err(Stop::Store(error)) => Err(error.into()),
            Err(stop) => Err(Failure::Record(Box::new(self.failed_flush(stop, source)))),
        }
    }

    /// Whether what is refused of a source's rows, or of those of none, is dropped.
    fn skips_flushed(&self, source: Option<usize>) -> bool {
        let on_error = source.map_or(&self.plan.punctuation_policy, |source| &self.plan.policies[source].on_error);
        *on_error == OnError::Skip && self.on_trial.is_none()
    }

    fn failed_flush(&self, stop: Stop, source: Option<usize>) -> FailedRecord {
        let topic = source.and_then(|source| self.plan.topic_of(source));
        let topic = topic.map_or("a punctuation", |topic| &self.plan.topics[topic.0 as usize].name);
        let context = self.batch.contexts.first();
        let (node, exception, message, backtrace) = describe(stop);
        FailedRecord {
            topic: topic.to_owned(),
            partition: context.map_or(self.id.partition, |context| context.partition as i32),
            offset: context.map_or(-1, |context| context.offset),
            node,
            exception,
            message: format!("as a cache was flushed: {message}"),
            backtrace,
        }
    }
}
