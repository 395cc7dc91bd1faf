#![allow(clippy::unwrap_used)]

use std::num::NonZeroI32;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// The manifest that is published as the contract, to the letter.
const CONTRACT: &str = include_str!("contract.toml");

fn parse(text: &str) -> Manifest {
    Manifest::parse(text, "app.toml").unwrap()
}

fn errors(text: &str) -> Vec<ConfigError> {
    Manifest::parse(text, "app.toml").expect_err(text)
}

/// The one error of `id = "a"` with `text` behind it: line, key, part of the message, suggestion.
#[track_caller]
fn check(text: &str, line: usize, key: &str, message: &str, suggestion: Option<&str>) {
    let errors = errors(&format!("id = \"a\"\n{text}"));
    let [error] = errors.as_slice() else { panic!("{text}: {errors:#?}") };
    assert_eq!((error.line, error.key.as_str(), error.suggestion.as_deref()), (line, key, suggestion), "{error}");
    assert!(error.message.contains(message), "{error}");
    assert_eq!(error.file, "app.toml");
}

#[test]
fn how_long_a_task_waits_is_off_or_a_duration() {
    let idle = |text: &str| parse(&format!("id = 'a'\n[task]\n{text}")).task;
    assert_eq!(parse("id = 'a'").task, Idle { max_idle: MaxIdle::For(Duration::ZERO), idle_advance: None });
    assert_eq!(idle("max_idle = 'off'").max_idle, MaxIdle::Off);
    assert_eq!(idle("max_idle = '500ms'").max_idle, MaxIdle::For(Duration::from_millis(500)));
    assert_eq!(idle("idle_advance = '30s'").idle_advance, Some(Duration::from_secs(30)));
    check("[task]\nmax_idle = -1", 3, "task.max_idle", "should be \"off\" or a duration", None);
    check("[task]\nmax_idle = 'never'", 3, "task.max_idle", "should be \"off\" or a duration", None);
    check("[task]\nmax_idle = '2h'", 3, "task.max_idle", "may be up to", None);
    check("[task]\nidle_advance = '0s'", 3, "task.idle_advance", "more than zero", None);
}

#[test]
fn the_contracts_manifest_parses_whole() {
    let manifest = parse(CONTRACT);
    assert_eq!(manifest.id, "flights");
    assert_eq!(manifest.component, "flights.wasm");
    assert_eq!(manifest.log.as_deref(), Some("kafka://localhost:9092"));
    assert_eq!(manifest.guarantee, Guarantee::ExactlyOnce);
    assert_eq!(manifest.commit_interval, Duration::from_millis(100));
    assert_eq!(manifest.threads.get(), 1);
    assert_eq!(manifest.on_error, OnError::Fail);
    assert_eq!(manifest.retry, Retry { attempts: 3, backoff: Duration::from_millis(100) });
    assert_eq!(manifest.state_dir, ".millstream/state");
    assert_eq!(manifest.kafka.properties["sasl.password"], Setting::Secret(Secret::Env("KAFKA_PASSWORD".to_owned())));
    assert_eq!(manifest.state, State { provider: Some(Provider::Memory), max_size: ByteSize::gib(1), is_sized: true });
    assert!(manifest.changelog.topics.auto_create && manifest.changelog.coalesce);
    assert_eq!(manifest.changelog.topics.replication_factor, NonZeroI32::new(3));
    assert_eq!(manifest.changelog.topics.topic_configs["min.insync.replicas"], "2");
    assert_eq!(manifest.repartition, InternalTopics::default());
    let redis = &manifest.providers["redis"];
    assert_eq!(redis.component, "redis-store.wasm");
    assert_eq!(redis.config["url"], Setting::Plain("redis://127.0.0.1:6379".to_owned()));
    let counts = &manifest.stores["user-counts"];
    assert_eq!(counts.provider, Some(Provider::Lmdb));
    let Some(StoreChangelog::On(changelog)) = &counts.changelog else { panic!("{counts:?}") };
    assert_eq!(changelog.topic.as_deref(), Some("my-custom-changelog"));
    assert_eq!(changelog.replication_factor, NonZeroI32::new(2));
    assert_eq!(changelog.topic_configs["retention.ms"], "604800000");
    assert_eq!(manifest.stores["scratch"].changelog, Some(StoreChangelog::Off));
    let orders = &manifest.sources["orders"];
    assert_eq!((orders.topic.as_deref(), orders.start), (Some("orders-v2"), Start::Earliest));
    assert_eq!(orders.on_error, Some(OnError::DeadLetter("orders-dlq".to_owned())));
    assert_eq!(manifest.sinks["totals"].topic.as_deref(), Some("order-totals"));
    assert_eq!(manifest.limits, Limits::default());
    let flights = &manifest.dev.topics["flights"];
    assert_eq!((flights.partitions.get(), flights.file.as_deref()), (4, Some("data/flights-2013-01.jsonl.gz")));
}

#[test]
fn a_provider_reaches_the_addresses_that_it_is_granted() {
    assert_eq!(parse(CONTRACT).providers["redis"].network, ["127.0.0.1:6379"]);
    let network = |list: &str| format!("[providers.map]\ncomponent='m.wasm'\nnetwork={list}");
    let granted = |list: &str| parse(&format!("id='a'\n{}", network(list))).providers["map"].network.clone();
    assert_eq!(granted("[]"), [""; 0]);
    assert_eq!(granted("['[::1]:1', 'redis.internal:65535']"), ["[::1]:1", "redis.internal:65535"]);
    for wrong in
        ["'127.0.0.1:1'", "[6379]", "['127.0.0.1']", "[':1']", "['a:0']", "['a:65536']", "['::1:1']", "['a:b']"]
    {
        check(&network(wrong), 4, "providers.map.network", "should be a list of addresses", None);
    }
    let many: Vec<String> = (1..=65).map(|port| format!("'a:{port}'")).collect();
    let message = "has 65 addresses, and may have 64";
    check(&network(&format!("[{}]", many.join(","))), 4, "providers.map.network", message, None);
}

#[test]
fn a_store_may_be_kept_by_a_provider_of_the_manifest() {
    let map = "id='a'\n[providers.map]\ncomponent='m.wasm'\nconfig={ rows='9', key={ env='KEY' } }\n";
    let manifest = parse(&format!("{map}[state]\nprovider='map'\n[stores.s]\nprovider='memory'"));
    let provider = &manifest.providers["map"];
    assert_eq!(provider.component, "m.wasm");
    assert_eq!(provider.config["rows"], Setting::Plain("9".to_owned()));
    assert_eq!(provider.config["key"], Setting::Secret(Secret::Env("KEY".to_owned())));
    assert_eq!(manifest.provider_of("t", None), Provider::Component("map".to_owned()));
    assert_eq!(manifest.provider_of("s", None), Provider::Memory);
    check("[state]\nprovider = 'mapp'\n[providers.map]\ncomponent='m.wasm'", 3, "state.provider", "map", Some("map"));
    check("[providers.map]\nconfig={}", 2, "providers.map.component", "missing", None);
    check("[providers.lmdb]\ncomponent='m.wasm'", 2, "providers.lmdb", "host's own", None);
    let bounded = "[providers.map]\ncomponent='m.wasm'\n[stores.s]\nprovider='map'\nmax_size='2GiB'";
    check("[stores.s]\ncache = '33MiB'", 3, "stores.s.cache", "at most", None);
    check(bounded, 6, "stores.s.max_size", "own config", Some("provider = \"lmdb\""));
}

#[test]
fn a_component_without_a_manifest_has_defaults() {
    let manifest = Manifest::default_for("word-count", "word-count.wasm").unwrap();
    assert_eq!(manifest, Manifest::parse("id = 'word-count'", "word-count.wasm").unwrap());
    assert_eq!(manifest.component, ".");
    let errors = Manifest::default_for("my flow\u{7f}\"", "x.wasm").unwrap_err();
    assert_eq!(errors[0].file, "x.wasm");
    assert!(Manifest::default_for("my \"flow\"", "x.wasm").unwrap_err()[0].message.contains("cannot begin a topic"));
}

#[test]
fn the_commit_interval_follows_the_guarantee() {
    let at_least_once = "id = 'a'\nguarantee = 'at-least-once'";
    assert_eq!(parse(at_least_once).commit_interval, Duration::from_secs(1));
    assert_eq!(parse(&format!("{at_least_once}\ncommit_interval = '2s'")).commit_interval, Duration::from_secs(2));
}

#[test]
fn unknown_keys_are_named_with_the_nearest_known_one() {
    check("guarante = 'exactly-once'", 2, "guarante", "not a key", Some("guarantee"));
    check("[limit]\nmemory = '1MiB'", 2, "limit", "not a key", Some("limits"));
    check("[limits]\n\nmemroy = '1MiB'", 4, "limits.memroy", "not a key", Some("memory"));
    check("retry = { atempts = 3 }", 2, "retry.atempts", "not a key", Some("attempts"));
    check("[stores.s]\nchangelog = { topik = 'x' }", 3, "stores.s.changelog.topik", "not a key", Some("topic"));
    check("[stores.s]\ncaches = '1MiB'", 3, "stores.s.caches", "not a key", Some("cache"));
    check("[repartition]\ncoalesce = true", 3, "repartition.coalesce", "not a key", None);
    check("[dev.topics.t]\npartition = 4", 3, "dev.topics.t.partition", "not a key", Some("partitions"));
    check("zzz = 1", 2, "zzz", "not a key", None);
}

#[test]
fn values_of_another_type_are_named_with_the_right_one() {
    check("threads = 'two'", 2, "threads", "a whole number", None);
    check("threads = 0", 2, "threads", "1 to", None);
    check("commit_interval = 100", 2, "commit_interval", "with its unit", None);
    check("commit_interval = '100'", 2, "commit_interval", "with its unit", None);
    check("commit_interval = '0s'", 2, "commit_interval", "more than zero", None);
    check("[limits]\nmemory = '128'", 3, "limits.memory", "with its unit", None);
    check("[limits]\nmemory = 134217728", 3, "limits.memory", "with its unit", None);
    check("[state]\nmax_size = '1GiB of it'", 3, "state.max_size", "with its unit", None);
    check("[changelog]\nauto_create = 'yes'", 3, "changelog.auto_create", "true or false", None);
    check("state = 'memory'", 2, "state", "a table", None);
    check("[stores]\ncounts = 'lmdb'", 3, "stores.counts", "a table", None);
    check("[stores.s]\nchangelog = 'off'", 3, "stores.s.changelog", "false, or a table", None);
    check("[changelog]\nreplication_factor = 99999", 3, "changelog.replication_factor", "1 to 32767", None);
    check("component = ''", 2, "component", "empty", None);
}

#[test]
fn what_may_be_asked_for_has_bounds() {
    let name = "t".repeat(250);
    check("threads = 1025", 2, "threads", "may be 1 to 1024", None);
    check("retry = { attempts = 101 }", 2, "retry.attempts", "may be 0 to 100", None);
    check("retry = { backoff = '61s' }", 2, "retry.backoff", "may be up to", None);
    check("[state]\nprovider = 'lmdb'\nmax_size = '1KiB'", 4, "state.max_size", "may be 1.0 MiB to 16.0 TiB", None);
    check("[state]\nprovider = 'lmdb'\nmax_size = '17TiB'", 4, "state.max_size", "may be 1.0 MiB to 16.0 TiB", None);
    check(&format!("[sinks.s]\ntopic = '{name}'"), 3, "sinks.s.topic", "250 bytes, 249 are allowed", None);
    parse("id = 'a'\nthreads = 1024\nretry = { attempts = 100, backoff = '60s' }");
}

#[test]
fn words_are_named_with_the_nearest_known_one() {
    check("guarantee = 'exactly_once'", 2, "guarantee", "exactly-once", Some("exactly-once"));
    check("on_error = 'dead-leter:t'", 2, "on_error", "dead-letter:TOPIC", Some("dead-letter:TOPIC"));
    check("on_error = 'dead-letter:no topic'", 2, "on_error", "no topic can be called that", None);
    check("[sources.s]\nstart = 'earlyest'", 3, "sources.s.start", "earliest", Some("earliest"));
    check("[state]\nprovider = 'lmbd'", 3, "state.provider", "memory", Some("lmdb"));
    check("log = 'redis://h:1'", 2, "log", "embedded:DIR", None);
}

#[test]
fn librdkafka_properties_that_are_ours_name_the_knob() {
    for (property, knob) in [
        ("bootstrap.servers", Some("log")),
        ("group.id", Some("id")),
        ("transactional.id", Some("id")),
        ("auto.offset.reset", Some("sources.NAME.start")),
        ("enable.auto.commit", Some("commit_interval")),
        ("isolation.level", Some("guarantee")),
        ("enable.idempotence", Some("guarantee")),
        ("group.instance.id", Some("state_dir")),
        ("partition.assignment.strategy", None),
        ("enable.partition.eof", None),
    ] {
        let message = if knob.is_some() { "set by Millstream" } else { "is fixed" };
        check(&format!("[kafka]\n\"{property}\" = 'x'"), 3, &format!("kafka.\"{property}\""), message, knob);
    }
    let hint = "in quotes: \"….password\"";
    check("[kafka]\nsasl.password = 'x'", 3, "kafka.sasl", hint, None);
    assert_eq!(parse("id = 'a'\n[kafka]\n'linger.ms' = 5").kafka.properties["linger.ms"].plain(), Some("5"));
}

#[test]
fn a_request_may_not_outlive_its_transaction() {
    let socket = "[kafka]\n'socket.timeout.ms' = 10_101";
    check(socket, 3, "kafka.\"socket.timeout.ms\"", "up to 10100", None);
    let longer = "'transaction.timeout.ms' = 10_001";
    parse(&format!("id = 'a'\n{socket}\n{longer}"));
    parse(&format!("id = 'a'\nguarantee = 'at-least-once'\n{socket}"));
    check("[kafka]\n'message.timeout.ms' = 10_001", 3, "kafka.\"message.timeout.ms\"", "up to 10000", None);
}

#[test]
fn what_cannot_go_together_is_refused() {
    check("[state]\nprovider='lmdb'\n[limits]\nkey_bytes = '2KiB'", 5, "limits.key_bytes", "1981", None);
    parse("id = 'a'\n[limits]\nkey_bytes = '2KiB'");
    check("[limits]\nvalue_bytes = '9MiB'", 3, "limits.value_bytes", "transfer", None);
    check("[limits]\nmemory = '5GiB'", 3, "limits.memory", "up to", None);
    let lmdb = Some("provider = \"lmdb\"");
    check("[stores.s]\nprovider = 'memory'\nmax_size = '2GiB'", 4, "stores.s.max_size", "in memory", lmdb);
    parse("id = 'a'\n[stores.s]\nretention = '1h'");
    check("[stores.s.changelog]\nskip_restoration = 'yes'", 3, "stores.s.changelog.skip_restoration", "true", None);
    parse("id = 'a'\n[stores.s.changelog]\nskip_restoration = true");
    let reused = "[stores.s.changelog]\nreuse_source_topic = true\ntopic = 'x'";
    check(reused, 4, "stores.s.changelog.topic", "has no effect on a source topic", None);
    parse("id = 'a'\n[stores.s.changelog]\nreuse_source_topic = false\ntopic = 'x'");
    let policy = "[changelog.topic_configs]\n'cleanup.policy' = 'delete'";
    check(policy, 3, "changelog.topic_configs.\"cleanup.policy\"", "loses the state", Some("compact"));
    let policy = "[repartition.topic_configs]\n'cleanup.policy' = 'compact,delete'";
    check(policy, 3, "repartition.topic_configs.\"cleanup.policy\"", "loses records", Some("delete"));
    let time = "[changelog.topic_configs]\n'message.timestamp.type' = 'LogAppendTime'";
    check(time, 3, "changelog.topic_configs.\"message.timestamp.type\"", "timestamps", Some("CreateTime"));
    check("[sources.a]\ntopic = 't'\n[sources.b]\ntopic = 't'", 5, "sources.b.topic", "so does \"a\"", None);
    check("[sources.a]\non_error = 'dead-letter:a'", 3, "sources.a.on_error", "round for ever", None);
    check("on_error = 'dead-letter:a'\n[sources.a]", 3, "sources.a", "round for ever", None);
}

#[test]
fn ids_and_topics_are_legal_names() {
    for (id, why) in [("a b", "' '"), ("..", "directory"), ("", "empty"), (&"x".repeat(101), "101 bytes")] {
        let errors = errors(&format!("id = \"{id}\""));
        assert_eq!((errors.len(), errors[0].line, errors[0].key.as_str()), (1, 1, "id"));
        assert!(errors[0].message.contains(why), "{}", errors[0]);
    }
    check("[sources.s]\ntopic = 'a/b'", 3, "sources.s.topic", "'/'", None);
    check("[dev.topics.'a b']", 2, "dev.topics.\"a b\"", "' '", None);
    assert_eq!(errors("\n\nthreads = 2")[0].to_string().split(": it").next(), Some("app.toml:1: id: is missing"));
}

#[test]
fn all_errors_come_at_once_in_the_order_of_lines() {
    let errors = errors("threads = 'x'\n[kafka]\n\"group.id\" = 'g'\n[limits]\nmemroy = '1MiB'\ncall = 5\n");
    let found: Vec<(usize, &str)> = errors.iter().map(|error| (error.line, error.key.as_str())).collect();
    assert_eq!(found, [(1, "id"), (1, "threads"), (3, "kafka.\"group.id\""), (5, "limits.memroy"), (6, "limits.call")]);
    let json = bad_manifest(&errors).to_json();
    assert_eq!(json["error"], "BadManifest");
    assert_eq!(json["errors"].as_array().unwrap().len(), 5);
    assert_eq!(json["errors"][3]["suggestion"], "memory");
    assert_eq!(bad_manifest(&errors).exit, 78);
}

#[test]
fn a_text_that_is_not_toml_names_its_lines() {
    let errors = errors("id = \"a\"\nthreads = \nid = \"b\"\n");
    let found: Vec<(usize, &str)> = errors.iter().map(|error| (error.line, error.key.as_str())).collect();
    assert_eq!(found, [(2, "threads"), (3, "id")]);
}

#[test]
fn names_that_the_component_does_not_have_are_refused() {
    let text = "id = 'a'\n[sources.order]\n[sinks.totals]\ntopic = 't'\n[stores.count]\nprovider = 'lmdb'";
    let named = |name| Named { name, topic: None };
    let component = Component {
        sources: vec![named("orders"), Named { name: "copy", topic: Some("orders") }],
        families: vec![],
        sinks: vec![named("totals")],
        stores: vec!["counts"],
    };
    let errors = parse(text).check_against(&component);
    let found: Vec<_> = errors.iter().map(|e| (e.line, e.key.as_str(), e.suggestion.as_deref())).collect();
    assert_eq!(
        found,
        [(1, "sources.copy", None), (2, "sources.order", Some("orders")), (5, "stores.count", Some("counts"))]
    );
}

#[test]
fn a_store_takes_the_nearest_word_for_its_provider() {
    let manifest = parse("id='a'\n[state]\nprovider='lmdb'\nmax_size='2GiB'\n[stores.s]\nmax_size='3GiB'");
    assert_eq!(manifest.provider_of("s", None), Provider::Lmdb);
    assert_eq!(manifest.provider_of("s", Some(Provider::Memory)), Provider::Memory);
    assert_eq!(manifest.state_bytes_max(["s", "t"]), ByteSize::gib(3));
    assert_eq!(manifest.state_bytes_max(["t"]), ByteSize::gib(2));
}

#[test]
fn secrets_are_not_shown() {
    let manifest = parse("id='a'\n[kafka]\n'sasl.password'='hunter2'\n'linger.ms'=5\n'x'={ file='/s' }");
    let shown: Vec<_> = manifest.kafka.shown().into_iter().collect();
    assert_eq!(shown, [("linger.ms", "5"), ("sasl.password", "***"), ("x", "***")]);
    assert!(!format!("{manifest:?}").contains("hunter2"));
}

#[test]
fn every_limit_has_a_reason() {
    let rows = parse("id='a'\n[limits]\ncall='7s'").limits.rows();
    let call = rows.iter().find(|row| row.name == "call").unwrap();
    assert_eq!((call.value.as_str(), call.default.as_str()), ("7s", "5s"));
    // Each name is a key that the manifest takes, with the value it shows.
    for row in &rows {
        let quoted = if row.value.parse::<u32>().is_ok() { row.value.clone() } else { format!("\"{}\"", row.value) };
        parse(&format!("id='a'\n[limits]\n{} = {quoted}", row.name));
        assert!(!row.reason.is_empty());
    }
}

proptest! {
    /// Whatever a manifest is turned into, reading it answers.
    #[test]
    fn nothing_panics(cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), ".{0,6}"), 0..6)) {
        let mut text = CONTRACT.to_owned();
        for (at, end, with) in cuts {
            let places: Vec<usize> = text.char_indices().map(|(place, _)| place).collect();
            let at = at.index(places.len().max(1));
            let end = (at + end.index(12)).min(places.len());
            let place = |index: usize| places.get(index).copied().unwrap_or(text.len());
            text.replace_range(place(at)..place(end), &with);
        }
        if let Err(errors) = Manifest::parse(&text, "app.toml") {
            prop_assert!(!errors.is_empty());
            prop_assert!(errors.iter().all(|error| (1..=text.lines().count().max(1) + 1).contains(&error.line)));
            bad_manifest(&errors).to_json();
        }
    }

    #[test]
    fn no_text_panics(text in "[\\[\\]{}=.,'\"a-z0-9\\n ]{0,80}") {
        let _ = Manifest::parse(&text, "app.toml");
    }
}
