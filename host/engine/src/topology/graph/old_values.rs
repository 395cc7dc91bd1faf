//! Which tables send old values along. Aggregations always do; the others where something behind them goes by them.
//!
//! - A filter asks, so that it need not send a tombstone for a row that never passed (cases `tb-filter-*`). It does
//!   without where there are none.
//! - A suppression must have them: they go into its buffer (KTableSuppressProcessorSupplier).
//! - A group-by has to take old values out of their groups, a foreign-key join has to end old subscriptions, and a join
//!   has to know whether a row that goes was there. They must have them.
//!
//! A table has them when it is materialised, or can compute them from its own parent's (KTableImpl's
//! enableSendingOldValues).

use super::Node;
use crate::topology::Operator;
use crate::topology::description::Join;

/// Answers what cannot be had.
pub(super) fn send(nodes: &mut [Node]) -> Vec<String> {
    let mut errors = Vec::new();
    for node in nodes.iter_mut() {
        node.sends_old = node.operator.aggregates();
    }
    for at in 0..nodes.len() {
        let Some(parent) = nodes[at].inputs.first().map(|edge| edge.node) else { continue };
        match (nodes[at].operator, nodes[at].join) {
            (Operator::TableFilter | Operator::TableFilterNot, _) => nodes[at].sends_old |= ask(nodes, parent).is_ok(),
            (Operator::TableGroupBy | Operator::ForeignKeySend | Operator::Suppress, _)
            | (Operator::TableJoinThis, Some(Join::Left | Join::Outer))
            | (Operator::TableJoinOther, Some(Join::Outer)) => need(nodes, at, parent, &mut errors),
            _ => {}
        }
    }
    errors.dedup();
    errors
}

fn need(nodes: &mut [Node], at: usize, parent: usize, errors: &mut Vec<String>) {
    if let Err(without) = ask(nodes, parent) {
        let (node, table) = (&nodes[at], &nodes[without].name);
        errors.push(format!(
            "node `{}` ({}) goes by old values, and the table `{table}` has no store that knows them",
            node.name,
            node.operator.name()
        ));
    }
}

/// Lets a table send old values. The error is the table that would have to have a store.
fn ask(nodes: &mut [Node], at: usize) -> Result<(), usize> {
    // What an aggregate begins with is its first old value (KStreamAggregate).
    nodes[at].tells_initial |= matches!(nodes[at].operator, Operator::Aggregate | Operator::Cogroup);
    if nodes[at].sends_old {
        return Ok(()); // and so does all that it is made of
    }
    match nodes[at].operator {
        Operator::Suppress => ask(nodes, nodes[at].inputs[0].node)?,
        _ if nodes[at].store.is_some() && nodes[at].operator != Operator::TableJoin => {}
        Operator::TableFilter | Operator::TableFilterNot | Operator::TableMapValues => {
            ask(nodes, nodes[at].inputs[0].node)?
        }
        Operator::TableJoin => {
            for side in nodes[at].inputs.clone() {
                ask(nodes, nodes[side.node].inputs[0].node)?;
                nodes[side.node].sends_old = true;
            }
        }
        _ => return Err(at),
    }
    nodes[at].sends_old = true;
    Ok(())
}
