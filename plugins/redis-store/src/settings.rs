//! The provider's configuration: which server, as whom, how long to wait.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use millstream_sdk::Config;
use serde::Deserialize;

/// How long one call may take when nothing else is said: well below the host's `[limits] call`, which would end the
/// instance.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Nobody's tasks may wait longer for one call.
const TIMEOUT_MS_MAX: u64 = 600_000;

const PORT: u16 = 6379;

/// As it stands in the manifest.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Texts {
    url: String,
    password: Option<String>,
    timeout_ms: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub address: SocketAddr,
    pub user: Option<String>,
    pub password: Option<String>,
    pub database: u32,
    /// Of one call, with all that it tries again.
    pub timeout: Duration,
}

impl Settings {
    /// Anything else than these texts, and what cannot be honoured, is an error for a person.
    pub fn read(config: &Config) -> Result<Settings, String> {
        let Texts { url, password, timeout_ms } = config.parse_into()?;
        let mut settings = parse(&url).map_err(|why| format!("[config]: url {why}"))?;
        settings.password = password.or(settings.password);
        if let Some(text) = timeout_ms {
            let timeout = text.parse().ok().filter(|ms| (1..=TIMEOUT_MS_MAX).contains(ms));
            let timeout =
                timeout.ok_or_else(|| format!("[config]: timeout_ms {text} should be 1 to {TIMEOUT_MS_MAX}"))?;
            settings.timeout = Duration::from_millis(timeout);
        }
        Ok(settings)
    }
}

/// `redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]`. The text itself is never part of the error: secrets stand in it.
fn parse(url: &str) -> Result<Settings, String> {
    if url.starts_with("rediss://") {
        return Err("asks for TLS, which this provider does not speak".to_owned());
    }
    let rest = url.strip_prefix("redis://").ok_or("should begin with redis://")?;
    let (who, place) = rest.rsplit_once('@').map_or((None, rest), |(who, place)| (Some(who), place));
    let (user, password) = match who.map(|who| who.split_once(':').unwrap_or((who, ""))) {
        None => (None, None),
        Some((user, password)) => (Some(decode(user)?).filter(|user| !user.is_empty()), Some(decode(password)?)),
    };
    let (host, database) = place.split_once('/').unwrap_or((place, ""));
    let database = match database {
        "" => 0,
        number => number.parse().map_err(|_| format!("names the database {number:?}, which is no number"))?,
    };
    Ok(Settings { address: address(host)?, user, password, database, timeout: TIMEOUT })
}

/// An address: a provider cannot look names up.
fn address(host: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = host.parse() {
        return Ok(address);
    }
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, PORT));
    }
    let (name, port) = host.split_once(':').unwrap_or((host, "6379"));
    match (name, port.parse()) {
        ("localhost", Ok(port)) => Ok(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)),
        _ => Err(format!("names the host {host:?}: should be an IP address and a port, for names cannot be looked up")),
    }
}

/// Undoes `%XX`.
fn decode(text: &str) -> Result<String, String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (hex, rest) = part.split_at_checked(2).ok_or("has a % without two digits behind it")?;
        bytes.push(u8::from_str_radix(hex, 16).map_err(|_| "has a % without two digits behind it")?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).map_err(|_| "has a password that is no UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_url_names_server_user_password_and_database() {
        let all = parse("redis://me:p%40ss%3a@10.1.2.3:7000/4").unwrap();
        assert_eq!((all.user.as_deref(), all.password.as_deref()), (Some("me"), Some("p@ss:")));
        assert_eq!((all.address.to_string().as_str(), all.database), ("10.1.2.3:7000", 4));
        let short = parse("redis://localhost").unwrap();
        assert_eq!((short.address.to_string().as_str(), short.user, short.password), ("127.0.0.1:6379", None, None));
        assert_eq!(parse("redis://:secret@[::1]/").unwrap().password.as_deref(), Some("secret"));
        assert_eq!(parse("redis://[::1]:7000").unwrap().address.to_string(), "[::1]:7000");
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_without_its_secrets() {
        for (url, why) in [
            ("rediss://:secret@127.0.0.1:1", "TLS"),
            ("http://:secret@127.0.0.1:1", "redis://"),
            ("redis://:secret@redis.internal:1", "names cannot be looked up"),
            ("redis://:secret@127.0.0.1:1/x", "no number"),
            ("redis://:secret%4@127.0.0.1:1", "two digits"),
        ] {
            let refused = parse(url).unwrap_err();
            assert!(refused.contains(why) && !refused.contains("secret"), "{url}: {refused}");
        }
    }
}
