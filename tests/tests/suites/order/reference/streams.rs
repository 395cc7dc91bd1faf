//! Joins of two streams of the interpreter, after Kafka Streams' KStreamJoinWindow and KStreamKStreamJoin.

use std::collections::BTreeMap;

use millstream_engine::changelog::{Unmatched, push_unmatched, push_window_key, unmatched_values};
use millstream_engine::topology::description::{Join, JoinWindows};

use super::super::topology::shared_store;
use super::{Flow, Rec, Stop, World, plain};

/// What a join keeps beside the rows that wait for a partner.
#[derive(Clone)]
pub(super) struct Joined {
    /// Of the left and of the right side.
    sides: [Kept; 2],
    stream_time: i64,
    min_time: i64,
}

/// The records of a side, by key, time and number.
#[derive(Clone, Default)]
struct Kept {
    rows: BTreeMap<(Vec<u8>, i64, u32), Vec<u8>>,
    observed: i64,
    number: u32,
}

impl Default for Joined {
    fn default() -> Joined {
        Joined { sides: Default::default(), stream_time: -1, min_time: i64::MAX }
    }
}

/// A pair for the joiner: the record that it becomes, with the left value, and the right one.
type Pair = (Rec, Option<Vec<u8>>);

fn pair(rec: &Rec, side: usize, own: Vec<u8>, other: Option<Vec<u8>>) -> Pair {
    let (left, right) = if side == 0 { (Some(own), other) } else { (other, Some(own)) };
    (Rec { value: left, ..rec.clone() }, right)
}

impl World<'_> {
    pub(super) fn stream_join(&mut self, at: usize, flow: Flow) -> Result<(), Stop> {
        let mut joined = self.effects.joined.remove(&at).unwrap_or_default();
        let mut alone = Vec::new();
        let pairs = self.met(at, &mut joined, &flow, &mut alone);
        if let Some(key) = flow.rec.key.clone() {
            self.keep_in_window(at, &mut joined, key, &flow);
        }
        self.effects.joined.insert(at, joined);
        let name = format!("{}-{}", self.description.nodes[at].name, ["this", "other"][usize::from(flow.input)]);
        if self.apart.is_none() {
            let all = alone.into_iter().map(|(_, pair)| pair).chain(pairs).collect();
            let joined = self.paired(at, &name, all)?;
            return self.forward_all(at, joined);
        }
        let pairs = self.paired(at, &name, pairs)?;
        for (waited, pair) in alone {
            self.let_go(waited, |world| {
                let joined = world.paired(at, &name, vec![pair])?;
                world.forward_all(at, joined)
            })?;
        }
        self.forward_all(at, pairs)
    }

    /// What the joiner makes of pairs.
    fn paired(&mut self, at: usize, name: &str, pairs: Vec<Pair>) -> Result<Vec<Rec>, Stop> {
        let asked: Vec<Flow> = pairs.iter().map(|(rec, _)| plain(rec.clone())).collect();
        let kept = self.asks_all(at, name, &asked)?;
        let code = self.shape.code[at];
        let kept = pairs.into_iter().zip(kept).filter(|(_, kept)| *kept);
        Ok(kept
            .map(|((rec, right), _)| {
                let value = code.joined(rec.key.as_deref(), rec.value.as_deref(), right.as_deref());
                Rec { value, ..rec }
            })
            .collect())
    }

    fn forward_all(&mut self, at: usize, recs: Vec<Rec>) -> Result<(), Stop> {
        recs.into_iter().try_for_each(|rec| self.forward(at, plain(rec), None))
    }

    /// What the record is joined with, and in front of it who has waited long enough, each with what waited.
    fn met(&mut self, at: usize, joined: &mut Joined, flow: &Flow, gone: &mut Vec<(Rec, Pair)>) -> Vec<Pair> {
        let node = &self.description.nodes[at];
        let (join, windows, side) = (node.join.unwrap(), node.join_windows.unwrap(), usize::from(flow.input));
        let rec = &flow.rec;
        joined.stream_time = joined.stream_time.max(rec.timestamp);
        let alone = join == Join::Outer || (join == Join::Left && side == 0);
        let (Some(key), Some(value)) = (&rec.key, &rec.value) else {
            if let (true, Some(value)) = (alone, &rec.value) {
                return vec![pair(rec, side, value.clone(), None)];
            }
            self.effects.dropped.null += 1;
            return Vec::new();
        };
        let shared = shared_store(node);
        let mut pairs = Vec::new();
        if let (Some(shared), true) = (&shared, rec.timestamp == joined.stream_time) {
            self.expired(shared, windows, side, joined, rec, gone);
        }
        let reach = [(windows.before_ms, windows.after_ms), (windows.after_ms, windows.before_ms)][side];
        let (from, to) = ((rec.timestamp - reach.0).max(0), (rec.timestamp + reach.1).max(0));
        let other = &joined.sides[1 - side];
        let first = other.observed - (windows.before_ms + windows.after_ms + windows.grace_ms) + 1;
        let found: Vec<(i64, Vec<u8>)> = other
            .rows
            .iter()
            .filter(|((of, start, _), _)| of == key && (from.max(first)..=to).contains(start))
            .map(|((_, start, _), value)| (*start, value.clone()))
            .collect();
        for (start, partner) in &found {
            let mut row = Vec::new();
            Unmatched { timestamp: *start, is_left: side == 1, key }.encode(&mut row);
            if let Some(shared) = shared.as_ref().filter(|shared| self.get(shared, &row).is_some()) {
                self.put(shared, &row, None, 0, rec.timestamp);
            }
            let rec = Rec { timestamp: rec.timestamp.max(*start), ..rec.clone() };
            pairs.push(pair(&rec, side, value.clone(), Some(partner.clone())));
        }
        if !found.is_empty() || !alone {
            return pairs;
        }
        if to < joined.stream_time {
            pairs.push(pair(rec, side, value.clone(), None));
        } else {
            joined.min_time = joined.min_time.min(rec.timestamp);
            let (shared, mut row) = (shared.unwrap(), Vec::new());
            Unmatched { timestamp: rec.timestamp, is_left: side == 0, key }.encode(&mut row);
            let mut list = self.get(&shared, &row).map_or(Vec::new(), |(_, list)| list);
            push_unmatched(&mut list, side == 0, value).unwrap();
            self.put(&shared, &row, Some(&list), rec.timestamp, rec.timestamp);
        }
        pairs
    }

    /// emitNonJoinedOuterRecords, word by word.
    fn expired(
        &mut self,
        shared: &str,
        windows: JoinWindows,
        side: usize,
        joined: &mut Joined,
        rec: &Rec,
        gone: &mut Vec<(Rec, Pair)>,
    ) {
        let after = |is_left: bool| if is_left { windows.after_ms } else { windows.before_ms };
        if joined.min_time.wrapping_add(after(side == 0)).wrapping_add(windows.grace_ms) >= joined.stream_time {
            return;
        }
        joined.min_time = i64::MAX;
        let (mut left_open, mut right_open) = (false, false);
        'rows: for (row, (_, list)) in self.effects.stores[shared].clone() {
            let Unmatched { timestamp, is_left, key } = Unmatched::decode(&row).unwrap();
            let mut is_given_away = false;
            for value in unmatched_values(&list).unwrap() {
                joined.min_time = timestamp;
                if left_open && right_open {
                    break 'rows;
                }
                if timestamp + after(is_left) + windows.grace_ms >= joined.stream_time {
                    (left_open, right_open) = (left_open || is_left, right_open || !is_left);
                    continue;
                }
                let rec = Rec { key: Some(key.to_vec()), timestamp, ..rec.clone() };
                let alone = pair(&rec, usize::from(!is_left), value.to_vec(), None);
                gone.push((Rec { value: Some(value.to_vec()), ..rec }, alone));
                is_given_away = true;
            }
            if is_given_away {
                self.put(shared, &row, None, 0, rec.timestamp);
            }
        }
    }

    fn keep_in_window(&mut self, at: usize, joined: &mut Joined, key: Vec<u8>, flow: &Flow) {
        let node = &self.description.nodes[at];
        let side = usize::from(flow.input);
        let outer = if side == 0 { node.join == Some(Join::Outer) } else { node.join != Some(Join::Inner) };
        let store =
            format!("{}-{}{}-join-store", node.name, if outer { "outer-" } else { "" }, ["this", "other"][side]);
        let kept = &mut joined.sides[side];
        kept.number += 1;
        let mut entry = Vec::new();
        push_window_key(&key, flow.rec.timestamp, kept.number, &mut entry);
        if let Some(value) = flow.rec.value.clone() {
            kept.observed = kept.observed.max(flow.rec.timestamp);
            kept.rows.insert((key, flow.rec.timestamp, kept.number), value);
        }
        let rec = Rec { key: Some(entry), headers: Vec::new(), ..flow.rec.clone() };
        self.effects.log.entry(self.running).or_default().push((format!("app-{store}-changelog"), rec));
    }
}
