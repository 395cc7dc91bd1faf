//! Topics: create, describe, delete, through librdkafka's admin requests, which the safe crate answers without the
//! broker's own words.

use std::collections::BTreeMap;
use std::ffi::{CString, c_char};
use std::ptr;

use rdkafka::bindings as native_api;
use rdkafka::bindings::rd_kafka_AclOperation_t as AclOperation;
use rdkafka::bindings::rd_kafka_admin_op_t as Operation;
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;

use super::connection::{CALL_TIMEOUT, Connection, Shape};
use super::native::{self, Queue};
use super::rights::{Right, is_about_rights};
use crate::log::{Error, NewTopic, Result, Topic};

/// librdkafka writes the reason of a refused argument into a buffer of the caller's.
const ERROR_TEXT_BYTES: usize = 512;

/// Beyond the request's own timeout, until its answer is on our queue, ms.
const ANSWER_SLACK_MS: i32 = 1_000;

impl Connection {
    pub fn create(&self, topic: &NewTopic) -> Result<()> {
        let what = format!("create topic {}", topic.name);
        if topic.partitions < 1 {
            return Err(Error::refused(what, format!("{} partitions; a topic has at least one", topic.partitions)));
        }
        let request = CreateTopic::new(&what, topic)?;
        let answer = self.request(&what, Operation::RD_KAFKA_ADMIN_OP_CREATETOPICS, |client, options, queue| {
            // SAFETY: client, options and queue live during the call; the request is one element that librdkafka
            // copies.
            unsafe { native_api::rd_kafka_CreateTopics(client, [request.0].as_mut_ptr(), 1, options, queue) }
        })?;
        match answer.created() {
            Ok(()) => {}
            Err((RDKafkaErrorCode::TopicAlreadyExists, _)) => return Err(Error::TopicExists(topic.name.clone())),
            Err((code, why)) => return Err(native::error(&what, code, &why)),
        }
        self.wait_until(&what, || Ok(self.partitions(&topic.name)? == Some(topic.partitions)))?;
        // A leader answers a little later than the others name it.
        (0..topic.partitions).try_for_each(|partition| self.watermarks(&topic.name, partition).map(drop))
    }

    pub fn delete(&self, name: &str) -> Result<()> {
        let what = format!("delete topic {name}");
        let c_name = native::c_string(name)?;
        // SAFETY: a C string that lives during the call, which copies it.
        let mut request = unsafe { native_api::rd_kafka_DeleteTopic_new(c_name.as_ptr()) };
        let answer = self.request(&what, Operation::RD_KAFKA_ADMIN_OP_DELETETOPICS, |client, options, queue| {
            // SAFETY: as in `create`.
            unsafe { native_api::rd_kafka_DeleteTopics(client, &mut request, 1, options, queue) }
        });
        // SAFETY: ours; librdkafka copied it when the request was made.
        unsafe { native_api::rd_kafka_DeleteTopic_destroy(request) };
        match answer?.deleted() {
            Ok(()) => {}
            Err((code, _)) if native::is_unknown_topic(code) => return Err(Error::UnknownTopic(name.to_owned())),
            Err((code, why)) => return Err(native::error(&what, code, &why)),
        }
        self.wait_until(&what, || Ok(self.partitions(name)?.is_none()))
    }

    pub fn describe(&self, names: &[&str]) -> Result<Vec<Option<Topic>>> {
        let mut found: Vec<Option<Topic>> = Vec::with_capacity(names.len());
        for name in names {
            let there = if legal(name) { self.shape(name)? } else { None };
            let topic = |Shape { partitions, replicas }| Topic {
                name: name.to_string(),
                id: None,
                partitions,
                replicas,
                configs: BTreeMap::new(),
            };
            found.push(there.map(topic));
        }
        let mut ids = self.topic_ids(found.iter().flatten().map(|topic| topic.name.as_str()))?;
        let mut configs = self.configs(found.iter().flatten().map(|topic| topic.name.as_str()))?;
        for topic in found.iter_mut() {
            // Deleted between the two questions: gone.
            *topic = topic
                .take()
                .and_then(|t| Some(Topic { configs: configs.remove(&t.name)?, id: ids.remove(&t.name), ..t }));
        }
        Ok(found)
    }

    /// The effective configurations of these topics; a topic that is gone is left out.
    fn configs<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<BTreeMap<String, BTreeMap<String, String>>> {
        let resources = Resources::new(names)?;
        if resources.0.is_empty() {
            return Ok(BTreeMap::new());
        }
        let what = "describe topics";
        let answer = self.request(what, Operation::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, |client, options, queue| {
            let mut all = resources.0.clone();
            // SAFETY: as in `create`.
            unsafe { native_api::rd_kafka_DescribeConfigs(client, all.as_mut_ptr(), all.len(), options, queue) }
        })?;
        answer.configs().map_err(|(code, why)| native::error(what, code, &why))
    }

    /// The ids of these topics, as far as the broker tells them.
    fn topic_ids<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<BTreeMap<String, String>> {
        let names = names.map(native::c_string).collect::<Result<Vec<CString>>>()?;
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let what = "describe topics";
        let mut texts: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
        // SAFETY: the names live during the call, which copies them.
        let all = unsafe { native_api::rd_kafka_TopicCollection_of_topic_names(texts.as_mut_ptr(), texts.len()) };
        let answer = self.request(what, Operation::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, |client, options, queue| {
            // SAFETY: as in `create`.
            unsafe { native_api::rd_kafka_DescribeTopics(client, all, options, queue) }
        });
        // SAFETY: ours; librdkafka copied it when the request was made.
        unsafe { native_api::rd_kafka_TopicCollection_destroy(all) };
        Ok(answer?.topic_ids())
    }

    /// Whether the brokers give a right that they can be asked for.
    pub fn has(&self, right: &Right) -> Result<bool> {
        let (what, read) = (format!("ask for {right}"), AclOperation::RD_KAFKA_ACL_OPERATION_READ);
        match right {
            Right::Read(topic) => self.operations_on_topic(&what, topic, read),
            Right::Write(topic) => self.operations_on_topic(&what, topic, AclOperation::RD_KAFKA_ACL_OPERATION_WRITE),
            Right::Group(group) => self.operations_on_group(&what, group, read),
            Right::TransactionalId(_) | Right::IdempotentWrite => {
                Err(Error::refused(what, "brokers cannot be asked for it"))
            }
        }
    }

    fn operations_on_topic(&self, what: &str, topic: &str, wanted: AclOperation) -> Result<bool> {
        let name = native::c_string(topic)?;
        // SAFETY: as in `topic_ids`.
        let all = unsafe { native_api::rd_kafka_TopicCollection_of_topic_names([name.as_ptr()].as_mut_ptr(), 1) };
        let answer = self.request(what, Operation::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, |client, options, queue| {
            // SAFETY: as in `create`.
            unsafe { native_api::rd_kafka_DescribeTopics(client, all, options, queue) }
        });
        // SAFETY: ours; librdkafka copied it when the request was made.
        unsafe { native_api::rd_kafka_TopicCollection_destroy(all) };
        let answer = answer?;
        let (mut topics, mut count) = (0, 0);
        // SAFETY: the event answers DescribeTopics; everything in it lives as long as the event.
        unsafe {
            let result = native_api::rd_kafka_event_DescribeTopics_result(answer.0);
            let described = native_api::rd_kafka_DescribeTopics_result_topics(result, &mut topics);
            if topics == 0 {
                return Err(Error::refused(what, "no answer for it"));
            }
            let error = native_api::rd_kafka_TopicDescription_error(*described);
            let operations = native_api::rd_kafka_TopicDescription_authorized_operations(*described, &mut count);
            is_given(what, error, operations, count, wanted)
        }
    }

    fn operations_on_group(&self, what: &str, group: &str, wanted: AclOperation) -> Result<bool> {
        let name = native::c_string(group)?;
        let answer =
            self.request(what, Operation::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS, |client, options, queue| {
                // SAFETY: as in `create`; the one name lives during the call, which copies it.
                unsafe {
                    let mut names = [name.as_ptr()];
                    native_api::rd_kafka_DescribeConsumerGroups(client, names.as_mut_ptr(), 1, options, queue)
                }
            })?;
        let (mut groups, mut count) = (0, 0);
        // SAFETY: the event answers DescribeConsumerGroups; everything in it lives as long as the event.
        unsafe {
            let result = native_api::rd_kafka_event_DescribeConsumerGroups_result(answer.0);
            let described = native_api::rd_kafka_DescribeConsumerGroups_result_groups(result, &mut groups);
            if groups == 0 {
                return Err(Error::refused(what, "no answer for it"));
            }
            let error = native_api::rd_kafka_ConsumerGroupDescription_error(*described);
            let operations =
                native_api::rd_kafka_ConsumerGroupDescription_authorized_operations(*described, &mut count);
            is_given(what, error, operations, count, wanted)
        }
    }

    /// Sends one admin request and waits for its answer.
    pub(super) fn request(
        &self,
        what: &str,
        operation: Operation,
        send: impl FnOnce(
            *mut native_api::rd_kafka_t,
            *const native_api::rd_kafka_AdminOptions_t,
            *mut native_api::rd_kafka_queue_t,
        ),
    ) -> Result<Answer> {
        let client = self.consumer.client().native_ptr();
        let timeout_ms = CALL_TIMEOUT.as_millis() as i32;
        // SAFETY: the client lives as long as this connection; the queue and the options are ours and freed below,
        // after the answer came or was given up; an answer given up is freed by librdkafka with the queue.
        let event = unsafe {
            let queue = Queue::own(native_api::rd_kafka_queue_new(client));
            let queue = queue.ok_or_else(|| Error::refused(what, "librdkafka made no queue"))?;
            let options = native_api::rd_kafka_AdminOptions_new(client, operation);
            native_api::rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, ptr::null_mut(), 0);
            if matches!(
                operation,
                Operation::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS | Operation::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS
            ) {
                let set = native_api::rd_kafka_AdminOptions_set_include_authorized_operations(options, 1);
                // Only another kind of request would not take it.
                let _ = native::Failure::check(set);
            }
            send(client, options, queue.ptr());
            native_api::rd_kafka_AdminOptions_destroy(options);
            native_api::rd_kafka_queue_poll(queue.ptr(), timeout_ms + ANSWER_SLACK_MS)
        };
        self.serve();
        if event.is_null() {
            return Err(self.consumer.client().context().explain(what, "no answer", ""));
        }
        let answer = Answer(event);
        match answer.refusal() {
            Some((code, why)) if native::is_unreachable(code) => {
                Err(self.consumer.client().context().explain(what, &why, ""))
            }
            Some((code, why)) => Err(native::error(what, code, &why)),
            None => Ok(answer),
        }
    }
}

/// Whether a broker could have a topic of this name; it does not answer for one that it could not.
fn legal(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 249
        && name != "."
        && name != ".."
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// What a broker refused, and its words.
pub(super) type Refusal = (RDKafkaErrorCode, String);

// === requests ===

struct CreateTopic(*mut native_api::rd_kafka_NewTopic_t);

impl CreateTopic {
    fn new(what: &str, topic: &NewTopic) -> Result<CreateTopic> {
        let name = native::c_string(&topic.name)?;
        let mut why: [c_char; ERROR_TEXT_BYTES] = [0; ERROR_TEXT_BYTES];
        // -1: the broker's default.
        let replicas = topic.replication_factor.unwrap_or(-1);
        // SAFETY: the name and the buffer live during the call.
        let request = unsafe {
            native_api::rd_kafka_NewTopic_new(
                name.as_ptr(),
                topic.partitions,
                replicas,
                why.as_mut_ptr(),
                ERROR_TEXT_BYTES,
            )
        };
        if request.is_null() {
            // SAFETY: librdkafka ended the text with a zero byte.
            return Err(Error::refused(what, unsafe { native::text(why.as_ptr()) }));
        }
        let request = CreateTopic(request);
        for (key, value) in &topic.configs {
            let (key, value) = (native::c_string(key)?, native::c_string(value)?);
            // SAFETY: the request is live; both strings are copied.
            unsafe { native_api::rd_kafka_NewTopic_set_config(request.0, key.as_ptr(), value.as_ptr()) };
        }
        Ok(request)
    }
}

impl Drop for CreateTopic {
    fn drop(&mut self) {
        // SAFETY: owned, destroyed once.
        unsafe { native_api::rd_kafka_NewTopic_destroy(self.0) }
    }
}

struct Resources(Vec<*mut native_api::rd_kafka_ConfigResource_t>);

impl Resources {
    fn new<'a>(names: impl Iterator<Item = &'a str>) -> Result<Resources> {
        let names = names.map(native::c_string).collect::<Result<Vec<CString>>>()?;
        let topic = native_api::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC;
        // SAFETY: each name lives during its call, which copies it.
        let new = |name: &CString| unsafe { native_api::rd_kafka_ConfigResource_new(topic, name.as_ptr()) };
        Ok(Resources(names.iter().map(new).collect()))
    }
}

impl Drop for Resources {
    fn drop(&mut self) {
        for resource in &self.0 {
            // SAFETY: owned, destroyed once.
            unsafe { native_api::rd_kafka_ConfigResource_destroy(*resource) }
        }
    }
}

// === answers ===

pub(super) struct Answer(*mut native_api::rd_kafka_event_t);

impl Answer {
    /// Lives as long as this.
    pub(super) fn event(&self) -> *mut native_api::rd_kafka_event_t {
        self.0
    }

    /// Why the request as a whole failed.
    fn refusal(&self) -> Option<Refusal> {
        // SAFETY: a live event; its text is copied.
        let (code, why) = unsafe {
            let why = native::text(native_api::rd_kafka_event_error_string(self.0));
            (RDKafkaErrorCode::from(native_api::rd_kafka_event_error(self.0)), why)
        };
        (code != RDKafkaErrorCode::NoError).then_some((code, why))
    }

    fn created(&self) -> std::result::Result<(), Refusal> {
        let mut count = 0;
        // SAFETY: the event answers CreateTopics, so the result is not null; the list lives as long as the event.
        let topics = unsafe {
            let result = native_api::rd_kafka_event_CreateTopics_result(self.0);
            native_api::rd_kafka_CreateTopics_result_topics(result, &mut count)
        };
        // SAFETY: a list of `count` results that lives as long as the event.
        unsafe { check_topics(topics, count) }
    }

    fn deleted(&self) -> std::result::Result<(), Refusal> {
        let mut count = 0;
        // SAFETY: as in `created`, for DeleteTopics.
        let topics = unsafe {
            let result = native_api::rd_kafka_event_DeleteTopics_result(self.0);
            native_api::rd_kafka_DeleteTopics_result_topics(result, &mut count)
        };
        // SAFETY: as above.
        unsafe { check_topics(topics, count) }
    }

    pub(super) fn group_deleted(&self) -> std::result::Result<(), Refusal> {
        let mut count = 0;
        // SAFETY: as in `created`, for DeleteGroups of one group; the error lives as long as the event, its text is
        // copied.
        unsafe {
            let result = native_api::rd_kafka_event_DeleteGroups_result(self.0);
            let groups = native_api::rd_kafka_DeleteGroups_result_groups(result, &mut count);
            if count == 0 {
                return Err((RDKafkaErrorCode::Fail, "no answer for it".to_owned()));
            }
            let error = native_api::rd_kafka_group_result_error(*groups);
            let code = RDKafkaErrorCode::from(native_api::rd_kafka_error_code(error));
            let why = native::text(native_api::rd_kafka_error_string(error));
            if code == RDKafkaErrorCode::NoError { Ok(()) } else { Err((code, why)) }
        }
    }

    fn configs(&self) -> std::result::Result<BTreeMap<String, BTreeMap<String, String>>, Refusal> {
        let mut count = 0;
        let mut found = BTreeMap::new();
        // SAFETY: the event answers DescribeConfigs; resources and entries live as long as the event, the counts are
        // librdkafka's, texts are copied.
        unsafe {
            let result = native_api::rd_kafka_event_DescribeConfigs_result(self.0);
            let resources = native_api::rd_kafka_DescribeConfigs_result_resources(result, &mut count);
            for i in 0..count {
                let resource = *resources.add(i);
                match RDKafkaErrorCode::from(native_api::rd_kafka_ConfigResource_error(resource)) {
                    RDKafkaErrorCode::NoError => {
                        let name = native::text(native_api::rd_kafka_ConfigResource_name(resource));
                        found.insert(name, entries(resource));
                    }
                    code if native::is_unknown_topic(code) => {}
                    code => {
                        return Err((code, native::text(native_api::rd_kafka_ConfigResource_error_string(resource))));
                    }
                }
            }
        }
        Ok(found)
    }

    fn topic_ids(&self) -> BTreeMap<String, String> {
        let mut count = 0;
        // SAFETY: the event answers DescribeTopics; descriptions and ids live as long as the event, the count is
        // librdkafka's, names are copied.
        unsafe {
            let result = native_api::rd_kafka_event_DescribeTopics_result(self.0);
            let topics = native_api::rd_kafka_DescribeTopics_result_topics(result, &mut count);
            let one = |i: usize| {
                let topic = *topics.add(i);
                let id = native_api::rd_kafka_TopicDescription_topic_id(topic);
                if id.is_null() {
                    return None;
                }
                let most = native_api::rd_kafka_Uuid_most_significant_bits(id);
                let least = native_api::rd_kafka_Uuid_least_significant_bits(id);
                // Zero: the topic is gone, or the broker has no ids.
                let told = (most, least) != (0, 0);
                let name = native_api::rd_kafka_TopicDescription_name(topic);
                told.then(|| (native::text(name), format!("{most:016x}{least:016x}")))
            };
            (0..count).filter_map(one).collect()
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: owned, destroyed once.
        unsafe { native_api::rd_kafka_event_destroy(self.0) }
    }
}

/// Whether an operation is among those that a principal may do; none of them, where it may not even ask.
///
/// # Safety
/// `error` is null or live, `operations` points to `count` operations.
unsafe fn is_given(
    what: &str,
    error: *const native_api::rd_kafka_error_t,
    operations: *const AclOperation,
    count: usize,
    wanted: AclOperation,
) -> Result<bool> {
    // SAFETY: the caller's promise; `operations` is not read when there are none.
    unsafe {
        let (code, why) = (native_api::rd_kafka_error_code(error), native_api::rd_kafka_error_string(error));
        match RDKafkaErrorCode::from(code) {
            RDKafkaErrorCode::NoError => Ok((0..count).any(|i| *operations.add(i) == wanted)),
            code if is_about_rights(code) => Ok(false),
            code => Err(native::error(what, code, &native::text(why))),
        }
    }
}

/// # Safety
/// `topics` points to `count` live results.
unsafe fn check_topics(
    topics: *const *const native_api::rd_kafka_topic_result_t,
    count: usize,
) -> std::result::Result<(), Refusal> {
    for i in 0..count {
        // SAFETY: the caller's promise.
        let (code, why) = unsafe {
            let topic = *topics.add(i);
            let code = RDKafkaErrorCode::from(native_api::rd_kafka_topic_result_error(topic));
            (code, native::text(native_api::rd_kafka_topic_result_error_string(topic)))
        };
        if code != RDKafkaErrorCode::NoError {
            return Err((code, if why.is_empty() { native::describe(code) } else { why }));
        }
    }
    Ok(())
}

/// # Safety
/// `resource` is live.
unsafe fn entries(resource: *const native_api::rd_kafka_ConfigResource_t) -> BTreeMap<String, String> {
    let mut count = 0;
    // SAFETY: the caller's promise; the entries live as long as the resource.
    unsafe {
        let entries = native_api::rd_kafka_ConfigResource_configs(resource, &mut count);
        let entry = |i: usize| {
            let entry = *entries.add(i);
            let value = native_api::rd_kafka_ConfigEntry_value(entry);
            // A sensitive value is not told.
            let shown = !value.is_null();
            shown.then(|| (native::text(native_api::rd_kafka_ConfigEntry_name(entry)), native::text(value)))
        };
        (0..count).filter_map(entry).collect()
    }
}
