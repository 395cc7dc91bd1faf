//! Branches of a stream.

use std::cell::RefCell;
use std::rc::Rc;

use super::Stream;
use super::graph::{Port, Way};
use crate::call::Call;
use crate::codec::Data;

/// A stream that is being taken apart ([`Stream::split`]): a record goes to the first branch that takes it, and
/// nowhere when none does.
pub struct Split<K, V> {
    /// The node that branches.
    node: Stream<K, V>,
    predicates: Predicates<K, V>,
}

type Predicates<K, V> = Rc<RefCell<Vec<Box<dyn FnMut(&K, &V) -> bool>>>>;

impl<K: Data, V: Data> Split<K, V> {
    pub(super) fn new(stream: &Stream<K, V>) -> Split<K, V> {
        let predicates: Predicates<K, V> = Rc::default();
        let tried = predicates.clone();
        let function = move |call: &mut Call<'_>| {
            let mut predicates = tried.borrow_mut();
            call.each(|input, answer| {
                let (key, value) = (input.key()?, input.value()?);
                if let Some(branch) = predicates.iter_mut().position(|predicate| predicate(&key, &value)) {
                    answer.same(input.place, branch as u16, input.timestamp());
                }
                Ok(())
            })
        };
        Split { node: stream.then("branch", Box::new(function)), predicates }
    }

    /// Names the node that branches.
    pub fn named(self, name: &str) -> Split<K, V> {
        Split { node: self.node.named(name), ..self }
    }

    /// The records that no earlier branch has taken and for which `predicate` is true.
    pub fn branch(&mut self, predicate: impl FnMut(&K, &V) -> bool + 'static) -> Stream<K, V> {
        let mut predicates = self.predicates.borrow_mut();
        let branch = predicates.len() as u16;
        predicates.push(Box::new(predicate));
        Stream::new(self.node.topology.clone(), Port { node: self.node.port.node, way: Way::Branch(branch) })
    }

    /// The records that no branch has taken.
    pub fn default(mut self) -> Stream<K, V> {
        self.branch(|_, _| true)
    }
}
