//! What is told of stores that had to be emptied, each by its name: that of a task's neighbours nothing is lost, and of
//! one without a changelog everything.

use millstream_engine::error::{Problem, exit};
use millstream_engine::task::TaskId;

/// A changelog that its store does not go on from.
pub(super) fn truncated(problem: Problem) -> Problem {
    problem
        .why("the local state does not belong to this changelog, or records that it needs were deleted")
        .fix("nothing: the store is emptied and restored from what the changelog has; entries may be missing")
}

/// Its rows lie where another retention has put them, or another kind of store.
pub(super) fn outgrown(task: TaskId, store: &str, logged: bool) -> Problem {
    let problem = emptied(task, store, logged);
    problem.why(
        "it was written with another retention or as another kind of store, and what lies so is not found by this one",
    )
}

/// It has no changelog, and stood in a base that was damaged.
pub(super) fn damaged(task: TaskId, store: &str) -> Problem {
    emptied(task, store, false).why("the local state that it was part of is damaged")
}

/// It has no changelog, and what a start found of it was not to be trusted.
pub(super) fn at_open(task: TaskId, store: &str, why: &str) -> Problem {
    emptied(task, store, false).why(format!("what was there when it was opened could not be trusted: {why}"))
}

fn emptied(task: TaskId, store: &str, logged: bool) -> Problem {
    let (lost, fix) = match logged {
        true => ("", "nothing: it is restored from its changelog"),
        false => (
            ": what it held is gone and cannot be restored, for it has no changelog",
            "give it a changelog where its entries are to outlast its local state; a copy of them is imported then",
        ),
    };
    Problem::new("StoreEmptied", "E0809", exit::FAILED, format!("store {store} of task {task} was emptied{lost}"))
        .field("store", store)
        .field("task", task.to_string())
        .fix(fix)
}
