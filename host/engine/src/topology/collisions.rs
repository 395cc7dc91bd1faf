//! Names and topics that would stand for two things.

use std::collections::{BTreeMap, BTreeSet};

use super::blueprint::bad_topology;
use super::{Blueprint, Node, Operator};
use crate::config;
use crate::error::Problem;

impl Blueprint {
    /// Derived names are legal, and no two things share a topic.
    pub(super) fn check_names(&self) -> Result<(), Problem> {
        let mut names = BTreeSet::new();
        if let Some(twice) = self.graph.nodes.iter().find(|node| !names.insert(node.name.as_str())) {
            // The reading side of a repartition is called after it; subtopologies and their directories after sources.
            return Err(bad_topology(vec![format!("two nodes would be called `{}`", twice.name)]));
        }
        let mut owners: BTreeMap<String, String> = BTreeMap::new();
        let mut own = |topic: Option<String>, owner: String| match topic {
            None => Ok(()),
            Some(topic) => {
                if let Err(why) = config::check_topic_name(&topic) {
                    return Err(bad_topology(vec![format!("{owner}: its topic `{topic}` {why}")]));
                }
                match owners.insert(topic.clone(), owner.clone()) {
                    Some(other) => {
                        Err(bad_topology(vec![format!("{owner} and {other} would share the topic `{topic}`")]))
                    }
                    None => Ok(()),
                }
            }
        };
        for node in &self.graph.nodes {
            if node.operator.is_repartition() || node.operator.reads_external() {
                own(self.topic_name(node), format!("node `{}`", node.name))?;
            }
        }
        for store in &self.graph.stores {
            own(self.changelog_topic(store), format!("the changelog of store `{}`", store.name))?;
        }
        for subtopology in &self.subtopologies {
            own(self.tasks_topic(subtopology), "the tasks of a subtopology".to_owned())?;
        }
        if let Some(names) = self.names_topic() {
            own(Some(names), "the record of its names".to_owned())?;
        }
        self.check_written(&owners)
    }

    /// What goes out may go where something is read, and nowhere else where the application has its own: a changelog would
    /// be restored from it. `owners`: of the topics that are read or its own.
    fn check_written(&self, owners: &BTreeMap<String, String>) -> Result<(), Problem> {
        let (nodes, read) = (&self.graph.nodes, |node: &&Node| node.operator.reads_external());
        let outside: BTreeSet<String> = nodes.iter().filter(read).filter_map(|node| self.topic_name(node)).collect();
        let sinks = nodes.iter().filter(|node| node.operator == Operator::Sink);
        let sinks = sinks.filter_map(|sink| Some((self.topic_name(sink)?, format!("node `{}`", sink.name))));
        let letters = self.dead_letter_topics().map(|topic| (topic, "its dead letters".to_owned()));
        for (topic, writer) in sinks.chain(letters).filter(|(topic, _)| !outside.contains(topic)) {
            if let Some(owner) = owners.get(&topic) {
                return Err(bad_topology(vec![format!("{owner} and {writer} would share the topic `{topic}`")]));
            }
        }
        Ok(())
    }
}
