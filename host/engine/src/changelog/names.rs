//! Names of internal topics, Kafka Streams' where it has them. Whether they are legal, and no two the same, is
//! checked where all of them are known: in the plan.

/// The changelog of a store.
pub fn changelog_topic(application: &str, store: &str) -> String {
    format!("{application}-{store}-changelog")
}

/// The topic that carries records to the task of their new key, without its application.
pub fn repartition_name(name: &str) -> String {
    format!("{name}-repartition")
}

/// A topic between two subtopologies of an application.
pub fn internal_topic(application: &str, name: &str) -> String {
    format!("{application}-{name}")
}

/// The empty topic by which a group shares out the tasks of a subtopology with several sources.
pub fn tasks_topic(application: &str, subtopology: &str) -> String {
    format!("{application}-{}-tasks", shortened(subtopology))
}

/// The topic that records which stores an application has, where their changelogs are, and what it repartitions through.
pub fn names_topic(application: &str) -> String {
    format!("{application}-names")
}

/// Whether a topic is called as an internal one of the application is: what a pattern never finds.
pub fn is_internal(application: &str, topic: &str) -> bool {
    let own = topic.strip_prefix(application).and_then(|rest| rest.strip_prefix('-'));
    let ends = ["-changelog", "-repartition", "-tasks", "-topic"];
    own.is_some_and(|name| name == "names" || ends.iter().any(|end| name.ends_with(end)))
}

/// A subtopology is called after a source, whose name may be as long as a topic's: longer ones are cut, with a hash
/// to stay one of a kind.
const SUBTOPOLOGY_BYTES_MAX: usize = 100;

fn shortened(name: &str) -> String {
    const HASH_DIGITS: usize = 16;
    if name.len() <= SUBTOPOLOGY_BYTES_MAX {
        return name.to_owned();
    }
    let cut = (0..=SUBTOPOLOGY_BYTES_MAX - HASH_DIGITS - 1).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
    format!("{}-{:016x}", &name[..cut], fnv1a(name.as_bytes()))
}

/// FNV-1a, 64 bits: the same on every machine and in every version, as a name must be.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{APPLICATION_ID_BYTES_MAX, check_topic_name};

    #[test]
    fn names_are_kafka_streams() {
        assert_eq!(changelog_topic("app", "counts"), "app-counts-changelog");
        assert_eq!(internal_topic("app", &repartition_name("by-user")), "app-by-user-repartition");
        assert_eq!(tasks_topic("app", "orders"), "app-orders-tasks");
        assert!(is_internal("app", &names_topic("app")) && !is_internal("app", "app-more-names"));
        assert!(is_internal("app", "app-orders-tasks") && !is_internal("app", "app-orders"));
    }

    #[test]
    fn long_names_are_cut_and_stay_apart() {
        let (one, other) = ("x".repeat(150) + "1", "x".repeat(150) + "2");
        let application = "a".repeat(APPLICATION_ID_BYTES_MAX);
        assert_ne!(tasks_topic(&application, &one), tasks_topic(&application, &other));
        assert_eq!(tasks_topic(&application, &one), tasks_topic(&application, &one));
        assert_eq!(check_topic_name(&tasks_topic(&application, &one)), Ok(()));
        assert_eq!(tasks_topic("a", &"x".repeat(100)), format!("a-{}-tasks", "x".repeat(100)));
        // The published value of FNV-1a for "foobar".
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_F739_67E8);
    }
}
