//! One call of one node's function: a frame in, an answer out.

use crate::answer::Answer;
use crate::codec::{self, Data};
use crate::failure::Failure;
use crate::frame::{Element, Frame, Kind};

/// What runs a node; the error fails the whole call.
pub(crate) type Function = Box<dyn FnMut(&mut Call<'_>) -> Result<(), Failure>>;

pub(crate) struct Call<'a> {
    pub frame: Frame<'a>,
    pub answer: Answer,
}

impl Call<'_> {
    /// Runs `each` over the records of a records frame.
    pub(crate) fn each(
        &mut self,
        each: impl FnMut(Input<'_>, &mut Answer) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.expect(Kind::Records)?;
        self.run(each);
        Ok(())
    }

    /// Refuses a frame of another kind.
    pub(crate) fn expect(&self, kind: Kind) -> Result<(), Failure> {
        let found = self.frame.kind;
        if found == kind {
            Ok(())
        } else {
            Err(Failure::fail(format!("a {found:?} frame where a {kind:?} frame belongs")))
        }
    }

    /// Runs `each` over the frame's elements in order. What fails takes its own answers back.
    pub(crate) fn run(&mut self, mut each: impl FnMut(Input<'_>, &mut Answer) -> Result<(), Failure>) {
        for (place, element) in self.frame.elements.iter().enumerate() {
            let place = place as u32;
            let mark = self.answer.mark();
            if let Err(failure) = each(Input { place, element }, &mut self.answer) {
                if failure.undoes() {
                    self.answer.truncate(mark);
                }
                self.answer.outcome(place, &failure);
            }
        }
    }
}

/// One element with its place in the frame.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    pub place: u32,
    pub element: &'a Element<'a>,
}

impl Input<'_> {
    pub(crate) fn key<K: Data>(&self) -> Result<K, Failure> {
        Ok(codec::decode("key", self.element.key)?)
    }

    pub(crate) fn value<V: Data>(&self) -> Result<V, Failure> {
        Ok(codec::decode("value", self.element.value)?)
    }

    pub(crate) fn timestamp(&self) -> i64 {
        self.element.timestamp
    }
}
