//! Processors that leave their records' keys as they are.

use std::rc::Rc;
use std::time::Duration;

use super::{Context, Prefetch, Processor, Punctuation, Random};
use crate::answer::ALL;
use crate::codec::Data;
use crate::failure::Failure;
use crate::record::{Headers, Record};

/// Takes records of `K`, `V` and forwards values of `VOut` under the keys that they came with, for
/// [`crate::Stream::process_values`]: Kafka Streams' `FixedKeyProcessor`. All else is as with a [`Processor`].
pub trait FixedKeyProcessor<K, V, VOut> {
    /// Called for each record, in order. An error undoes what the record wrote and forwarded
    /// (all but [`Failure::drop`]).
    fn process(&mut self, record: Record<K, V>, ctx: &mut FixedKeyContext<VOut>) -> Result<(), Failure>;

    /// Called when one of the punctuations fires that the processor asked for when it was opened. It may write to stores and
    /// forward nothing: no record is there under whose key it could. What shall is a [`Processor`].
    fn punctuate(&mut self, punctuation: &Punctuation, ctx: &mut FixedKeyContext<VOut>) -> Result<(), Failure> {
        let _ = (punctuation, ctx);
        Ok(())
    }

    /// As [`Processor::prefetch`].
    fn prefetch(&self, record: &Record<K, V>, wanted: &mut Prefetch) {
        let _ = record;
        wanted.record_key();
    }
}

/// Forwards values of `V` under the running record's key, and tells where and when that record came in.
pub struct FixedKeyContext<'c, 'a, V> {
    inner: &'c mut Context<'a, (), V>,
    /// Of what is forwarded next.
    timestamp: i64,
    /// Of what is forwarded next; `None`: the running record's.
    headers: Option<Headers>,
    /// Whether a punctuation runs and no record.
    fires: bool,
}

impl<V: Data> FixedKeyContext<'_, '_, V> {
    /// Hands a value to all children, under the running record's key, with its time and headers.
    pub fn forward(&mut self, value: V) {
        self.emit(ALL, &value);
    }

    /// Hands a value to what is chained behind [`crate::Stream::child`] of this name. A name that nothing is
    /// chained behind fails the running record.
    pub fn forward_to(&mut self, child: &str, value: V) {
        for rank in self.inner.ranks(child) {
            self.emit(*rank, &value);
        }
    }

    /// Gives what is forwarded from here on for the running record another time, in ms since the epoch.
    pub fn set_timestamp(&mut self, timestamp: i64) {
        self.timestamp = timestamp;
    }

    /// Gives what is forwarded from here on for the running record other headers.
    pub fn set_headers(&mut self, headers: Headers) {
        self.headers = Some(headers);
    }

    fn emit(&mut self, child: u16, value: &V) {
        if self.fires {
            let why = "a processor of fixed keys forwards nothing from a punctuation, which has no key; `process` may";
            return self.inner.fail(why.to_owned());
        }
        self.inner.emit_value(child, value, self.timestamp, self.headers.as_ref());
    }
}

impl<V: Data> FixedKeyContext<'_, '_, V> {
    /// As [`Context::timestamp`].
    pub fn timestamp(&self) -> i64 {
        self.inner.timestamp()
    }

    /// As [`Context::now`].
    pub fn now(&self) -> i64 {
        self.inner.now()
    }

    /// As [`Context::stream_time`].
    pub fn stream_time(&self) -> Option<i64> {
        self.inner.stream_time()
    }

    /// As [`Context::source`].
    pub fn source(&self) -> Option<&str> {
        self.inner.source()
    }

    /// As [`Context::topic`].
    pub fn topic(&self) -> Option<Rc<str>> {
        self.inner.topic()
    }

    /// As [`Context::partition`].
    pub fn partition(&self) -> u32 {
        self.inner.partition()
    }

    /// As [`Context::offset`].
    pub fn offset(&self) -> Option<i64> {
        self.inner.offset()
    }

    /// As [`Context::commit`].
    pub fn commit(&mut self) {
        self.inner.commit();
    }

    /// As [`Context::schedule_stream_time`].
    pub fn schedule_stream_time(&mut self, every: Duration, name: &str) {
        self.inner.schedule_stream_time(every, name);
    }

    /// As [`Context::schedule_wall_clock_time`].
    pub fn schedule_wall_clock_time(&mut self, every: Duration, name: &str) {
        self.inner.schedule_wall_clock_time(every, name);
    }

    /// As [`Context::cancel`].
    pub fn cancel(&mut self, name: &str) {
        self.inner.cancel(name);
    }

    /// As [`Context::random`].
    pub fn random(&mut self) -> &mut Random {
        self.inner.random()
    }
}

/// One of fixed keys in the place of any other. The key of what it forwards is never written, so `()` stands for it.
pub(crate) struct FixedKey<P>(pub P);

impl<P, K, V, VOut> Processor<K, V, (), VOut> for FixedKey<P>
where
    P: FixedKeyProcessor<K, V, VOut>,
    VOut: Data,
{
    fn process(&mut self, record: Record<K, V>, ctx: &mut Context<(), VOut>) -> Result<(), Failure> {
        let timestamp = ctx.timestamp();
        self.0.process(record, &mut FixedKeyContext { inner: ctx, timestamp, headers: None, fires: false })
    }

    fn punctuate(&mut self, punctuation: &Punctuation, ctx: &mut Context<(), VOut>) -> Result<(), Failure> {
        let timestamp = ctx.timestamp();
        self.0.punctuate(punctuation, &mut FixedKeyContext { inner: ctx, timestamp, headers: None, fires: true })
    }

    fn prefetch(&self, record: &Record<K, V>, wanted: &mut Prefetch) {
        self.0.prefetch(record, wanted);
    }
}
