//! A source topic in the place of a changelog: Kafka Streams' `reuse.ktable.source.topics`. What a table holds is then what
//! its topic adds up to, as far as the topic was processed, so it can be only where every record of the topic is a row of
//! the table, as it stands there.

use super::description::Store;
use super::{Blueprint, Extractor, InvalidTimestamp, Operator};
use crate::changelog::StoreKind;
use crate::config::{OnError, Start, StoreChangelog};
use crate::error::{Problem, exit};

impl Blueprint {
    /// Whether a store's table has its source topic for its changelog, or is said to have: the manifest wins.
    pub fn reuses_source(&self, store: &Store) -> bool {
        match self.manifest.stores.get(&store.name).and_then(|own| own.changelog.as_ref()) {
            Some(StoreChangelog::Off) => false,
            Some(StoreChangelog::On(own)) => own.reuse_source_topic.unwrap_or(store.reuse_source_topic),
            None => store.reuse_source_topic,
        }
    }

    /// The node whose topic is the store's changelog, by its place; `None`: another topic is, or none.
    pub(super) fn source_changelog(&self, store: &Store) -> Option<usize> {
        let number = self.graph.stores.iter().position(|known| known.name == store.name)?;
        let owner = self.graph.nodes.iter().position(|node| node.store == Some(number));
        owner.filter(|_| self.reuses_source(store))
    }

    /// The topic that a store is restored from: its changelog, or its table's source topic; `None`: there is none.
    pub fn logged_topic(&self, store: &Store) -> Option<String> {
        let source = || self.topic_name(&self.graph.nodes[self.source_changelog(store)?]);
        self.changelog_topic(store).or_else(source)
    }

    /// Why a store cannot have its source topic for its changelog.
    pub(super) fn unfit_source(&self, store: &Store) -> Option<Problem> {
        if !self.reuses_source(store) {
            return None;
        }
        let node = self.source_changelog(store).map(|node| &self.graph.nodes[node]);
        let Some(node) = node.filter(|node| node.operator == Operator::TableSource) else {
            let why = "no table is read from a topic into it, so there is none that adds up to what it holds";
            return Some(unfit(store, None, why.to_owned()));
        };
        let owners = self.graph.nodes.iter().filter(|other| other.store == node.store).count();
        let times = node.times;
        let start = self.sections(node).next().map(|source| source.start).unwrap_or_default();
        let own = self.manifest.stores.get(&store.name).and_then(|own| own.changelog.as_ref());
        let is_named = matches!(own, Some(StoreChangelog::On(own)) if own.topic.is_some());
        let why = if owners > 1 {
            "several nodes write it, and the topic has what one of them writes".to_owned()
        } else if self.kind(store) != StoreKind::KeyValue {
            format!("it is {}, and a compacted topic forgets what a {0} store still holds", self.kind(store).name())
        } else if self.skips_restoration(store) {
            "skip_restoration goes on from a changelog's end, and a source topic's end was not processed yet".to_owned()
        } else if is_named {
            "[stores.NAME] changelog names another topic".to_owned()
        } else if !matches!(times.extractor, Extractor::Record | Extractor::LogAppend) {
            "its source takes the time of its records from elsewhere than from them, and a restored row would have \
             another one"
                .to_owned()
        } else if times.invalid != InvalidTimestamp::Fail {
            "its source lets records without a valid time go or gives them another one, and the topic keeps them as they \
             are"
                .to_owned()
        } else if *self.on_error(node) != OnError::Fail {
            format!("its source has on_error = \"{}\", and what it leaves out stays in the topic", self.on_error(node))
        } else if start != Start::Earliest {
            "its source starts at the latest record, and the topic has those before it".to_owned()
        } else {
            return None;
        };
        Some(unfit(store, self.topic_name(node), why))
    }
}

fn unfit(store: &Store, topic: Option<String>, why: String) -> Problem {
    let message = format!("store {} cannot have its source topic for its changelog", store.name);
    Problem::new("SourceTopicNotReusable", "E0224", exit::BAD_PLAN, message)
        .field("store", store.name.as_str())
        .field("topic", topic)
        .why(why)
        .fix(format!("give it a changelog of its own:\n[stores.{}.changelog]\nreuse_source_topic = false", store.name))
}
