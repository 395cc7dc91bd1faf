//! What is waited for: said by those who wait, read by those who look on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use millstream_engine::error::Problem;
use millstream_engine::task::GlobalViews;

/// How long a state has to be full before it is taken to stay so: whoever reads it in another process, such as a backup,
/// keeps pages from being used again and gives them back at its end.
const PASSING: Duration = Duration::from_secs(10);

/// A state that holds as much as it may: waiting alone does not help, once it has been so for long.
#[derive(Clone, Debug)]
pub struct Full {
    pub since: Instant,
    pub problem: Problem,
}

impl Full {
    /// `before`: the wait that goes on.
    pub fn again(before: Option<Full>, problem: Problem) -> Full {
        Full { since: before.map_or_else(Instant::now, |before| before.since), problem }
    }

    /// What only a person can help.
    pub fn lasting(&self) -> Option<&Problem> {
        (self.since.elapsed() >= PASSING).then_some(&self.problem)
    }

    /// With what makes it go on.
    pub fn why(&self) -> String {
        let Problem { code, name, fix, .. } = &self.problem;
        format!("{code} {name}: {}; {fix}", self.problem)
    }
}

/// The global tables of an application, for those who read them and look after them.
#[derive(Clone, Default)]
pub struct GlobalLink {
    pub views: GlobalViews,
    pub waiting: Waiting,
}

/// What a thread waits for, if for anything.
#[derive(Clone, Default)]
pub struct Waiting(Arc<Mutex<Wait>>);

/// Whatever else is waited for in between says nothing of the room: the one stands beside the other.
#[derive(Clone, Debug, Default)]
struct Wait {
    full: Option<Full>,
    other: Option<String>,
}

impl Waiting {
    pub fn begin(&self, why: String) {
        self.now().other = Some(why);
    }

    pub fn begin_full(&self, problem: Problem) {
        let mut now = self.now();
        let full = Some(Full::again(now.full.take(), problem));
        *now = Wait { full, other: None };
    }

    /// What did not fit is taken, and nothing else is waited for.
    pub fn end(&self) {
        *self.now() = Wait::default();
    }

    pub fn why(&self) -> Option<String> {
        let now = self.now();
        now.other.clone().or_else(|| now.full.as_ref().map(Full::why))
    }

    pub fn full(&self) -> Option<Full> {
        self.now().full.clone()
    }

    fn now(&self) -> MutexGuard<'_, Wait> {
        // Either part of it may stand by itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use millstream_engine::error::exit;

    use super::*;

    fn full_for(time: Duration) -> Full {
        let problem = Problem::new("StateFull", "E0705", exit::FAILED, "it is full");
        Full { since: Instant::now() - time, problem }
    }

    #[test]
    fn only_what_has_been_full_for_long_is_taken_to_stay_so() {
        assert!(full_for(PASSING / 2).lasting().is_none());
        assert!(full_for(PASSING).lasting().is_some());
    }

    #[test]
    fn a_state_that_is_full_again_has_been_so_since_the_first_time() {
        let first = full_for(PASSING);
        let waiting = Waiting(Arc::new(Mutex::new(Wait { full: Some(first.clone()), other: None })));
        waiting.begin_full(first.problem.clone());
        let stays = || waiting.full().map(|full| full.lasting().is_some());
        assert_eq!(stays(), Some(true));
        waiting.end();
        assert!(waiting.full().is_none() && waiting.why().is_none());
        waiting.begin_full(first.problem);
        assert_eq!(stays(), Some(false));
    }

    #[test]
    fn another_wait_in_between_does_not_make_a_full_state_full_anew() {
        let first = full_for(PASSING);
        let waiting = Waiting(Arc::new(Mutex::new(Wait { full: Some(first.clone()), other: None })));
        waiting.begin("the log does not answer".to_owned());
        assert_eq!(waiting.why().as_deref(), Some("the log does not answer"));
        waiting.begin_full(first.problem.clone());
        assert!(waiting.full().is_some_and(|full| full.lasting().is_some()));
        assert_eq!(waiting.why(), Some(first.why()));
    }
}
