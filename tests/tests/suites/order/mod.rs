//! Batches that nobody can see: random topologies give the same outputs, stores, changelogs and counters in batches of
//! 1, 2, 7 and 500, and the same as an interpreter that takes one record at a time, depth first (design: order and
//! batches).
//!
//! - `topology`: a random description, with every operator and every way of sharing
//! - `code`: what its user functions do, the same on both sides
//! - `native`: the engine's side of them
//! - `engine`: a script of records run on the engine
//! - `reference`: the same script, interpreted

mod code;
mod engine;
mod native;
mod reference;
mod topology;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use proptest::test_runner::{Config, RngSeed, TestRunner};

use engine::Observed;
use millstream_engine::topology::Operator;
use native::Seeds;
use topology::Shape;

/// How many topologies one run tries; more with `MILLSTREAM_CASES`.
const CASES: u32 = 200;
/// How hard a failure is made smaller before it is shown.
const SHRINKS: u32 = 20_000;
const BATCHES: [usize; 4] = [1, 2, 7, 500];

#[test]
fn batches_of_any_size_give_what_one_record_at_a_time_gives() {
    let seed = std::env::var("MILLSTREAM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand_seed);
    let cases = std::env::var("MILLSTREAM_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES);
    println!("MILLSTREAM_SEED={seed} repeats this run");
    let config = Config {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: SHRINKS,
        ..Config::default()
    };
    let seen = RefCell::new(Seen::default());
    let case = (topology::shape(), topology::script());
    let result = TestRunner::new(config).run(&case, |(shape, script)| {
        let shape = topology::build(&shape);
        let expected = reference::run(&shape, &script);
        let seeds = Seeds::default();
        for batch in BATCHES {
            let observed = engine::run(&shape, &script, batch, &seeds);
            observed.assert_same(&expected, batch);
        }
        seen.borrow_mut().count(&shape, &expected);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("MILLSTREAM_SEED={seed}: {failure}");
    }
    seen.borrow().assert_all();
}

fn rand_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

/// That the random cases meet what they are there for: a generator that lost its teeth would pass everything.
#[derive(Default)]
struct Seen {
    cases: usize,
    failed: usize,
    skipped: usize,
    dead_letters: usize,
    dropped: usize,
    entangled: usize,
    conflicting: usize,
    contested: usize,
    outputs: usize,
    /// With a processor that reads a global table.
    reading: usize,
    /// In how many cases each operator stands.
    operators: BTreeMap<String, usize>,
}

impl Seen {
    fn count(&mut self, shape: &Shape, observed: &Observed) {
        let plan = engine::plan(shape);
        let any = |holds: &dyn Fn(&millstream_engine::topology::SubtopologyPlan) -> bool| {
            usize::from(plan.subtopologies.iter().any(holds))
        };
        self.cases += 1;
        let operators: BTreeSet<&str> = shape.description.nodes.iter().map(|node| node.op.as_str()).collect();
        operators.into_iter().for_each(|op| *self.operators.entry(op.to_owned()).or_default() += 1);
        self.failed += usize::from(observed.failed.is_some());
        self.skipped += usize::from(observed.dropped.skipped > 0);
        self.dead_letters += usize::from(observed.dead_letters > 0);
        self.dropped += usize::from(observed.dropped.by_guest > 0 && observed.dropped.null > 0);
        self.entangled += any(&|subtopology| !subtopology.entangled.is_empty());
        self.conflicting += any(&|subtopology| !subtopology.conflicts.is_empty());
        self.contested += any(&|subtopology| !subtopology.contested.is_empty());
        self.reading += usize::from(plan.nodes.iter().any(|node| !node.globals.is_empty()));
        self.outputs += usize::from(observed.topics.keys().any(|topic| topic.starts_with("out")));
    }

    fn assert_all(&self) {
        let &Seen { cases, failed, skipped, dead_letters, dropped, entangled, conflicting, contested, outputs, .. } =
            self;
        let reading = self.reading;
        println!(
            "{cases} cases: {failed} failed on purpose, {skipped} skipped, {dead_letters} with dead letters, {dropped} \
             dropped, {entangled} entangled, {conflicting} with conflicts, {contested} with contested sinks, {outputs} \
             with outputs, {reading} reading global tables"
        );
        for (what, count) in [
            ("failed", failed),
            ("skipped", skipped),
            ("dead letters", dead_letters),
            ("dropped", dropped),
            ("entangled", entangled),
            ("conflicting", conflicting),
            ("contested", contested),
            ("outputs", outputs),
            ("reading global tables", reading),
        ] {
            assert!(count * 50 >= cases, "only {count} of {cases} cases: {what}");
        }
        for operator in Operator::names() {
            let count = self.operators.get(operator).copied().unwrap_or(0);
            assert!(count * 200 >= cases, "only {count} of {cases} cases with {operator}");
        }
        assert!(failed * 2 < cases, "{failed} of {cases} cases end early: too little is tested");
    }
}
