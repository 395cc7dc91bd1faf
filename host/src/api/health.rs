//! What an orchestrator asks.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::Apps;
use crate::app::status::AppState;

/// The process answers. A log that is away or a store that restores is no reason to be killed.
pub async fn live() -> Json<Value> {
    Json(json!({ "live": true }))
}

/// Whether every application has its tasks and has restored them; one that is paused has. One that has failed for good will never have, and
/// takes nothing from the others: it only counts when it is all there is.
pub async fn ready(State(apps): State<Apps>) -> (StatusCode, Json<Value>) {
    let states: Vec<_> = apps.0.iter().map(|app| app.status()).collect();
    let has_its_tasks = |state: AppState| matches!(state, AppState::Running | AppState::Paused);
    let ready = states.iter().all(|app| has_its_tasks(app.state) || app.state == AppState::Failed)
        && states.iter().any(|app| has_its_tasks(app.state));
    let apps: Vec<_> = states.iter().map(|app| json!({ "id": app.id, "state": app.state })).collect();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": ready, "apps": apps })))
}
