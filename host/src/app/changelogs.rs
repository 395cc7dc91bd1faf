//! Changelogs that were deleted and created anew while nobody ran: what is on the disk belongs to the old one, and an
//! offset that both have says nothing of that (semantics.md B16).

use millstream_engine::error::Problem;
use millstream_engine::topology::Plan;

use super::orphans::Kept;
use crate::lmdb::StateDirectory;
use crate::log::Log;

/// Takes away the local state of every task whose changelog has another id than when the state was written, so that it
/// is restored from the changelog that is there, and keeps the ids of today in `kept`. An id that was not known before
/// is taken as it is. Comes before any task is opened; the record is written after it, so that a crash between does it
/// again.
pub fn forget_replaced(log: &dyn Log, plan: &Plan, directory: &StateDirectory, kept: &mut Kept) -> Result<(), Problem> {
    let logged = || plan.stores.iter().filter_map(|store| Some((store, store.changelog?)));
    let names: Vec<&str> = logged().map(|(_, topic)| plan.topics[topic.0 as usize].name.as_str()).collect();
    let described = log.describe(&names)?;
    let used = |name: &String| names.contains(&name.as_str());
    kept.changelog_ids.retain(|name, _| used(name));
    for ((store, _), topic) in logged().zip(described) {
        let Some((name, id)) = topic.and_then(|topic| Some((topic.name, topic.id?))) else { continue };
        let before = kept.changelog_ids.insert(name.clone(), id.clone());
        let Some(before) = before.filter(|before| *before != id) else { continue };
        let subtopology = &plan.subtopologies[store.subtopology as usize];
        tracing::warn!(
            topic = name,
            store = store.description.name,
            before,
            now = id,
            "the changelog was deleted and created anew: the local state belongs to the old one; it is wiped and \
             restored from what the new one has"
        );
        for partition in 0..subtopology.partitions {
            directory.forget(&subtopology.name, partition).map_err(|error| error.problem())?;
        }
    }
    Ok(())
}
