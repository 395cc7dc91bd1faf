//! Who may ask over TCP.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest, Sha256};

use super::problem::{self, Refusal};

/// The rules of one address.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// The hash of the token, so that comparing takes equally long whatever is sent. `None`: no token is asked for.
    token: Option<Arc<[u8; 32]>>,
}

impl Guard {
    /// Only requests with this token, whatever host they name.
    pub fn token(token: &str) -> Guard {
        Guard { token: Some(Arc::new(Sha256::digest(token.trim()).into())) }
    }

    fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let host = text(header::HOST).unwrap_or_default();
        // A page of another site makes the browser send its origin.
        if headers.contains_key(header::ORIGIN) {
            let origin = text(header::ORIGIN).unwrap_or_default();
            let own = origin.split_once("://").is_some_and(|(_, origin)| origin == host);
            if !own {
                return Err(problem::forbidden("the request comes from a page of another origin"));
            }
        }
        match &self.token {
            // Probes of an orchestrator carry no token and learn nothing but a state.
            Some(_) if ["/livez", "/readyz"].contains(&uri.path()) => Ok(()),
            Some(token) => {
                let sent = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
                let same = sent.is_some_and(|sent| Sha256::digest(sent.trim())[..] == token[..]);
                if same { Ok(()) } else { Err(problem::unauthorized()) }
            }
            // A name that was rebound to this machine would make a foreign page our own origin.
            None if is_loopback(host) => Ok(()),
            None => Err(problem::forbidden("without a token only localhost and its addresses are served")),
        }
    }
}

/// Middleware in front of every route.
pub async fn guarded(State(guard): State<Guard>, request: Request, next: Next) -> Result<Response, Refusal> {
    guard.check(request.uri(), request.headers())?;
    Ok(next.run(request).await)
}

/// Whether a `Host` header names this machine by an address that no name service can redirect.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(guard: &Guard, path: &str, headers: &[(&'static str, &str)]) -> bool {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        guard.check(&path.parse().unwrap(), &headers).is_ok()
    }

    #[test]
    fn only_this_machine_is_served_without_a_token() {
        let guard = Guard::default();
        for host in ["localhost:8080", "127.0.0.1:1", "[::1]:80", "localhost", "[::1]"] {
            assert!(check(&guard, "/v1/apps", &[("host", host)]), "{host}");
        }
        for host in ["evil.example:8080", "10.0.0.1", "localhost.evil.example", ""] {
            assert!(!check(&guard, "/v1/apps", &[("host", host)]), "{host}");
        }
    }

    #[test]
    fn a_page_of_another_origin_is_refused() {
        let guard = Guard::default();
        let host = ("host", "localhost:8080");
        assert!(check(&guard, "/v1/apps", &[host, ("origin", "http://localhost:8080")]));
        for origin in ["http://evil.example", "null", "http://localhost:81"] {
            assert!(!check(&guard, "/v1/apps", &[host, ("origin", origin)]), "{origin}");
        }
    }

    #[test]
    fn a_token_is_asked_for_except_by_probes() {
        let guard = Guard::token("secret\n");
        let host = ("host", "mill.example");
        assert!(check(&guard, "/v1/apps", &[host, ("authorization", "Bearer secret")]));
        assert!(check(&guard, "/livez", &[host]));
        assert!(!check(&guard, "/metrics", &[host]));
        for wrong in ["Bearer secre", "Bearer ", "secret", "Basic secret"] {
            assert!(!check(&guard, "/v1/apps", &[host, ("authorization", wrong)]), "{wrong}");
        }
    }
}
