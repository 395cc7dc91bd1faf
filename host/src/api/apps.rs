//! Applications, their tasks and their stores.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Uri;
use serde_json::{Value, json};

use super::Apps;
use super::page::{self, Params};
use super::problem::Refusal;
use crate::app::status::AppStatus;

pub async fn list(State(apps): State<Apps>, uri: Uri) -> Result<Json<Value>, Refusal> {
    let params = Params::read(&uri, &["limit", "cursor"])?;
    let all = apps.0.iter().map(|app| app.status()).collect();
    let (apps, next) = page::by_name(all, |app: &AppStatus| &app.id, &params)?;
    Ok(Json(json!({ "apps": apps, "next": next })))
}

pub async fn status(State(apps): State<Apps>, Path(app): Path<String>) -> Result<Json<AppStatus>, Refusal> {
    Ok(Json(apps.find(&app)?.status()))
}

/// `POST /v1/apps/{app}/pause`: no more records are taken. Again changes nothing.
pub async fn pause(State(apps): State<Apps>, Path(app): Path<String>) -> Result<Json<AppStatus>, Refusal> {
    pause_or_resume(&apps, &app, true)
}

/// `POST /v1/apps/{app}/resume`
pub async fn resume(State(apps): State<Apps>, Path(app): Path<String>) -> Result<Json<AppStatus>, Refusal> {
    pause_or_resume(&apps, &app, false)
}

fn pause_or_resume(apps: &Apps, app: &str, paused: bool) -> Result<Json<AppStatus>, Refusal> {
    let app = apps.find(app)?;
    app.pause(paused);
    Ok(Json(app.status()))
}

pub async fn stores(State(apps): State<Apps>, Path(app): Path<String>, uri: Uri) -> Result<Json<Value>, Refusal> {
    let params = Params::read(&uri, &["limit", "cursor"])?;
    let app = apps.find(&app)?;
    let (stores, next) = page::by_name(app.stores(), |store| &store.name, &params)?;
    // Of this process, as its group hears it: whoever comes by two ways knows it again.
    Ok(Json(json!({ "stores": stores, "next": next, "address": app.address() })))
}
