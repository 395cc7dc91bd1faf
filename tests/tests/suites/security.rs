//! TLS, passwords and rights on a real Kafka, as host/docs/security.md has them: the page is followed, and what goes
//! wrong on its way is told by name, in seconds, without a secret.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use millstream::wasm::{Compiler, Engine};
use millstream_engine::config::Limits;
use tests::broker::SecureBroker;
use tests::guests;
use tests::logs::{TestLog, kafka, kafka_at, new_topic};
use tests::millstream::{Millstream, Output, binary};
use tests::rights::{Resource, Rights};
use tests::source::text;

/// A refusal comes within it. Ours wait ten seconds for a broker that says nothing.
const TOLD: Duration = Duration::from_secs(30);

const BAD_PLAN: i32 = 78;
const UNREACHABLE: i32 = 69;
const FAILED: i32 = 1;

/// One for all tests that run at a time; the last one stops it.
fn secure() -> Option<Arc<SecureBroker>> {
    static SHARED: Mutex<Weak<SecureBroker>> = Mutex::new(Weak::new());
    kafka()?;
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let broker = shared.upgrade().unwrap_or_else(|| Arc::new(SecureBroker::start()));
    *shared = Arc::downgrade(&broker);
    Some(broker)
}

/// The page's blocks of a language, under names of one's own: tests share a broker.
fn blocks(language: &str, own: &str) -> Vec<String> {
    let page = text(Path::new("host/docs/security.md")).unwrap().unwrap();
    let begin = format!("```{language}\n");
    let blocks = page.split(begin.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.map(|block| named(block, own)).collect()
}

fn named(text: &str, own: &str) -> String {
    ["words", "lines", "counts"].iter().fold(text.to_owned(), |text, name| text.replace(name, &format!("{name}{own}")))
}

/// `[kafka]` of the page, for who has a certificate and for who has a password.
fn certificates() -> String {
    blocks("toml", "").remove(1)
}

fn password() -> String {
    blocks("toml", "").remove(2)
}

/// A directory as the page has it, with an application under names of its own.
struct Follower {
    mill: Millstream,
    own: &'static str,
    door: String,
    broker: Arc<SecureBroker>,
    /// By the door that is open.
    log: TestLog,
}

impl Follower {
    /// `door` is where the application goes, `kafka` how.
    fn new(broker: &Arc<SecureBroker>, own: &'static str, door: &str, kafka: &str) -> Follower {
        let mill = Millstream::new(format!("kafka://{door}"));
        let engine = Engine::new(Limits::default().stack, Compiler::in_process()).unwrap();
        let component = guests::plugin(&engine, "plugins/word-count").unwrap();
        std::fs::copy(component, mill.dir().join(format!("words{own}.wasm"))).unwrap();
        for (dir, file) in
            [("certs", "ca.pem"), ("certs", "mill.pem"), ("certs", "mill.key"), ("certs", "stranger.pem")]
        {
            std::fs::create_dir_all(mill.dir().join(dir)).unwrap();
            std::fs::copy(broker.file(file), mill.dir().join(dir).join(file)).unwrap();
        }
        std::fs::create_dir_all(mill.dir().join("secrets")).unwrap();
        std::fs::copy(broker.file("mill.password"), mill.dir().join("secrets/password")).unwrap();
        let sources = blocks("toml", own).remove(0).replace("[sources.", "\n[sources.");
        // The component's own names are those of the page.
        let sources = sources.replace(&format!("[sources.lines{own}]"), "[sources.lines]");
        let sources = sources.replace(&format!("[sinks.counts{own}]"), "[sinks.counts]");
        mill.write("app.toml", &format!("{sources}\n{kafka}"));
        let log = kafka_at(&broker.open, &[]);
        Follower { mill, own, door: door.to_owned(), broker: broker.clone(), log }
    }

    fn create_topics(&self) {
        for topic in ["lines", "counts"] {
            self.log.log.create(&new_topic(&format!("{topic}{}", self.own), 2)).unwrap();
        }
    }

    /// Gives a principal what the page says, and nothing else.
    fn give_rights(&self, principal: &str) {
        let rights = Rights::of(&self.broker.open);
        let page = text(Path::new("host/docs/security.md")).unwrap().unwrap();
        let rows = page.lines().filter(|line| line.contains("| literal |") || line.contains("| prefixed |"));
        let mut given = 0;
        for row in rows {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let name = named(cells[2], self.own);
            let resource = match cells[1] {
                "topic" => Resource::Topic(&name),
                "group" => Resource::Group(&name),
                "transactional id" => Resource::TransactionalId(&name),
                other => panic!("{other}"),
            };
            for operation in cells[4].split(", ") {
                match cells[3] {
                    "literal" => rights.allow(principal, resource, operation),
                    _ => rights.allow_prefixed(principal, resource, operation),
                }
                given += 1;
            }
        }
        assert_eq!(given, 13, "the page has a table");
    }

    /// The page's commands, with everything that the program can say about itself.
    fn follow(&self) -> String {
        let commands: String = blocks("bash", self.own).concat();
        let path = format!("{}:{}", binary().parent().unwrap().display(), std::env::var("PATH").unwrap());
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", &commands]).current_dir(self.mill.dir()).env("PATH", path);
        bash.env("MILLSTREAM_LOG", format!("kafka://{}", self.door)).env("RUST_LOG", "trace");
        self.give_secrets(&mut bash);
        let ended = bash.output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
        self.check_secrets(&out);
        self.check_secrets(&err);
        let plain: Vec<&str> = err.lines().filter(|line| !line.contains("TRACE") && !line.contains("DEBUG")).collect();
        assert!(ended.status.success(), "{commands}\n{out}\n{}", plain.join("\n"));
        out.into_owned()
    }

    fn give_secrets(&self, command: &mut Command) {
        command.env("KEY_PASSWORD", self.broker.text("key.password"));
        command.env("MILL_PASSWORD", self.broker.text("mill.password"));
    }

    fn run(&self, args: &[&str]) -> Output {
        let args = [args, &["--error-format", "json"]].concat();
        self.mill.start_with(&args, |command| self.give_secrets(command)).finish()
    }

    #[track_caller]
    fn check_secrets(&self, said: &str) {
        let key = self.broker.text("mill.key");
        let key = key.lines().nth(1).unwrap();
        for secret in [&self.broker.text("mill.password"), &self.broker.text("key.password"), key, WRONG] {
            assert!(!said.contains(secret), "it says a secret: {said}");
        }
    }
}

/// A password that is not right is still one.
const WRONG: &str = "s3cr3t-but-wr0ng";

#[track_caller]
fn check_counts(out: &str) {
    let counts = |word: &str| out.lines().filter(|line| line.contains(&format!("\"key\":\"{word}\""))).count();
    assert_eq!((counts("the"), counts("mill"), counts("turns")), (2, 2, 1), "{out}");
}

#[test]
fn the_page_is_followed_with_certificates() {
    let Some(broker) = secure() else { return };
    let follower = Follower::new(&broker, "-tls", &broker.tls, &certificates());
    follower.create_topics();
    follower.give_rights("User:CN=mill");
    check_counts(&follower.follow());
}

#[test]
fn the_page_is_followed_with_a_password_by_each_mechanism() {
    let Some(broker) = secure() else { return };
    let by_file = r#"{ file = "secrets/password" }"#;
    for (own, mechanism, secret) in [
        ("-scram512", "SCRAM-SHA-512", by_file),
        ("-scram256", "SCRAM-SHA-256", r#"{ env = "MILL_PASSWORD" }"#),
        ("-plain", "PLAIN", by_file),
    ] {
        let kafka = password().replace("SCRAM-SHA-512", mechanism).replace(by_file, secret);
        let follower = Follower::new(&broker, own, &broker.sasl, &kafka);
        follower.create_topics();
        follower.give_rights("User:mill");
        check_counts(&follower.follow());
    }
}

#[test]
fn who_is_not_let_in_is_told_why_in_seconds_and_without_a_secret() {
    let Some(broker) = secure() else { return };
    let (tls, sasl) = (broker.tls.clone(), broker.sasl.clone());
    let own_certificate = "\"ssl.certificate.pem\" = { file = \"certs/mill.pem\" }\n";
    let own_key =
        "\"ssl.key.pem\" = { file = \"certs/mill.key\" }\n\"ssl.key.password\" = { env = \"KEY_PASSWORD\" }\n";
    let password_file = "{ file = \"secrets/password\" }";
    for (door, kafka, code, name) in [
        (&sasl, password().replace(password_file, &format!("\"{WRONG}\"")), FAILED, "AuthenticationFailed"),
        (&sasl, password().replace("\"mill\"", "\"nobody\""), FAILED, "AuthenticationFailed"),
        (&sasl, password().replace("ca.pem\" }", "stranger.pem\" }"), FAILED, "TlsFailed"),
        (&tls, certificates().replace("ca.pem\" }", "stranger.pem\" }"), FAILED, "TlsFailed"),
        (&tls, certificates().replace(own_certificate, "").replace(own_key, ""), FAILED, "TlsFailed"),
        (
            &tls,
            certificates().replace("{ env = \"KEY_PASSWORD\" }", &format!("\"{WRONG}\"")),
            BAD_PLAN,
            "BadKafkaProperty",
        ),
        (&tls, certificates() + "\"ssl.ca.location\" = \"nowhere.pem\"\n", BAD_PLAN, "BadKafkaProperty"),
        (&sasl, password().replace("SCRAM-SHA-512", "SCRAM-SHA-1024"), BAD_PLAN, "BadKafkaProperty"),
        (&sasl, password().replace("secrets/password", "nowhere"), BAD_PLAN, "SecretNotFound"),
        (&sasl, password().replace("sasl_ssl", "plaintext"), UNREACHABLE, "LogUnreachable"),
        // Let in, without any right.
        (&sasl, password(), FAILED, "NotAuthorized"),
    ] {
        let follower = Follower::new(&broker, "-nobody", door, &kafka);
        let topic = "lines-nobody";
        if name == "NotAuthorized" {
            follower.create_topics();
        }
        for args in [&["run", "."][..], &["produce", topic]] {
            let since = Instant::now();
            let ended = follower.run(args);
            follower.check_secrets(&ended.stdout);
            follower.check_secrets(&ended.stderr);
            let problem = ended.fails(code).problem();
            assert_eq!(problem["error"], name, "{args:?}: {problem}\n{kafka}");
            assert!(since.elapsed() < TOLD, "{args:?}: {problem} came after {:?}", since.elapsed());
            println!("{} {args:?} after {:?}: {}", problem["code"], since.elapsed(), problem["message"]);
            if name == "NotAuthorized" {
                let message = problem["message"].as_str().unwrap();
                assert!(message.contains("User:mill") && message.contains("-nobody"), "{message}");
            }
        }
    }
}

#[test]
fn what_is_in_memory_is_not_shown_either() {
    let kafka = [("sasl.password".to_owned(), WRONG.to_owned())].into();
    let options = millstream::log::Options { kafka, ..Default::default() };
    let shown = format!("{options:?}");
    assert!(shown.contains("sasl.password") && !shown.contains(WRONG), "{shown}");
}
