//! `embedded:DIR` and `kafka://HOST:PORT[,HOST:PORT…]`.

use std::path::PathBuf;

use super::{Error, Result};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Url {
    Embedded(PathBuf),
    /// Bootstrap servers, comma-separated, as librdkafka takes them.
    Kafka(String),
}

/// Reads a log's URL; the error says which forms there are.
pub fn parse(url: &str) -> Result<Url> {
    let bad = |why: &str| Error::refused(format!("log `{url}`"), why);
    if let Some(dir) = url.strip_prefix("embedded:") {
        return if dir.is_empty() {
            Err(bad("embedded:DIR names no directory"))
        } else {
            Ok(Url::Embedded(dir.into()))
        };
    }
    let Some(brokers) = url.strip_prefix("kafka://") else {
        return Err(bad("a log is `embedded:DIR` or `kafka://HOST:PORT[,HOST:PORT…]`"));
    };
    let has_port = |broker: &str| {
        broker.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    if brokers.split(',').all(has_port) {
        Ok(Url::Kafka(brokers.to_owned()))
    } else {
        Err(bad("each broker is HOST:PORT"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_directory_or_brokers() {
        assert_eq!(parse("embedded:a/b").ok(), Some(Url::Embedded("a/b".into())));
        assert_eq!(parse("kafka://h:1,i:2").ok(), Some(Url::Kafka("h:1,i:2".into())));
        for bad in ["", "embedded:", "kafka://", "kafka://h", "kafka://h:x", "redis://h:1", "kafka://h:1,"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
