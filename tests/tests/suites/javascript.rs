//! A second language proves the contract: JavaScript without an SDK of ours, built with public npm tools.

use std::sync::{Arc, LazyLock};

use millstream::wasm::{Compiler, Component, Engine, Instance, Owner};
use millstream_engine::config::Limits;
use millstream_engine::frame::{Context, Element, Field, Kind, NO_SOURCE, Outcome, OutcomeKind, ResultFrame, Writer};
use millstream_engine::functions::{Fault, FaultKind, Functions};
use millstream_engine::record::Headers;
use millstream_engine::store::TaskStores;
use millstream_engine::topology::description::Description;
use tests::stores::{Read, stores};

static ORDERS: LazyLock<Component> = LazyLock::new(|| {
    let engine = Engine::new(Limits::default().stack, Compiler::in_process()).unwrap();
    let file = tests::guests::js_orders(&engine).unwrap();
    Component::load(&engine, &std::fs::read(file).unwrap(), Limits::default()).unwrap()
});

/// One above what a JavaScript number can tell apart.
const BEYOND_2_53: i64 = (1 << 53) + 1;

const SUM: u32 = 1;
const TOTALS: u16 = 0;
const BIG_ORDERS: u16 = 1;

fn describe() -> Description {
    ORDERS.describe("orders", "{}").unwrap()
}

/// A task of the plugin with its store.
struct Task {
    instance: Instance,
    stores: TaskStores,
}

impl Task {
    fn new() -> Task {
        let owner = Owner { application: "orders".into(), task: None };
        let instance = Instance::new(ORDERS.clone(), "{}".into(), Arc::new(describe()), owner);
        Task { instance, stores: stores(&[0], Read::Nothing) }
    }

    fn call(&mut self, kind: Kind, elements: &[Element<'_>]) -> Result<Vec<u8>, Fault> {
        let mut frame = Vec::new();
        let mut writer = Writer::new(&mut frame, kind);
        writer.context(&Context {
            source: NO_SOURCE,
            topic: 0,
            partition: 0,
            offset: -1,
            timestamp: 0,
            stream_time: 0,
            seed: 0,
        });
        elements.iter().for_each(|element| writer.element(element));
        writer.finish();
        self.stores.enter(&[0], elements.iter().map(|element| element.timestamp));
        let mut out = Vec::new();
        let answer = self.instance.call(SUM, &frame, &mut self.stores, &mut out);
        self.stores.leave();
        answer.map(|()| out)
    }

    /// Orders of (customer, amount), one a second.
    fn orders(&mut self, orders: &[(&str, i64)]) -> (Vec<Row>, Vec<Outcome>) {
        let amounts: Vec<[u8; 8]> = orders.iter().map(|(_, amount)| amount.to_be_bytes()).collect();
        let elements: Vec<Element<'_>> = orders
            .iter()
            .zip(&amounts)
            .enumerate()
            .map(|(i, ((customer, _), amount))| element(i as i64 * 1000, Some(customer.as_bytes()), Some(amount)))
            .collect();
        rows(&self.call(Kind::Records, &elements).unwrap(), elements.len())
    }

    fn stored(&self, customer: &str) -> Option<i64> {
        let found = self.stores.get(0, customer.as_bytes()).unwrap();
        found.map(|found| i64::from_be_bytes(found.value.try_into().unwrap()))
    }
}

fn element<'a>(timestamp: i64, key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> Element<'a> {
    Element { context: 0, input: 0, group: 0, timestamp, key, value, headers: Headers(b"") }
}

/// Input element, child, timestamp, key, value.
type Row = (u32, u16, i64, String, i64);

fn rows(frame: &[u8], asked: usize) -> (Vec<Row>, Vec<Outcome>) {
    let mut frame = ResultFrame::parse(frame, asked as u32).unwrap();
    let mut rows = Vec::new();
    while let Some(element) = frame.next_element().unwrap() {
        let (Field::New(Some(key)), Field::New(Some(value))) = (element.key, element.value) else {
            panic!("{element:?}")
        };
        let (key, value) = (String::from_utf8(key.to_vec()).unwrap(), i64::from_be_bytes(value.try_into().unwrap()));
        rows.push((element.input, element.target, element.timestamp, key, value));
    }
    (rows, frame.outcomes().unwrap())
}

fn row(input: u32, child: u16, key: &str, value: i64) -> Row {
    (input, child, i64::from(input) * 1000, key.into(), value)
}

#[test]
fn it_describes_a_source_a_store_two_sinks_and_a_punctuation() {
    let description = describe();
    let nodes: Vec<_> = description.nodes.iter().map(|node| (&*node.name, &*node.op)).collect();
    assert_eq!(nodes, [("orders", "source"), ("sum", "process"), ("totals", "sink"), ("big-orders", "sink")]);
    assert_eq!((&*description.nodes[1].punctuations[0].name, &*description.stores[0].value), ("summary", "i64"));
}

#[test]
fn it_sums_beyond_2_53_and_sends_to_two_sinks() {
    let mut task = Task::new();
    let (rows, outcomes) = task.orders(&[("ann", BEYOND_2_53), ("bob", 5), ("ann", 2)]);
    let expected = [
        row(0, TOTALS, "ann", BEYOND_2_53),
        row(0, BIG_ORDERS, "ann", BEYOND_2_53),
        row(1, TOTALS, "bob", 5),
        row(2, TOTALS, "ann", BEYOND_2_53 + 2),
    ];
    assert_eq!((rows, outcomes), (expected.to_vec(), vec![]));
    assert_eq!((task.stored("ann"), task.stored("bob")), (Some(BEYOND_2_53 + 2), Some(5)));
}

#[test]
fn its_state_is_in_the_store_and_not_in_the_instance() {
    let mut task = Task::new();
    task.orders(&[("ann", BEYOND_2_53)]);
    task.instance.discard();
    let (rows, _) = task.orders(&[("ann", 1)]);
    assert_eq!(rows, [row(0, TOTALS, "ann", BEYOND_2_53 + 1)]);
}

#[test]
fn it_judges_bad_orders_one_by_one() {
    let mut task = Task::new();
    let one = 1i64.to_be_bytes();
    let minus = (-BEYOND_2_53).to_be_bytes();
    let elements = [
        element(0, None, Some(&one)),
        element(1, Some(b"ann"), Some(&minus)),
        element(2, Some(b"ann"), Some(b"one")),
        element(3, Some(b"ann"), Some(&one)),
    ];
    let (rows, outcomes) = rows(&task.call(Kind::Records, &elements).unwrap(), elements.len());
    let outcome = |element, kind, message: &str| Outcome { element, kind, message: message.into() };
    assert_eq!(rows, [(3, TOTALS, 3, "ann".into(), 1)]);
    assert_eq!(
        outcomes,
        [
            // Why it was dropped is of no use to anybody.
            outcome(0, OutcomeKind::Drop, ""),
            outcome(1, OutcomeKind::DeadLetter, "negative amount -9007199254740993"),
            outcome(2, OutcomeKind::Fail, "an amount is eight bytes"),
        ]
    );
}

#[test]
fn its_punctuation_sums_the_store_page_by_page() {
    let mut task = Task::new();
    let customers: Vec<String> = (0..1200).map(|i| format!("customer-{i}")).collect();
    let orders: Vec<(&str, i64)> = customers.iter().map(|customer| (&**customer, BEYOND_2_53 / 1024)).collect();
    task.orders(&orders);
    let answer = task.call(Kind::Punctuation, &[element(60_000, None, None)]).unwrap();
    let total = 1200 * (BEYOND_2_53 / 1024);
    assert_eq!(rows(&answer, 1).0, [(0, TOTALS, 60_000, "*".to_owned(), total)]);
}

#[test]
fn what_it_throws_fails_the_call() {
    let mut task = Task::new();
    let fault = match task.call(Kind::Fold, &[]) {
        Err(Fault::Guest(fault)) => fault,
        other => panic!("{other:?}"),
    };
    assert_eq!(fault.kind, FaultKind::Failed);
    assert!(fault.message.contains("frames of kind 2 are not for this node"), "{}", fault.message);
}
