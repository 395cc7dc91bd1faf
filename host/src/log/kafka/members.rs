//! The group's members, by their `client.id`: members of one group must run one plan.

use std::time::Duration;

use rdkafka::consumer::Consumer;

use super::connection::Connection;
use super::native;
use super::properties::{short_plan, static_id};
use crate::log::{Error, Result, Subscription};

/// The coordinator answers at once or is not there; the comparison is then left out.
const LIST_TIMEOUT: Duration = Duration::from_secs(5);

impl Connection {
    /// The client ids of a group's members; none of a group that is not there.
    pub fn members(&self, group: &str) -> Result<Vec<String>> {
        let groups = self.consumer.fetch_group_list(Some(group), LIST_TIMEOUT);
        self.serve();
        let groups = groups.map_err(|error| native::kafka_error(&format!("members of group {group}"), &error))?;
        let members = groups.groups().iter().flat_map(|group| group.members());
        Ok(members.map(|member| member.client_id().to_owned()).collect())
    }

    /// Refuses when a member of the group runs another plan than this subscription's.
    pub fn compare_plans(&self, subscription: &Subscription) -> Result<()> {
        // Without an answer the group cannot be joined either.
        let Ok(ids) = self.members(&subscription.application) else { return Ok(()) };
        match ids.iter().find(|id| is_other_plan(id, subscription)) {
            None => Ok(()),
            Some(id) => Err(Error::refused(
                format!("join group {}", subscription.application),
                format!(
                    "member {id} runs another plan than this one ({}): members of one group must run the same \
                     application; stop the others first, or give this one another `id`",
                    short_plan(&subscription.plan_hash)
                ),
            )),
        }
    }
}

/// `…-<instance>-<thread>-<plan>`, of another instance and with another plan. A `client.id` of another shape is no
/// Millstream's and says nothing.
fn is_other_plan(client_id: &str, subscription: &Subscription) -> bool {
    let Some((member, plan)) = client_id.rsplit_once('-') else { return false };
    let is_thread = |thread: &str| !thread.is_empty() && thread.bytes().all(|b| b.is_ascii_digit());
    let Some((instance, thread)) = member.rsplit_once('-') else { return false };
    let own = static_id(&Subscription { thread: 0, ..subscription.clone() });
    let ours = own.strip_suffix("-0").is_some_and(|own| instance.ends_with(own));
    is_thread(thread) && !ours && plan != short_plan(&subscription.plan_hash)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::log::Guarantee;

    #[test]
    fn a_plan_is_compared_with_the_members_of_other_instances_only() {
        let subscription = Subscription {
            application: "app".into(),
            topics: Arc::new([]),
            task_sets: Vec::new(),
            guarantee: Guarantee::ExactlyOnce,
            thread: 0,
            threads: 1,
            instance: "a-b".into(),
            plan_hash: "0123456789abcdef".into(),
            address: None,
        };
        let other = |id: &str| is_other_plan(id, &subscription);
        assert!(other("millstream-c-d-0-ffffffffffff"));
        assert!(!other("millstream-c-d-0-0123456789ab"), "the same plan");
        assert!(!other("millstream-a-b-3-ffffffffffff"), "our own, about to be replaced");
        assert!(!other("rdkafka") && !other("kafka-ui-x-y"), "no Millstream");
    }
}
