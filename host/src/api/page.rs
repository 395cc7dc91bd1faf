//! Lists: every one takes `limit` and `cursor`.

use std::str::FromStr;

use axum::http::Uri;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use millstream_engine::task::TaskId;

use super::problem::{self, Refusal};
use crate::desk::query::ROWS_MAX;

/// Rows of a page when nobody says.
const LIMIT_DEFAULT: usize = 100;

/// The parameters of a request, each once.
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Reads `uri`'s query and refuses what is not in `known`.
    pub fn read(uri: &Uri, known: &[&str]) -> Result<Params, Refusal> {
        let axum::extract::Query(pairs) = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|error| problem::invalid("query", error))?;
        for (place, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                return Err(problem::invalid(name, format!("no such parameter; there are {}", known.join(", "))));
            }
            if pairs[..place].iter().any(|(earlier, _)| earlier == name) {
                return Err(problem::invalid(name, "it is given twice"));
            }
        }
        Ok(Params(pairs))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub fn parse<T: FromStr<Err: std::fmt::Display>>(&self, name: &str) -> Result<Option<T>, Refusal> {
        self.get(name).map(|text| text.parse().map_err(|error| problem::invalid(name, error))).transpose()
    }

    /// `reverse`, `reverse=true`
    pub fn flag(&self, name: &str) -> Result<bool, Refusal> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("" | "true") => Ok(true),
            Some(_) => Err(problem::invalid(name, "it is true or false")),
        }
    }

    pub fn limit(&self) -> Result<usize, Refusal> {
        match self.parse("limit")? {
            Some(0) => Err(problem::invalid("limit", "it is at least 1")),
            limit => Ok(limit.unwrap_or(LIMIT_DEFAULT).min(ROWS_MAX)),
        }
    }
}

/// A page of named things in order of their names: those behind the cursor, and the next cursor.
pub fn by_name<T>(
    mut items: Vec<T>,
    name: impl Fn(&T) -> &str,
    params: &Params,
) -> Result<(Vec<T>, Option<String>), Refusal> {
    let limit = params.limit()?;
    items.sort_by(|a, b| name(a).cmp(name(b)));
    items.retain(|item| params.get("cursor").is_none_or(|cursor| name(item) > cursor));
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|last| name(last).to_owned());
    Ok((items, next))
}

/// Where a page of rows ended.
pub fn cursor(key: &[u8], task: TaskId) -> String {
    format!("{task}.{}", BASE64.encode(key))
}

pub fn read_cursor(cursor: &str) -> Result<(Vec<u8>, TaskId), Refusal> {
    let read = || {
        let (task, key) = cursor.split_once('.')?;
        let (subtopology, partition) = task.split_once('_')?;
        let task = TaskId { subtopology: subtopology.parse().ok()?, partition: partition.parse().ok()? };
        Some((BASE64.decode(key).ok()?, task))
    };
    read().ok_or_else(|| problem::invalid("cursor", "it is not one that a page gave as `next`"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn params(query: &str) -> Result<Params, Refusal> {
        Params::read(&format!("/x?{query}").parse().unwrap(), &["limit", "cursor", "reverse"])
    }

    #[test]
    fn a_list_comes_in_pages() {
        let names = || ["c", "a", "b"].map(str::to_owned).to_vec();
        let page = |query: &str| by_name(names(), String::as_str, &params(query).unwrap()).unwrap();
        assert_eq!(page("limit=2"), (vec!["a".to_owned(), "b".to_owned()], Some("b".to_owned())));
        assert_eq!(page("limit=2&cursor=b"), (vec!["c".to_owned()], None));
        assert_eq!(page("limit=3").1, None);
    }

    #[test]
    fn a_cursor_is_read_back() {
        let task = TaskId { subtopology: 1, partition: 12 };
        assert_eq!(read_cursor(&cursor(b"\xff.\x00", task)).unwrap(), (b"\xff.\x00".to_vec(), task));
        for bad in ["", "1_2", "x_1.", "1_1.*"] {
            assert!(read_cursor(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn parameters_that_mean_nothing_are_refused() {
        for bad in ["limt=1", "limit=1&limit=2"] {
            assert!(params(bad).is_err(), "{bad}");
        }
        assert!(params("limit=0").unwrap().limit().is_err());
        assert!(params("limit=x").unwrap().limit().is_err());
        assert_eq!(params("limit=1000000").unwrap().limit().unwrap(), ROWS_MAX);
        assert!(params("reverse").unwrap().flag("reverse").unwrap());
        assert!(params("reverse=1").unwrap().flag("reverse").is_err());
    }
}
