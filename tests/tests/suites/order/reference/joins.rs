//! Grouped tables and joins of the interpreter, after Kafka Streams' KTableRepartitionMap, KTableAggregate,
//! KStreamKTableJoin and KTableKTableInnerJoin, LeftJoin, RightJoin and OuterJoin.

use millstream_engine::changelog::Change;
use millstream_engine::record::NO_TIMESTAMP;
use millstream_engine::topology::description::Join;

use super::super::code::Said;
use super::{Flow, Rec, Stop, World, find, plain, seen};

/// A row and the time of its last change.
pub(super) type Row = Option<(i64, Vec<u8>)>;

impl World<'_> {
    /// Asks about several values in one call: a trap ends the call, whatever was said before it. Answers which were not
    /// dropped.
    pub(super) fn asks_all(&mut self, at: usize, node: &str, flows: &[Flow]) -> Result<Vec<bool>, Stop> {
        let said: Vec<Said> = flows.iter().map(|flow| self.shape.code[at].said(&seen(&self.from, flow))).collect();
        let stops = |said: Said| Stop { node: node.to_owned(), said };
        if said.contains(&Said::Trap) {
            return Err(stops(Said::Trap));
        }
        if let Some(said) = said.iter().find(|said| !matches!(said, Said::Kept | Said::Drop)) {
            return Err(stops(*said));
        }
        self.effects.dropped.by_guest += said.iter().filter(|said| **said == Said::Drop).count() as u64;
        Ok(said.iter().map(|said| *said == Said::Kept).collect())
    }

    /// A change as one flow for what goes and one for what comes.
    pub(super) fn both(flow: &Flow) -> [Option<Flow>; 2] {
        [flow.old.clone(), flow.rec.value.clone()].map(|value| {
            let rec = Rec { value: Some(value?), ..flow.rec.clone() };
            Some(Flow { rec, old: None, input: flow.input })
        })
    }

    pub(super) fn group_table(&mut self, at: usize, flow: Flow) -> Result<(), Stop> {
        let both = Self::both(&flow);
        let asked: Vec<Flow> = both.iter().flatten().cloned().collect();
        let name = self.description.nodes[at].name.clone();
        let mut kept = self.asks_all(at, &name, &asked)?.into_iter();
        let [old, new] = both.map(|flow| {
            let flow = flow.filter(|_| kept.next().unwrap())?;
            let (key, value) = self.shape.code[at].grouped(&seen(&self.from, &flow));
            Some((key?, value?))
        });
        let send = |world: &mut Self, key: Vec<u8>, old: Option<Vec<u8>>, new: Option<Vec<u8>>| {
            let mut bytes = Vec::new();
            Change { old: old.as_deref(), new: new.as_deref() }.encode(&mut bytes);
            let rec = Rec { key: Some(key), value: Some(bytes), ..flow.rec.clone() };
            world.forward(at, plain(rec), None)
        };
        match (old, new) {
            (Some((key, old)), Some((same, new))) if key == same => send(self, key, Some(old), Some(new)),
            (old, new) => {
                old.into_iter().try_for_each(|(key, old)| send(self, key, Some(old), None))?;
                new.into_iter().try_for_each(|(key, new)| send(self, key, None, Some(new)))
            }
        }
    }

    /// What a record of a grouped table's repartition topic says.
    fn read_change(flow: Flow) -> Flow {
        let bytes = flow.rec.value.clone().unwrap();
        let Change { old, new } = Change::decode(&bytes).unwrap();
        let (old, value) = (old.map(<[u8]>::to_vec), new.map(<[u8]>::to_vec));
        Flow { rec: Rec { value, ..flow.rec }, old, ..flow }
    }

    pub(super) fn count_table(&mut self, at: usize, flow: Flow) -> Result<(), Stop> {
        let flow = Self::read_change(flow);
        let before = self.row(at, &flow);
        let counted = before.as_ref().map(|(_, bytes)| i64::from_be_bytes(bytes.as_slice().try_into().unwrap()));
        let mut count = counted.map(|count| count - i64::from(flow.old.is_some()));
        if flow.rec.value.is_some() {
            count = Some(count.unwrap_or(0) + 1);
        }
        self.keep(at, flow, before, count.map(|count| count.to_be_bytes().to_vec()))
    }

    pub(super) fn fold_table(&mut self, at: usize, flow: Flow) -> Result<(), Stop> {
        let flow = Self::read_change(flow);
        let before = self.row(at, &flow);
        let [goes, comes] = Self::both(&flow);
        let steps = [goes.map(|flow| Flow { input: 1, ..flow }), comes.map(|flow| Flow { input: 0, ..flow })];
        let steps: Vec<Flow> = steps.into_iter().flatten().collect();
        let name = self.description.nodes[at].name.clone();
        let kept = self.asks_all(at, &name, &steps)?;
        let mut aggregate = before.as_ref().map(|(_, value)| value.clone());
        for (step, kept) in steps.iter().zip(&kept) {
            if *kept && (step.input == 0 || aggregate.is_some()) {
                let (key, value) = (step.rec.key.as_deref().unwrap(), step.rec.value.as_deref());
                aggregate = self.shape.code[at].folded_from(step.input, key, value, aggregate.as_deref());
            }
        }
        if kept.contains(&true) { self.keep(at, flow, before, aggregate) } else { Ok(()) }
    }

    fn row(&self, at: usize, flow: &Flow) -> Row {
        self.get(self.description.nodes[at].store.as_deref().unwrap(), flow.rec.key.as_ref().unwrap())
    }

    fn keep(&mut self, at: usize, flow: Flow, before: Row, value: Option<Vec<u8>>) -> Result<(), Stop> {
        let timestamp = before.as_ref().map_or(flow.rec.timestamp, |(newest, _)| flow.rec.timestamp.max(*newest));
        let logged = if value.is_none() { flow.rec.timestamp } else { timestamp };
        let (store, key) = (self.description.nodes[at].store.clone().unwrap(), flow.rec.key.clone().unwrap());
        self.put(&store, &key, value.as_deref(), timestamp, logged);
        let rec = Rec { value, timestamp, ..flow.rec };
        self.forward(at, Flow { rec, old: before.map(|(_, old)| old), input: 0 }, None)
    }

    // === joins ===

    /// What a table holds for a key, worked out by its functions where it is not kept.
    pub(super) fn look_up(&mut self, name: &str, rec: &Rec) -> Result<Row, Stop> {
        let node = find(self.description, name);
        let at = self.description.nodes.iter().position(|found| std::ptr::eq(found, node)).unwrap();
        let Some(key) = rec.key.as_ref() else { return Ok(None) };
        let parent = |rank: usize| node.inputs[rank].node();
        if node.op == "suppress" {
            let shown = self.look_up(parent(0), rec)?;
            return Ok(self.shown(at, key).unwrap_or(shown));
        }
        if let Some(store) = &node.store {
            return Ok(self.get(store, key));
        }
        if node.op == "table-join" {
            let (left, right) = (self.look_up(parent(0), rec)?, self.look_up(parent(1), rec)?);
            let has = match node.join.unwrap() {
                Join::Inner => left.is_some() && right.is_some(),
                Join::Left => left.is_some(),
                Join::Outer => left.is_some() || right.is_some(),
            };
            if !has {
                return Ok(None);
            }
            let time = |row: &Row| row.as_ref().map_or(-1, |(time, _)| *time);
            let timestamp = time(&left).max(time(&right));
            let rec = Rec { timestamp: told(timestamp, rec), ..rec.clone() };
            let pair = (left.map(|(_, left)| left), right.map(|(_, right)| right));
            let joined = self.joined(at, &node.name, &rec, &[pair])?.remove(0).flatten();
            return Ok(joined.map(|value| (timestamp, value)));
        }
        let Some((timestamp, value)) = self.look_up(parent(0), rec)? else { return Ok(None) };
        let flow = plain(Rec { timestamp: told(timestamp, rec), value: Some(value.clone()), ..rec.clone() });
        if !self.asks_all(at, &node.name, std::slice::from_ref(&flow))?[0] {
            return Ok(None);
        }
        let (code, seen) = (self.shape.code[at], seen(&self.from, &flow));
        Ok(match node.op.as_str() {
            "table-filter" => code.matches(&seen).then_some((timestamp, value)),
            "table-filter-not" => (!code.matches(&seen)).then_some((timestamp, value)),
            "table-map-values" => Some((timestamp, code.table_mapped(&seen))),
            other => panic!("a look-up in a {other}"),
        })
    }

    /// What a node's joiner makes of pairs, in one call; nothing where it dropped one.
    pub(super) fn joined(
        &mut self,
        at: usize,
        node: &str,
        rec: &Rec,
        pairs: &[(Option<Vec<u8>>, Option<Vec<u8>>)],
    ) -> Result<Vec<Option<Option<Vec<u8>>>>, Stop> {
        let left = |(left, _): &(Option<Vec<u8>>, _)| plain(Rec { value: left.clone(), ..rec.clone() });
        let kept = self.asks_all(at, node, &pairs.iter().map(left).collect::<Vec<_>>())?;
        let code = self.shape.code[at];
        let join = |((left, right), kept): (&(Option<Vec<u8>>, Option<Vec<u8>>), bool)| {
            kept.then(|| code.joined(rec.key.as_deref(), left.as_deref(), right.as_deref()))
        };
        Ok(pairs.iter().zip(kept).map(join).collect())
    }

    pub(super) fn stream_table_join(&mut self, at: usize, flow: Flow) -> Result<(), Stop> {
        let node = &self.description.nodes[at];
        let is_left = node.join == Some(Join::Left);
        if flow.input == 1 {
            return Ok(()); // the table's changes go nowhere
        }
        if flow.rec.value.is_none() || (flow.rec.key.is_none() && !is_left) {
            self.effects.dropped.null += 1;
            return Ok(());
        }
        let row = self.look_up(node.inputs[1].node(), &flow.rec)?;
        if row.is_none() && !is_left {
            return Ok(());
        }
        let pair = (flow.rec.value.clone(), row.map(|(_, value)| value));
        match self.joined(at, &node.name, &flow.rec, &[pair])?.remove(0) {
            Some(value) => self.forward(at, plain(Rec { value, ..flow.rec }), None),
            None => Ok(()),
        }
    }

    pub(super) fn table_join(&mut self, at: usize, flow: Flow) -> Result<(), Stop> {
        let node = &self.description.nodes[at];
        let join = node.join.unwrap();
        let is_left = flow.input == 0;
        let row = self.look_up(node.inputs[usize::from(is_left)].node(), &flow.rec)?;
        let alone = |is_left: bool| if is_left { join != Join::Inner } else { join == Join::Outer };
        if row.is_none() && (!alone(is_left) || (flow.rec.value.is_none() && flow.old.is_none())) {
            return Ok(());
        }
        let timestamp = row.as_ref().map_or(flow.rec.timestamp, |(newest, _)| flow.rec.timestamp.max(*newest));
        let row = row.map(|(_, value)| value);
        let rec = Rec { timestamp, ..flow.rec.clone() };
        let sends_old = self.is_asked(at);
        let joins = |value: &Option<Vec<u8>>| value.is_some() || (alone(!is_left) && row.is_some());
        let (new, old) = (joins(&flow.rec.value), sends_old && joins(&flow.old));
        let sides = |own: Option<Vec<u8>>| if is_left { (own, row.clone()) } else { (row.clone(), own) };
        let mut pairs = Vec::new();
        pairs.extend(new.then(|| sides(flow.rec.value.clone())));
        pairs.extend(old.then(|| sides(flow.old.clone())));
        let side = format!("{}-{}", node.name, if is_left { "this" } else { "other" });
        let mut values = self.joined(at, &side, &rec, &pairs)?.into_iter();
        let new = if new { values.next().unwrap() } else { Some(None) };
        let old = if old { values.next().unwrap().flatten() } else { None };
        let Some(value) = new else { return Ok(()) };
        self.change(at, node.store.as_deref(), Flow { rec, ..flow }, value, old)
    }
}

/// The time that a function is told of a row: of one that a suppression shows nobody knows it.
fn told(timestamp: i64, rec: &Rec) -> i64 {
    if timestamp == NO_TIMESTAMP { rec.timestamp } else { timestamp }
}
