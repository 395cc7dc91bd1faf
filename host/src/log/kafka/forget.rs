//! Taking a group back: what its application has committed, and who is in it.

use rdkafka::bindings as native_api;
use rdkafka::bindings::rd_kafka_admin_op_t as Operation;
use rdkafka::error::RDKafkaErrorCode;

use super::connection::Connection;
use super::native;
use crate::log::{Error, Result};

impl Connection {
    /// Deletes a group with everything that was committed in it; one that is not there is as good as deleted. The
    /// coordinator refuses while the group has members.
    pub fn forget(&self, group: &str) -> Result<()> {
        let what = format!("delete group {group}");
        let name = native::c_string(group)?;
        // SAFETY: a C string that lives during the call, which copies it.
        let mut request = unsafe { native_api::rd_kafka_DeleteGroup_new(name.as_ptr()) };
        let answer = self.request(&what, Operation::RD_KAFKA_ADMIN_OP_DELETEGROUPS, |client, options, queue| {
            // SAFETY: client, options and queue live during the call; the request is one element that librdkafka
            // copies.
            unsafe { native_api::rd_kafka_DeleteGroups(client, &mut request, 1, options, queue) }
        });
        // SAFETY: ours; librdkafka copied it when the request was made.
        unsafe { native_api::rd_kafka_DeleteGroup_destroy(request) };
        match answer?.group_deleted() {
            Ok(()) | Err((RDKafkaErrorCode::GroupIdNotFound, _)) => Ok(()),
            Err((RDKafkaErrorCode::NonEmptyGroup, _)) => {
                let holder = self.holder(group)?.unwrap_or_else(|| "members of its group".to_owned());
                Err(Error::AlreadyRunning { application: group.to_owned(), holder })
            }
            Err((code, why)) => Err(native::error(&what, code, &why)),
        }
    }

    /// Who is in a group, in a few words.
    pub fn holder(&self, group: &str) -> Result<Option<String>> {
        let members = self.members(group)?;
        Ok((!members.is_empty()).then(|| format!("members of its group: {}", members.join(", "))))
    }
}
