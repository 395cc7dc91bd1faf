//! One answer from the parts that several processes hold: whole, or none.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use super::{Running, get, place, row, unreadable};
use crate::api::read_cursor;
use crate::app::query;
use crate::cli::client::Client;
use crate::cli::{Error, Result};
use crate::desk::query::{Keys, merge};
use crate::desk::{Page, Row};

/// `?partial=true`
#[derive(Deserialize)]
struct Part {
    entries: Vec<Value>,
    places: Vec<String>,
    /// Not of a process of another version, which must not pass for one that is at its end.
    #[serde(deserialize_with = "Option::deserialize")]
    next: Option<String>,
    tasks: Vec<String>,
    of: usize,
    address: Option<String>,
}

impl Running {
    /// Asks all processes. A task that nobody answers for, or that two do while it moves, makes the whole not ready.
    pub(super) fn read_parts(&self, clients: &[Client], store: &str, keys: &Keys) -> Result<Page> {
        let (path, mut parameters) = self.asked(store, keys);
        parameters.push(("partial", "true".to_owned()));
        let (mut pages, mut silent) = (Vec::new(), self.silent.clone());
        let (mut tasks, mut seen, mut twice, mut of) = (BTreeSet::new(), BTreeSet::new(), None, 0);
        for client in clients {
            // One that was asked by its socket is not shown a token at the address that it tells the others.
            if seen.contains(&client.to_string()) {
                continue;
            }
            let part = match get(client, &path, &parameters) {
                Ok(answer) => answer.and_then(|answer| serde_json::from_value(answer).ok()).ok_or_else(unreadable)?,
                Err(error) => {
                    silent.push(why_silent(client, error)?);
                    continue;
                }
            };
            let Part { entries, places, next, tasks: answered, of: all, address } = part;
            // By its socket here, and by what it tells the group.
            if address.is_some_and(|address| !seen.insert(address)) {
                continue;
            }
            let page = Page { rows: rows(&entries, &places).ok_or_else(unreadable)?, next: place(next.as_deref())? };
            if all == 0 {
                return Ok(page);
            }
            of = of.max(all);
            pages.push(page);
            for task in answered {
                if let Some(task) = tasks.replace(task) {
                    twice = Some(task);
                }
            }
        }
        if let Some(task) = twice {
            let why = format!("two processes answer for task {task}: it moves");
            return Err(query::not_ready(why, silent).into());
        }
        let (reverse, limit) = keys.order();
        let page = merge(pages, reverse, limit);
        // One found entry is the entry, whatever the other tasks do.
        let is_found = keys.is_single() && !page.rows.is_empty();
        if tasks.len() < of.max(1) && !is_found {
            let why =
                format!("{} of the {of} tasks of store {store} answer, in {} processes", tasks.len(), clients.len());
            return Err(query::not_ready(why, silent).into());
        }
        Ok(page)
    }
}

/// Of a process that did not answer for its part; what it refuses all would refuse.
pub(super) fn why_silent(client: &Client, error: Error) -> Result<String> {
    match error {
        Error::Told(told) if told["error"] != "NotReady" && told["error"] != "UnknownApplication" => {
            Err(Error::Told(told))
        }
        Error::Told(told) => Ok(format!("{client}: {}", told["message"].as_str().unwrap_or("not ready"))),
        Error::Problem(problem) => Ok(format!("{client}: {}", problem.message)),
        other => Err(other),
    }
}

/// Rows with what they are ordered by among those of other processes.
fn rows(entries: &[Value], places: &[String]) -> Option<Vec<Row>> {
    let read = |(entry, place): (&Value, &String)| {
        let mut row = row(entry)?;
        if let Some(window) = &mut row.window {
            window.place = read_cursor(place).ok()?.0;
        }
        Some(row)
    };
    (entries.len() == places.len()).then(|| entries.iter().zip(places).map(read).collect::<Option<_>>())?
}
