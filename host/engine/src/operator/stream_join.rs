//! Joins of two streams in time, each side with its own node (KStreamKStreamJoin, KStreamJoinWindow).
//!
//! A record meets what the other side keeps of its key, and is kept for what comes later. In a left or outer join a
//! record without a partner waits in a third store, in the order of time, until its window has closed for both sides.

use std::ops::ControlFlow;

use super::apart::Rest;
use super::batch::{Element, Emitted};
use super::join::{self, Pair};
use super::run::{Run, Stop};
use crate::changelog::{Unmatched, push_unmatched, unmatched_count, unmatched_values};
use crate::record::{Span, push};
use crate::store::{JoinTime, KeyRange, TimeSpan};
use crate::topology::{Join, JoinWindows, Node, Operator};

/// Bytes of the records that one record may be joined with.
const MET_BYTES_MAX: usize = 128 << 20;

/// What a record that is joined costs beside its value: its place and its pair.
const MET_ROW_BYTES: usize = 128;

/// Records of a side that are given away with one record: some 20 MiB of elements. A stream that stood still may leave
/// millions that expire at once; what is over the limit goes with the next records.
const LOOK_MAX: usize = 100_000;

/// Bytes of their rows; the same.
const LOOK_BYTES_MAX: usize = 8 << 20;

/// A side of a join.
struct Side {
    is_left: bool,
    join: Join,
    windows: JoinWindows,
    /// Places of stores: what this side keeps, what the other one does, who waits; and where both sides' time is.
    own: usize,
    other: usize,
    waiting: Option<usize>,
    time: usize,
}

/// The records of a side, in their order: each with what it meets, then kept. The guest joins all of it at once.
pub(super) fn side(run: &mut Run<'_>, node: &Node, inputs: &[Element], out: &mut Vec<Emitted>) -> Result<(), Stop> {
    let Some(side) = Side::of(run, node) else { return Ok(()) };
    let mut pairs = Vec::new();
    for element in inputs {
        side.meet(run, node, element, &mut pairs)?;
        side.keep(run, node, element)?;
    }
    join(run, node, &pairs, out)
}

/// Whether somebody has waited until this time for a partner that cannot come any more. The left side looks for both.
pub(super) fn is_due(run: &mut Run<'_>, node: &Node, time: i64) -> Result<bool, Stop> {
    let Some((side, waiting)) = Side::of_both(run, node) else { return Ok(false) };
    let known = run.stores.join_time(side.time);
    if known.is_empty {
        return Ok(false);
    }
    let due = side.due(run, waiting, known, time, 0)?;
    // So that it is not looked for again.
    run.stores.set_join_time(side.time, JoinTime { waits_from: due.waits_from, ..known });
    Ok(due.more.is_some())
}

/// Takes the join's time on to the element's, and gives away who waits no longer.
pub(super) fn advance(run: &mut Run<'_>, node: &Node, element: &Element, out: &mut Vec<Emitted>) -> Result<(), Stop> {
    let Some((side, waiting)) = Side::of_both(run, node) else { return Ok(()) };
    let known = run.stores.join_time(side.time);
    let stream = known.stream.max(element.timestamp);
    let due = side.due(run, waiting, known, stream, run.let_go_max(LOOK_MAX))?;
    run.stores.set_join_time(side.time, JoinTime { stream, waits_from: due.waits_from, ..known });
    let mut pairs = Vec::new();
    side.give(run, node, element, waiting, due.rows, &mut pairs)?;
    join(run, node, &pairs, out)
}

/// Asks the guest for the values of all pairs.
pub(super) fn join(run: &mut Run<'_>, node: &Node, pairs: &[Pair], out: &mut Vec<Emitted>) -> Result<(), Stop> {
    let values = join::ask(run, node, pairs)?;
    let results = pairs.iter().zip(values);
    let results = results.filter_map(|(pair, value)| Some(Element { value: value?, old: Span::NULL, ..pair.element }));
    out.extend(results.map(Emitted::to_all));
    Ok(())
}

impl Side {
    fn of(run: &Run<'_>, node: &Node) -> Option<Side> {
        let place = |at: usize| run.stores.place(*node.stores.get(at)? as u32);
        let is_left = node.operator == Operator::StreamJoinThis;
        let (this, other) = (place(0)?, place(1)?);
        let (own, other) = if is_left { (this, other) } else { (other, this) };
        Some(Side { is_left, join: node.join?, windows: node.join_windows?, own, other, waiting: place(2), time: this })
    }

    /// The side that looks for who of both has waited in vain, where time goes on without records; and where they wait.
    fn of_both(run: &Run<'_>, node: &Node) -> Option<(Side, usize)> {
        let side = Side::of(run, node).filter(|side| side.is_left)?;
        let waiting = side.waiting?;
        Some((side, waiting))
    }

    /// Whether a record of a side counts without a partner.
    fn counts_alone(&self, is_left: bool) -> bool {
        match self.join {
            Join::Inner => false,
            Join::Left => is_left,
            Join::Outer => true,
        }
    }

    /// How far before and after its own time a record of a side looks for partners.
    fn reach(&self, is_left: bool) -> (i64, i64) {
        let JoinWindows { before_ms, after_ms, .. } = self.windows;
        if is_left { (before_ms, after_ms) } else { (after_ms, before_ms) }
    }

    fn pair(&self, element: Element, is_left: bool, own: Span, other: Span) -> Pair {
        let (left, right) = if is_left { (own, other) } else { (other, own) };
        Pair { element, left, right }
    }

    fn meet(&self, run: &mut Run<'_>, node: &Node, element: &Element, pairs: &mut Vec<Pair>) -> Result<(), Stop> {
        let mut time = run.stores.join_time(self.time);
        time.stream = time.stream.max(element.timestamp);
        run.stores.set_join_time(self.time, time);
        let alone = self.pair(*element, self.is_left, element.value, Span::NULL);
        if element.value.is_null() || element.key.is_null() {
            // Without a key there is no partner to wait for (KIP-962).
            match self.counts_alone(self.is_left) && !element.value.is_null() {
                true => pairs.push(alone),
                false => run.dropped.null += 1,
            }
            return Ok(());
        }
        if let (Some(waiting), true) = (self.waiting, element.timestamp == time.stream) {
            self.give_up(run, node, element, waiting, pairs)?;
        }
        let (before, after) = self.reach(self.is_left);
        let from = element.timestamp.saturating_sub(before).max(0);
        let to = element.timestamp.saturating_add(after).max(0);
        let partners = self.partners(run, node, element, TimeSpan::new(from, to))?;
        self.have_met(run, element, &partners)?;
        for (start, value) in &partners {
            let timestamp = element.timestamp.max(*start);
            pairs.push(self.pair(Element { timestamp, ..*element }, self.is_left, element.value, *value));
        }
        match self.waiting {
            Some(waiting) if partners.is_empty() && self.counts_alone(self.is_left) => {
                if to < time.stream {
                    pairs.push(alone);
                    return Ok(());
                }
                self.wait(run, node, element, waiting)
            }
            _ => Ok(()),
        }
    }

    /// What the other side keeps of the element's key, by time.
    fn partners(
        &self,
        run: &mut Run<'_>,
        node: &Node,
        element: &Element,
        times: TimeSpan,
    ) -> Result<Vec<(i64, Span)>, Stop> {
        let (mut found, mut bytes): (Vec<(i64, Span)>, Vec<u8>) = (Vec::new(), Vec::new());
        let size = |rows: usize, bytes: usize| rows * MET_ROW_BYTES + bytes;
        let key = element.key.bytes(&run.batch.arena);
        run.stores.windows(self.other).fetch(key, times, &mut |row| {
            found.push((row.start, push(&mut bytes, Some(row.value))));
            if size(found.len(), bytes.len()) > MET_BYTES_MAX {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        if size(found.len(), bytes.len()) > MET_BYTES_MAX {
            let message = format!("more than {MET_BYTES_MAX} bytes of records to join one record with");
            return Err(Stop::rejected(node, element, message));
        }
        let base = run.push(node, element, &bytes)?.start();
        found.iter_mut().for_each(|(_, value)| *value = Span::new(base + value.start(), value.len()));
        Ok(found)
    }

    /// Partners of the other side wait no longer.
    fn have_met(&self, run: &mut Run<'_>, element: &Element, partners: &[(i64, Span)]) -> Result<(), Stop> {
        let Some(waiting) = self.waiting else { return Ok(()) };
        let key = element.key.bytes(&run.batch.arena);
        let (mut rows, mut ends) = (Vec::new(), Vec::new());
        // Partners come by time, and those of one time wait in one row.
        for times in partners.chunk_by(|(one, _), (next, _)| one == next) {
            Unmatched { timestamp: times[0].0, is_left: !self.is_left, key }.encode(&mut rows);
            ends.push(rows.len());
        }
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let rows: Vec<&[u8]> = starts.zip(&ends).map(|(start, end)| &rows[start..*end]).collect();
        let mut waits = Vec::new();
        run.stores.get_each(waiting, &rows, &mut |at, value| waits.extend(value.map(|_| at)))?;
        waits.sort_unstable();
        for at in waits {
            run.stores.put(waiting, rows[at], None, element.timestamp);
        }
        Ok(())
    }

    fn wait(&self, run: &mut Run<'_>, node: &Node, element: &Element, waiting: usize) -> Result<(), Stop> {
        let (mut row, mut list) = (Vec::new(), Vec::new());
        let arena = &run.batch.arena;
        let key = element.key.bytes(arena);
        Unmatched { timestamp: element.timestamp, is_left: self.is_left, key }.encode(&mut row);
        run.stores
            .get_each(waiting, &[&row], &mut |_, found| list.extend_from_slice(found.map_or(&[][..], |(_, v)| v)))?;
        if push_unmatched(&mut list, self.is_left, element.value.bytes(arena)).is_none() {
            return Err(run.unreadable(node, element, "no list of records without a partner".to_owned()));
        }
        let checked = run.stores.check(waiting, &row, Some(&list));
        checked.map_err(|error| Stop::rejected(node, element, error.to_string()))?;
        run.stores.put(waiting, &row, Some(&list), element.timestamp);
        let mut time = run.stores.join_time(self.time);
        let from = &mut time.waits_from[usize::from(self.is_left)];
        *from = (*from).min(element.timestamp);
        let earliest = time.earliest.min(element.timestamp);
        run.stores.set_join_time(self.time, JoinTime { earliest, is_empty: false, ..time });
        Ok(())
    }

    /// Whether it is worth a look, when this is the earliest of who waits.
    fn may_give_up(&self, earliest: i64, stream: i64) -> bool {
        let (_, after) = self.reach(self.is_left);
        // Of the highest number the sum begins again below all times, as in Java: then there is a look.
        earliest.wrapping_add(after).wrapping_add(self.windows.grace_ms) < stream
    }

    /// Gives away who has waited until the window closed, by time. When to look, and where the next look begins, is
    /// Kafka Streams' own: it shows in when a record is given away (`emitNonJoinedOuterRecords`, without its throttle).
    fn give_up(
        &self,
        run: &mut Run<'_>,
        node: &Node,
        element: &Element,
        waiting: usize,
        pairs: &mut Vec<Pair>,
    ) -> Result<(), Stop> {
        let time = run.stores.join_time(self.time);
        if !self.may_give_up(time.earliest, time.stream) {
            return Ok(());
        }
        if time.is_empty {
            run.stores.set_join_time(self.time, JoinTime { earliest: i64::MAX, ..time });
            return Ok(());
        }
        let due = self.due(run, waiting, time, time.stream, run.let_go_max(LOOK_MAX))?;
        let (earliest, is_empty) = match due.more {
            Some(earliest) => (earliest, false),
            None => self.next_look(run, waiting, time.stream)?,
        };
        run.stores.set_join_time(self.time, JoinTime { earliest, is_empty, waits_from: due.waits_from, ..time });
        self.give(run, node, element, waiting, due.rows, pairs)
    }

    /// Takes rows out, and makes of each of their records one that is alone.
    fn give(
        &self,
        run: &mut Run<'_>,
        node: &Node,
        element: &Element,
        waiting: usize,
        rows: Vec<Waited>,
        pairs: &mut Vec<Pair>,
    ) -> Result<(), Stop> {
        for (row, list) in rows {
            let (Some(unmatched), Some(values)) = (Unmatched::decode(&row), unmatched_values(&list)) else {
                return Err(run.unreadable(node, element, "no list of records without a partner".to_owned()));
            };
            let key = run.push(node, element, unmatched.key)?;
            for value in values {
                let value = run.push(node, element, value)?;
                let of_row = Element { key, value, timestamp: unmatched.timestamp, ..*element };
                let pair = self.pair(of_row, unmatched.is_left, value, Span::NULL);
                if !run.set_apart(of_row, Rest::Join(pair.left, pair.right)) {
                    pairs.push(pair);
                }
            }
            run.stores.put(waiting, &row, None, element.timestamp);
        }
        Ok(())
    }

    /// Where Kafka Streams' walk over the waiting rows ends, which is where the next look begins: behind the first row of
    /// each side whose window is open, or with the last row; and whether no window is. Who waits long is not walked over.
    fn next_look(&self, run: &Run<'_>, waiting: usize, stream: i64) -> Result<(i64, bool), Stop> {
        let mut first_open = [None, None];
        for is_left in [false, true].into_iter().filter(|is_left| self.counts_alone(*is_left)) {
            let lower = self.open_from(is_left, stream).max(0).to_be_bytes();
            let first = first_row(run, waiting, Some(&lower), false, |unmatched| unmatched.is_left == is_left)?;
            first_open[usize::from(is_left)] = first;
        }
        let is_empty = first_open.iter().all(Option::is_none);
        let end = match first_open {
            [Some(right), Some(left)] => {
                // The walk ends at the next record: one of the same row, or of the row behind it.
                let last = if right.row > left.row { right } else { left };
                let behind = [&last.row[..], &[0]].concat();
                let next = if last.is_one { first_row(run, waiting, Some(&behind), false, |_| true)? } else { None };
                next.or(Some(last))
            }
            _ => first_row(run, waiting, None, true, |_| true)?,
        };
        Ok((end.map_or(i64::MAX, |end| end.timestamp), is_empty))
    }

    /// From here on the windows of a side's records are open.
    fn open_from(&self, is_left: bool, stream: i64) -> i64 {
        let (_, after) = self.reach(is_left);
        stream.saturating_sub(after).saturating_sub(self.windows.grace_ms)
    }

    /// Who has waited in vain up to this time, at most so many records of each side, or one row of them, in the order of time.
    /// A side is read from where its first one waits to where its windows are open: who waits longer than the other side does
    /// costs nothing.
    fn due(&self, run: &Run<'_>, waiting: usize, known: JoinTime, stream: i64, most: usize) -> Result<Due, Stop> {
        let mut due = Due { rows: Vec::new(), waits_from: known.waits_from, more: None };
        for is_left in [false, true].into_iter().filter(|is_left| self.counts_alone(*is_left)) {
            let open = self.open_from(is_left, stream);
            let from = &mut due.waits_from[usize::from(is_left)];
            if *from >= open {
                continue;
            }
            let (lower, upper) = (from.max(&mut 0).to_be_bytes(), open.max(0).to_be_bytes());
            let (mut records, mut bytes) = (0, 0);
            *from = open;
            run.stores.scan(
                waiting,
                KeyRange { lower: Some(&lower), upper: Some(&upper) },
                false,
                &mut |row, _, list| {
                    let unmatched = Unmatched::decode(row); // what is none is refused by who reads it
                    if unmatched.is_some_and(|unmatched| unmatched.is_left != is_left) {
                        return ControlFlow::Continue(());
                    }
                    // What is none counts as one, and is refused by who takes it out.
                    let of_row = unmatched_count(list).unwrap_or(1);
                    let is_over = records >= most || (records > 0 && records + of_row > most);
                    if is_over || bytes >= LOOK_BYTES_MAX {
                        *from = unmatched.map_or(*from, |unmatched| unmatched.timestamp);
                        due.more = Some(due.more.map_or(*from, |more| more.min(*from)));
                        return ControlFlow::Break(());
                    }
                    records += of_row;
                    bytes += row.len() + list.len();
                    due.rows.push((row.to_vec(), list.to_vec()));
                    ControlFlow::Continue(())
                },
            )?;
        }
        due.rows.sort_unstable();
        Ok(due)
    }

    /// Keeps the record for the other side; one without a key is nobody's partner.
    fn keep(&self, run: &mut Run<'_>, node: &Node, element: &Element) -> Result<(), Stop> {
        if element.key.is_null() {
            return Ok(());
        }
        run.check_entry(node, element, self.own, element.value)?;
        let arena = &run.batch.arena;
        let (key, value) = (element.key.bytes(arena), element.value.of(arena));
        run.stores.windows_mut(self.own).put(key, element.timestamp, value, element.timestamp)?;
        Ok(())
    }
}

/// The first of the waiting rows from a key on, or the last one; what is none is refused by who takes it out.
fn first_row(
    run: &Run<'_>,
    waiting: usize,
    lower: Option<&[u8]>,
    reverse: bool,
    is_it: impl Fn(&Unmatched<'_>) -> bool,
) -> Result<Option<WaitingRow>, Stop> {
    let mut found = None;
    run.stores.scan(waiting, KeyRange { lower, upper: None }, reverse, &mut |row, _, list| {
        let Some(unmatched) = Unmatched::decode(row).filter(&is_it) else { return ControlFlow::Continue(()) };
        let is_one = unmatched_values(list).is_some_and(|values| values.len() == 1);
        found = Some(WaitingRow { row: row.to_vec(), timestamp: unmatched.timestamp, is_one });
        ControlFlow::Break(())
    })?;
    Ok(found)
}

/// A row of those who wait.
struct WaitingRow {
    row: Vec<u8>,
    timestamp: i64,
    /// Whether one record waits in it.
    is_one: bool,
}

/// Who of both sides has waited in vain.
struct Due {
    rows: Vec<Waited>,
    waits_from: [i64; 2],
    /// The time of the first of more than these.
    more: Option<i64>,
}

/// A row, and the records that wait in it.
type Waited = (Vec<u8>, Vec<u8>);
