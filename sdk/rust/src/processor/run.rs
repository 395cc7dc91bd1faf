//! Runs a processor over a frame.

use std::marker::PhantomData;

use super::context::{Topics, Wiring};
use super::init::Connected;
use super::{Context, Init, Prefetch, Processor, Punctuation, Random};
use crate::call::{Call, Function, Input};
use crate::codec::{self, Data};
use crate::description;
use crate::failure::Failure;
use crate::frame::{Element, Frame, Kind};
use crate::record::{Headers, Record};
use crate::store::Mark;
use crate::topology::graph::{Children, Names};

/// The function of a `process` node.
pub(crate) fn node_function<P, K, V, KOut, VOut>(processor: P, init: Init, children: Children, nodes: Names) -> Function
where
    P: Processor<K, V, KOut, VOut> + 'static,
    K: Data,
    V: Data,
    KOut: Data,
    VOut: Data,
{
    let Init { stores, punctuations, .. } = init;
    let wiring = Wiring { children, nodes, topics: Topics::default() };
    let mut node = Node { processor, stores, punctuations, wiring, types: PhantomData };
    Box::new(move |call| node.run(call))
}

/// From this number on a punctuation was scheduled while the task ran, and has its name for a key.
const SCHEDULED: u16 = 1 << 15;

/// A processor in its place.
struct Node<P, K, V, KOut, VOut> {
    processor: P,
    stores: Vec<Connected>,
    punctuations: Vec<description::Punctuation>,
    wiring: Wiring,
    types: PhantomData<(K, V, KOut, VOut)>,
}

impl<P, K, V, KOut, VOut> Node<P, K, V, KOut, VOut>
where
    P: Processor<K, V, KOut, VOut>,
    K: Data,
    V: Data,
    KOut: Data,
    VOut: Data,
{
    fn run(&mut self, call: &mut Call<'_>) -> Result<(), Failure> {
        // A call that ended half-way leaves nothing behind for this one.
        self.stores.iter().for_each(|store| store.buffer.borrow_mut().clear());
        match call.frame.kind {
            Kind::Records => self.process(call),
            Kind::Punctuation => self.punctuate(call)?,
            Kind::Fold | Kind::Chain | Kind::Join | Kind::Route => call.expect(Kind::Records)?,
        }
        // All are finished, whatever becomes of one: a buffer must not outlive its call.
        let finished: Vec<_> = self.stores.iter().map(|store| store.buffer.borrow_mut().finish()).collect();
        finished.into_iter().collect()
    }

    fn process(&mut self, call: &mut Call<'_>) {
        let records = self.decode(&call.frame);
        let mut records = records.into_iter();
        self.each(call, |processor, _, ctx| match records.next() {
            Some(record) => processor.process(record?, ctx),
            None => Ok(()),
        });
    }

    fn punctuate(&mut self, call: &mut Call<'_>) -> Result<(), Failure> {
        let declared = |element: &Element<'_>| self.punctuations.get(usize::from(element.input));
        let fired = call.frame.elements.iter().map(|element| {
            if element.input >= SCHEDULED {
                let name = String::from_utf8_lossy(element.key.unwrap_or_default()).into_owned();
                return Ok(Punctuation::new(name, element));
            }
            let Some(declared) = declared(element) else {
                return Err(Failure::fail(format!("this node has no punctuation {}", element.input)));
            };
            Ok(Punctuation::new(declared.name.clone(), element))
        });
        let fired: Vec<_> = fired.collect::<Result<_, _>>()?;
        self.each(call, |processor, place, ctx| processor.punctuate(&fired[place], ctx));
        Ok(())
    }

    /// All the batch's records, with the keys they will read on their way.
    fn decode(&self, frame: &Frame<'_>) -> Vec<Result<Record<K, V>, Failure>> {
        let mut wanted = Prefetch::new(&self.stores, codec::name::<K>());
        let decoded = frame.elements.iter().enumerate().map(|(place, element)| {
            let input = Input { place: place as u32, element };
            let headers = Headers::from_bytes(element.headers);
            let record = Record { key: input.key()?, value: input.value()?, timestamp: element.timestamp, headers };
            wanted.begin(element.key);
            self.processor.prefetch(&record, &mut wanted);
            Ok(record)
        });
        let decoded = decoded.collect();
        wanted.fetch();
        decoded
    }

    /// Runs the processor for each element by place: what it writes and forwards stays, or is taken back when it fails.
    fn each(
        &mut self,
        Call { frame, answer }: &mut Call<'_>,
        mut run: impl FnMut(&mut P, usize, &mut Context<KOut, VOut>) -> Result<(), Failure>,
    ) {
        let mut seeds = Seeds::default();
        for (place, element) in frame.elements.iter().enumerate() {
            let index = place as u32;
            let begin = |store: &Connected| store.buffer.borrow_mut().begin(index, element.timestamp);
            let marks: Vec<Mark> = self.stores.iter().map(begin).collect();
            let mark = answer.mark();
            let mut ctx = Context {
                answer,
                place: index,
                timestamp: element.timestamp,
                origin: frame.origin(element),
                wiring: &self.wiring,
                random: Random::new(seeds.next(element.context, frame.origin(element).seed)),
                failure: None,
                commit: false,
                schedules: Vec::new(),
                token: None,
                types: PhantomData,
            };
            let outcome = run(&mut self.processor, place, &mut ctx);
            let (wants_commit, schedules) = (ctx.commit, std::mem::take(&mut ctx.schedules));
            let token = ctx.token.take();
            let outcome = outcome.and(ctx.failure.map_or(Ok(()), Err));
            let Err(failure) = outcome else {
                if wants_commit {
                    answer.commit(index);
                }
                schedules.iter().for_each(|schedule| answer.schedule(index, schedule));
                token.iter().for_each(|token| answer.again(index, token));
                continue;
            };
            if failure.undoes() {
                answer.truncate(mark);
                self.stores.iter().zip(marks).for_each(|(store, mark)| store.buffer.borrow_mut().rollback(mark));
            }
            answer.outcome(index, &failure);
        }
    }
}

/// Seeds that differ between the elements of one record: its own, moved on by the element's place among them.
#[derive(Default)]
struct Seeds {
    context: Option<usize>,
    place: u64,
}

impl Seeds {
    /// An odd constant with well mixed bits, so that neighbours do not get neighbouring seeds.
    const STEP: u64 = 0xd1b5_4a32_d192_ed03;

    fn next(&mut self, context: usize, seed: u64) -> u64 {
        self.place = if self.context.replace(context) == Some(context) { self.place + 1 } else { 0 };
        seed.wrapping_add(self.place.wrapping_mul(Seeds::STEP))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::host::CALLS;
    use crate::store::KeyValueStore;
    use crate::testing::Driver;
    use crate::topology::Topology;

    /// Counts by key, and by first letter in another store.
    struct Counts {
        by_key: KeyValueStore<String, i64>,
        by_letter: KeyValueStore<String, i64>,
        names_letters: bool,
    }

    impl Processor<String, (), String, i64> for Counts {
        fn process(&mut self, record: Record<String, ()>, _ctx: &mut Context<String, i64>) -> Result<(), Failure> {
            for (store, key) in [(&self.by_key, record.key.clone()), (&self.by_letter, letter(&record.key))] {
                let count = store.get(&key)?.unwrap_or(0) + 1;
                store.put(&key, &count);
            }
            Ok(())
        }

        fn prefetch(&self, record: &Record<String, ()>, wanted: &mut Prefetch) {
            wanted.key(&self.by_key, &record.key);
            if self.names_letters {
                wanted.key(&self.by_letter, &letter(&record.key));
            }
        }
    }

    fn letter(key: &str) -> String {
        key.chars().take(1).collect()
    }

    /// How often the host's stores are called for 500 records with 500 keys of ten letters.
    fn calls(names_letters: bool) -> u32 {
        let topology = move |app: &mut Topology| {
            let (by_key, by_letter) = (app.store("by-key"), app.store("by-letter"));
            app.stream("in").process("counts", |init| Counts {
                by_key: init.store(&by_key),
                by_letter: init.store(&by_letter),
                names_letters,
            });
        };
        let mut driver = Driver::new(topology).unwrap();
        CALLS.set(0);
        let keys = (0..500).map(|n| format!("{}{n}", char::from(b'a' + (n % 10) as u8)));
        driver.pipe_all("in", keys.map(|key| Record::new(key, (), 0))).unwrap();
        let counted = driver.entries::<String, i64>("by-letter").unwrap();
        assert!(counted.len() == 10 && counted.iter().all(|(_, count)| *count == 50));
        CALLS.get()
    }

    #[test]
    fn a_batch_reads_each_store_once_and_writes_it_once() {
        assert_eq!(calls(true), 4);
    }

    #[test]
    fn a_key_that_was_not_named_is_read_once() {
        assert_eq!(calls(false), 3 + 10);
    }
}
