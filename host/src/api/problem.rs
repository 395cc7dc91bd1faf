//! Errors as `application/problem+json` (RFC 9457), with the code they have on the command line.

use axum::Json;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use millstream_engine::error::{Problem, exit};

use crate::app::query::QueryError;

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
    fn new(status: StatusCode, name: &'static str, code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { status, problem: Box::new(Problem::new(name, code, exit::FAILED, message)) }
    }

    fn with(mut self, change: impl FnOnce(Problem) -> Problem) -> Refusal {
        self.problem = Box::new(change(*self.problem));
        self
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

impl From<QueryError> for Refusal {
    fn from(error: QueryError) -> Refusal {
        let message = error.to_string();
        match error {
            QueryError::UnknownStore(store) => {
                Refusal::new(StatusCode::NOT_FOUND, "UnknownStateStore", "E0602", message)
                    .with(|problem| problem.field("store", store))
            }
            QueryError::NotReady(why) => not_ready("the store cannot answer now").with(|problem| problem.why(why)),
        }
    }
}

pub fn unknown_application(id: &str) -> Refusal {
    let message = format!("no application {id} runs here");
    Refusal::new(StatusCode::NOT_FOUND, "UnknownApplication", "E0601", message)
        .with(|problem| problem.field("application", id))
}

pub fn key_not_found(store: &str, key: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, KEY_NOT_FOUND, "E0603", format!("store {store} holds no key {key}"))
        .with(|problem| problem.field("store", store).field("key", key))
}

pub fn not_ready(message: &str) -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "NotReady", "E0604", message)
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
    Refusal::new(StatusCode::BAD_REQUEST, "InvalidRequest", "E0605", format!("{name}: {why}"))
}

pub fn unauthorized() -> Refusal {
    let message = "the request carries no valid token";
    Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized", "E0607", message)
        .with(|problem| problem.fix("send the content of the --http-token file: Authorization: Bearer …"))
}

pub fn forbidden(why: &str) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, "OriginRefused", "E0608", why)
}

pub fn internal(why: impl std::fmt::Display) -> Refusal {
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "E0609", why.to_string())
}

pub async fn not_found(uri: Uri) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "NotFound", "E0606", format!("there is nothing at {}", uri.path()))
}

pub async fn wrong_method(method: Method, uri: Uri) -> Refusal {
    let message = format!("{} does not take {method}", uri.path());
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "E0615", message)
}
