//! Deleting the beginning of partitions.

use std::ffi::CString;

use rdkafka::bindings as native_api;
use rdkafka::bindings::rd_kafka_admin_op_t as Operation;
use rdkafka::error::RDKafkaErrorCode;

use super::admin::{Answer, Refusal};
use super::connection::Connection;
use super::native;
use crate::log::{Error, Result};

const WHAT: &str = "delete records";

impl Connection {
    /// Moves the beginning of partitions up to an offset each. One that begins behind it already stays as it is.
    pub fn delete_records(&self, below: &[(String, i32, i64)]) -> Result<()> {
        if below.is_empty() {
            return Ok(());
        }
        let request = DeleteRecords::new(below)?;
        let answer = self.request(WHAT, Operation::RD_KAFKA_ADMIN_OP_DELETERECORDS, |client, options, queue| {
            // SAFETY: client, options and queue live during the call; the request is one element that librdkafka
            // copies.
            unsafe { native_api::rd_kafka_DeleteRecords(client, [request.0].as_mut_ptr(), 1, options, queue) }
        });
        match self.unless_unknown(answer, below)?.records_deleted() {
            Ok(()) => Ok(()),
            Err((partition, (code, _))) if native::is_unknown_topic(code) => Err(Error::UnknownTopic(partition)),
            Err((partition, (code, why))) => Err(native::error(&format!("{WHAT} of topic {partition}"), code, &why)),
        }
    }
}

impl Connection {
    /// Of a topic that is not there librdkafka says that it has no leader, and not of which topic.
    fn unless_unknown(&self, answer: Result<Answer>, below: &[(String, i32, i64)]) -> Result<Answer> {
        let refused = match answer {
            Err(refused @ Error::Refused { .. }) => refused,
            answer => return answer,
        };
        for (topic, ..) in below {
            if self.partitions(topic)?.is_none() {
                return Err(Error::UnknownTopic(topic.clone()));
            }
        }
        Err(refused)
    }
}

struct DeleteRecords(*mut native_api::rd_kafka_DeleteRecords_t);

impl DeleteRecords {
    fn new(below: &[(String, i32, i64)]) -> Result<DeleteRecords> {
        let named =
            |(topic, partition, offset): &(String, i32, i64)| Ok((native::c_string(topic)?, *partition, *offset));
        let all = below.iter().map(named).collect::<Result<Vec<(CString, i32, i64)>>>()?;
        // SAFETY: the list is ours until it is destroyed below; names are copied into it, and the request copies it.
        unsafe {
            let list = native_api::rd_kafka_topic_partition_list_new(all.len() as i32);
            for (topic, partition, offset) in &all {
                let place = native_api::rd_kafka_topic_partition_list_add(list, topic.as_ptr(), *partition);
                (*place).offset = *offset;
            }
            let request = native_api::rd_kafka_DeleteRecords_new(list);
            native_api::rd_kafka_topic_partition_list_destroy(list);
            Ok(DeleteRecords(request))
        }
    }
}

impl Drop for DeleteRecords {
    fn drop(&mut self) {
        // SAFETY: owned, destroyed once.
        unsafe { native_api::rd_kafka_DeleteRecords_destroy(self.0) }
    }
}

impl Answer {
    /// The first topic of which nothing was deleted, and why.
    fn records_deleted(&self) -> std::result::Result<(), (String, Refusal)> {
        // SAFETY: the event answers DeleteRecords; the list and its elements live as long as the event, names are copied.
        unsafe {
            let result = native_api::rd_kafka_event_DeleteRecords_result(self.event());
            let list = native_api::rd_kafka_DeleteRecords_result_offsets(result);
            for i in 0..(*list).cnt as usize {
                let place = &*(*list).elems.add(i);
                let code = RDKafkaErrorCode::from(place.err);
                // It begins behind that offset already.
                if !matches!(code, RDKafkaErrorCode::NoError | RDKafkaErrorCode::OffsetOutOfRange) {
                    return Err((native::text(place.topic), (code, native::describe(code))));
                }
            }
        }
        Ok(())
    }
}
