//! What nodes let go of what they held back, each by itself where the guest has refused some of it: only that meets the
//! policy.

use super::{Rec, Stop, World};

impl World<'_> {
    /// Runs something and what it lets go; answers why it failed by itself. Then, and after an error, all is as before.
    pub(super) fn run_apart(
        &mut self,
        start: impl FnOnce(&mut Self) -> Result<(), Stop>,
        mut judge: impl FnMut(&mut Self, Stop, Rec) -> Result<(), String>,
    ) -> Result<Option<Stop>, String> {
        let (before, letters) = (self.effects.clone(), self.dead_letters);
        self.apart = Some(Vec::new());
        let ran = start(self);
        let refused = self.apart.take().unwrap();
        let judged = match ran {
            Ok(()) => refused.into_iter().try_for_each(|(rec, stop)| judge(self, stop, rec)).map(|()| None),
            Err(stop) => Ok(Some(stop)),
        };
        if !matches!(judged, Ok(None)) {
            (self.effects, self.dead_letters) = (before, letters);
        }
        judged
    }

    /// Runs what a node has let go. Apart it goes back alone.
    pub(super) fn let_go(&mut self, rec: Rec, run: impl FnOnce(&mut Self) -> Result<(), Stop>) -> Result<(), Stop> {
        let Some(refused) = self.apart.as_ref().map(Vec::len) else { return run(self) };
        let saved = self.effects.clone();
        if let Err(stop) = run(self) {
            self.effects = saved;
            let all = self.apart.as_mut().unwrap();
            all.truncate(refused);
            all.push((rec, stop));
        }
        Ok(())
    }
}
