//! Rights are taken away while the application runs, and given back.

use std::time::Duration;

use tests::broker::SecureBroker;
use tests::chaos::kills::settle;
use tests::chaos::load::Load;
use tests::chaos::words::{LMDB, STATE, Words};
use tests::http::get;
use tests::logs::{eventually, kafka, kafka_at};
use tests::millstream::Running;
use tests::rights::{EVERY, Resource, Rights};

/// Whom the broker takes the application for.
const PRINCIPAL: &str = "User:mill";

/// How long it is without a right after it has said so: what needs it is tried again meanwhile.
const WITHOUT: Duration = Duration::from_secs(2);

#[test]
fn a_right_that_is_taken_away_is_named_and_waited_for_and_nothing_is_lost() {
    if kafka().is_none() {
        return;
    }
    let broker = SecureBroker::start();
    let (log, rights) = (kafka_at(&broker.open, &[]), Rights::of(&broker.open));
    for all in [Resource::Topic(EVERY), Resource::Group(EVERY), Resource::TransactionalId(EVERY)] {
        rights.allow(PRINCIPAL, all, "All");
    }
    let words = Words::new(&log, LMDB);
    let load = Load::start(&words);
    let mut running = start(&words, &broker);
    let address = running.ready();
    let (lines, counts, changelog) = (words.topic("lines"), words.topic("counts"), words.changelog());
    let id = words.transactional_id();
    for (resource, operation, named) in [
        (Resource::Topic(&lines), "Read", format!("Read on topic {lines}")),
        (Resource::Topic(&counts), "Write", format!("Write on topic {counts}")),
        (Resource::Topic(&changelog), "Write", format!("Write on topic {changelog}")),
        (Resource::Group(&words.id), "Read", format!("Read on group {}", words.id)),
        (Resource::TransactionalId(&id), "Write", format!("Write on transactional id {id}")),
        // Not even asking for it is allowed then.
        (Resource::Topic(&lines), "All", format!("Read on topic {lines}")),
        (Resource::Topic(&counts), "All", format!("Write on topic {counts}")),
    ] {
        words.until_it_commits(&mut running, &address, &named);
        rights.deny(PRINCIPAL, resource, operation);
        let reason = eventually(&format!("that it lacks {named}"), || {
            assert!(!running.has_ended(), "without {named} it ended: {}", running.said());
            let status = words.status(&address);
            let reason = status["reason"].as_str().unwrap_or_default();
            (status["state"] == "DEGRADED" && reason.contains(&named)).then(|| reason.to_owned())
        });
        assert!(reason.contains(PRINCIPAL) && !reason.contains(&broker.text("mill.password")), "{reason}");
        std::thread::sleep(WITHOUT);
        get(&address, "/livez").is(200);
        rights.allow_again(PRINCIPAL, resource);
        words.until_it_commits(&mut running, &address, &format!("{named} was given back"));
        eventually("it says that nothing is missing", || (words.status(&address)["state"] == "RUNNING").then_some(()));
        println!("{reason}");
    }
    let fed = load.end();
    let said = words.stop(running);
    assert!(!said.contains(&broker.text("mill.password")), "{said}");
    settle(&words, fed, vec![said]);
}

/// The application with a password, under a manifest of its own: the tests come by the door that is open.
fn start(words: &Words<'_>, broker: &SecureBroker) -> Running {
    let manifest = std::fs::read_to_string(words.mill.dir().join("app.toml")).expect("the application has a manifest");
    let properties = format!(
        "\"security.protocol\" = \"sasl_ssl\"\n\"ssl.ca.location\" = \"{}\"\n\"sasl.mechanism\" = \"SCRAM-SHA-256\"\n\
         \"sasl.username\" = \"mill\"\n\"sasl.password\" = {{ file = \"{}\" }}\n",
        broker.file("ca.pem"),
        broker.file("mill.password"),
    );
    words.mill.write("secure.toml", &manifest.replace("[kafka]\n", &format!("[kafka]\n{properties}")));
    let run = ["run", "secure.toml", "--state-dir", STATE, "--http", "0", "-v"];
    words.mill.start_with(&run, |command| {
        command.env("MILLSTREAM_LOG", format!("kafka://{}", broker.sasl));
    })
}
