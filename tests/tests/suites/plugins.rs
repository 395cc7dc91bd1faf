//! Components made with the Rust SDK, called by the host.

use std::sync::{Arc, LazyLock};

use millstream::wasm::{Compiler, Component, Engine, Instance, Owner};
use millstream_engine::config::Limits;
use millstream_engine::frame::{Context, Element, Field, Kind, ResultFrame, Writer};
use millstream_engine::functions::{Fault, FaultKind, Functions};
use millstream_engine::record::Headers;
use millstream_engine::store::TaskStores;

static ENGINE: LazyLock<Engine> =
    LazyLock::new(|| Engine::new(Limits::default().stack, Compiler::in_process()).unwrap());

fn instance(dir: &str) -> Instance {
    let file = tests::guests::plugin(&ENGINE, dir).unwrap();
    let component = Component::load(&ENGINE, &std::fs::read(file).unwrap(), Limits::default()).unwrap();
    let planned = Arc::new(component.describe("app", "{}").unwrap());
    Instance::new(component, "{}".into(), planned, Owner { application: "app".into(), task: None })
}

/// Calls node 1 over these values: index of the input and value of each result.
fn call(instance: &mut Instance, values: &[&str]) -> Result<Vec<(u32, String)>, Fault> {
    let mut frame = Vec::new();
    let mut writer = Writer::new(&mut frame, Kind::Records);
    writer.context(&Context { source: 0, topic: 0, partition: 0, offset: 7, timestamp: 5, stream_time: 5, seed: 1 });
    for value in values {
        let value = Some(value.as_bytes());
        writer.element(&Element {
            context: 0,
            input: 0,
            group: 0,
            timestamp: 5,
            key: None,
            value,
            headers: Headers(b""),
        });
    }
    writer.finish();
    let mut out = Vec::new();
    instance.call(1, &frame, &mut TaskStores::default(), &mut out)?;
    let mut frame = ResultFrame::parse(&out, values.len() as u32).unwrap();
    let mut results = Vec::new();
    while let Some(element) = frame.next_element().unwrap() {
        let Field::New(Some(value)) = element.value else { panic!("{element:?}") };
        results.push((element.input, String::from_utf8(value.to_vec()).unwrap()));
    }
    Ok(results)
}

#[test]
fn word_count_splits_lines() {
    let mut instance = instance("plugins/word-count");
    let words = call(&mut instance, &["The mill", "", "turns"]).unwrap();
    assert_eq!(words, [(0, "the".into()), (0, "mill".into()), (2, "turns".into())]);
}

#[test]
fn a_panic_is_a_trap_with_its_message_and_the_users_functions() {
    let mut instance = instance("tests/guests/panics");
    assert_eq!(call(&mut instance, &["fine"]).unwrap(), [(0, "fine".into())]);
    let fault = match call(&mut instance, &["fine", "bang"]) {
        Err(Fault::Guest(fault)) => fault,
        other => panic!("{other:?}"),
    };
    assert_eq!(fault.kind, FaultKind::Trap);
    assert!(fault.message.contains("panics/src/lib.rs:12:5:"), "{}", fault.message);
    assert!(fault.message.contains("did not expect bang"), "{}", fault.message);
    assert!(fault.backtrace.lines().any(|function| function == "panics::judge"), "{}", fault.backtrace);
    assert_eq!(call(&mut instance, &["fine"]).unwrap(), [(0, "fine".into())]);
}
