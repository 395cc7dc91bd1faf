//! `PUT /v1/apps/{app}/component`: another component in the place of the one that runs.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::Uri;
use millstream_engine::error::{Problem, exit};

use super::Apps;
use super::page::Params;
use super::problem::{self, Refusal};
use crate::app::Swapped;

/// The body is the component. `allow`: what may change, words with commas between (`sources,sinks,codecs,stores`).
pub async fn put(
    State(apps): State<Apps>,
    Path(app): Path<String>,
    uri: Uri,
    body: Bytes,
) -> Result<Json<Swapped>, Refusal> {
    let params = Params::read(&uri, &["allow"])?;
    let allow: Vec<String> = params.get("allow").map(words).unwrap_or_default();
    let app = apps.find(&app)?;
    let Some(swapper) = app.swapper() else { return Err(problem::conflict(not_running(app.id()))) };
    let swap = tokio::task::spawn_blocking(move || swapper.swap_component(&body, &allow));
    match swap.await.map_err(problem::internal)? {
        Ok(swapped) => match swapped.put_back(app.id()) {
            Some(problem) => Err(problem::conflict(problem)),
            None => Ok(Json(swapped)),
        },
        Err(problem) => Err(problem::conflict(problem)),
    }
}

fn words(text: &str) -> Vec<String> {
    text.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
}

fn not_running(id: &str) -> Problem {
    Problem::new("SwapRefused", "E0810", exit::FAILED, format!("application {id} does not run"))
        .field("application", id)
        .why("only what runs can be swapped")
        .fix("start it, with the new component named in its manifest")
}
