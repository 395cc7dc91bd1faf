//! How many partitions everything has (semantics.md B21).

use std::collections::{BTreeMap, BTreeSet};

use super::Blueprint;
use super::subtopology::copartition_groups;
use crate::error::{Problem, exit};

/// Partition counts worked out from the sources that exist.
pub struct Partitions {
    /// By node: the topic of a source or of either side of a repartition.
    topics: BTreeMap<usize, i32>,
    subtopologies: Vec<i32>,
}

impl Partitions {
    pub fn of_topic(&self, node: usize) -> i32 {
        self.topics.get(&node).copied().unwrap_or(1)
    }

    pub fn of_subtopology(&self, subtopology: usize) -> i32 {
        self.subtopologies[subtopology]
    }
}

/// Sources have what they have. A repartition topic has what its node enforces, else the count of what it is
/// co-partitioned with, else the largest count of what feeds it; worked out from topic to topic.
pub fn infer(blueprint: &Blueprint, existing: &dyn Fn(&str) -> Option<i32>) -> Result<Partitions, Problem> {
    let mut counts = sources(blueprint, existing)?;
    for (at, node) in blueprint.graph.nodes.iter().enumerate() {
        if let Some(count) = node.partitions.filter(|_| node.operator.is_repartition()) {
            settle(&mut counts, at, count);
        }
    }
    let groups: Vec<_> = blueprint
        .subtopologies
        .iter()
        .flat_map(|subtopology| copartition_groups(&blueprint.graph, subtopology))
        .collect();
    // Each round settles at least one repartition topic, or none is left that can be settled. A subtopology that reads
    // what it writes itself has no say in that: there the sources that are known decide.
    while settle_one(blueprint, &groups, &mut counts, all_known)
        || settle_one(blueprint, &groups, &mut counts, any_known)
    {}
    if let Some(at) = (0..blueprint.graph.nodes.len())
        .find(|at| blueprint.graph.nodes[*at].operator.is_repartition() && !counts.contains_key(at))
    {
        let node = &blueprint.graph.nodes[at];
        return Err(Problem::new(
            "BadTopology",
            "E0201",
            exit::BAD_PLAN,
            format!("node `{}`: nothing that feeds it says how many partitions it needs", node.name),
        )
        .field("node", node.name.as_str())
        .why("its topic would be created with a number that nobody has chosen")
        .fix("give the repartition a number of partitions"));
    }
    check_groups(blueprint, &groups, &counts)?;
    let most = |sources: &[usize]| sources.iter().filter_map(|source| counts.get(source)).copied().max().unwrap_or(1);
    let subtopologies = blueprint.subtopologies.iter().map(|subtopology| most(&subtopology.sources)).collect();
    Ok(Partitions { topics: counts, subtopologies })
}

fn sources(blueprint: &Blueprint, existing: &dyn Fn(&str) -> Option<i32>) -> Result<BTreeMap<usize, i32>, Problem> {
    let mut counts = BTreeMap::new();
    for (at, node) in blueprint.graph.nodes.iter().enumerate() {
        if !node.operator.reads_external() {
            continue;
        }
        let Some(topic) = blueprint.topic_name(node) else { continue };
        match existing(&topic) {
            Some(partitions) => {
                counts.insert(at, partitions);
            }
            None => return Err(missing_source(blueprint, at, &topic)),
        }
    }
    Ok(counts)
}

fn missing_source(blueprint: &Blueprint, source: usize, topic: &str) -> Problem {
    let subtopology = blueprint.subtopologies.iter().find(|subtopology| subtopology.sources.contains(&source));
    let store = subtopology.and_then(|subtopology| subtopology.stores.first());
    let store = store.map(|number| blueprint.graph.stores[*number].name.clone());
    Problem::new("SourceTopicNotFound", "E0204", exit::BAD_PLAN, format!("source topic {topic} does not exist"))
        .field("topic", topic)
        .field("source", blueprint.graph.nodes[source].name.as_str())
        .field("store", store)
        .why("an application does not create what it reads")
        .fix(format!("millstream topics create {topic} --partitions N"))
}

/// Settles the first repartition topic whose count can be said, with all that it is co-partitioned with.
fn settle_one(
    blueprint: &Blueprint,
    groups: &[BTreeSet<usize>],
    counts: &mut BTreeMap<usize, i32>,
    most: fn(&[Option<i32>]) -> Option<i32>,
) -> bool {
    let nodes = &blueprint.graph.nodes;
    for (at, node) in nodes.iter().enumerate() {
        if !node.operator.is_repartition() || counts.contains_key(&at) {
            continue;
        }
        let open = open_with(groups, at, counts);
        let upstream = || open.iter().flat_map(|at| upstream(blueprint, *at, counts)).collect::<Vec<_>>();
        if let Some(count) = copartitioned_with(groups, at, counts).or_else(|| most(&upstream())) {
            open.iter().for_each(|at| settle(counts, *at, count));
            return true;
        }
    }
    false
}

/// Both sides of a repartition topic get its count: the graph puts the reading one right behind.
fn settle(counts: &mut BTreeMap<usize, i32>, repartition: usize, count: i32) {
    counts.insert(repartition, count);
    counts.insert(repartition + 1, count);
}

/// A repartition topic without a count, and those that must have the same one: the largest of what feeds any of them.
fn open_with(groups: &[BTreeSet<usize>], repartition: usize, counts: &BTreeMap<usize, i32>) -> BTreeSet<usize> {
    let reads = repartition + 1;
    let group = groups.iter().filter(|group| group.contains(&reads)).flatten();
    // What has no count yet is read of a repartition topic: sources of the user's have theirs.
    let open = group.filter(|member| !counts.contains_key(member)).map(|member| member - 1);
    open.chain([repartition]).collect()
}

fn copartitioned_with(groups: &[BTreeSet<usize>], repartition: usize, counts: &BTreeMap<usize, i32>) -> Option<i32> {
    let group = groups.iter().filter(|group| group.contains(&(repartition + 1)));
    group.flatten().filter_map(|member| counts.get(member)).copied().max()
}

/// The counts of the sources whose tasks write it, as far as they are known.
fn upstream(blueprint: &Blueprint, node: usize, counts: &BTreeMap<usize, i32>) -> Vec<Option<i32>> {
    let subtopology = blueprint.subtopologies.iter().find(|subtopology| subtopology.nodes.contains(&node));
    let sources = subtopology.map_or(&[][..], |subtopology| &subtopology.sources);
    sources.iter().map(|source| counts.get(source).copied()).collect()
}

fn all_known(counts: &[Option<i32>]) -> Option<i32> {
    counts.iter().copied().collect::<Option<Vec<i32>>>()?.into_iter().max()
}

fn any_known(counts: &[Option<i32>]) -> Option<i32> {
    counts.iter().copied().flatten().max()
}

fn check_groups(
    blueprint: &Blueprint,
    groups: &[BTreeSet<usize>],
    counts: &BTreeMap<usize, i32>,
) -> Result<(), Problem> {
    for group in groups {
        let members: Vec<(String, i32)> = group
            .iter()
            .filter_map(|source| Some((blueprint.topic_name(&blueprint.graph.nodes[*source])?, *counts.get(source)?)))
            .collect();
        if members.windows(2).all(|pair| pair[0].1 == pair[1].1) {
            continue;
        }
        let list: Vec<String> = members.iter().map(|(topic, count)| format!("{topic} ({count})")).collect();
        let topics: serde_json::Map<String, serde_json::Value> =
            members.iter().map(|(topic, count)| (topic.clone(), (*count).into())).collect();
        return Err(Problem::new(
            "CopartitionMismatch",
            "E0202",
            exit::BAD_PLAN,
            format!("topics that are looked up together have different numbers of partitions: {}", list.join(", ")),
        )
        .field("partitions", topics)
        .why("a key must be in the partition of the same number in all of them")
        .fix("recreate the topics with equal counts, or repartition one of the streams"));
    }
    Ok(())
}
