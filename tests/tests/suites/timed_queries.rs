//! Windows, sessions and versions asked for by HTTP and by the command line, while the application runs and when it does
//! not, on each log.

use rustix::process::Signal;
use tests::http::get;
use tests::logs::{each_log, eventually};
use tests::providers;
use tests::timed::{MINUTE, Timed};

const USAGE: i32 = 2;
const FAILED: i32 = 1;

const SECOND: i64 = 1_000;

/// Keys of two partitions, and of one of them two windows and two sessions.
fn filled(timed: &Timed<'_>) {
    timed.process(&[(0, "a", "x", 0), (1, "b", "z", 5 * SECOND), (0, "a", "y", MINUTE)]);
}

/// Looks at a filled application that runs, at this address, and again when it does not; in memory, in LMDB and in a
/// provider's component.
fn each_kept(running: impl Fn(&Timed<'_>, &str), stopped: impl Fn(&Timed<'_>)) {
    let map = providers::file("plugins/map-store").expect("the provider builds");
    let component = format!("[providers.map]\ncomponent = {map:?}\n[state]\nprovider = \"map\"");
    each_log(|log| {
        for keys in ["", "[state]\nprovider = \"lmdb\"", &component] {
            let timed = Timed::on(log, keys);
            filled(&timed);
            let mut process = timed.mill.start(&["run", ".", "--http", "127.0.0.1:0"]);
            running(&timed, &process.ready());
            process.signal(Signal::TERM);
            process.finish().ok();
            stopped(&timed);
        }
    });
}

#[test]
fn windows_sessions_and_versions_are_asked_for_by_http() {
    let ask = |timed: &Timed<'_>, address: &str| {
        let (then, later) = (timed.then, timed.then + MINUTE);
        let path = |rest: &str| format!("/v1/apps/{}/stores/{rest}", timed.id);
        let one = |rest: String| timed.shown(&[get(address, &path(&rest)).is(200).json()]).concat();
        let refused = |rest: String, status: u16| {
            let answer = get(address, &path(&rest)).is(status);
            answer.json()["code"].as_str().unwrap().to_owned()
        };
        // Every page by itself.
        let list = |rest: String| {
            let (mut entries, mut cursor) = (Vec::new(), String::new());
            loop {
                let sign = if rest.contains('?') { '&' } else { '?' };
                let page = get(address, &path(&format!("{rest}{sign}limit=1{cursor}"))).is(200).json();
                entries.extend(page["entries"].as_array().unwrap().clone());
                match page["next"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => return timed.shown(&entries).join(", "),
                }
            }
        };
        // A page's end, and what is none: of another store, of another key, and cut short.
        let first = get(address, &path("windows/windows?limit=1")).is(200).json();
        let next = first["next"].as_str().unwrap().to_owned();
        assert_eq!(refused(format!("sessions/sessions?cursor={next}"), 400), "E0605");
        assert_eq!(refused(format!("versions/entries?to=A&cursor={next}"), 400), "E0605");
        assert_eq!(refused(format!("windows/windows/b?cursor={next}"), 400), "E0605");
        assert_eq!(refused(format!("windows/windows?cursor={}", &next[..next.len() - 4]), 400), "E0605");
        let task = next.split('.').next().unwrap();
        assert_eq!(refused(format!("windows/windows?cursor={task}."), 400), "E0605");
        assert_eq!(one(format!("windows/windows/a/{later}")), "a 60 120=1");
        assert_eq!(refused(format!("windows/windows/a/{}", then + 1), 404), "E0603");
        assert_eq!(list("windows/windows".to_owned()), "a 0 60=1, a 60 120=1, b 0 60=1");
        assert_eq!(list("windows/windows?reverse".to_owned()), "b 0 60=1, a 60 120=1, a 0 60=1");
        assert_eq!(list(format!("windows/windows?from={then}&to={then}")), "a 0 60=1, b 0 60=1");
        assert_eq!(list(format!("windows/windows/a?from={later}")), "a 60 120=1");
        assert_eq!(list(format!("windows/entries?from=a&to=a&from-time={then}&to-time={then}")), "a 0 60=1");
        assert_eq!(one(format!("sessions/sessions/a/{later}/{later}")), "a 60 60=1");
        assert_eq!(refused(format!("sessions/sessions/a/{then}/{later}"), 404), "E0603");
        assert_eq!(list("sessions/sessions".to_owned()), "a 0 0=1, a 60 60=1, b 5 5=1");
        assert_eq!(list(format!("sessions/sessions/a?from={}", then + 1)), "a 60 60=1");
        assert_eq!(list(format!("sessions/sessions?to={then}")), "a 0 0=1");
        assert_eq!(one(format!("versions/entries/a?as-of={}", later - 1)), "a=\"x\"");
        assert_eq!(one("versions/entries/a".to_owned()), "a=\"y\"");
        assert_eq!(refused(format!("versions/entries/a?as-of={}", then - 1), 404), "E0603");
        assert_eq!(refused("windows/entries/a".to_owned(), 400), "E0231");
        assert_eq!(refused(format!("sessions/windows/a/{then}"), 400), "E0231");
    };
    each_kept(ask, |_| {});
}

#[test]
fn windows_sessions_and_versions_are_asked_for_by_the_command_line() {
    // When nobody runs the changelogs tell of what is in memory.
    each_kept(|timed, _| ask(timed), ask);
}

fn ask(timed: &Timed<'_>) {
    let (then, later) = (timed.then.to_string(), (timed.then + MINUTE).to_string());
    let run = |verb, args: &[&str]| {
        timed.mill.run(&[&["store", verb, "."], args, &["-o", "jsonl", "--error-format", "json"]].concat())
    };
    let one = |args: &[&str]| {
        let get = || Some(run("get", args)).filter(|output| output.code == Some(0));
        timed.shown(&eventually("an answer", get).jsonl()).concat()
    };
    let list = |args: &[&str]| timed.shown(&run("scan", args).ok().jsonl()).join(", ");
    assert_eq!(one(&["windows", "a", "--start", &later]), "a 60 120=1");
    assert_eq!(one(&["sessions", "a", "--start", &later, "--end", &later]), "a 60 60=1");
    assert_eq!(one(&["versions", "a", "--as-of", &then]), "a=\"x\"");
    assert_eq!(list(&["windows"]), "a 0 60=1, a 60 120=1, b 0 60=1");
    assert_eq!(list(&["windows", "--from-time", &then, "--to-time", &then]), "a 0 60=1, b 0 60=1");
    assert_eq!(list(&["windows", "--reverse", "--limit", "2"]), "b 0 60=1, a 60 120=1");
    assert_eq!(list(&["sessions", "--from-time", &later]), "a 60 60=1");
    assert_eq!(run("get", &["windows", "a", "--start", "7"]).fails(FAILED).problem()["code"], "E0603");
    assert_eq!(run("get", &["windows", "a"]).fails(USAGE).problem()["code"], "E0231");
}
