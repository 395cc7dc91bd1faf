//! The guest's half of aggregations: from a group's aggregate and the next value to the next aggregate.

use crate::answer::{ALL, Field, SAME};
use crate::call::{Call, Function, Input};
use crate::codec::{self, Data, DecodeError};
use crate::failure::Failure;
use crate::frame::{Aggregate, Frame, Group, Kind};

/// By which a table's fold knows a value that leaves its group.
const SUBTRACT: u16 = 1;
/// By which a fold of sessions knows an aggregate that is to be merged.
const MERGE: u16 = u16::MAX;
/// By which a fold knows that it is asked what an aggregate begins with.
const INITIAL: u16 = u16::MAX - 1;

/// What an aggregate begins with, for all that ask.
pub(super) struct Initial<A>(std::rc::Rc<std::cell::RefCell<dyn FnMut() -> A>>);

impl<A> Initial<A> {
    pub fn new(initial: impl FnMut() -> A + 'static) -> Initial<A> {
        Initial(std::rc::Rc::new(std::cell::RefCell::new(initial)))
    }

    pub fn make(&self) -> A {
        (self.0.borrow_mut())()
    }
}

impl<A> Clone for Initial<A> {
    fn clone(&self) -> Initial<A> {
        Initial(self.0.clone())
    }
}

/// A key and its aggregate, which moves on with every value.
struct Running<K> {
    key: K,
    /// As bytes: each step reads what the step before has written, as it would in a batch of its own. What a codec
    /// does not carry (a skipped field, a NaN) is lost in every batch or in none.
    so_far: Option<Vec<u8>>,
}

/// Values are added.
pub(super) fn fold<K: Data, V: Data, A: Data>(mut step: impl FnMut(&K, V, Option<A>) -> A + 'static) -> Function {
    steps(move |key, input, so_far| Ok(Some(step(key, input.value()?, so_far))))
}

/// Values are added to an aggregate that begins with `initial`.
pub(super) fn fold_from<K: Data, V: Data, A: Data>(
    initial: impl FnMut() -> A + 'static,
    mut step: impl FnMut(&K, V, A) -> A + 'static,
) -> Function {
    let initial = Initial::new(initial);
    let begin = initial.clone();
    steps_from(
        move || Some(initial.make()),
        move |key, input, so_far| Ok(Some(step(key, input.value()?, so_far.unwrap_or_else(|| begin.make())))),
    )
}

/// Values are added and subtracted; from nothing nothing is subtracted.
pub(super) fn fold_changes<K: Data, V: Data, A: Data>(
    mut add: impl FnMut(&K, V, Option<A>) -> A + 'static,
    mut subtract: impl FnMut(&K, V, A) -> A + 'static,
) -> Function {
    steps(move |key, input, so_far: Option<A>| match (input.element.input, so_far) {
        (SUBTRACT, None) => Ok(None),
        (SUBTRACT, Some(so_far)) => Ok(Some(subtract(key, input.value()?, so_far))),
        (_, so_far) => Ok(Some(add(key, input.value()?, so_far))),
    })
}

/// `step` answers the next aggregate; `None`: there is none.
pub(super) fn steps<K: Data, A: Data>(
    step: impl FnMut(&K, Input<'_>, Option<A>) -> Result<Option<A>, Failure> + 'static,
) -> Function {
    steps_from(|| None, step)
}

/// As [`steps`], of aggregates that begin with `initial`.
pub(super) fn steps_from<K: Data, A: Data>(
    initial: impl FnMut() -> Option<A> + 'static,
    mut step: impl FnMut(&K, Input<'_>, Option<A>) -> Result<Option<A>, Failure> + 'static,
) -> Function {
    folds(initial, move |key, input, so_far, other| match other {
        Some(_) => Err(Failure::fail("aggregates to be merged where there are no sessions")),
        None => step(key, input, so_far),
    })
}

/// As [`steps`], and sessions are merged.
pub(super) fn session_steps<K: Data, A: Data>(
    mut step: impl FnMut(&K, Input<'_>, Option<A>) -> Result<Option<A>, Failure> + 'static,
    mut merge: impl FnMut(&K, Option<A>, A) -> A + 'static,
) -> Function {
    folds(
        || None,
        move |key, input, so_far, other| match other {
            Some(None) => Ok(so_far),
            Some(Some(other)) => Ok(Some(merge(key, so_far, other))),
            None => step(key, input, so_far),
        },
    )
}

/// Values are added to sessions, and sessions are merged.
pub(super) fn fold_sessions<K: Data, V: Data, A: Data>(
    mut step: impl FnMut(&K, V, Option<A>) -> A + 'static,
    merge: impl FnMut(&K, Option<A>, A) -> A + 'static,
) -> Function {
    session_steps(move |key, input, so_far| Ok(Some(step(key, input.value()?, so_far))), merge)
}

/// `step` answers the next aggregate; `None`: there is none. Its last argument is the other aggregate, where two are to be
/// merged. `initial`: what an aggregate begins with, where it begins with something.
fn folds<K: Data, A: Data>(
    mut initial: impl FnMut() -> Option<A> + 'static,
    mut step: impl FnMut(&K, Input<'_>, Option<A>, Option<Option<A>>) -> Result<Option<A>, Failure> + 'static,
) -> Function {
    Box::new(move |call: &mut Call<'_>| {
        call.expect(Kind::Fold)?;
        let mut results = Results::of(&call.frame);
        let mut groups: Vec<_> = call.frame.groups.iter().map(start::<K>).collect();
        call.run(|input, answer| {
            let place = input.place as usize;
            if input.element.input == INITIAL {
                let initial = initial().and_then(|initial| codec::to_bytes(&initial));
                answer.element(input.place, ALL, input.timestamp(), (SAME, Field::New(&initial)), None);
                results.keep(place, &initial);
                return Ok(());
            }
            let at = |number: u32| {
                Aggregate::of(number, groups.len(), place)
                    .ok_or_else(|| Failure::fail("an aggregate that is not there"))
            };
            let bytes = |aggregate: Aggregate| match aggregate {
                Aggregate::Group(group) => match &groups[group] {
                    Ok(group) => Ok(group.so_far.as_deref()),
                    Err(error) => Err(Failure::fail(error.to_string())),
                },
                Aggregate::Result(element) => Ok(results.get(element)),
            };
            let read = |bytes: Option<&[u8]>| {
                bytes.map(|bytes| codec::decode("aggregate so far", Some(bytes))).transpose().map_err(Failure::from)
            };
            let from = at(input.element.group as u32)?;
            let so_far = read(bytes(from)?)?;
            let other = match input.element.input {
                MERGE => Some(read(bytes(at(number(input.element.value)?)?)?)?),
                _ => None,
            };
            let next = match from {
                Aggregate::Group(group) => match &groups[group] {
                    Ok(group) => step(&group.key, input, so_far, other)?,
                    Err(error) => return Err(Failure::fail(error.to_string())),
                },
                Aggregate::Result(_) => step(&input.key()?, input, so_far, other)?,
            };
            let next = next.and_then(|next| codec::to_bytes(&next));
            answer.element(input.place, ALL, input.timestamp(), (SAME, Field::New(&next)), None);
            results.keep(place, &next);
            if let Aggregate::Group(group) = from
                && let Ok(group) = &mut groups[group]
            {
                group.so_far = next;
            }
            Ok(())
        });
        Ok(())
    })
}

/// An aggregate's number, in the value of an element that asks for a merge.
fn number(value: Option<&[u8]>) -> Result<u32, Failure> {
    let bytes = value.and_then(|value| value.try_into().ok());
    bytes.map(u32::from_le_bytes).ok_or_else(|| Failure::fail("a merge that does not say what with"))
}

/// The results that later elements of a frame go on from.
struct Results {
    /// By element, up to the last that is asked for; `None`: nobody goes on from it, or it is null.
    kept: Vec<(bool, Option<Vec<u8>>)>,
}

impl Results {
    fn of(frame: &Frame<'_>) -> Results {
        let mut kept = Vec::new();
        for (place, element) in frame.elements.iter().enumerate() {
            let merged = if element.input == MERGE { number(element.value).ok() } else { None };
            for number in [Some(element.group as u32), merged].into_iter().flatten() {
                if let Some(Aggregate::Result(of)) = Aggregate::of(number, frame.groups.len(), place) {
                    kept.resize(kept.len().max(of + 1), (false, None));
                    kept[of].0 = true;
                }
            }
        }
        Results { kept }
    }

    fn keep(&mut self, place: usize, result: &Option<Vec<u8>>) {
        if let Some((true, kept)) = self.kept.get_mut(place) {
            kept.clone_from(result);
        }
    }

    fn get(&self, place: usize) -> Option<&[u8]> {
        self.kept.get(place)?.1.as_deref()
    }
}

fn start<K: Data>(group: &Group<'_>) -> Result<Running<K>, DecodeError> {
    Ok(Running { key: codec::decode("key", Some(group.key))?, so_far: group.aggregate.map(<[u8]>::to_vec) })
}
