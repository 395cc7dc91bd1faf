//! Guests that misbehave, each against the limit or the check it runs into. Whatever a guest does, its host answers
//! with a typed fault, the stores come back, and the next call meets a fresh instance.

use std::num::NonZeroU32;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use millstream::wasm::{Compiler, Component, Engine, Error, Instance, Owner};
use millstream_engine::config::{ByteSize, Limits};
use millstream_engine::frame::ResultFrame;
use millstream_engine::functions::{Fault, FaultKind, Functions, GuestFault};
use millstream_engine::store::TaskStores;
use millstream_engine::task::TaskId;
use tests::guests;
use tests::stores::{Read, stores};

static ENGINE: LazyLock<Engine> =
    LazyLock::new(|| Engine::new(Limits::default().stack, Compiler::in_process()).unwrap());

/// A frame that the guests here do not read.
const FRAME: &[u8] = b"frame";

fn load(name: &str) -> Result<Component, Error> {
    load_with(name, Limits::default())
}

fn load_with(name: &str, limits: Limits) -> Result<Component, Error> {
    Component::load(&ENGINE, &guests::wat(name).unwrap(), limits)
}

fn refusal(name: &str) -> Error {
    load(name).and_then(|component| component.describe("app", "{}")).unwrap_err()
}

fn instance_of(component: Component) -> Instance {
    let planned = component.describe("app", "{}").unwrap();
    let task = TaskId { subtopology: 0, partition: 3 };
    Instance::new(component, "{}".into(), Arc::new(planned), Owner { application: "app".into(), task: Some(task) })
}

fn instance(name: &str) -> Instance {
    instance_of(load(name).unwrap())
}

fn call(instance: &mut Instance, frame: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::new();
    instance.call(1, frame, &mut TaskStores::default(), &mut out).map(|()| out)
}

fn guest_fault(answer: Result<Vec<u8>, Fault>) -> GuestFault {
    match answer {
        Err(Fault::Guest(fault)) => fault,
        other => panic!("expected the guest's fault, got {other:?}"),
    }
}

fn fault_of(name: &str) -> GuestFault {
    guest_fault(call(&mut instance(name), FRAME))
}

#[test]
fn every_guest_has_a_test() {
    let tests = [include_str!("guests.rs"), include_str!("attacks/mod.rs")];
    for name in guests::wat_names().unwrap() {
        assert!(tests.concat().contains(&format!("\"{name}\"")), "no test uses the guest {name}");
    }
}

#[test]
fn an_endless_loop_ends_at_its_deadline() {
    let limits = Limits { call: Duration::from_millis(200), ..Limits::default() };
    let mut instance = instance_of(load_with("endless-loop", limits).unwrap());
    let began = Instant::now();
    let fault = guest_fault(call(&mut instance, FRAME));
    assert_eq!(fault.kind, FaultKind::Deadline);
    assert_eq!(fault.message, "ran longer than 200ms ([limits] call)");
    assert!(fault.backtrace.starts_with("spin\n"), "{}", fault.backtrace);
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(200) && took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn an_endless_describe_ends_at_the_deadline_too() {
    let limits = Limits { call: Duration::from_millis(100), ..Limits::default() };
    let error = load_with("endless-describe", limits).unwrap().describe("app", "{}").unwrap_err();
    assert!(matches!(&error, Error::Describe(fault, _) if fault.kind == FaultKind::Deadline), "{error}");
}

/// T1, in the other places where guest code runs: the start, the allocator that is asked for the arguments' room, the
/// cleaning up behind an answer.
#[test]
fn an_endless_loop_ends_at_its_deadline_wherever_it_is() {
    let limits = Limits { call: Duration::from_millis(100), ..Limits::default() };
    for name in ["endless-start", "endless-realloc", "endless-post-return"] {
        let began = Instant::now();
        let error = load_with(name, limits).unwrap().describe("app", "{}").unwrap_err();
        assert!(matches!(&error, Error::Describe(fault, _) if fault.kind == FaultKind::Deadline), "{name}: {error}");
        assert!(began.elapsed() < Duration::from_secs(10), "{name}: {:?}", began.elapsed());
    }
}

/// T2: between two bulk copies nobody looks at the clock, and the memory limit bounds one copy.
#[test]
fn a_loop_of_large_copies_ends_soon_after_its_deadline() {
    let limits = Limits { call: Duration::from_millis(100), ..Limits::default() };
    let mut instance = instance_of(load_with("bulk-copies", limits).unwrap());
    let began = Instant::now();
    assert_eq!(guest_fault(call(&mut instance, FRAME)).kind, FaultKind::Deadline);
    println!("deadline 100ms, ended after {:?}", began.elapsed());
}

/// T8: the time inside host calls has a bound in sum.
#[test]
fn a_flood_of_look_ups_ends_by_the_time_it_takes() {
    let limits = Limits { call: Duration::from_millis(50), ..Limits::default() };
    let mut instance = instance_of(load_with("store-flood", limits).unwrap());
    let mut call = |read: Read| {
        let mut stores = stores(&[0], read);
        stores.enter(&[0], [0].into_iter());
        instance.call(1, FRAME, &mut stores, &mut Vec::new())
    };
    let fault = match call(Read::InMilliseconds) {
        Err(Fault::Guest(fault)) => fault,
        other => panic!("expected the guest's fault, got {other:?}"),
    };
    assert_eq!(fault.kind, FaultKind::Deadline);
    assert!(fault.message.contains("calls into the host took longer than 200ms"), "{}", fault.message);
    // A few calls that take long are the disk's doing.
    let slow = call(Read::Slowly);
    assert!(matches!(&slow, Err(Fault::Host(error)) if error.to_string().contains("calls took")), "{slow:?}");
}

/// A million look-ups, writes, rows and KiB: 200,000 keys in each of few calls, which take no time of the guest's.
#[test]
fn a_flood_of_work_in_stores_is_stopped() {
    let guest = "(func $process (export \"process\") (param i32 i32 i32) (result i32)
        (drop (memory.grow (i32.const 800)))
        (i32.store (i32.const 33554432) (i32.const 200000))
        (loop $again
          (call $get_many (i32.const 0) (i32.const 33554432) (i32.const 800004) (i32.const 1024))
          (br_if $again (i32.eqz (i32.load8_u (i32.const 1024)))))
        (call $err (i32.const 1025) (i32.const 1)))";
    let component = Component::load(&ENGINE, &guests::of_text(guest).unwrap(), Limits::default()).unwrap();
    let mut stores = stores(&[0], Read::Nothing);
    stores.enter(&[0], [0].into_iter());
    let answer = instance_of(component).call(1, FRAME, &mut stores, &mut Vec::new());
    let fault = guest_fault(answer.map(|()| Vec::new()));
    assert_eq!(fault.kind, FaultKind::Trap);
    assert_eq!(fault.message, "more than 1000000 rows and KiB of the stores during one call");
}

/// T11: what is written is held until the commit, so one call may not write without end.
#[test]
fn a_flood_of_writes_is_stopped() {
    let mut stores = stores(&[0], Read::Nothing);
    stores.enter(&[0], [0].into_iter());
    let fault = guest_fault(instance("write-flood").call(1, FRAME, &mut stores, &mut Vec::new()).map(|()| Vec::new()));
    assert_eq!(fault.kind, FaultKind::Trap);
    assert_eq!(fault.message, "more than 134217728 bytes written to stores for one record");
}

/// T17: what one guest leaves in its memory and its tables, no other finds.
#[test]
fn a_fresh_instance_finds_nothing_of_the_one_before() {
    let mut instance = instance("canary");
    for cycle in 0..10_000 {
        assert!(call(&mut instance, FRAME).is_ok(), "cycle {cycle}");
        instance.discard();
    }
    assert!(call(&mut instance, FRAME).is_ok());
    assert_eq!(guest_fault(call(&mut instance, FRAME)).kind, FaultKind::Failed, "what it left itself it would find");
}

/// T16: no interface of ours tells the time, so none can be read twice.
#[test]
fn a_guest_is_given_no_clock() {
    let wit = std::fs::read_to_string(guests::root().join("wit/millstream.wit")).unwrap();
    let imports: Vec<&str> = wit.lines().filter_map(|line| line.trim().strip_prefix("import ")).collect();
    assert_eq!(imports, ["stores;", "runtime;"]);
    let given: Vec<&str> =
        wit.lines().filter_map(|line| line.trim().split_once(": func(")).map(|(name, _)| name).collect();
    let by_key = ["get-many", "apply", "scan", "approximate-entries"];
    let stores = [&by_key[..], &["get-timed", "apply-timed", "scan-timed", "scan-sessions"]].concat();
    assert_eq!(given, [&stores[..], &["log", "topics", "export describe", "export process"]].concat());
}

/// A provider is given its log alone, and the names of topics, of which it has none: nothing it calls can wait.
#[test]
fn a_provider_is_given_nothing_but_its_log() {
    let wit = std::fs::read_to_string(guests::root().join("wit/provider.wit")).unwrap();
    let imports: Vec<&str> = wit.lines().filter_map(|line| line.trim().strip_prefix("import ")).collect();
    assert_eq!(imports, ["runtime;"]);
    let asked: Vec<&str> =
        wit.lines().filter_map(|line| line.trim().split_once(": func(")).map(|(name, _)| name).collect();
    assert_eq!(asked, ["open", "get-many", "scan", "apply", "position", "size", "flush", "wipe", "close"]);
}

/// What one component does under a manifest's `[limits]` with this one narrowed, against its default.
#[test]
fn every_limit_of_the_manifest_is_broken_by_a_guest() {
    let cases: [(&str, Limits, &str, &str); 9] = [
        ("memory", Limits { memory: ByteSize::mib(2), ..Limits::default() }, "memory-bomb", "may have 2.0 MiB"),
        ("tables", Limits { tables: count(50), ..Limits::default() }, "table-bomb", "may have 50 ("),
        ("stack", Limits::default(), "deep-recursion", "call stack exhausted"),
        (
            "call",
            Limits { call: Duration::from_millis(30), ..Limits::default() },
            "endless-loop",
            "ran longer than 30ms",
        ),
        ("handles", Limits { handles: count(10), ..Limits::default() }, "handle-flood", "handle"),
        (
            "transfer",
            Limits { transfer: ByteSize::mib(2), ..Limits::default() },
            "transfer-bomb",
            "may hand over 2097152",
        ),
        ("instances", Limits { instances: count(1), ..Limits::default() }, "endless-loop", "instances"),
        ("key_bytes", Limits::default(), "long-key", "\u{1}"),
        ("value_bytes", Limits::default(), "long-value", "\u{1}"),
    ];
    for (limit, limits, guest, words) in cases {
        let said =
            match load_with(guest, limits).and_then(|component| component.describe("app", "{}").map(|_| component)) {
                Err(error) => error.to_string(),
                Ok(component) => {
                    let mut stores = stores(&[0], Read::Nothing);
                    stores.enter(&[0], [0].into_iter());
                    let answer = instance_of(component).call(1, FRAME, &mut stores, &mut Vec::new());
                    guest_fault(answer.map(|()| Vec::new())).message
                }
            };
        assert!(said.contains(words), "{limit}: {said:?}");
    }
    // The rest is met elsewhere: by results in the suite of attacks, by lines further down.
    let met = cases.map(|(limit, ..)| limit);
    let rest: Vec<&str> =
        Limits::default().rows().iter().map(|row| row.name).filter(|name| !met.contains(name)).collect();
    assert_eq!(rest, ["outputs", "output_bytes", "log_lines"]);
}

fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

#[test]
fn a_memory_bomb_is_stopped_and_its_peak_named() {
    let fault = fault_of("memory-bomb");
    assert_eq!(fault.kind, FaultKind::Memory);
    assert_eq!(fault.message, "wanted 128.1 MiB of linear memory, has 127.1 MiB, may have 128.0 MiB ([limits] memory)");
    assert!(fault.backtrace.starts_with("hoard\n"), "{}", fault.backtrace);
}

#[test]
fn a_table_bomb_is_stopped() {
    let fault = fault_of("table-bomb");
    assert_eq!(fault.kind, FaultKind::Memory);
    assert!(fault.message.starts_with("wanted tables of 2000"), "{}", fault.message);
    assert!(fault.message.ends_with("elements, may have 100000 ([limits] tables)"), "{}", fault.message);
}

#[test]
fn a_handle_flood_is_stopped() {
    let fault = fault_of("handle-flood");
    assert_eq!(fault.kind, FaultKind::Trap);
    assert!(fault.message.contains("handle"), "{}", fault.message);
}

#[test]
fn a_deep_recursion_traps_with_a_bounded_backtrace() {
    let fault = fault_of("deep-recursion");
    assert_eq!(fault.kind, FaultKind::Trap);
    assert_eq!(fault.message, "wasm trap: call stack exhausted");
    assert_eq!(fault.backtrace, ["down"; 32].join("\n"));
}

#[test]
fn a_flood_of_host_calls_is_stopped() {
    let fault = fault_of("host-call-flood");
    assert_eq!(fault.kind, FaultKind::Trap);
    assert_eq!(fault.message, "made more than 100000 calls into the host during one call");
}

#[test]
fn a_host_call_with_too_many_bytes_is_stopped() {
    let fault = fault_of("transfer-bomb");
    assert_eq!(fault.kind, FaultKind::Trap);
    assert_eq!(fault.message, "handed 9437184 bytes to one host call, may hand over 8388608 ([limits] transfer)");
}

#[test]
fn an_answer_beyond_the_transfer_limit_is_not_copied() {
    let fault = fault_of("output-flood");
    assert_eq!(fault.kind, FaultKind::Trap);
    assert!(fault.message.contains("too much data is being copied"), "{}", fault.message);
}

#[test]
fn a_list_beyond_the_guests_memory_is_refused() {
    assert_eq!(fault_of("lying-list").kind, FaultKind::Trap);
}

#[test]
fn an_answer_that_is_no_frame_is_refused_by_the_decoder() {
    let answer = call(&mut instance("garbage"), FRAME).unwrap();
    assert!(ResultFrame::parse(&answer, 1).is_err());
}

#[test]
fn an_answer_that_lies_about_its_lengths_is_refused_by_the_decoder() {
    let answer = call(&mut instance("lying-frame"), FRAME).unwrap();
    let refused = ResultFrame::parse(&answer, 1).unwrap().next_element().unwrap_err();
    assert_eq!(refused.to_string(), "2147483647 bytes announced where 0 are left");
}

#[test]
fn an_err_is_a_failed_call_with_its_text() {
    let fault = fault_of("fails");
    assert_eq!((fault.kind, &*fault.message), (FaultKind::Failed, "the moon is full"));
}

#[test]
fn a_trap_names_the_functions_and_the_guests_last_words() {
    let fault = guest_fault(call(&mut instance("traps-on-bang"), b"all fine!"));
    assert_eq!(fault.kind, FaultKind::Trap);
    assert_eq!(fault.message, "panicked at a bang (wasm trap: wasm `unreachable` instruction executed)");
    assert_eq!(fault.backtrace, "judge\nread\nprocess");
}

#[test]
fn the_call_after_a_trap_meets_a_fresh_instance() {
    let mut instance = instance("traps-on-bang");
    assert!(call(&mut instance, b"fine").is_ok());
    assert!(call(&mut instance, b"bang!").is_err());
    let answer = call(&mut instance, b"fine").unwrap();
    assert_eq!(ResultFrame::parse(&answer, 1).unwrap().elements(), 0);
}

#[test]
fn an_instance_that_leaks_is_replaced_before_it_hits_its_limit() {
    let mut instance = instance("leak");
    let pages: Vec<usize> = (0..40).map(|_| call(&mut instance, FRAME).unwrap().len()).collect();
    assert_eq!(pages[0], 130);
    assert_eq!(pages[1], 258, "the instance lives from call to call");
    assert_eq!(pages.iter().filter(|&&pages| pages == 130).count(), 4, "{pages:?}");
}

#[test]
fn a_discarded_instance_has_forgotten_everything() {
    let mut instance = instance("leak");
    call(&mut instance, FRAME).unwrap();
    instance.discard();
    assert_eq!(call(&mut instance, FRAME).unwrap().len(), 130);
}

#[test]
fn an_answer_is_appended() {
    let mut out = b"before".to_vec();
    instance("garbage").call(1, FRAME, &mut TaskStores::default(), &mut out).unwrap();
    assert_eq!(out, b"beforegarbage");
}

/// One call of the guest `reader` over a store with `k` = `v`; the stores after it.
fn read(read: Read, connected: &[usize]) -> (Result<Vec<u8>, Fault>, TaskStores) {
    let mut stores = stores(&[0], read);
    if read == Read::Nothing {
        stores.put(0, b"k", Some(b"v"), 17);
    }
    stores.enter(connected, [0].into_iter());
    let mut out = Vec::new();
    let answer = instance("reader").call(1, FRAME, &mut stores, &mut out);
    (answer.map(|()| out), stores)
}

#[test]
fn a_guest_reads_its_stores_and_hands_them_back() {
    let (answer, stores) = read(Read::Nothing, &[0]);
    let mut expected = Vec::new();
    expected.extend_from_slice(&1u32.to_le_bytes());
    expected.extend_from_slice(&1i32.to_le_bytes());
    expected.extend_from_slice(&17i64.to_le_bytes());
    expected.push(b'v');
    assert_eq!(answer.unwrap(), expected);
    assert_eq!(stores.get(0, b"k").unwrap().unwrap().value, b"v");
}

#[test]
fn a_store_that_is_not_connected_is_unknown_to_the_guest() {
    let fault = guest_fault(read(Read::Nothing, &[]).0);
    assert_eq!((fault.kind, &*fault.message), (FaultKind::Failed, "\0"), "store-error's first case");
}

#[test]
fn a_trap_gives_the_stores_back() {
    let mut stores = stores(&[0], Read::Nothing);
    stores.put(0, b"k", Some(b"v"), 17);
    let answer = instance("traps-on-bang").call(1, b"!", &mut stores, &mut Vec::new());
    assert!(matches!(answer, Err(Fault::Guest(_))));
    assert_eq!(stores.get(0, b"k").unwrap().unwrap().value, b"v");
}

#[test]
fn a_store_that_fails_is_the_hosts_fault() {
    let (answer, stores) = read(Read::Fails, &[0]);
    assert!(matches!(&answer, Err(Fault::Host(error)) if error.to_string() == "the disk is full"), "{answer:?}");
    assert_eq!(stores.slots().count(), 1);
}

#[test]
fn a_slow_store_is_not_the_guests_time() {
    let limits = Limits { call: Duration::from_millis(100), ..Limits::default() };
    let mut instance = instance_of(load_with("reader", limits).unwrap());
    let mut stores = stores(&[0], Read::Slowly);
    stores.enter(&[0], [0].into_iter());
    let answer = instance.call(1, FRAME, &mut stores, &mut Vec::new());
    assert!(answer.is_ok(), "{answer:?}");
}

#[test]
fn a_panic_in_the_host_is_the_hosts_fault() {
    let (answer, stores) = read(Read::Panics, &[0]);
    assert!(matches!(&answer, Err(Fault::Host(error)) if error.to_string().contains("the base broke")), "{answer:?}");
    assert_eq!(stores.slots().count(), 1);
}

#[test]
fn a_component_of_too_many_instances_is_refused() {
    let instances = "(core instance (instantiate $empty))".repeat(10_000);
    let component = guests::enlarged(&format!("(core module $empty) {instances}")).unwrap();
    let error = Component::load(&ENGINE, &component, Limits::default()).err().unwrap();
    assert!(matches!(error, Error::Instances { instances: 10_001, limit: 200 }), "before it is compiled: {error}");
}

/// Components inside a component count as often as they are instantiated, which only the instance itself can tell.
#[test]
fn a_component_that_multiplies_its_instances_is_stopped_when_it_starts() {
    let twenty = "(core instance (instantiate $empty))".repeat(20);
    let twelve = "(instance (instantiate $nest))".repeat(12);
    let component = guests::enlarged(&format!("(component $nest (core module $empty) {twenty}) {twelve}")).unwrap();
    let error = Component::load(&ENGINE, &component, Limits::default()).unwrap().describe("app", "{}").unwrap_err();
    assert!(error.to_string().contains("instance"), "{error}");
}

/// Each instance has a memory and a table of its own, so that a component within its instances may still have too many.
#[test]
fn a_component_of_too_many_memories_or_tables_is_stopped_when_it_starts() {
    let described = |part: &str, count: usize| {
        let instances = "(core instance (instantiate $one))".repeat(count);
        let component = guests::enlarged(&format!("(core module $one {part}) {instances}")).unwrap();
        Component::load(&ENGINE, &component, Limits::default()).unwrap().describe("app", "{}")
    };
    // One memory is the guest's own.
    for (part, most, said) in
        [("(memory 1)", 31, "memory count too high at 33"), ("(table 1 funcref)", 64, "table count too high at 65")]
    {
        described(part, most).unwrap();
        let error = described(part, most + 1).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
}

/// A description of a mebibyte, or a byte more: spaces in front of one that is good.
#[test]
fn a_description_has_a_bound() {
    let json = r#"{"version":1,"nodes":[{"name":"in","op":"source"},{"name":"out","op":"sink","inputs":["in"]}]}"#;
    let escaped: String = json.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    let described = |bytes: usize| {
        let (at, length) = (1 << 20, json.len());
        let guest = format!(
            "(data (i32.const 512) \"{escaped}\")
            (func (export \"describe\") (param i32 i32) (result i32)
              (drop (memory.grow (i32.const 40)))
              (memory.fill (i32.const {at}) (i32.const 32) (i32.const {bytes}))
              (memory.copy (i32.const {}) (i32.const 512) (i32.const {length}))
              (call $ok (i32.const {at}) (i32.const {bytes})))
            (func (export \"process\") (param i32 i32 i32) (result i32) (call $nothing))",
            at + bytes - length
        );
        Component::load(&ENGINE, &guests::of_text(&guest).unwrap(), Limits::default()).unwrap().describe("app", "{}")
    };
    assert_eq!(described(1 << 20).unwrap().nodes.len(), 2);
    let error = described((1 << 20) + 1).unwrap_err();
    assert!(error.to_string().contains("it has 1048577 bytes, more than 1048576"), "{error}");
    assert_eq!(error.problem("x.wasm").name, "BadDescription");
}

#[test]
fn a_wasi_import_is_refused_by_name_with_the_fix() {
    let error = refusal("wants-wasi");
    assert!(
        matches!(&error, Error::ForbiddenImport { names }
            if *names == ["wasi:cli/environment@0.2.6", "wasi:sockets/tcp@0.2.6"]),
        "{error}"
    );
    let problem = error.problem("x.wasm");
    assert_eq!(problem.name, "ForbiddenImport");
    assert!(problem.fix.contains("wasm32-unknown-unknown") && problem.fix.contains("--stub-wasi"), "{}", problem.fix);
}

#[test]
fn any_other_import_is_refused_by_name() {
    let error = refusal("wants-a-file");
    assert!(matches!(&error, Error::ForbiddenImport { names } if *names == ["acme:files/read@1.0.0"]), "{error}");
}

#[test]
fn another_version_of_the_contract_is_refused_with_both_versions() {
    let error = refusal("newer-contract");
    let Error::ContractVersion { found, supported } = &error else { panic!("{error}") };
    assert_eq!((&**found, &**supported), ("millstream:plugin@0.2.0", "millstream:plugin@0.1.0"));
}

#[test]
fn an_interface_we_do_not_have_is_refused() {
    let error = refusal("unknown-interface");
    assert!(matches!(&error, Error::UnknownImport { name, .. } if name == "millstream:plugin/clock@0.1.0"), "{error}");
}

#[test]
fn what_is_no_component_is_called_by_its_name() {
    assert_eq!(refusal("core-module").to_string(), "this is not a WebAssembly component but a core module");
    let text = Component::load(&ENGINE, b"<html>", Limits::default()).err().unwrap();
    assert!(matches!(text, Error::NotAComponent { .. }), "{text}");
    let mut torn = guests::wat("quiet").unwrap();
    torn.truncate(torn.len() / 2);
    let torn = Component::load(&ENGINE, &torn, Limits::default()).err().unwrap();
    assert!(matches!(torn, Error::Invalid(_)), "{torn}");
}

#[test]
fn a_component_without_our_exports_is_refused() {
    assert_eq!(refusal("no-exports").to_string(), "the component's export \"describe\" is missing");
}

#[test]
fn a_describe_that_fails_gives_its_reason() {
    let error = refusal("fails-to-describe");
    assert_eq!(error.to_string(), "the component's describe() failed: failed: config: \"topic\" is missing");
}

#[test]
fn a_description_is_checked_before_it_is_believed() {
    let refusal = |json: &str| {
        let component = Component::load(&ENGINE, &guests::described_as(json).unwrap(), Limits::default()).unwrap();
        component.describe("app", "{}").unwrap_err()
    };
    assert!(matches!(refusal("{"), Error::Description(_)));
    assert!(
        matches!(refusal(r#"{"version":1,"nodes":[],"wings":2}"#), Error::Description(what) if what.contains("wings"))
    );
    let newer = refusal(r#"{"version":2,"nodes":{"a":1}}"#);
    assert!(matches!(newer, Error::DescriptionVersion { found: 2, supported: 1 }), "{newer}");
}

#[test]
fn a_guest_that_describes_itself_differently_does_not_start() {
    let component = load("quiet").unwrap();
    let mut planned = component.describe("app", "{}").unwrap();
    planned.nodes[1].name = "elsewhere".into();
    let owner = Owner { application: "app".into(), task: None };
    let mut instance = Instance::new(component, "{}".into(), Arc::new(planned), owner);
    let fault = guest_fault(call(&mut instance, FRAME));
    assert_eq!(fault.kind, FaultKind::Start);
    assert!(fault.message.contains("another topology"), "{}", fault.message);
}

#[test]
fn a_flood_of_log_lines_is_inert_and_thinned_out() {
    let written = Written::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(written.clone()).finish();
    tracing::subscriber::with_default(subscriber, || call(&mut instance("log-flood"), FRAME)).unwrap();
    let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    // A busy machine refills the allowance meanwhile; then a line says how many were left out.
    let (notes, lines): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.contains("suppressed"));
    assert!((1000..4000).contains(&lines.len()), "{} lines", lines.len());
    for line in lines {
        assert!(line.contains("INFO guest:") && line.contains("application=\"app\" task=0_3"), "{line}");
        assert!(line.contains("\\u{1b}[2J\\r\\nERROR millstream: all is lost"), "{line}");
    }
    assert!(notes.iter().all(|note| note.contains("WARN guest:") && note.contains("task=0_3")), "{notes:?}");
}

/// What a log wrote.
#[derive(Clone, Default)]
struct Written(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for Written {
    type Writer = Written;

    fn make_writer(&self) -> Written {
        self.clone()
    }
}
