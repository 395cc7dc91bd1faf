//! librdkafka's properties: what the manifest may set, what is ours, and what each kind of client starts from.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream_engine::changelog::hash128;
use millstream_engine::config::{HIDDEN, refused_property};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::log::{Error, Guarantee, Isolation, Result, Subscription};

/// Under every kind of client, overridden by the manifest.
const DEFAULTS: &[(&str, &str)] = &[
    // Not above transaction.timeout.ms, or a request could outlive its transaction.
    ("socket.timeout.ms", TRANSACTION_TIMEOUT_MS),
    // A stalled member holds back the readers of committed records, and its successor, only that long.
    ("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS),
    // The default second of pause at a full queue would show as gaps in the stream.
    ("fetch.queue.backoff.ms", "20"),
    // Per partition: what is fetched ahead of a task that restores or is full stays small.
    ("queued.min.messages", "20000"),
    ("queued.max.messages.kbytes", "8192"),
    // Records published ahead of a commit go out in larger requests; a flush does not wait for it.
    ("linger.ms", "20"),
    // A broker that comes back is found soon.
    ("reconnect.backoff.max.ms", "1000"),
];

const TRANSACTION_TIMEOUT_MS: &str = "10000";

/// librdkafka refuses a socket timeout further above the transaction timeout than this, ms.
const SOCKET_TIMEOUT_SLACK_MS: u64 = 100;

/// Of the plan's hash in `client.id`: enough to tell plans apart.
const PLAN_HASH_CHARS: usize = 12;

/// The properties of one log, checked.
#[derive(Clone)]
pub struct Properties {
    base: ClientConfig,
    client_id: String,
}

impl std::fmt::Debug for Properties {
    /// Without values, which may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Properties").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

impl Properties {
    /// Takes the brokers of the URL and the manifest's `[kafka]`. All errors at once.
    pub fn new(brokers: &str, user: &BTreeMap<String, String>) -> Result<Properties> {
        let wrong: Vec<String> = user.iter().filter_map(|(key, value)| refusal(key, value)).collect();
        if !wrong.is_empty() {
            return Err(Error::BadProperty(wrong.join("; ")));
        }
        let mut base = ClientConfig::new();
        base.set_log_level(RDKafkaLogLevel::Info);
        base.set("bootstrap.servers", brokers);
        for (key, value) in DEFAULTS {
            base.set(*key, *value);
        }
        for (key, value) in user.iter().filter(|(key, _)| *key != "client.id") {
            base.set(key, value);
        }
        check_timeouts(&base)?;
        let client_id = user.get("client.id").cloned().unwrap_or_else(|| "millstream".to_owned());
        Ok(Properties { base, client_id })
    }

    /// Who the brokers take this client for, as far as its properties tell: a user of SASL's. The name in a certificate
    /// the brokers make of it themselves.
    pub fn principal(&self) -> Option<String> {
        let is_sasl = self.base.get("security.protocol").is_some_and(|way| way.to_lowercase().starts_with("sasl"));
        self.base.get("sasl.username").filter(|_| is_sasl).map(|user| format!("User:{user}"))
    }

    /// A consumer without a group: metadata, offsets, records.
    pub fn reader(&self, isolation: Isolation) -> ClientConfig {
        let mut config = self.named(&self.client_id);
        consuming(&mut config, isolation);
        config
    }

    /// A consumer that only looks at a group's offsets.
    pub fn group(&self, application: &str) -> ClientConfig {
        let mut config = self.reader(Isolation::Committed);
        config.set("group.id", application);
        config
    }

    /// A stream thread's group member.
    pub fn member(&self, subscription: &Subscription) -> ClientConfig {
        let mut config = self.named(&self.client_id_of(subscription));
        consuming(&mut config, Isolation::Committed);
        config.set("group.id", &subscription.application);
        config.set("group.instance.id", instance_id(subscription));
        config.set("partition.assignment.strategy", "cooperative-sticky");
        config
    }

    /// A stream thread's producer.
    pub fn producer(&self, subscription: &Subscription) -> ClientConfig {
        let mut config = self.named(&self.client_id_of(subscription));
        producing(&mut config);
        if subscription.guarantee == Guarantee::ExactlyOnce {
            config.set("transactional.id", format!("{}-{}", subscription.application, static_id(subscription)));
        }
        config
    }

    /// A producer outside any application.
    pub fn writer(&self) -> ClientConfig {
        let mut config = self.named(&self.client_id);
        producing(&mut config);
        config
    }

    /// After this the coordinator aborts an open transaction.
    pub fn transaction_timeout(&self) -> Duration {
        Duration::from_millis(millis(&self.base, "transaction.timeout.ms"))
    }

    /// After this the coordinator takes a member that it has not heard for dead.
    pub fn session_timeout(&self) -> Duration {
        let told = self.base.get("session.timeout.ms").and_then(|value| value.parse().ok());
        told.map_or(SESSION_TIMEOUT, Duration::from_millis)
    }

    /// Prefix, address, member and plan: the coordinator lists it, so that members can compare their plans, and be found.
    fn client_id_of(&self, subscription: &Subscription) -> String {
        let address = subscription.address.as_deref().map(address_part).unwrap_or_default();
        format!("{}{address}-{}-{}", self.client_id, static_id(subscription), short_plan(&subscription.plan_hash))
    }

    fn named(&self, client_id: &str) -> ClientConfig {
        let mut config = self.base.clone();
        config.set("client.id", client_id);
        config
    }
}

/// The member's name in its group, the same after a restart.
pub fn static_id(subscription: &Subscription) -> String {
    format!("{}-{}", subscription.instance, subscription.thread)
}

/// The same in the group. A coordinator keeps the `client.id` that a static member came with first, so another address is
/// another member.
fn instance_id(subscription: &Subscription) -> String {
    let id = static_id(subscription);
    match &subscription.address {
        None => id,
        Some(address) => {
            let hash: String = hash128(address.as_bytes()).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
            format!("{id}-{hash}")
        }
    }
}

/// What of an address stands in `client.id` as it is. The brackets around it and the hyphen behind it do not.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'/').remove(b':').remove(b'_');

/// How an address stands in `client.id`.
fn address_part(address: &str) -> String {
    format!("[{}]", utf8_percent_encode(address, PLAIN))
}

/// The address that a member has put into its `client.id`.
pub fn address_in(client_id: &str) -> Option<String> {
    let (front, _) = client_id.rsplit_once("]-")?;
    let (_, address) = front.rsplit_once('[')?;
    let address = percent_decode_str(address).decode_utf8().ok()?.into_owned();
    (!address.is_empty()).then_some(address)
}

/// The part of a plan's hash that stands at the end of `client.id`.
pub fn short_plan(plan_hash: &str) -> &str {
    plan_hash.char_indices().nth(PLAN_HASH_CHARS).map_or(plan_hash, |(end, _)| &plan_hash[..end])
}

fn consuming(config: &mut ClientConfig, isolation: Isolation) {
    config.set("enable.auto.commit", "false");
    config.set("enable.auto.offset.store", "false");
    config.set("enable.partition.eof", "true");
    // An offset that retention has overtaken is told, and never silently another one.
    config.set("auto.offset.reset", "error");
    config.set(
        "isolation.level",
        match isolation {
            Isolation::Committed => "read_committed",
            Isolation::Uncommitted => "read_uncommitted",
        },
    );
}

fn producing(config: &mut ClientConfig) {
    config.set("enable.idempotence", "true");
    config.set("acks", "all");
    // Only for records without a partition: streams choose theirs.
    config.set("partitioner", "murmur2_random");
}

/// Why a property is not taken, with the property and the fix.
fn refusal(key: &str, value: &str) -> Option<String> {
    if let Some(why) = refused_property(key) {
        return Some(format!("`{key}` {why}"));
    }
    let mut alone = ClientConfig::new();
    alone.set(key, value);
    match alone.create_native_config() {
        Ok(_) => None,
        // Its text may name the value too, which may be a secret.
        Err(rdkafka::error::KafkaError::ClientConfig(_, why, _, _)) => Some(format!("`{key}`: {}", hide(&why, value))),
        Err(_) => Some(format!("`{key}`: not a text librdkafka takes")),
    }
}

/// A text of librdkafka's without the value it is about.
fn hide(text: &str, value: &str) -> String {
    if value.is_empty() { text.to_owned() } else { text.replace(value, HIDDEN) }
}

fn check_timeouts(config: &ClientConfig) -> Result<()> {
    let (socket, transaction) = (millis(config, "socket.timeout.ms"), millis(config, "transaction.timeout.ms"));
    if socket <= transaction + SOCKET_TIMEOUT_SLACK_MS {
        return Ok(());
    }
    let why = format!(
        "`socket.timeout.ms` ({socket}) must not be above `transaction.timeout.ms` ({transaction}): set it to \
         {transaction} or less"
    );
    Err(Error::BadProperty(why))
}

/// A property that has a default of ours and was checked by librdkafka.
/// librdkafka's, where nobody says another.
const SESSION_TIMEOUT: Duration = Duration::from_secs(45);

fn millis(config: &ClientConfig, key: &str) -> u64 {
    config.get(key).and_then(|value| value.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;

    fn properties(user: &[(&str, &str)]) -> Result<Properties> {
        Properties::new("h:1", &user.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect())
    }

    fn subscription(guarantee: Guarantee) -> Subscription {
        Subscription {
            application: "app".into(),
            topics: Arc::new([]),
            task_sets: Vec::new(),
            guarantee,
            thread: 2,
            threads: 3,
            instance: "inst".into(),
            plan_hash: "0123456789abcdef".into(),
            address: None,
        }
    }

    #[test]
    fn a_reserved_property_is_refused_with_its_knob() {
        let why = properties(&[("group.id", "x"), ("acks", "1")]).unwrap_err().to_string();
        assert!(why.contains("`group.id` is set by Millstream: use `id`"), "{why}");
        assert!(why.contains("`acks`") && why.contains("guarantee"), "all at once: {why}");
    }

    #[test]
    fn an_unknown_property_or_value_is_refused_without_showing_a_secret() {
        assert!(properties(&[("no.such.thing", "1")]).unwrap_err().to_string().contains("no.such.thing"));
        let why = properties(&[("linger.ms", "s3cret")]).unwrap_err().to_string();
        assert!(why.contains("linger.ms") && !why.contains("s3cret"), "{why}");
        let why = properties(&[("security.protocol", "s3cret")]).unwrap_err().to_string();
        assert!(why.contains("security.protocol") && !why.contains("s3cret"), "{why}");
    }

    #[test]
    fn the_principal_is_the_user_of_sasl() {
        let user = ("sasl.username", "mill");
        let principal = |way: &str| properties(&[("security.protocol", way), user]).unwrap().principal();
        assert_eq!(principal("SASL_SSL").as_deref(), Some("User:mill"));
        assert_eq!(principal("ssl"), None);
    }

    #[test]
    fn a_socket_timeout_stays_below_the_transaction_timeout() {
        assert!(properties(&[("socket.timeout.ms", "60000")]).is_err());
        assert!(properties(&[("socket.timeout.ms", "60000"), ("transaction.timeout.ms", "60000")]).is_ok());
    }

    #[test]
    fn ids_are_made_of_application_instance_and_thread() {
        let properties = properties(&[("client.id", "prod")]).unwrap();
        let member = properties.member(&subscription(Guarantee::ExactlyOnce));
        assert_eq!(member.get("group.instance.id"), Some("inst-2"));
        assert_eq!(member.get("client.id"), Some("prod-inst-2-0123456789ab"));
        let address = Some("unix:/srv/a b/[x]-1/query.sock".to_owned());
        let asked =
            properties.member(&Subscription { address: address.clone(), ..subscription(Guarantee::ExactlyOnce) });
        let id = asked.get("client.id").unwrap();
        assert_eq!(id, "prod[unix:/srv/a%20b/%5Bx%5D%2D1/query.sock]-inst-2-0123456789ab");
        assert_eq!((address_in(id), address_in("prod-inst-2-0123456789ab")), (address, None));
        assert!(asked.get("group.instance.id").unwrap().starts_with("inst-2-"), "another address, another member");
        let producer = properties.producer(&subscription(Guarantee::ExactlyOnce));
        assert_eq!(producer.get("transactional.id"), Some("app-inst-2"));
        assert_eq!(properties.producer(&subscription(Guarantee::AtLeastOnce)).get("transactional.id"), None);
    }
}
