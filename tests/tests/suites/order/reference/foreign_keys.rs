//! Foreign-key joins of the interpreter, after Kafka Streams' SubscriptionSendProcessorSupplier,
//! SubscriptionReceiveProcessorSupplier, SubscriptionJoinProcessorSupplier, ForeignTableJoinProcessorSupplier and
//! ResponseJoinProcessorSupplier. There is one partition.

use millstream_engine::changelog::foreign_key::{Instruction, Response, Subscription, store_prefix};
use millstream_engine::changelog::hash128;
use millstream_engine::topology::description::Join;

use super::{Flow, Rec, Stop, World, plain, seen};

impl World<'_> {
    pub(super) fn send(&mut self, at: usize, flow: Flow) -> Result<(), Stop> {
        use Instruction::*;
        let node = &self.description.nodes[at];
        let both = Self::both(&flow);
        let asked: Vec<Flow> = both.iter().flatten().cloned().collect();
        let mut kept = self.asks_all(at, &format!("{}-subscription-send", node.name), &asked)?.into_iter();
        let keys = both.map(|flow| {
            let Some(flow) = flow else { return Some(None) };
            kept.next().unwrap().then(|| self.shape.code[at].selected(&seen(&self.from, &flow)))
        });
        let [old, Some(new)] = keys else { return Ok(()) };
        let old = old.flatten();
        let (is_gone, changed) = (flow.rec.value.is_none(), old != new);
        let mut told: Vec<(Option<Vec<u8>>, Instruction)> = Vec::new();
        if node.join == Some(Join::Left) {
            if !(is_gone && flow.old.is_none()) {
                told.extend(old.filter(|_| changed).map(|old| (Some(old), DeleteKeyNoPropagate)));
                told.push((new, PropagateNullIfNoForeignValue));
            }
        } else {
            match (old, new) {
                (old, None) => {
                    told.extend(old.map(|old| (Some(old), DeleteKeyAndPropagate)));
                    self.effects.dropped.null += u64::from(!is_gone);
                }
                (Some(old), new) if changed => {
                    told.push((Some(old), DeleteKeyNoPropagate));
                    told.push((new, PropagateNullIfNoForeignValue));
                }
                (_, new) => told.push((new, PropagateOnlyIfForeignValue)),
            }
        }
        for (key, instruction) in told {
            let mut bytes = Vec::new();
            let hash = flow.rec.value.as_deref().map(hash128);
            let primary_key = flow.rec.key.as_deref().unwrap();
            Subscription { instruction, hash, primary_key, partition: [0; 4] }.encode(&mut bytes);
            let rec = Rec { key, value: Some(bytes), ..flow.rec.clone() };
            self.write_out(&format!("app-{}-subscription-registration-topic", node.name), rec);
        }
        Ok(())
    }

    pub(super) fn subscribe(&mut self, at: usize, flow: Flow) -> Result<(), Stop> {
        use Instruction::*;
        let node = &self.description.nodes[at];
        let bytes = flow.rec.value.clone().unwrap();
        let Subscription { instruction, hash, primary_key, .. } = Subscription::decode(&bytes).unwrap();
        let row = self.look_up(node.inputs[1].node(), &flow.rec)?;
        if let Some(foreign_key) = &flow.rec.key {
            let mut key = Vec::new();
            store_prefix(foreign_key, &mut key);
            key.extend(primary_key);
            let deletes = matches!(instruction, DeleteKeyNoPropagate | DeleteKeyAndPropagate);
            let (store, timestamp) = (format!("{}-subscription-store", node.name), flow.rec.timestamp);
            self.put(&store, &key, (!deletes).then_some(&bytes[..]), timestamp, timestamp);
        }
        let timestamp = row.as_ref().map_or(flow.rec.timestamp, |(newest, _)| flow.rec.timestamp.max(*newest));
        let row = row.map(|(_, value)| value);
        let foreign = match instruction {
            DeleteKeyNoPropagate => return Ok(()),
            PropagateOnlyIfForeignValue if row.is_none() => return Ok(()),
            DeleteKeyAndPropagate => None,
            _ => row,
        };
        let rec = Rec { key: Some(primary_key.to_vec()), timestamp, ..flow.rec.clone() };
        self.answer(&node.name, rec, hash, foreign.as_deref());
        Ok(())
    }

    fn answer(&mut self, node: &str, rec: Rec, hash: Option<[u8; 16]>, foreign: Option<&[u8]>) {
        let mut bytes = Vec::new();
        Response { hash, foreign }.encode(&mut bytes);
        self.write_out(&format!("app-{node}-subscription-response-topic"), Rec { value: Some(bytes), ..rec });
    }

    pub(super) fn foreign_change(&mut self, at: usize, flow: Flow) -> Result<(), Stop> {
        let name = &self.description.nodes[at].name;
        let mut prefix = Vec::new();
        store_prefix(flow.rec.key.as_ref().unwrap(), &mut prefix);
        let entries = &self.effects.stores[&format!("{name}-subscription-store")];
        let found = entries.iter().filter(|(key, _)| key.starts_with(&prefix));
        let found: Vec<Vec<u8>> = found.map(|(_, (_, value))| value.clone()).collect();
        for bytes in found {
            let Subscription { hash, primary_key, .. } = Subscription::decode(&bytes).unwrap();
            let rec = Rec { key: Some(primary_key.to_vec()), ..flow.rec.clone() };
            self.answer(name, rec, hash, flow.rec.value.as_deref());
        }
        Ok(())
    }

    pub(super) fn resolve(&mut self, at: usize, flow: Flow) -> Result<(), Stop> {
        let node = &self.description.nodes[at];
        let bytes = flow.rec.value.clone().unwrap();
        let Response { hash, foreign } = Response::decode(&bytes).unwrap();
        let row = self.look_up(node.inputs[0].node(), &flow.rec)?.map(|(_, value)| value);
        if hash != row.as_deref().map(hash128) {
            self.effects.dropped.null += 1;
            return Ok(());
        }
        let foreign = foreign.map(<[u8]>::to_vec);
        let mut value = None;
        if row.is_some() && (node.join == Some(Join::Left) || foreign.is_some()) {
            let side = format!("{}-response-join", node.name);
            let Some(joined) = self.joined(at, &side, &flow.rec, &[(row, foreign)])?.remove(0) else { return Ok(()) };
            value = joined;
        }
        self.table_source(at, plain(Rec { value, ..flow.rec }))
    }
}
