//! The fields of a description's node: which its operator takes, and what may stand in them.

use std::collections::BTreeSet;

use super::{Check, check_name, description};
use crate::config::check_topic_name;
use crate::topology::Operator;
use crate::topology::description::{Join, Window};

impl Check {
    pub(super) fn fields(&mut self, node: &description::Node, operator: Operator) {
        let has_topic = operator.reads_external() || operator == Operator::Sink;
        match &node.topic {
            Some(_) if !has_topic => {
                self.error(format!("node `{}` ({}): only sources and sinks take `topic`", node.name, operator.name()))
            }
            Some(topic) => {
                if let Err(why) = check_topic_name(topic) {
                    self.error(format!("node `{}`: its topic {why}", node.name));
                }
            }
            None => {}
        }
        let has_times = node.timestamp.is_some() || node.invalid_timestamp.is_some();
        if has_times && !operator.is_source() {
            let operator = operator.name();
            self.error(format!(
                "node `{}` ({operator}): only sources take `timestamp`, `invalid_timestamp`",
                node.name
            ));
        }
        if [&node.key, &node.value].into_iter().flatten().any(String::is_empty) {
            self.error(format!("node `{}`: a codec has no name", node.name));
        }
        if node.partitions.is_some_and(|n| n < 1) {
            self.error(format!("node `{}`: partitions must be at least 1", node.name));
        }
        if node.partitions.is_some() && operator != Operator::Repartition {
            self.error(format!("node `{}` ({}): only repartition takes `partitions`", node.name, operator.name()));
        }
        let of_process = [
            (!node.punctuations.is_empty(), "punctuations"),
            (node.fixed_key, "fixed_key"),
            (node.schedules, "schedules"),
            (node.resumes, "resumes"),
        ];
        for (_, field) in of_process.into_iter().filter(|(said, _)| *said && operator != Operator::Process) {
            self.error(format!("node `{}` ({}): only process takes `{field}`", node.name, operator.name()));
        }
        if let Some(window) = node.window {
            self.window(node, operator, window);
        }
        if node.emit.is_some() && (node.window.is_none() || operator == Operator::Cogroup) {
            self.error(format!(
                "node `{}` ({}): only count, reduce and aggregate of windows take `emit`",
                node.name,
                operator.name()
            ));
        }
        match node.join {
            Some(_) if !operator.joins() => {
                self.error(format!("node `{}` ({}): only joins take `join`", node.name, operator.name()))
            }
            None if operator.joins() => self.error(format!(
                "node `{}` ({}): say how it joins: inner, left or outer",
                node.name,
                operator.name()
            )),
            Some(Join::Outer) if !matches!(operator, Operator::StreamJoin | Operator::TableJoin) => {
                let (node, operator) = (&node.name, operator.name());
                self.error(format!("node `{node}` ({operator}): only stream-join and table-join have an outer join"))
            }
            _ => {}
        }
        self.join_windows(node, operator);
        self.grace(node, operator);
        let mut names = BTreeSet::new();
        for punctuation in &node.punctuations {
            if punctuation.every_ms < 1 {
                self.error(format!("node `{}`: punctuation `{}` every 0 ms", node.name, punctuation.name));
            }
            if check_name(&punctuation.name).is_err() || !names.insert(&punctuation.name) {
                self.error(format!("node `{}`: punctuation name `{}` is bad or taken", node.name, punctuation.name));
            }
        }
    }

    /// Its store has rows of the right length, and each once.
    fn window(&mut self, node: &description::Node, operator: Operator, window: Window) {
        let what = format!("node `{}` ({})", node.name, operator.name());
        if !operator.makes_windows() {
            self.error(format!("{what}: only count, reduce, aggregate and cogroup take `window`"));
        }
        if let Err(why) = window.check() {
            self.error(format!("{what}: {why}"));
            return;
        }
        let store = node.store.as_ref().and_then(|name| self.stores.iter().find(|store| store.name == *name));
        let Some(store) = store.filter(|store| store.kind == window.store_kind()) else { return };
        if store.window_size_ms != window.size_ms() || store.retain_duplicates {
            let (size, name) = (window.size_ms().unwrap_or_default(), store.name.clone());
            self.error(format!("{what}: its store `{name}` must have a window_size_ms of {size} and no duplicates"));
        }
    }
}
