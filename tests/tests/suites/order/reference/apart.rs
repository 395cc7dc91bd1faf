//! What nodes let go of what they held back, run apart where the guest has refused some of it: only that meets the policy.

use std::collections::VecDeque;

use super::streams::Pair;
use super::{Flow, Rec, Stop, World};

/// What a node has let go.
#[derive(Clone)]
pub(super) enum LetGo {
    /// A row of a suppression.
    Row(usize, Flow),
    /// Who has waited in vain for a partner: by the side that let it go, as it was, and what the joiner is asked about.
    Alone(usize, String, Rec, Pair),
}

impl World<'_> {
    /// Answers why it failed by itself; then, and after an error, all is as before.
    pub(super) fn run_apart(
        &mut self,
        start: impl FnOnce(&mut Self) -> Result<(), Stop>,
        judge: impl FnMut(&mut Self, Stop, Rec) -> Result<(), String>,
    ) -> Result<Option<Stop>, String> {
        let (before, letters) = (self.effects.clone(), self.dead_letters);
        self.apart = Some(Vec::new());
        let ran = match start(self) {
            Ok(()) => self.run_let_go(judge).map(|()| None),
            Err(stop) => Ok(Some(stop)),
        };
        self.apart = None;
        if !matches!(ran, Ok(None)) {
            (self.effects, self.dead_letters) = (before, letters);
        }
        ran
    }

    fn run_let_go(&mut self, mut judge: impl FnMut(&mut Self, Stop, Rec) -> Result<(), String>) -> Result<(), String> {
        let mut waiting = VecDeque::from(self.take_apart());
        while let Some(next) = waiting.pop_front() {
            let saved = self.effects.clone();
            let (rec, ran) = match next {
                LetGo::Row(at, flow) => (flow.rec.clone(), self.forward(at, flow, None)),
                LetGo::Alone(at, name, rec, pair) => (rec, self.ask_and_forward(at, &name, vec![pair])),
            };
            let more = self.take_apart();
            match ran {
                Ok(()) => more.into_iter().rev().for_each(|next| waiting.push_front(next)),
                Err(stop) => {
                    self.effects = saved;
                    judge(self, stop, rec)?;
                }
            }
        }
        Ok(())
    }

    fn take_apart(&mut self) -> Vec<LetGo> {
        self.apart.replace(Vec::new()).unwrap_or_default()
    }
}
