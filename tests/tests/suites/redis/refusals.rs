//! What a start refuses by name, and where it says so.

use tests::application::{Application, Input};
use tests::logs::{TestLog, each_log};
use tests::redis::Redis;

fn refused(log: &TestLog, redis: &Redis, config: &str) -> String {
    let manifest = redis.manifest(config);
    let words = Application::new(log, "plugins/word-count", &manifest, &[("lines", 1), ("counts", 1)]);
    let problem = words.run_to_failure();
    assert_eq!((problem.name, problem.code), ("ProviderRefused", "E0807"), "{problem}");
    problem.message
}

#[test]
fn a_wrong_password_and_a_missing_one_stop_the_application_by_name() {
    each_log(|log| {
        let redis = Redis::with("requirepass a-secret\n");
        for (config, words) in [("", "NOAUTH"), (", password = \"another\"", "WRONGPASS")] {
            let message = refused(log, &redis, config);
            assert!(message.contains("redis") && message.contains(words) && !message.contains("another"), "{message}");
        }
    });
}

#[test]
fn a_server_that_throws_keys_away_when_it_is_full_is_refused() {
    each_log(|log| {
        for policy in ["allkeys-lru", "volatile-ttl"] {
            let message = refused(log, &Redis::with(&format!("maxmemory-policy {policy}\n")), "");
            assert!(message.contains(policy) && message.contains("maxmemory-policy noeviction"), "{message}");
        }
    });
}

#[test]
fn a_setting_that_cannot_be_honoured_is_refused() {
    each_log(|log| {
        let redis = Redis::start();
        for (config, words) in [(", ttl = \"1h\"", "ttl"), (", timeout_ms = \"0\"", "timeout_ms")] {
            let message = refused(log, &redis, config);
            assert!(message.contains(words), "{message}");
        }
    });
}

/// The server listens on one of the addresses that the name may mean.
#[test]
fn a_server_is_found_by_the_name_that_is_granted() {
    each_log(|log| {
        let redis = Redis::start();
        let named = redis.manifest("").replace("127.0.0.1", "localhost");
        let words = Application::new(log, "plugins/word-count", &named, &[("lines", 1), ("counts", 1)]);
        words.produce(&[Input::at(0, "lines").value("the mill turns")]);
        words.run_to_end();
        assert_eq!(words.read("counts").len(), 3);
        assert!(redis.ask(&["DBSIZE"]).trim() != "0");
    });
}

#[test]
fn a_name_that_is_not_granted_stops_the_application_with_the_grant_that_is_missing() {
    each_log(|log| {
        let redis = Redis::start();
        let (granted, other) = (redis.address().to_string(), "redis.example:6379");
        let manifest = redis.manifest("").replace(&redis.url(), &format!("redis://{other}"));
        assert!(manifest.contains(&granted));
        let words = Application::new(log, "plugins/word-count", &manifest, &[("lines", 1), ("counts", 1)]);
        let problem = words.run_to_failure();
        assert_eq!((problem.name, problem.code), ("ProviderRefused", "E0807"), "{problem}");
        assert!(problem.message.contains(&format!("network = [\"{other}\"]")), "{problem}");
    });
}
