//! Entries of stores: keys, versions, windows and sessions.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Apps;
use super::page::{self, Params};
use super::part;
use super::problem::{self, Refusal};
use crate::app::Handle;
use crate::app::query::QueryError;
use crate::desk::query::{Keys, Page, Range};
use crate::text::entry::Entry;
use crate::text::{Codec, Codecs};

/// How long a query may wait for the threads: longer than a batch takes, shorter than a client's patience.
pub(super) const DEADLINE: Duration = Duration::from_secs(2);

/// `GET …/entries/{key}`, `…?as-of=`
pub async fn one(
    State(apps): State<Apps>,
    Path((app, store, key)): Path<(String, String, String)>,
    uri: Uri,
) -> Result<Response, Refusal> {
    let params = Params::read(&uri, &["key", "value", "as-of", "partial"])?;
    let as_of = params.parse::<i64>("as-of")?;
    single(apps, (app, store, key), params, |key| match as_of {
        Some(time) => Keys::AsOf(key, time),
        None => Keys::One(key),
    })
    .await
}

/// `GET …/windows/{key}/{start}`
pub async fn window(
    State(apps): State<Apps>,
    Path((app, store, key, start)): Path<(String, String, String, String)>,
    uri: Uri,
) -> Result<Response, Refusal> {
    let start = millis("start", &start)?;
    single(apps, (app, store, key), Params::read(&uri, &["key", "value", "partial"])?, |key| Keys::Window(key, start))
        .await
}

/// `GET …/sessions/{key}/{start}/{end}`
pub async fn session(
    State(apps): State<Apps>,
    Path((app, store, key, start, end)): Path<(String, String, String, String, String)>,
    uri: Uri,
) -> Result<Response, Refusal> {
    let (start, end) = (millis("start", &start)?, millis("end", &end)?);
    single(apps, (app, store, key), Params::read(&uri, &["key", "value", "partial"])?, |key| {
        Keys::Session(key, start, end)
    })
    .await
}

/// `GET …/windows/{key}?from=&to=` and `…/sessions/{key}?from=&to=`
pub async fn of_key(
    State(apps): State<Apps>,
    Path((app, store, key)): Path<(String, String, String)>,
    uri: Uri,
) -> Result<Response, Refusal> {
    timed(apps, (app, store, Some(key)), &uri).await
}

/// `GET …/windows?from=&to=` and `…/sessions?from=&to=`
pub async fn of_all_keys(
    State(apps): State<Apps>,
    Path((app, store)): Path<(String, String)>,
    uri: Uri,
) -> Result<Response, Refusal> {
    timed(apps, (app, store, None), &uri).await
}

async fn timed(
    apps: Apps,
    (app, store, key): (String, String, Option<String>),
    uri: &Uri,
) -> Result<Response, Refusal> {
    let params = Params::read(uri, &["from", "to", "reverse", "limit", "cursor", "key", "value", "partial"])?;
    let app = apps.find(&app)?;
    let codecs = codecs(app, &store, &params)?;
    let read = |key: &String| codecs.key.read_key(key).map_err(|why| problem::invalid("key", why));
    let key = key.as_ref().map(read).transpose()?;
    let times = (params.parse("from")?.unwrap_or(i64::MIN), params.parse("to")?.unwrap_or(i64::MAX));
    let range = Range {
        from: key.clone(),
        to: key,
        prefix: None,
        reverse: params.flag("reverse")?,
        times: Some(times),
        after: params.get("cursor").map(page::read_cursor).transpose()?,
        limit: params.limit()?,
    };
    list(app, &store, range, codecs, params.flag("partial")?).await
}

fn millis(name: &str, text: &str) -> Result<i64, Refusal> {
    text.parse().map_err(|_| problem::invalid(name, "it is a time in milliseconds"))
}

async fn single(
    apps: Apps,
    (app, store, key): (String, String, String),
    params: Params,
    keys: impl FnOnce(Vec<u8>) -> Keys,
) -> Result<Response, Refusal> {
    let app = apps.find(&app)?;
    let codecs = codecs(app, &store, &params)?;
    let bytes = codecs.key.read_key(&key).map_err(|why| problem::invalid("key", why))?;
    if params.flag("partial")? {
        return part::answer(app, &store, keys(bytes), codecs).await;
    }
    let page = ask(app, &store, keys(bytes)).await?;
    match page.rows.first() {
        Some(row) => json(&Entry::new(row, codecs, &mut 0)),
        None => Err(problem::key_not_found(&store, &key)),
    }
}

/// `GET …/entries?from=&to=&prefix=&reverse=&limit=&cursor=`, of windows and sessions `&from-time=&to-time=`. Of windows
/// and sessions a page may have less than `limit` of them, or none, and a `next` all the same: only null ends a list.
pub async fn range(
    State(apps): State<Apps>,
    Path((app, store)): Path<(String, String)>,
    uri: Uri,
) -> Result<Response, Refusal> {
    let times = ["from-time", "to-time", "partial"];
    let known = [&["from", "to", "prefix", "reverse", "limit", "cursor", "key", "value"][..], &times].concat();
    let params = Params::read(&uri, &known)?;
    let app = apps.find(&app)?;
    let codecs = codecs(app, &store, &params)?;
    let bound = |name| {
        let read = |text| codecs.key.read_key(text).map_err(|why| problem::invalid(name, why));
        params.get(name).map(read).transpose()
    };
    let times = (params.parse::<i64>("from-time")?, params.parse::<i64>("to-time")?);
    let range = Range {
        from: bound("from")?,
        to: bound("to")?,
        prefix: bound("prefix")?,
        reverse: params.flag("reverse")?,
        times: match times {
            (None, None) => None,
            (from, to) => Some((from.unwrap_or(i64::MIN), to.unwrap_or(i64::MAX))),
        },
        after: params.get("cursor").map(page::read_cursor).transpose()?,
        limit: params.limit()?,
    };
    list(app, &store, range, codecs, params.flag("partial")?).await
}

async fn list(app: &Handle, store: &str, range: Range, codecs: Codecs, partial: bool) -> Result<Response, Refusal> {
    if partial {
        return part::answer(app, store, Keys::Range(range), codecs).await;
    }
    let page = ask(app, store, Keys::Range(range)).await?;
    #[derive(Serialize)]
    struct Entries<'a> {
        entries: Vec<Entry<'a>>,
        next: Option<String>,
    }
    let entries = page.rows.iter().map(|row| Entry::new(row, codecs, &mut 0)).collect();
    let next = page.next.map(|(place, task)| page::cursor(&place, task));
    json(&Entries { entries, next })
}

/// The store's own codecs, unless the request names others (`key=bytes&value=i64`).
fn codecs(app: &Handle, store: &str, params: &Params) -> Result<Codecs, Refusal> {
    let info = app.store(store).map_err(|error| refused(app, error))?.info;
    let codec = |name, declared: &str| {
        let asked: Option<Codec> = params.parse(name)?;
        Ok::<_, Refusal>(asked.unwrap_or_else(|| Codec::declared(declared)))
    };
    Ok(Codecs { key: codec("key", &info.codecs.key)?, value: codec("value", &info.codecs.value)? })
}

/// Threads answer between two batches, so the wait goes where it stops nobody else.
async fn ask(app: &Handle, store: &str, keys: Keys) -> Result<Page, Refusal> {
    let (asked, store) = (app.clone(), store.to_owned());
    let ask = move || {
        // What is not here may be with the others.
        asked.query(&store, keys, DEADLINE).map_err(|error| match &error {
            QueryError::NotReady(_) => (error, asked.elsewhere()),
            _ => (error, Vec::new()),
        })
    };
    let answer = tokio::task::spawn_blocking(ask).await;
    answer.map_err(problem::internal)?.map_err(|(error, elsewhere)| problem::no_answer(app, error, elsewhere))
}

/// An error that is not about who has what.
pub(super) fn refused(app: &Handle, error: QueryError) -> Refusal {
    problem::no_answer(app, error, Vec::new())
}

pub(super) fn json(value: &impl Serialize) -> Result<Response, Refusal> {
    let body = serde_json::to_vec(value).map_err(problem::internal)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}
