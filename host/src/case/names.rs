//! What a case may name: the topics that an application reads and writes, and its stores.

use std::collections::BTreeMap;

use millstream_engine::topology::{Blueprint, Operator};

use super::coding::{Coding, Codings};

/// By name, how keys and values are written.
#[derive(Clone, Debug, Default)]
pub struct Names {
    pub inputs: BTreeMap<String, Codings>,
    /// Sinks' topics, and those of dead letters.
    pub outputs: BTreeMap<String, Codings>,
    pub stores: BTreeMap<String, Codings>,
}

impl Names {
    pub fn of(blueprint: &Blueprint) -> Names {
        let mut names = Names::default();
        for (at, node) in blueprint.graph.nodes.iter().enumerate() {
            let Some(topic) = blueprint.topic_name(node) else { continue };
            let key = Coding::of_key(blueprint, at);
            let codings = Codings { key, value: Coding::declared(node.value.as_deref()) };
            match node.operator {
                Operator::Sink => names.outputs.insert(topic, codings),
                operator if operator.reads_external() => names.inputs.insert(topic, codings),
                _ => None,
            };
        }
        let plain = Coding::declared(None);
        for topic in blueprint.dead_letter_topics() {
            names.outputs.entry(topic).or_insert(Codings { key: plain, value: plain });
        }
        for store in &blueprint.graph.stores {
            let coding = |codec: &str| Coding::declared(Some(codec));
            let codings = Codings { key: coding(&store.key), value: coding(&store.value) };
            names.stores.insert(store.name.clone(), codings);
        }
        names
    }
}
