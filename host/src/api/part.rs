//! `?partial=true`: what the tasks of this process hold of a store, for whoever puts the answers of all processes together.

use axum::response::Response;
use serde::Serialize;

use super::entries::{DEADLINE, json, refused};
use super::page;
use super::problem::{self, Refusal};
use crate::app::Handle;
use crate::app::query;
use crate::desk::query::Keys;
use crate::text::Codecs;
use crate::text::entry::Entry;

/// `{"entries":[…],"places":[…],"next":null,"tasks":["0_1"],"of":4,"address":"unix:…"}`
#[derive(Serialize)]
struct Part<'a> {
    entries: Vec<Entry<'a>>,
    /// Of each entry, what it is ordered by among those of all processes: a cursor.
    places: Vec<String>,
    /// As that of a whole list.
    next: Option<String>,
    /// Whose entries these are. The tasks that restore are not among them.
    tasks: Vec<String>,
    /// How many tasks hold a part of the store, in all processes; 0: every process has all of it.
    of: usize,
    /// Of this process, as its group hears it: whoever comes by two ways knows it again.
    address: Option<String>,
}

/// One entry, or a page of them; none is no error here.
pub async fn answer(app: &Handle, store: &str, keys: Keys, codecs: Codecs) -> Result<Response, Refusal> {
    let (asked, name) = (app.clone(), store.to_owned());
    let answer = tokio::task::spawn_blocking(move || asked.query_part(&name, keys, DEADLINE)).await;
    let query::Part { page, tasks, of } = answer.map_err(problem::internal)?.map_err(|error| refused(app, error))?;
    json(&Part {
        entries: page.rows.iter().map(|row| Entry::new(row, codecs, &mut 0)).collect(),
        places: page.rows.iter().map(|row| page::cursor(row.place(), row.task)).collect(),
        next: page.next.as_ref().map(|(place, task)| page::cursor(place, *task)),
        tasks: tasks.iter().map(ToString::to_string).collect(),
        of,
        address: app.address(),
    })
}
