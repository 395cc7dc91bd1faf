//! Errors as `application/problem+json` (RFC 9457), with the code they have on the command line.

use axum::Json;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use millstream_engine::error::{Problem, exit};

use crate::app::Handle;
use crate::app::query::{self, QueryError};

/// Its name, for clients to whom it is no error.
pub const KEY_NOT_FOUND: &str = "KeyNotFound";

/// When to ask again for what is not ready: a restore moves on in seconds.
const RETRY_AFTER_SECONDS: &str = "1";

/// A request that is answered with an error.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    problem: Box<Problem>,
}

impl Refusal {
    fn new(status: StatusCode, problem: Problem) -> Refusal {
        Refusal { status, problem: Box::new(problem) }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut body = self.problem.to_json();
        body["status"] = self.status.as_u16().into();
        body["title"] = self.problem.name.into();
        body["detail"] = self.problem.message.clone().into();
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}

/// Why a query has no answer. `elsewhere`: where the other processes of the application can be asked.
pub fn no_answer(app: &Handle, error: QueryError, elsewhere: Vec<String>) -> Refusal {
    match error {
        QueryError::UnknownStore(store) => {
            let stores = app.stores();
            let known: Vec<&str> = stores.iter().map(|store| store.name.as_str()).collect();
            Refusal::new(StatusCode::NOT_FOUND, query::unknown_store(&store, &known))
        }
        QueryError::OtherKind { store, kind, why } => {
            Refusal::new(StatusCode::BAD_REQUEST, query::other_kind(&store, &kind, why))
        }
        QueryError::Misplaced(why) => {
            invalid("cursor", format!("{why}: it is not one that a page of this list gave as `next`"))
        }
        QueryError::NotReady(why) => Refusal::new(StatusCode::SERVICE_UNAVAILABLE, query::not_ready(why, elsewhere)),
    }
}

pub fn unknown_application(id: &str) -> Refusal {
    let problem = Problem::new("UnknownApplication", "E0601", exit::FAILED, format!("no application {id} runs here"))
        .field("application", id)
        .why("this process was started without it")
        .fix("GET /v1/apps lists what runs here");
    Refusal::new(StatusCode::NOT_FOUND, problem)
}

pub fn key_not_found(store: &str, key: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, query::key_not_found(store, key))
}

/// A request that does not fit what runs; what the application refuses on the command line too.
pub fn conflict(problem: Problem) -> Refusal {
    let status = match problem.exit {
        exit::BAD_PLAN => StatusCode::UNPROCESSABLE_ENTITY,
        exit::LOG_UNREACHABLE => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::CONFLICT,
    };
    Refusal { status, problem: Box::new(problem) }
}

/// A parameter that cannot be read.
pub fn invalid(name: &str, why: impl std::fmt::Display) -> Refusal {
    let problem = Problem::new("InvalidRequest", "E0605", exit::FAILED, format!("{name}: {why}"))
        .field("parameter", name)
        .why("a parameter that is ignored, or read as something else, would give another answer")
        .fix("correct the parameter; keys are percent-encoded text of the key's codec, or base64:…");
    Refusal::new(StatusCode::BAD_REQUEST, problem)
}

pub fn unauthorized() -> Refusal {
    let problem = Problem::new("Unauthorized", "E0607", exit::FAILED, "the request carries no valid token")
        .why("the address was given an --http-token")
        .fix("send the content of the --http-token file: Authorization: Bearer …");
    Refusal::new(StatusCode::UNAUTHORIZED, problem)
}

pub fn forbidden(message: &str) -> Refusal {
    let problem = Problem::new("OriginRefused", "E0608", exit::FAILED, message)
        .why("a page in somebody's browser could ask in his name")
        .fix("ask from a program or a page of this address itself, by localhost or 127.0.0.1; or start with --http-token");
    Refusal::new(StatusCode::FORBIDDEN, problem)
}

pub fn internal(message: impl std::fmt::Display) -> Refusal {
    let problem = Problem::new("InternalError", "E0609", exit::FAILED, message.to_string())
        .why("this is a fault of the host; nothing was changed")
        .fix("ask again, and report it");
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, problem)
}

pub async fn not_found(uri: Uri) -> Refusal {
    let problem = Problem::new("NotFound", "E0606", exit::FAILED, format!("there is nothing at {}", uri.path()))
        .field("path", uri.path())
        .why("no route has this path")
        .fix("begin at /v1/apps, /metrics, /livez or /readyz");
    Refusal::new(StatusCode::NOT_FOUND, problem)
}

pub async fn wrong_method(method: Method, uri: Uri) -> Refusal {
    let message = format!("{} does not take {method}", uri.path());
    let problem = Problem::new("MethodNotAllowed", "E0615", exit::FAILED, message)
        .field("path", uri.path())
        .field("method", method.as_str())
        .why("what is there can only be read")
        .fix("use GET");
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, problem)
}
