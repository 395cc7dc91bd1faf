//! Processors: user code with stores, punctuations and children.

mod context;
mod fixed_key;
mod init;
mod prefetch;
mod punctuation;
mod random;
mod run;

pub use context::Context;
pub(crate) use fixed_key::FixedKey;
pub use fixed_key::{FixedKeyContext, FixedKeyProcessor};
pub use init::Init;
pub use prefetch::Prefetch;
pub use punctuation::Punctuation;
pub use random::Random;
pub(crate) use run::node_function;

use crate::failure::Failure;
use crate::record::Record;

/// Takes records of `K`, `V` and forwards records of `KOut`, `VOut`: Kafka Streams' `Processor`.
///
/// Its fields are a cache at best: the host may drop it between any two batches and make another one. What shall
/// last belongs into a store.
pub trait Processor<K, V, KOut, VOut> {
    /// Called for each record, in order. An error undoes what the record wrote and forwarded
    /// (all but [`Failure::drop`]).
    fn process(&mut self, record: Record<K, V>, ctx: &mut Context<KOut, VOut>) -> Result<(), Failure>;

    /// Called when one of the punctuations fires that the processor asked for when it was opened.
    fn punctuate(&mut self, punctuation: &Punctuation, ctx: &mut Context<KOut, VOut>) -> Result<(), Failure> {
        let _ = (punctuation, ctx);
        Ok(())
    }

    /// Names the keys that `process` will read for this record: they are read from the host together for a whole
    /// batch. Others are read one by one, so this is about speed alone. Without it: the record's own key, in all
    /// connected stores whose keys have the same codec.
    fn prefetch(&self, record: &Record<K, V>, wanted: &mut Prefetch) {
        let _ = record;
        wanted.record_key();
    }
}
