//! Attacks that come by HTTP while the neighbour is fed: components that are no use to anybody, put in its own place,
//! and strangers at the door. Each is answered by a verdict, and the neighbour goes on as it was.

use std::io::Write;
use std::net::TcpStream;

use serde_json::Value;
use tests::chance::Chance;
use tests::guests::{self, bomb, enlarged};
use tests::http::{get, put, request};

use super::DEFAULT;
use super::neighbour::{Street, half_rate};

/// Where the neighbour's component is put.
const COMPONENT: &str = "/v1/apps/neighbour/component";

/// Runs an attack on this address while the neighbour is fed. It is the same as before afterwards.
fn attack(id: &'static str, attack: impl FnOnce(&str) + Send) {
    let rate = half_rate();
    let mut street = Street::new();
    street.start(&["neighbour"]);
    let digest = street.status("neighbour")["component"]["digest"].clone();
    let address = street.address().to_owned();
    std::thread::scope(|scope| {
        let attacking = scope.spawn(move || attack(&address));
        super::Attack { id, guest: "a request", ..DEFAULT }.tell(&street.feed(rate));
        attacking.join().expect("every request has its required outcome");
    });
    let status = street.status("neighbour");
    assert_eq!((&status["state"], &status["component"]["digest"]), (&"RUNNING".into(), &digest), "{id}: {status}");
    street.stop().ok();
}

/// Puts a component in the neighbour's place, which is refused by this error; the whole answer.
#[track_caller]
fn refused(address: &str, component: &[u8], error: &str) -> Value {
    let problem = put(address, COMPONENT, component).is(422).json();
    assert_eq!(problem["error"], error, "{problem}");
    problem
}

#[test]
fn t4_components_of_too_many_parts() {
    attack("T4", |address| {
        let many = |part: &str, count| part.repeat(count);
        let instances = many("(core instance (instantiate $empty))", 10_000);
        let parts = enlarged(&format!("(core module $empty) {instances}")).unwrap();
        let problem = put(address, COMPONENT, &parts).is(409).json();
        assert_eq!(
            (&problem["error"], &problem["limits_key"]),
            (&"SwapRefused".into(), &"instances".into()),
            "{problem}"
        );
        assert!(
            problem["why"].as_str().unwrap_or_default().contains("10001 core instances, more than the 200"),
            "{problem}"
        );
        // Components inside components, and what its instances have, are counted as it starts.
        let twenty = many("(core instance (instantiate $empty))", 20);
        let twelve = many("(instance (instantiate $nest))", 12);
        let nested = format!("(component $nest (core module $empty) {twenty}) {twelve}");
        let memories = format!("(core module $one (memory 1)) {}", many("(core instance (instantiate $one))", 40));
        let tables = format!("(core module $one (table 1 funcref)) {}", many("(core instance (instantiate $one))", 70));
        for (parts, counted) in [(nested, "instance"), (memories, "memory"), (tables, "table")] {
            let problem = refused(address, &enlarged(&parts).unwrap(), "DescribeFailed");
            assert!(problem["message"].as_str().unwrap_or_default().contains(counted), "{problem}");
        }
    });
}

/// T15 and T16: what is not given cannot be called, and it is refused by its name before it runs.
#[test]
fn t15_t16_components_that_want_files_sockets_or_clocks() {
    let importing = |name: &str| wat::parse_str(format!("(component (import \"{name}\" (instance)))")).unwrap();
    attack("T15", |address| {
        for import in [
            "wasi:cli/environment@0.2.6",
            "wasi:filesystem/preopens@0.2.6",
            "wasi:filesystem/types@0.2.6",
            "wasi:sockets/tcp@0.2.6",
            "wasi:sockets/udp@0.2.6",
            "wasi:sockets/ip-name-lookup@0.2.6",
            "wasi:http/outgoing-handler@0.2.6",
            "wasi:random/random@0.2.6",
            "wasi:clocks/monotonic-clock@0.2.6",
            "wasi:clocks/wall-clock@0.2.6",
            "wasi:io/poll@0.2.6",
            "acme:files/read@1.0.0",
        ] {
            let problem = refused(address, &importing(import), "ForbiddenImport");
            assert_eq!(problem["imports"], serde_json::json!([import]), "{problem}");
        }
        refused(address, &guests::wat("unknown-interface").unwrap(), "UnknownImport");
    });
}

/// Components with some bytes changed.
const MUTATED: usize = 60;

#[test]
fn t18_a_bomb_for_the_compiler_and_damaged_components() {
    attack("T18", |address| {
        let bomb = bomb(40, 600).unwrap();
        let (address, chance) = (&address, &mut Chance::new());
        std::thread::scope(|scope| {
            // Compiled, and then not what the neighbour could be replaced by; or given up.
            let exploding = scope.spawn(move || put(address, COMPONENT, &bomb).json());
            let seeds = ["quiet", "handle-flood", "traps-on-bang", "canary"].map(|name| guests::wat(name).unwrap());
            for _ in 0..MUTATED {
                let mut bytes = seeds[chance.below(4) as usize].clone();
                for _ in 0..=chance.below(3) {
                    let at = chance.below(bytes.len() as u64) as usize;
                    bytes[at] = chance.below(256) as u8;
                }
                let answer = put(address, COMPONENT, &bytes);
                assert!([409, 422].contains(&answer.status), "{answer:?}");
                assert!(answer.json()["code"].is_string());
            }
            let verdict = exploding.join().expect("the bomb has a verdict");
            println!("T18  the bomb: {}", verdict["message"]);
            assert!(verdict["code"].is_string(), "{verdict}");
        });
        refused(address, b"<html>", "NotAComponent");
    });
}

/// Rounds of everything that a stranger may try.
const ROUNDS: usize = 50;
/// Connections that say nothing.
const SILENT: usize = 100;

#[test]
fn t26_strangers_at_the_door() {
    attack("T26", |address| {
        let silent: Vec<TcpStream> =
            (0..SILENT).map(|_| TcpStream::connect(address).expect("the address answers")).collect();
        let (ours, evil) = (("host", address), ("origin", "https://evil.example"));
        for _ in 0..ROUNDS {
            for (method, path, headers, status) in [
                ("GET", "/v1/apps", [ours, evil], 403),
                ("GET", "/v1/apps/neighbour/status", [("host", "evil.example"), ("accept", "*/*")], 403),
                ("PUT", COMPONENT, [ours, evil], 403),
                ("POST", "/v1/apps/neighbour/pause", [ours, evil], 403),
                ("POST", "/v1/apps/neighbour/resume", [ours, evil], 403),
                ("DELETE", "/v1/apps/neighbour/component", [ours, ("accept", "*/*")], 405),
                ("GET", "/v1/apps/..%2f..%2f..%2fetc/status", [ours, ("accept", "*/*")], 404),
                ("GET", "/v1/apps/nobody/stores", [ours, ("accept", "*/*")], 404),
            ] {
                let answer = request(address, method, path, &headers);
                assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
            }
            // A head without an end: whether it is answered or cut off, it costs no more than itself.
            let mut endless = TcpStream::connect(address).expect("the address answers");
            let _ = endless.write_all(format!("GET / HTTP/1.1\r\nhost: {address}\r\nx: ").as_bytes());
            let _ = endless.write_all(&vec![b'x'; 1 << 20]);
            get(address, "/livez").is(200);
        }
        drop(silent);
    });
}
