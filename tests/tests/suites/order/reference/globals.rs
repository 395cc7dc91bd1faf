//! The global table of the interpreter, and joins with it, after Kafka Streams' KStreamKTableJoinProcessor.

use millstream_engine::topology::description::Join;

use super::{Flow, Rec, Stop, World, plain, seen};

/// Topic, node and store of the global table.
const GLOBAL: &str = "g";

impl World<'_> {
    /// Takes what its topic has, ahead of all tasks.
    pub(super) fn follow_global(&mut self) {
        if !self.description.nodes.iter().any(|node| node.name == GLOBAL) {
            return;
        }
        let there = self.topics.get(GLOBAL).map_or(&[][..], Vec::as_slice);
        let entries = self.effects.stores.get_mut(GLOBAL).unwrap();
        for rec in &there[self.taken..] {
            match (&rec.key, &rec.value) {
                (None, _) => self.effects.dropped.null += 1,
                (Some(key), Some(value)) => drop(entries.insert(key.clone(), (rec.timestamp, value.clone()))),
                (Some(key), None) => drop(entries.remove(key)),
            }
        }
        self.taken = there.len();
    }

    pub(super) fn stream_global_join(&mut self, at: usize, flow: Flow) -> Result<(), Stop> {
        let node = &self.description.nodes[at];
        let is_left = node.join == Some(Join::Left);
        if flow.rec.value.is_none() {
            self.effects.dropped.null += 1;
            return Ok(());
        }
        if !self.asks(at, &flow)? {
            return Ok(());
        }
        let key = self.shape.code[at].selected(&seen(&self.from, &flow));
        if key.is_none() && !is_left {
            self.effects.dropped.null += 1;
            return Ok(());
        }
        let row = key.and_then(|key| self.get(GLOBAL, &key));
        if row.is_none() && !is_left {
            return Ok(());
        }
        let pair = (flow.rec.value.clone(), row.map(|(_, value)| value));
        match self.joined(at, &node.name, &flow.rec, &[pair])?.remove(0) {
            Some(value) => self.forward(at, plain(Rec { value, ..flow.rec }), None),
            None => Ok(()),
        }
    }
}
