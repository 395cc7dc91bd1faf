//! What a member of a group proves itself with, and what it has committed.

use std::time::{Duration, Instant};

use rdkafka::bindings as native_api;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::native;
use crate::log::{Committed, Error, Result};

/// Member id and generation as they were at one moment. The coordinator refuses a commit made with older ones.
pub struct GroupMetadata(*mut native_api::rd_kafka_consumer_group_metadata_t);

// SAFETY: a plain value, read only.
unsafe impl Send for GroupMetadata {}
// SAFETY: as above.
unsafe impl Sync for GroupMetadata {}

impl GroupMetadata {
    /// `None` when the client is not a member now: the coordinator would take a commit with an empty membership from
    /// anybody.
    pub fn of<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> Option<GroupMetadata> {
        // SAFETY: a live client; the metadata is ours.
        let metadata = unsafe { native_api::rd_kafka_consumer_group_metadata(consumer.client().native_ptr()) };
        if metadata.is_null() {
            return None;
        }
        let metadata = GroupMetadata(metadata);
        (metadata.generation() >= 0 && metadata.has_member_id()).then_some(metadata)
    }

    pub fn ptr(&self) -> *const native_api::rd_kafka_consumer_group_metadata_t {
        self.0
    }

    pub fn generation(&self) -> i32 {
        // SAFETY: owned and live.
        unsafe { native_api::rd_kafka_consumer_group_metadata_generation_id(self.0) }
    }

    fn has_member_id(&self) -> bool {
        // SAFETY: owned and live; the text is copied.
        !unsafe { native::text(native_api::rd_kafka_consumer_group_metadata_member_id(self.0)) }.is_empty()
    }
}

impl Drop for GroupMetadata {
    fn drop(&mut self) {
        // SAFETY: owned, destroyed once.
        unsafe { native_api::rd_kafka_consumer_group_metadata_destroy(self.0) }
    }
}

/// The stable committed offsets of the consumer's group: its isolation is read committed, so librdkafka waits for
/// transactions in flight.
pub fn committed<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &[(&str, i32)],
    wait: Duration,
) -> Result<Vec<Option<Committed>>> {
    let what = "committed offsets";
    let deadline = Instant::now() + wait;
    loop {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            list.add_partition_offset(topic, *partition, Offset::Invalid).map_err(|e| native::kafka_error(what, &e))?;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let list = match consumer.committed_offsets(list, left) {
            Err(error) if error.rdkafka_error_code().is_some_and(is_moving) && Instant::now() < deadline => {
                std::thread::sleep(super::connection::LOOK_AGAIN);
                continue;
            }
            answer => answer.map_err(|e| native::kafka_error(what, &e))?,
        };
        match read(&list, partitions) {
            Err(RDKafkaErrorCode::UnstableOffsetCommit) if Instant::now() < deadline => {
                std::thread::sleep(super::connection::LOOK_AGAIN);
            }
            Err(RDKafkaErrorCode::UnstableOffsetCommit) => {
                return Err(Error::unreachable(what, "a transaction of another member is still open"));
            }
            Err(code) => return Err(native::error(what, code, &native::describe(code))),
            Ok(found) => return Ok(found),
        }
    }
}

/// Whether the group's coordinator is being found, elected or is loading: a moment later it answers.
pub fn is_moving(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(code, Code::NotCoordinator | Code::CoordinatorNotAvailable | Code::CoordinatorLoadInProgress)
}

/// In the order asked for; the safe crate would panic at metadata that is no UTF-8, which other programs may write.
fn read(
    list: &TopicPartitionList,
    partitions: &[(&str, i32)],
) -> std::result::Result<Vec<Option<Committed>>, RDKafkaErrorCode> {
    let one = |(topic, partition): &(&str, i32)| {
        let Ok(name) = native::c_string(topic) else { return Ok(None) };
        // SAFETY: the list is live; an element found in it lives as long, its metadata is `metadata_size` bytes.
        unsafe {
            let found = native_api::rd_kafka_topic_partition_list_find(list.ptr(), name.as_ptr(), *partition);
            let Some(found) = found.as_ref() else { return Ok(None) };
            match RDKafkaErrorCode::from(found.err) {
                RDKafkaErrorCode::NoError => {}
                code => return Err(code),
            }
            if found.offset < 0 {
                return Ok(None);
            }
            let metadata = if found.metadata.is_null() {
                &[]
            } else {
                std::slice::from_raw_parts(found.metadata.cast::<u8>(), found.metadata_size)
            };
            Ok(Some(Committed { offset: found.offset, metadata: String::from_utf8_lossy(metadata).into_owned() }))
        }
    };
    partitions.iter().map(one).collect()
}

/// A list of offsets with metadata, for a commit.
pub fn offsets<'a>(entries: impl Iterator<Item = (&'a str, i32, i64, &'a str)>) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (topic, partition, offset, metadata) in entries {
        let mut entry = list.add_partition(topic, partition);
        entry.set_offset(Offset::Offset(offset)).map_err(|e| native::kafka_error("offset", &e))?;
        entry.set_metadata(metadata);
    }
    Ok(list)
}
