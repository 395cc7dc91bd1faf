//! The provider's configuration: which server, as whom, how long to wait.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
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

/// Where the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Address(SocketAddr),
    /// A name, which the host looks up, and a port.
    Named(String, u16),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Address(address) => address.fmt(f),
            Place::Named(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub place: Place,
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
    Ok(Settings { place: read_place(host)?, user, password, database, timeout: TIMEOUT })
}

fn read_place(host: &str) -> Result<Place, String> {
    if let Ok(address) = host.parse() {
        return Ok(Place::Address(address));
    }
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(Place::Address(SocketAddr::new(ip, PORT)));
    }
    let (name, port) = host.split_once(':').map_or((host, Ok(PORT)), |(name, port)| (name, port.parse()));
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    match port {
        Ok(port) if is_name(name) => Ok(Place::Named(name.to_owned(), port)),
        _ => Err(format!("names the host {host:?}: should be a name or an IP address, and a port")),
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
        assert_eq!((all.place.to_string().as_str(), all.database), ("10.1.2.3:7000", 4));
        let short = parse("redis://localhost").unwrap();
        assert_eq!((short.place, short.user, short.password), (Place::Named("localhost".to_owned(), 6379), None, None));
        assert_eq!(parse("redis://redis.internal:7000").unwrap().place.to_string(), "redis.internal:7000");
        assert_eq!(parse("redis://:secret@[::1]/").unwrap().password.as_deref(), Some("secret"));
        assert_eq!(parse("redis://[::1]:7000").unwrap().place.to_string(), "[::1]:7000");
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_without_its_secrets() {
        for (url, why) in [
            ("rediss://:secret@127.0.0.1:1", "TLS"),
            ("http://:secret@127.0.0.1:1", "redis://"),
            ("redis://:secret@redis internal:1", "a name or an IP address"),
            ("redis://:secret@redis.internal:x", "a name or an IP address"),
            ("redis://:secret@127.0.0.1:1/x", "no number"),
            ("redis://:secret%4@127.0.0.1:1", "two digits"),
        ] {
            let refused = parse(url).unwrap_err();
            assert!(refused.contains(why) && !refused.contains("secret"), "{url}: {refused}");
        }
    }
}
