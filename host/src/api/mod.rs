//! HTTP: status, stores, health and metrics of the applications in this process.
//!
//! The same routes stand on a TCP address (`--http`) and, for one application each, on a Unix socket in its state
//! directory, by which the command line asks a running application.

mod apps;
mod component;
mod entries;
mod guard;
mod health;
mod metrics;
mod page;
mod part;
mod problem;
mod server;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post, put};

use crate::app::Handle;
use crate::wasm::COMPONENT_BYTES;
pub use page::{cursor, read_cursor};
pub use problem::KEY_NOT_FOUND;
use problem::Refusal;

pub use guard::Guard;
pub use server::{Error, Listen, Server, socket_path, with_short_path};

/// The applications that one listener shows.
#[derive(Clone)]
pub struct Apps(Arc<[Handle]>);

impl Apps {
    pub fn new(handles: impl IntoIterator<Item = Handle>) -> Apps {
        Apps(handles.into_iter().collect())
    }

    fn find(&self, id: &str) -> Result<&Handle, Refusal> {
        self.0.iter().find(|app| app.id() == id).ok_or_else(|| problem::unknown_application(id))
    }
}

/// All routes (`contract.md`, "HTTP").
fn router(apps: Apps) -> Router {
    Router::new()
        .route("/v1/apps", get(apps::list))
        .route("/v1/apps/{app}/status", get(apps::status))
        .route("/v1/apps/{app}/pause", post(apps::pause))
        .route("/v1/apps/{app}/resume", post(apps::resume))
        .route("/v1/apps/{app}/component", put(component::put).layer(DefaultBodyLimit::max(COMPONENT_BYTES)))
        .route("/v1/apps/{app}/stores", get(apps::stores))
        .route("/v1/apps/{app}/stores/{store}/entries", get(entries::range))
        .route("/v1/apps/{app}/stores/{store}/entries/{key}", get(entries::one))
        .route("/v1/apps/{app}/stores/{store}/windows", get(entries::of_all_keys))
        .route("/v1/apps/{app}/stores/{store}/windows/{key}", get(entries::of_key))
        .route("/v1/apps/{app}/stores/{store}/windows/{key}/{start}", get(entries::window))
        .route("/v1/apps/{app}/stores/{store}/sessions", get(entries::of_all_keys))
        .route("/v1/apps/{app}/stores/{store}/sessions/{key}", get(entries::of_key))
        .route("/v1/apps/{app}/stores/{store}/sessions/{key}/{start}/{end}", get(entries::session))
        .route("/metrics", get(metrics::metrics))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::wrong_method)
        .with_state(apps)
}
