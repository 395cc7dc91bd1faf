//! `[dev]`: what the verb `dev` sets up by itself.

use std::collections::BTreeMap;
use std::num::NonZeroI32;

use super::section::Section;
use super::topic_name::check_topic_name;

/// `[dev]`; nothing but `millstream dev` reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dev {
    /// `[dev.topics.NAME]`
    pub topics: BTreeMap<String, DevTopic>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevTopic {
    /// Default 1.
    pub partitions: NonZeroI32,
    /// Records as JSON lines, perhaps compressed (`.gz`), fed once into the empty topic. Relative to the manifest.
    pub file: Option<String>,
}

const ONE_PARTITION: NonZeroI32 = NonZeroI32::new(1).expect("1 is not 0");

impl Dev {
    pub(super) fn read(mut section: Section<'_>) -> Dev {
        let topics = section.named_sections("topics");
        Dev { topics: topics.into_iter().map(|(name, topic)| (name.clone(), DevTopic::read(&name, topic))).collect() }
    }
}

impl DevTopic {
    fn read(name: &str, mut section: Section<'_>) -> DevTopic {
        if let Err(why) = check_topic_name(name) {
            section.refuse_whole(why);
        }
        DevTopic { partitions: section.or("partitions", ONE_PARTITION), file: section.get("file") }
    }
}
