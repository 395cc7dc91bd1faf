//! Aggregations and tables of the interpreter, after Kafka Streams' KStreamAggregate, KTableSource, KTableFilter and
//! KTableMapValues.

use millstream_engine::topology::description::{Join, Node};

use super::{Flow, Rec, Stop, World, find, groups};

impl<'a> World<'a> {
    fn own_store(&self, at: usize) -> Option<&'a str> {
        self.description.nodes[at].store.as_deref()
    }

    /// Skips what has no key or no value.
    fn groupable(&mut self, flow: &Flow) -> bool {
        let whole = flow.rec.key.is_some() && flow.rec.value.is_some();
        self.effects.dropped.null += u64::from(!whole);
        whole
    }

    pub(super) fn count(&mut self, at: usize, flow: Flow) -> Result<(), Stop> {
        let Some(store) = self.own_store(at).filter(|_| self.groupable(&flow)) else { return Ok(()) };
        let key = flow.rec.key.clone().unwrap();
        let before = self.get(store, &key);
        let count =
            before.as_ref().map_or(0, |(_, bytes)| i64::from_be_bytes(bytes.as_slice().try_into().unwrap())) + 1;
        let timestamp = before.as_ref().map_or(flow.rec.timestamp, |(newest, _)| flow.rec.timestamp.max(*newest));
        let value = count.to_be_bytes().to_vec();
        self.put(store, &key, Some(&value), timestamp, timestamp);
        let rec = Rec { value: Some(value), timestamp, ..flow.rec };
        // A count begins with 0, and that is what was there (KStreamAggregate).
        let old = Some(before.map_or_else(|| 0i64.to_be_bytes().to_vec(), |(_, old)| old));
        self.forward(at, Flow { rec, old, input: 0 }, None)
    }

    pub(super) fn fold(&mut self, at: usize, flow: Flow) -> Result<(), Stop> {
        let Some(store) = self.own_store(at).filter(|_| self.groupable(&flow)) else { return Ok(()) };
        let is_cogroup = self.description.nodes[at].op == "cogroup";
        if !self.asks(at, &flow)? {
            return Ok(());
        }
        let key = flow.rec.key.clone().unwrap();
        let before = self.get(store, &key);
        let aggregate = before.as_ref().map(|(_, value)| value.as_slice());
        let (code, given) = (self.shape.code[at], flow.rec.value.as_deref());
        let value = match is_cogroup {
            true => code.folded_from(flow.input, &key, given, aggregate),
            false => code.folded(&key, given, aggregate),
        };
        let timestamp = before.as_ref().map_or(flow.rec.timestamp, |(newest, _)| flow.rec.timestamp.max(*newest));
        let logged = if value.is_none() { flow.rec.timestamp } else { timestamp };
        self.put(store, &key, value.as_deref(), timestamp, logged);
        let rec = Rec { value, timestamp, ..flow.rec };
        // A row that was not there was what an aggregate begins with.
        let initial = match self.description.nodes[at].op.as_str() {
            "aggregate" | "cogroup" => code.initial(),
            _ => None,
        };
        self.forward(at, Flow { rec, old: before.map(|(_, old)| old).or(initial), input: 0 }, None)
    }

    pub(super) fn table_source(&mut self, at: usize, flow: Flow) -> Result<(), Stop> {
        let Some(key) = flow.rec.key.clone() else {
            self.effects.dropped.null += 1;
            return Ok(());
        };
        let mut old = None;
        if let Some(store) = self.own_store(at) {
            old = self.get(store, &key).map(|(_, value)| value);
            self.put(store, &key, flow.rec.value.as_deref(), flow.rec.timestamp, flow.rec.timestamp);
        }
        self.forward(at, Flow { old, ..flow }, None)
    }

    /// Whether a table can say what a row was before: it keeps its rows, or its parent can say it.
    fn knows_old(&self, at: usize) -> bool {
        let node = &self.description.nodes[at];
        if groups(node) || (node.store.is_some() && node.op != "table-join") {
            return true;
        }
        match node.op.as_str() {
            "table-source" | "to-table" | "foreign-key-join" => false,
            "table-join" => true, // made of such only
            _ => self.knows_old(self.parent(at)),
        }
    }

    fn parent(&self, at: usize) -> usize {
        let name = self.description.nodes[at].inputs[0].node();
        let parent = find(self.description, name);
        self.description.nodes.iter().position(|node| std::ptr::eq(node, parent)).unwrap()
    }

    /// Whether anything asks a table for old values: a filter asks its parent, and what is asked and does not keep its
    /// rows asks its own.
    pub(super) fn is_asked(&self, at: usize) -> bool {
        let name = &self.description.nodes[at].name;
        let nodes = self.description.nodes.iter().enumerate();
        let mut children = nodes.filter(|(_, node)| node.inputs.iter().any(|input| input.node() == name));
        children.any(|(child, node)| match node.op.as_str() {
            "table-filter" | "table-filter-not" | "table-group-by" | "suppress" => true,
            "table-map-values" => node.store.is_none() && self.is_asked(child),
            "table-join" => self.is_asked(child) || asks(node, name),
            "foreign-key-join" => node.inputs[0].node() == name,
            _ => false,
        })
    }

    pub(super) fn table_filter(&mut self, at: usize, flow: Flow) -> Result<(), Stop> {
        let sends_old = self.knows_old(self.parent(at)) || (self.is_asked(at) && self.knows_old(at));
        let store = self.own_store(at);
        let (new, dropped) = self.passes(at, &flow, flow.rec.value.clone())?;
        let before = match store {
            _ if !sends_old => None,
            Some(store) => self.get(store, flow.rec.key.as_ref().unwrap()).map(|(_, value)| value),
            None => self.passes(at, &flow, flow.old.clone())?.0,
        };
        if dropped || (sends_old && before.is_none() && new.is_none()) {
            return Ok(());
        }
        self.change(at, store, flow, new, before)
    }

    /// The value if it passes the node's predicate, and whether the guest dropped it.
    fn passes(&mut self, at: usize, flow: &Flow, value: Option<Vec<u8>>) -> Result<(Option<Vec<u8>>, bool), Stop> {
        let Some(value) = value else { return Ok((None, false)) };
        let flow = Flow { rec: Rec { value: Some(value.clone()), ..flow.rec.clone() }, ..flow.clone() };
        if !self.asks(at, &flow)? {
            return Ok((None, true));
        }
        let wanted = self.description.nodes[at].op == "table-filter";
        let matches = self.shape.code[at].matches(&super::seen(&self.from, &flow)) == wanted;
        Ok((matches.then_some(value), false))
    }

    pub(super) fn table_map_values(&mut self, at: usize, flow: Flow) -> Result<(), Stop> {
        let sends_old = self.is_asked(at) && self.knows_old(at);
        let store = self.own_store(at);
        let (new, dropped) = self.mapped(at, &flow, flow.rec.value.clone())?;
        let before = match store {
            _ if !sends_old => None,
            Some(store) => self.get(store, flow.rec.key.as_ref().unwrap()).map(|(_, value)| value),
            None => self.mapped(at, &flow, flow.old.clone())?.0,
        };
        if dropped {
            return Ok(());
        }
        self.change(at, store, flow, new, before)
    }

    fn mapped(&mut self, at: usize, flow: &Flow, value: Option<Vec<u8>>) -> Result<(Option<Vec<u8>>, bool), Stop> {
        let Some(value) = value else { return Ok((None, false)) };
        let flow = Flow { rec: Rec { value: Some(value), ..flow.rec.clone() }, ..flow.clone() };
        if !self.asks(at, &flow)? {
            return Ok((None, true));
        }
        Ok((Some(self.shape.code[at].table_mapped(&super::seen(&self.from, &flow))), false))
    }

    pub(super) fn change(
        &mut self,
        at: usize,
        store: Option<&str>,
        flow: Flow,
        value: Option<Vec<u8>>,
        old: Option<Vec<u8>>,
    ) -> Result<(), Stop> {
        if let Some(store) = store {
            let (key, timestamp) = (flow.rec.key.as_ref().unwrap(), flow.rec.timestamp);
            self.put(store, key, value.as_deref(), timestamp, timestamp);
        }
        self.forward(at, Flow { rec: Rec { value, ..flow.rec }, old, input: 0 }, None)
    }
}

/// Whether a join has rows of this table without a partner.
fn asks(join: &Node, table: &str) -> bool {
    let alone = |rank: usize| match join.join {
        Some(Join::Left) => rank == 0,
        other => other == Some(Join::Outer),
    };
    join.inputs.iter().enumerate().any(|(rank, input)| input.node() == table && alone(rank))
}
