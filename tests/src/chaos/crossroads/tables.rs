//! Joins of tables. The two sides of a row change one after the other, in an order that nobody promises: what was said
//! must be a way from nothing to the last change of both, with every step on it, and no step twice.

use std::collections::{BTreeMap, BTreeSet};

use super::evidence::{Evidence, Outcome, Said, Stored, by_key};
use super::windows::numbers;

#[track_caller]
pub fn check(evidence: &Evidence) {
    let (orders, parcels) = (histories(evidence, "order"), histories(evidence, "parcel"));
    let keys: BTreeSet<&str> = orders.keys().chain(parcels.keys()).copied().collect();
    for (sink, kind) in [("shipped", Kind::Outer), ("sent", Kind::Left), ("packed", Kind::Inner)] {
        let outcomes = evidence.outcomes(sink);
        for key in &keys {
            let (nothing, silence) = (History::default(), Vec::new());
            let sides =
                Sides { left: orders.get(key).unwrap_or(&nothing), right: parcels.get(key).unwrap_or(&nothing), kind };
            let said = outcomes.get(key).unwrap_or(&silence);
            match evidence.is_exact {
                true => sides.walk(said),
                false => sides.check_last(said),
            }
        }
    }
    check_with_users(evidence, ("addressed", "homes"), &orders, Kind::Left);
    check_with_users(evidence, ("owned", "owned"), &orders, Kind::Inner);
    check_counted(evidence, &orders);
    check_store(evidence, "orders", &orders);
    check_store(evidence, "users", &histories(evidence, "user"));
}

/// A table is what its rows have come to.
fn check_store(evidence: &Evidence, store: &str, histories: &BTreeMap<&str, History<'_>>) {
    let last = |(key, history): (&&str, &History<'_>)| Some((((*key).to_owned(), None), history.last()?.to_owned()));
    assert_eq!(evidence.store(store), &histories.iter().filter_map(last).collect::<Stored>(), "{store}");
}

/// A row's states, one after the other, each with its time: first that it is not there.
struct History<'e>(Vec<(Option<&'e str>, i64)>);

impl Default for History<'_> {
    fn default() -> Self {
        History(vec![(None, i64::MIN)])
    }
}

fn histories<'e>(evidence: &'e Evidence, kind: &str) -> BTreeMap<&'e str, History<'e>> {
    let mut histories: BTreeMap<&str, History<'_>> = BTreeMap::new();
    for Said { key, value, time } in evidence.lines(kind) {
        histories.entry(key).or_default().0.push((value.as_deref(), *time));
    }
    histories
}

impl<'e> History<'e> {
    fn last(&self) -> Option<&'e str> {
        self.0.last().and_then(|(state, _)| *state)
    }

    /// The last of its states, for a message.
    fn tail(&self) -> &[(Option<&'e str>, i64)] {
        &self.0[self.0.len().saturating_sub(SHOWN)..]
    }
}

const SHOWN: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Outer,
    Left,
    Inner,
}

impl Kind {
    /// The row of these two; `None`: there is none.
    fn row(self, left: Option<&str>, right: Option<&str>) -> Option<String> {
        let is_row = match self {
            Kind::Outer => left.is_some() || right.is_some(),
            Kind::Left => left.is_some(),
            Kind::Inner => left.is_some() && right.is_some(),
        };
        is_row.then(|| format!("{}/{}", left.unwrap_or("-"), right.unwrap_or("-")))
    }
}

struct Sides<'e> {
    left: &'e History<'e>,
    right: &'e History<'e>,
    kind: Kind,
}

/// How many changes of each side were seen.
type Place = (usize, usize);

impl Sides<'_> {
    fn walk(&self, said: &[&Outcome]) {
        let mut places = self.silently([(0, 0)].into());
        for outcome in said {
            let says = |step: &Option<(String, i64)>| {
                step.as_ref().is_some_and(|(text, time)| *text == outcome.text && *time == outcome.time)
            };
            let steps = places.iter().flat_map(|place| self.steps(*place));
            let next: BTreeSet<Place> = steps.filter(|(_, step)| says(step)).map(|(to, _)| to).collect();
            assert!(!next.is_empty(), "no step leads from {places:?} to {outcome:?}");
            places = self.silently(next);
        }
        let end = (self.left.0.len() - 1, self.right.0.len() - 1);
        assert!(places.contains(&end), "{said:?} leads to {places:?}, and not to the end at {end:?}");
    }

    /// These places and those to which steps lead of which nothing is said.
    fn silently(&self, mut places: BTreeSet<Place>) -> BTreeSet<Place> {
        let mut new: Vec<Place> = places.iter().copied().collect();
        while let Some(place) = new.pop() {
            for (to, _) in self.steps(place).filter(|(_, step)| step.is_none()) {
                if places.insert(to) {
                    new.push(to);
                }
            }
        }
        places
    }

    /// One change further, on either side: what is said of it.
    fn steps(&self, (left, right): Place) -> impl Iterator<Item = (Place, Option<(String, i64)>)> {
        let (lefts, rights) = (&self.left.0, &self.right.0);
        let of_left = lefts.get(left + 1).map(|new| ((left + 1, right), self.said(*new, rights[right], true)));
        let of_right = rights.get(right + 1).map(|new| ((left, right + 1), self.said(*new, lefts[left], false)));
        of_left.into_iter().chain(of_right)
    }

    /// An inner join says nothing while the other side is not there, a left one nothing of the right side while the left one
    /// is not. A result has the later side's time.
    fn said(
        &self,
        (new, new_time): (Option<&str>, i64),
        (other, other_time): (Option<&str>, i64),
        is_left: bool,
    ) -> Option<(String, i64)> {
        let needs_other = match self.kind {
            Kind::Outer => false,
            Kind::Left => !is_left,
            Kind::Inner => true,
        };
        if needs_other && other.is_none() {
            return None;
        }
        let time = if other.is_some() { new_time.max(other_time) } else { new_time };
        let (left, right) = if is_left { (new, other) } else { (other, new) };
        Some((self.joined(left, right), time))
    }

    fn joined(&self, left: Option<&str>, right: Option<&str>) -> String {
        self.kind.row(left, right).unwrap_or_else(|| "-".to_owned())
    }

    /// At least once: in the end the row is what both sides have come to.
    fn check_last(&self, said: &[&Outcome]) {
        let last = said.last().map_or("-", |last| &*last.text);
        assert_eq!(last, self.joined(self.left.last(), self.right.last()), "the last of {said:?}");
    }
}

/// How many orders each user has, who ever had one. What an order takes from one user and gives to another comes to each of
/// them in its order: a count changes by one at the most, and is never below nothing. At least once it is done again, and a
/// count is what nobody knows.
fn check_counted(evidence: &Evidence, orders: &BTreeMap<&str, History<'_>>) {
    let user_of = |order: &str| order.split_once(' ').map_or("nobody", |(_, user)| user).to_owned();
    let mut model: BTreeMap<String, i64> = BTreeMap::new();
    for order in orders.values() {
        for state in order.0.iter().filter_map(|(state, _)| *state) {
            model.entry(user_of(state)).or_default();
        }
        if let Some(last) = order.last() {
            *model.entry(user_of(last)).or_default() += 1;
        }
    }
    let outcomes = evidence.outcomes("counted");
    let stranger = outcomes.keys().find(|user| !model.contains_key(**user));
    assert!(stranger.is_none(), "orders of {stranger:?} were counted, and there never were any");
    if !evidence.is_exact {
        return;
    }
    for (user, expected) in &model {
        let mut before = 0;
        for outcome in outcomes.get(&**user).into_iter().flatten() {
            let [count] = numbers(&outcome.text);
            assert!(count >= 0 && (count - before).abs() <= 1, "from {before} orders of {user} to {outcome:?}");
            before = count;
        }
        assert_eq!(before, *expected, "orders of {user}");
    }
    let stored = model.into_iter().map(|(user, count)| ((user, None), count.to_string())).collect::<Stored>();
    assert_eq!(evidence.store("per-user"), &stored, "per-user");
}

/// An order and its user: what was said later has not an older order, and to the same order not an older user. In the end
/// it is what both have come to. `store`: of the table that it is.
fn check_with_users(
    evidence: &Evidence,
    (sink, store): (&str, &'static str),
    orders: &BTreeMap<&str, History<'_>>,
    kind: Kind,
) {
    let (users, nobody) = (histories(evidence, "user"), History::default());
    let outcomes = evidence.outcomes(sink);
    let user_of = |order: Option<&str>| {
        let user = order.and_then(|order| Some(order.split_once(' ')?.1));
        user.and_then(|user| users.get(user)).unwrap_or(&nobody)
    };
    let mut rows = Stored::new();
    for (key, order) in orders {
        let said = outcomes.get(key).map_or(&[][..], Vec::as_slice);
        if evidence.is_exact {
            check_order(order, said, kind, user_of);
        }
        let last_said = said.last().map_or("-", |last| &*last.text);
        let mut last = kind.row(order.last(), user_of(order.last()).last());
        if kind == Kind::Inner && last.is_none() && may_outlive(order, last_said) {
            last = Some(last_said.to_owned());
        }
        let (order_tail, user) = (order.tail(), user_of(order.last()).tail());
        let last_known = last.as_deref().unwrap_or("-");
        assert_eq!(last_said, last_known, "{sink}: the last of {said:?}; {key} was {order_tail:?}, its user {user:?}");
        rows.extend(last.map(|last| (((*key).to_owned(), None), last)));
    }
    assert_eq!(evidence.store(store), &rows, "{store}");
    let all = by_key(evidence.lines("order"));
    assert!(outcomes.keys().all(|key| all.contains_key(key)), "something was said of an order that never was");
}

/// Whether a row may have outlived what it was said of. As in Kafka Streams, an answer to an older order is dropped: so what
/// takes the row away is lost where the order was changed before it came, and of the new one nothing is said while its user
/// is unknown. One change to another user, or to none, takes the row away by itself; a second one may come before that.
fn may_outlive(order: &History<'_>, row: &str) -> bool {
    let Some((said, _)) = row.split_once('/') else { return false };
    let user = |state: Option<&'_ str>| state.and_then(|state| state.split_once(' ')).map(|(_, user)| user.to_owned());
    let mut behind = order.0.iter().skip_while(|(state, _)| *state != Some(said)).skip(1);
    let is_same = behind.next().map(|(state, _)| user(*state) == user(Some(said)));
    is_same.is_some_and(|is_same| is_same || behind.next().is_some())
}

fn check_order<'e>(
    order: &History<'e>,
    said: &[&Outcome],
    kind: Kind,
    user_of: impl Fn(Option<&'e str>) -> &'e History<'e>,
) {
    // Every row that there may have been, in the one order in which they may have been said.
    let of_order = |(state, _): &(Option<&'e str>, i64)| {
        let states = user_of(*state).0.iter().map(|(user, _)| kind.row(*state, *user)).collect::<Vec<_>>();
        states.into_iter().map(|row| row.unwrap_or_else(|| "-".to_owned()))
    };
    let rows: Vec<String> = order.0.iter().flat_map(of_order).collect();
    let mut at = 0;
    for outcome in said {
        let found = rows[at..].iter().position(|row| *row == outcome.text);
        at += found.unwrap_or_else(|| panic!("an unknown row, or an old one: {outcome:?} in {said:?}"));
    }
}
