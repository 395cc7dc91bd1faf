//! Entries of key-value stores.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Apps;
use super::page::{self, Params};
use super::problem::{self, Refusal};
use crate::app::Handle;
use crate::desk::query::{Keys, Page, Range};
use crate::text::entry::Entry;
use crate::text::{Codec, Codecs};

/// How long a query may wait for the threads: longer than a batch takes, shorter than a client's patience.
const DEADLINE: Duration = Duration::from_secs(2);

/// `GET …/entries/{key}`
pub async fn one(
    State(apps): State<Apps>,
    Path((app, store, key)): Path<(String, String, String)>,
    uri: Uri,
) -> Result<Response, Refusal> {
    let params = Params::read(&uri, &["key", "value"])?;
    let app = apps.find(&app)?;
    let codecs = codecs(app, &store, &params)?;
    let bytes = codecs.key.read_key(&key).map_err(|why| problem::invalid("key", why))?;
    let page = ask(app, &store, Keys::One(bytes)).await?;
    match page.rows.first() {
        Some(row) => json(&Entry::new(row, codecs, &mut 0)),
        None => Err(problem::key_not_found(&store, &key)),
    }
}

/// `GET …/entries?from=&to=&prefix=&reverse=&limit=&cursor=`
pub async fn range(
    State(apps): State<Apps>,
    Path((app, store)): Path<(String, String)>,
    uri: Uri,
) -> Result<Response, Refusal> {
    let known = ["from", "to", "prefix", "reverse", "limit", "cursor", "key", "value"];
    let params = Params::read(&uri, &known)?;
    let app = apps.find(&app)?;
    let codecs = codecs(app, &store, &params)?;
    let bound = |name| {
        let read = |text| codecs.key.read_key(text).map_err(|why| problem::invalid(name, why));
        params.get(name).map(read).transpose()
    };
    let range = Range {
        from: bound("from")?,
        to: bound("to")?,
        prefix: bound("prefix")?,
        reverse: params.flag("reverse")?,
        after: params.get("cursor").map(page::read_cursor).transpose()?,
        limit: params.limit()?,
    };
    let page = ask(app, &store, Keys::Range(range)).await?;
    #[derive(Serialize)]
    struct Entries<'a> {
        entries: Vec<Entry<'a>>,
        next: Option<String>,
    }
    let entries = page.rows.iter().map(|row| Entry::new(row, codecs, &mut 0)).collect();
    let next = page.rows.last().filter(|_| page.more).map(|last| page::cursor(&last.key, last.task));
    json(&Entries { entries, next })
}

/// The store's own codecs, unless the request names others (`key=bytes&value=i64`).
fn codecs(app: &Handle, store: &str, params: &Params) -> Result<Codecs, Refusal> {
    let info = app.store(store).map_err(|error| problem::no_answer(app, error))?.info;
    let codec = |name, declared: &str| {
        let asked: Option<Codec> = params.parse(name)?;
        Ok::<_, Refusal>(asked.unwrap_or_else(|| Codec::declared(declared)))
    };
    Ok(Codecs { key: codec("key", &info.codecs.key)?, value: codec("value", &info.codecs.value)? })
}

/// Threads answer between two batches, so the wait goes where it stops nobody else.
async fn ask(app: &Handle, store: &str, keys: Keys) -> Result<Page, Refusal> {
    let (asked, store) = (app.clone(), store.to_owned());
    let answer = tokio::task::spawn_blocking(move || asked.query(&store, keys, DEADLINE)).await;
    answer.map_err(problem::internal)?.map_err(|error| problem::no_answer(app, error))
}

fn json(value: &impl Serialize) -> Result<Response, Refusal> {
    let body = serde_json::to_vec(value).map_err(problem::internal)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}
