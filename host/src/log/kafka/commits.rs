//! On which partitions a group has committed: asked of the coordinator. A cluster has many more, and librdkafka keeps in mind
//! whatever it was once asked about, each search the longer.

use std::ptr;
use std::time::Instant;

use rdkafka::bindings as native_api;
use rdkafka::bindings::rd_kafka_admin_op_t as Operation;
use rdkafka::error::RDKafkaErrorCode;

use super::admin::{Answer, Refusal};
use super::connection::{CALL_TIMEOUT, Connection, LOOK_AGAIN};
use super::group::is_moving;
use super::native;
use crate::log::Result;

impl Connection {
    /// Without those of topics that were deleted, as far as the coordinator has heard of it; none of a group that is not
    /// there.
    pub fn committed_partitions(&self, group: &str) -> Result<Vec<(String, i32)>> {
        let what = format!("what group {group} has committed");
        let name = native::c_string(group)?;
        let deadline = Instant::now() + CALL_TIMEOUT;
        loop {
            // SAFETY: a C string that lives during the call, which copies it; no partitions stand for all.
            let mut request = unsafe { native_api::rd_kafka_ListConsumerGroupOffsets_new(name.as_ptr(), ptr::null()) };
            let operation = Operation::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS;
            let answer = self.request(&what, operation, |client, options, queue| {
                // SAFETY: client, options and queue live during the call; the request is one element that librdkafka
                // copies.
                unsafe { native_api::rd_kafka_ListConsumerGroupOffsets(client, &mut request, 1, options, queue) }
            });
            // SAFETY: ours; librdkafka copied it when the request was made.
            unsafe { native_api::rd_kafka_ListConsumerGroupOffsets_destroy(request) };
            match answer?.committed_partitions() {
                Ok(found) => return Ok(found),
                Err((RDKafkaErrorCode::GroupIdNotFound, _)) => return Ok(Vec::new()),
                Err((code, _)) if is_moving(code) && Instant::now() < deadline => std::thread::sleep(LOOK_AGAIN),
                Err((code, why)) => return Err(native::error(&what, code, &why)),
            }
        }
    }
}

impl Answer {
    fn committed_partitions(&self) -> std::result::Result<Vec<(String, i32)>, Refusal> {
        let (mut count, mut found) = (0, Vec::new());
        // SAFETY: the event answers ListConsumerGroupOffsets of one group; its error, its list and their texts live as long
        // as the event, texts are copied.
        unsafe {
            let result = native_api::rd_kafka_event_ListConsumerGroupOffsets_result(self.event());
            let groups = native_api::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &mut count);
            if count == 0 {
                return Err((RDKafkaErrorCode::Fail, "no answer for it".to_owned()));
            }
            let error = native_api::rd_kafka_group_result_error(*groups);
            let code = RDKafkaErrorCode::from(native_api::rd_kafka_error_code(error));
            if code != RDKafkaErrorCode::NoError {
                return Err((code, native::text(native_api::rd_kafka_error_string(error))));
            }
            let Some(list) = native_api::rd_kafka_group_result_partitions(*groups).as_ref() else { return Ok(found) };
            for i in 0..list.cnt.max(0) as usize {
                let place = &*list.elems.add(i);
                match RDKafkaErrorCode::from(place.err) {
                    RDKafkaErrorCode::NoError if place.offset >= 0 => {
                        found.push((native::text(place.topic), place.partition));
                    }
                    RDKafkaErrorCode::NoError => {}
                    code => return Err((code, native::describe(code))),
                }
            }
        }
        Ok(found)
    }
}
