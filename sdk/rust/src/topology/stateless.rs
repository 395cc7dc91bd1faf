//! What functions do to a stream, record by record and without state.
//!
//! Whoever only looks at a record gets references; whoever makes a new one gets the record itself. The `try_`
//! functions may answer with a [`Failure`].

use std::fmt::Debug;

use super::Stream;
use crate::answer::{ALL, Answer, Field, SAME};
use crate::call::{Call, Function, Input};
use crate::codec::Data;
use crate::failure::Failure;
use crate::log;

impl<K: Data, V: Data> Stream<K, V> {
    /// The records for which `predicate` is true.
    pub fn filter(&self, mut predicate: impl FnMut(&K, &V) -> bool + 'static) -> Stream<K, V> {
        self.then("filter", passes(move |key, value| Ok(predicate(key, value))))
    }

    pub fn try_filter(&self, predicate: impl FnMut(&K, &V) -> Result<bool, Failure> + 'static) -> Stream<K, V> {
        self.then("filter", passes(predicate))
    }

    /// The records for which `predicate` is false.
    pub fn filter_not(&self, mut predicate: impl FnMut(&K, &V) -> bool + 'static) -> Stream<K, V> {
        // The host turns it round.
        self.then("filter-not", passes(move |key, value| Ok(predicate(key, value))))
    }

    /// A new key and a new value for each record.
    pub fn map<K2: Data, V2: Data>(&self, mut map: impl FnMut(K, V) -> (K2, V2) + 'static) -> Stream<K2, V2> {
        self.then("map", pairs(move |key, value| Ok([map(key, value)])))
    }

    pub fn try_map<K2: Data, V2: Data>(
        &self,
        mut map: impl FnMut(K, V) -> Result<(K2, V2), Failure> + 'static,
    ) -> Stream<K2, V2> {
        self.then("map", pairs(move |key, value| map(key, value).map(|pair| [pair])))
    }

    /// A new value for each record, under the same key.
    pub fn map_values<V2: Data>(&self, mut map: impl FnMut(V) -> V2 + 'static) -> Stream<K, V2> {
        self.then("map-values", values(move |value| Ok([map(value)])))
    }

    /// A new value for each record, made with a look at its key.
    pub fn map_values_with_key<V2: Data>(&self, mut map: impl FnMut(&K, V) -> V2 + 'static) -> Stream<K, V2> {
        let map = move |input: Input<'_>, answer: &mut Answer| {
            let value = map(&input.key()?, input.value()?);
            answer.element(input.place, ALL, input.timestamp(), (SAME, Field::New(&value)), None);
            Ok(())
        };
        self.then("map-values", each(map))
    }

    pub fn try_map_values<V2: Data>(&self, mut map: impl FnMut(V) -> Result<V2, Failure> + 'static) -> Stream<K, V2> {
        self.then("map-values", values(move |value| map(value).map(|value| [value])))
    }

    /// Any number of records for each one.
    pub fn flat_map<K2: Data, V2: Data, I: IntoIterator<Item = (K2, V2)>>(
        &self,
        mut map: impl FnMut(K, V) -> I + 'static,
    ) -> Stream<K2, V2> {
        self.then("flat-map", pairs(move |key, value| Ok(map(key, value))))
    }

    pub fn try_flat_map<K2: Data, V2: Data, I: IntoIterator<Item = (K2, V2)>>(
        &self,
        map: impl FnMut(K, V) -> Result<I, Failure> + 'static,
    ) -> Stream<K2, V2> {
        self.then("flat-map", pairs(map))
    }

    /// Any number of values for each one, under the same key.
    pub fn flat_map_values<V2: Data, I: IntoIterator<Item = V2>>(
        &self,
        mut map: impl FnMut(V) -> I + 'static,
    ) -> Stream<K, V2> {
        self.then("flat-map-values", values(move |value| Ok(map(value))))
    }

    /// Any number of values for each one, made with a look at its key.
    pub fn flat_map_values_with_key<V2: Data, I: IntoIterator<Item = V2>>(
        &self,
        mut map: impl FnMut(&K, V) -> I + 'static,
    ) -> Stream<K, V2> {
        let map = move |input: Input<'_>, answer: &mut Answer| {
            for value in map(&input.key()?, input.value()?) {
                answer.element(input.place, ALL, input.timestamp(), (SAME, Field::New(&value)), None);
            }
            Ok(())
        };
        self.then("flat-map-values", each(map))
    }

    pub fn try_flat_map_values<V2: Data, I: IntoIterator<Item = V2>>(
        &self,
        map: impl FnMut(V) -> Result<I, Failure> + 'static,
    ) -> Stream<K, V2> {
        self.then("flat-map-values", values(map))
    }

    /// A new key for each record.
    pub fn select_key<K2: Data>(&self, mut key: impl FnMut(&K, &V) -> K2 + 'static) -> Stream<K2, V> {
        let select = move |input: Input<'_>, answer: &mut Answer| {
            let key = key(&input.key()?, &input.value()?);
            answer.element(input.place, ALL, input.timestamp(), (Field::New(&key), SAME), None);
            Ok(())
        };
        self.then("select-key", each(select))
    }

    /// Looks at each record and lets it pass.
    pub fn peek(&self, mut look: impl FnMut(&K, &V) + 'static) -> Stream<K, V> {
        let look = move |input: Input<'_>, _: &mut Answer| {
            look(&input.key()?, &input.value()?);
            Ok(())
        };
        self.then("peek", each(look))
    }

    /// Looks at each record, and that is all: [`Stream::peek`] at the end of a stream.
    pub fn foreach(&self, look: impl FnMut(&K, &V) + 'static) {
        self.peek(look);
    }

    /// Writes each record to the operator's log, as `[label]: key, value`.
    pub fn print(&self, label: &str)
    where
        K: Debug,
        V: Debug,
    {
        let label = label.to_owned();
        self.foreach(move |key, value| log::info(format!("[{label}]: {key:?}, {value:?}")));
    }
}

fn each(mut run: impl FnMut(Input<'_>, &mut Answer) -> Result<(), Failure> + 'static) -> Function {
    Box::new(move |call: &mut Call<'_>| call.each(&mut run))
}

fn passes<K: Data, V: Data>(mut predicate: impl FnMut(&K, &V) -> Result<bool, Failure> + 'static) -> Function {
    each(move |input, answer| {
        if predicate(&input.key()?, &input.value()?)? {
            answer.same(input.place, ALL, input.timestamp());
        }
        Ok(())
    })
}

fn pairs<K: Data, V: Data, K2: Data, V2: Data, I: IntoIterator<Item = (K2, V2)>>(
    mut map: impl FnMut(K, V) -> Result<I, Failure> + 'static,
) -> Function {
    each(move |input, answer| {
        for (key, value) in map(input.key()?, input.value()?)? {
            answer.element(input.place, ALL, input.timestamp(), (Field::New(&key), Field::New(&value)), None);
        }
        Ok(())
    })
}

fn values<V: Data, V2: Data, I: IntoIterator<Item = V2>>(
    mut map: impl FnMut(V) -> Result<I, Failure> + 'static,
) -> Function {
    each(move |input, answer| {
        for value in map(input.value()?)? {
            answer.element(input.place, ALL, input.timestamp(), (SAME, Field::New(&value)), None);
        }
        Ok(())
    })
}
