//! A punctuation that fires, and walking a store in portions.

use super::Context;
use crate::codec::Data;
use crate::failure::Failure;
use crate::frame::Element;
use crate::store::KeyValueStore;

/// A punctuation that fires, for the first time or to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Punctuation {
    name: String,
    timestamp: i64,
    token: Option<Vec<u8>>,
}

impl Punctuation {
    pub(super) fn new(name: String, element: &Element<'_>) -> Punctuation {
        Punctuation { name, timestamp: element.timestamp, token: element.value.map(<[u8]>::to_vec) }
    }

    /// As the processor called it in [`crate::Init`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The time it fires for, in ms since the epoch: stream time or wall-clock time. The same for all calls of one.
    pub fn timestamp(&self) -> i64 {
        self.timestamp
    }

    /// What the call before has left for this one ([`Context::resume`]); `None`: it begins.
    pub fn token(&self) -> Option<&[u8]> {
        self.token.as_deref()
    }

    /// Walks a store in the order of its keys, at most `rows` rows (at least one) in each call, and goes on behind the last
    /// one until there are no more: for a store that is larger than one call may walk, or give downstream. Between the calls
    /// there is no record, so that all of them see one state, but for what the walk itself writes.
    ///
    /// The processor must say [`crate::Init::resumes_punctuations`]; a key that is longer than a token fails the punctuation
    /// where a call ends with it. One walk for each punctuation.
    ///
    /// ```
    /// # use millstream_sdk::prelude::*;
    /// # struct Report(KeyValueStore<String, i64>);
    /// # impl Processor<String, String, String, i64> for Report {
    /// #     fn process(&mut self, _: Record<String, String>, _: &mut Context<String, i64>) -> Result<(), Failure> {
    /// #         Ok(())
    /// #     }
    /// fn punctuate(&mut self, fired: &Punctuation, ctx: &mut Context<String, i64>) -> Result<(), Failure> {
    ///     fired.walk(&self.0, 500, ctx, |key, count, ctx| {
    ///         ctx.forward(Record::new(key, count, fired.timestamp()));
    ///         Ok(())
    ///     })
    /// }
    /// # }
    /// # fn topology(app: &mut Topology) {
    /// # let counts = app.store("counts");
    /// app.stream::<String, String>("in").process("report", |init| {
    ///     init.every_stream_time(Duration::from_secs(60), "minute");
    ///     init.resumes_punctuations();
    ///     Report(init.store(&counts))
    /// });
    /// # }
    /// ```
    pub fn walk<K: Data, V: Data, KOut, VOut>(
        &self,
        store: &KeyValueStore<K, V>,
        rows: usize,
        ctx: &mut Context<'_, KOut, VOut>,
        mut each: impl FnMut(K, V, &mut Context<'_, KOut, VOut>) -> Result<(), Failure>,
    ) -> Result<(), Failure>
    where
        KOut: Data,
        VOut: Data,
    {
        let mut walked = store.behind(self.token())?;
        for _ in 0..rows.max(1) {
            let Some(entry) = walked.next() else { return Ok(()) };
            let (key, value) = entry?;
            each(key, value, ctx)?;
        }
        if let (Some(last), Some(_)) = (walked.last_key(), walked.next().transpose()?) {
            ctx.resume(last);
        }
        Ok(())
    }
}
