//! Changelogs that were deleted and created anew while nobody ran, or are other topics now, and stores of another kind than
//! before: what is on the disk belongs to the old one, and an offset that both have says nothing of that (semantics.md B16).

use std::collections::BTreeMap;

use millstream_engine::config::{Manifest, Provider};
use millstream_engine::error::Problem;
use millstream_engine::topology::Plan;

use super::orphans::Kept;
use crate::lmdb::StateDirectory;

/// Empties every store whose changelog is another topic, or has another id, than when the state was written, in all of
/// its tasks, so that it is restored from the changelog that is there; its neighbours keep what they have. An id that was not known before is
/// taken as it is. Comes before any task is opened; the ids are recorded after it, so that a crash between does it again.
pub fn forget_replaced(
    plan: &Plan,
    manifest: &Manifest,
    directory: &StateDirectory,
    kept: &Kept,
    ids: &BTreeMap<String, String>,
) -> Result<(), Problem> {
    // A store that is not restored keeps what it has.
    let on_disk = plan.stores.iter().filter(|store| store.provider == Provider::Lmdb && !store.skips_restoration);
    for store in on_disk {
        // A global table's topic is its changelog.
        let topic = store.changelog.or(store.global);
        let Some(topic) = topic.map(|topic| plan.topics[topic.0 as usize].name.as_str()) else { continue };
        let name = store.description.name.as_str();
        let (before, now) = (kept.topic_ids.get(topic), ids.get(topic));
        let is_new = before.is_some() && now.is_some() && before != now;
        if !is_new && !kept.moved.contains(name) {
            continue;
        }
        tracing::warn!(
            topic,
            store = name,
            before,
            now,
            "the changelog was deleted and created anew, or was another topic before, or the store was of another kind: the \
             local state belongs to what was; it is wiped and restored from what the changelog has"
        );
        if store.global.is_some() {
            directory.forget_global(name, manifest.state_bytes_max([name])).map_err(|error| error.problem())?;
            continue;
        }
        let subtopology = &plan.subtopologies[store.subtopology as usize];
        for partition in 0..subtopology.partitions {
            let wiped = directory.wipe_store(&subtopology.name, partition, name, manifest.state_bytes_max([name]));
            wiped.map_err(|error| error.problem())?;
        }
    }
    Ok(())
}
