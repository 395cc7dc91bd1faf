//! Topics between nodes, and the tasks that they cut a topology into.

use std::collections::VecDeque;

use millstream_engine::topology::Description;
use millstream_engine::topology::description::{Join, Node, PunctuationTime};

use super::{Source, Task, Timer, find, groups};

/// Whether what flows out of a node may have another key than its topic's.
fn rekeyed(description: &Description, node: &Node) -> bool {
    match node.op.as_str() {
        "map" | "flat-map" | "select-key" | "process" | "table-group-by" => true,
        "filter" | "filter-not" | "map-values" | "flat-map-values" | "peek" | "branch" | "merge"
        | "stream-global-join" => node.inputs.iter().any(|input| rekeyed(description, find(description, input.node()))),
        "stream-table-join" => false,
        _ => false,
    }
}

/// The repartition topic in front of a node's input of this rank, if there is one.
pub fn repartition(description: &Description, node: &Node, rank: u16) -> Option<String> {
    let by_key = groups(node) || ["to-table", "stream-join", "stream-table-join"].contains(&node.op.as_str());
    let parent = find(description, node.inputs.get(usize::from(rank))?.node());
    match node.op.as_str() {
        "repartition" => Some(format!("app-{}-repartition", node.name)),
        "stream-join" if rekeyed(description, parent) => {
            Some(format!("app-{}-{}-repartition", node.name, ["left", "right"][usize::from(rank)]))
        }
        _ if by_key && rekeyed(description, parent) => {
            let name = node.store.as_ref().unwrap_or(&node.name);
            let rank = if rank == 0 { String::new() } else { format!("-{rank}") };
            Some(format!("app-{name}{rank}-repartition"))
        }
        _ => None,
    }
}

/// Whether a join behind this input takes records without a key: the left one of a stream, or the outer one of two.
pub fn keeps_null_keys(description: &Description, at: usize, rank: u16) -> bool {
    let node = &description.nodes[at];
    let meets_table = ["stream-table-join", "stream-global-join"].contains(&node.op.as_str());
    let joins_streams = node.op == "stream-join" || meets_table;
    if meets_table && rank > 0 {
        return false;
    }
    let keeps = |join: &Join| matches!(join, Join::Left | Join::Outer);
    let children = description.nodes.iter().enumerate().flat_map(|(child, other)| {
        let of_us = other.inputs.iter().enumerate().filter(|(_, input)| input.node() == node.name);
        of_us.map(move |(rank, _)| (child, rank as u16))
    });
    joins_streams && node.join.as_ref().is_some_and(keeps)
        || children.collect::<Vec<_>>().into_iter().any(|(child, rank)| keeps_null_keys(description, child, rank))
}

/// The stores that a table's rows are looked up in.
fn looked_up(description: &Description, node: &Node) -> Vec<String> {
    let own = node.store.iter().cloned();
    if node.store.is_some() && node.op != "suppress" {
        return own.collect();
    }
    let parents = node.inputs.iter().map(|input| find(description, input.node()));
    own.chain(parents.flat_map(|parent| looked_up(description, parent))).collect()
}

/// All stores that a node touches where its left work is done, and where its right work is.
fn touched(description: &Description, node: &Node) -> [Vec<String>; 2] {
    let table = |rank: usize| looked_up(description, find(description, node.inputs[rank].node()));
    // What reads the global table is not connected by it.
    let mut own: Vec<String> = node.store.iter().chain(&node.stores).filter(|store| *store != "g").cloned().collect();
    match node.op.as_str() {
        "stream-join" => own.push(format!("{}-this-join-store", node.name)),
        "stream-table-join" => own.extend(table(1)),
        "table-join" => own.extend(table(0).into_iter().chain(table(1))),
        "foreign-key-join" => {
            own.extend(table(0));
            let mut right = table(1);
            right.push(format!("{}-subscription-store", node.name));
            return [own, right];
        }
        _ => {}
    }
    [own, Vec::new()]
}

/// The tasks: what is connected without a topic between, or by a store.
pub fn tasks(description: &Description) -> Vec<Task> {
    let nodes = &description.nodes;
    let place = |name: &str| nodes.iter().position(|node| node.name == name).unwrap();
    // Two places of each node: where its work is done, and where that of a foreign-key join's right side is.
    let mut group: Vec<usize> = (0..2 * nodes.len()).collect();
    let mut join = |a: usize, b: usize| {
        let (from, to) = (group[a], group[b]);
        group.iter_mut().filter(|of| **of == from).for_each(|of| *of = to);
    };
    let all: Vec<[Vec<String>; 2]> = nodes.iter().map(|node| touched(description, node)).collect();
    for (at, node) in nodes.iter().enumerate() {
        for (rank, input) in node.inputs.iter().enumerate() {
            match (node.op.as_str(), rank) {
                ("stream-table-join" | "stream-global-join", 1) => {}
                ("foreign-key-join", 1) => join(2 * place(input.node()), 2 * at + 1),
                _ if repartition(description, node, rank as u16).is_some() => {}
                _ => join(2 * place(input.node()), 2 * at),
            }
        }
        for other in 0..nodes.len() {
            for (mine, theirs) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                if all[at][mine].iter().any(|store| all[other][theirs].contains(store)) {
                    join(2 * at + mine, 2 * other + theirs);
                }
            }
        }
    }
    let mut ids: Vec<usize> = Vec::new();
    let mut tasks: Vec<Task> = Vec::new();
    let mut read = |topic: String, node: usize, rank: u16, place: usize| {
        if !ids.contains(&group[place]) {
            ids.push(group[place]);
            tasks.push(Task::default());
        }
        let task = ids.iter().position(|id| *id == group[place]).unwrap();
        tasks[task].inputs.push(Source { topic, node, rank });
    };
    for (at, node) in nodes.iter().enumerate() {
        match node.op.as_str() {
            "source" | "table-source" => read(node.name.clone(), at, 0, 2 * at),
            "foreign-key-join" => {
                read(format!("app-{}-subscription-registration-topic", node.name), at, 0, 2 * at + 1);
                read(format!("app-{}-subscription-response-topic", node.name), at, 0, 2 * at);
            }
            _ => {
                for rank in 0..node.inputs.len() as u16 {
                    if let Some(topic) = repartition(description, node, rank) {
                        read(topic, at, rank, 2 * at);
                    }
                }
            }
        }
    }
    for task in &mut tasks {
        task.inputs.sort();
        task.queues = vec![VecDeque::new(); task.inputs.len()];
        (task.positions, task.partition_times) = (vec![0; task.inputs.len()], vec![-1; task.inputs.len()]);
    }
    for (at, node) in nodes.iter().enumerate() {
        for (number, punctuation) in node.punctuations.iter().enumerate() {
            let every = punctuation.every_ms;
            let next = if punctuation.time == PunctuationTime::Stream { 0 } else { every };
            let task = ids.iter().position(|id| *id == group[2 * at]).unwrap();
            tasks[task].timers.push(Timer { node: at, number, time: punctuation.time, every, next });
        }
    }
    tasks
}
