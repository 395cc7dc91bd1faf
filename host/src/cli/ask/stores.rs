//! The stores of an application with what all of its processes hold of them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::parts::why_silent;
use super::{Running, unreadable};
use crate::app::status::{StoreInfo, StorePart};
use crate::cli::Result;
use crate::cli::client::Client;

impl Running {
    /// Beside them, which processes have not answered, with the reason. A task that moves counts once.
    pub fn stores(&self) -> Result<(Vec<StoreInfo>, Vec<String>)> {
        if let ([client], true) = (&self.clients[..], self.silent.is_empty()) {
            return Ok((self.stores_of(client)?.0, Vec::new()));
        }
        let (mut found, mut order, mut silent) = (BTreeMap::new(), Vec::new(), self.silent.clone());
        let mut seen = BTreeSet::new();
        for client in &self.clients {
            // One that was asked by its socket is not shown a token at the address that it tells the others.
            if seen.contains(&client.to_string()) {
                continue;
            }
            let (stores, address) = match self.stores_of(client) {
                Ok(answer) => answer,
                Err(error) => {
                    silent.push(why_silent(client, error)?);
                    continue;
                }
            };
            // By its socket here, and by what it tells the group.
            if address.as_ref().is_some_and(|address| !seen.insert(address.clone())) {
                continue;
            }
            let at = address.unwrap_or_else(|| client.to_string());
            for mut store in stores {
                store.tasks.iter_mut().for_each(|part| part.at = Some(at.clone()));
                match found.remove(&store.name) {
                    Some(before) => drop(found.insert(store.name.clone(), together(before, store))),
                    None => {
                        order.push(store.name.clone());
                        found.insert(store.name.clone(), store);
                    }
                }
            }
        }
        Ok((order.iter().filter_map(|name| found.remove(name)).collect(), silent))
    }

    /// As one process tells them, and its address.
    fn stores_of(&self, client: &Client) -> Result<(Vec<StoreInfo>, Option<String>)> {
        let (mut stores, mut next) = (Vec::new(), Value::Null);
        loop {
            let cursor = next.as_str().map(|cursor| ("cursor", cursor));
            let answer = client.get(&["v1", "apps", &self.id, "stores"], cursor.as_slice())?;
            let mut answer = answer.ok_or_else(unreadable)?;
            let page: Vec<StoreInfo> = serde_json::from_value(answer["stores"].take()).map_err(|_| unreadable())?;
            stores.extend(page);
            next = answer["next"].take();
            if next.is_null() {
                return Ok((stores, answer["address"].as_str().map(str::to_owned)));
            }
        }
    }
}

/// What two processes hold of one store. Of one that each has whole, what the first has.
fn together(one: StoreInfo, other: StoreInfo) -> StoreInfo {
    if one.of == 0 {
        return one;
    }
    let of = one.of.max(other.of);
    let mut tasks: Vec<StorePart> = one.tasks.clone();
    tasks.extend(other.tasks.into_iter().filter(|part| one.tasks.iter().all(|known| known.task != part.task)));
    tasks.sort_by_key(|part| place(&part.task));
    one.held_by(tasks, of)
}

/// Subtopology and partition as numbers, for `0_10` stands behind `0_9`.
fn place(task: &str) -> Option<(u32, i32)> {
    let (subtopology, partition) = task.split_once('_')?;
    Some((subtopology.parse().ok()?, partition.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::status::StoreCodecs;

    fn info(of: usize, tasks: &[(&str, u64)]) -> StoreInfo {
        let codecs = StoreCodecs { key: "utf8".into(), value: "utf8".into() };
        let info = StoreInfo {
            name: "s".into(),
            kind: "key-value".into(),
            provider: "memory".into(),
            codecs,
            changelog_topic: None,
            reuses_source_topic: false,
            entries: 0,
            bytes: 0,
            tasks: Vec::new(),
            of: 0,
        };
        let part = |(task, entries): &(&str, u64)| StorePart {
            task: (*task).to_owned(),
            entries: *entries,
            bytes: 10 * entries,
            at: None,
        };
        info.held_by(tasks.iter().map(part).collect(), of)
    }

    #[test]
    fn the_parts_of_a_store_are_put_together_each_once() {
        let whole = together(info(12, &[("0_9", 1), ("0_2", 2)]), info(12, &[("0_10", 4), ("0_2", 2)]));
        assert_eq!((whole.entries, whole.bytes, whole.of), (7, 70, 12));
        let tasks: Vec<&str> = whole.tasks.iter().map(|part| part.task.as_str()).collect();
        assert_eq!(tasks, ["0_2", "0_9", "0_10"]);
    }

    #[test]
    fn a_store_that_every_process_has_is_not_added_up() {
        let copy = |entries| StoreInfo { entries, ..info(0, &[]) };
        assert_eq!(together(copy(5), copy(4)).entries, 5);
    }
}
