//! A producer on librdkafka itself.
//!
//! The safe crate's producer waits in slices of 100 ms, so that every commit with a record in flight costs that much;
//! it copies each topic's name; and a timestamp of 0, legal in Kafka, becomes the time of sending. Here waiting ends
//! with the last report, and a timestamp of 0 stays one.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use millstream_engine::record::{Headers, Record};
use rdkafka::ClientConfig;
use rdkafka::TopicPartitionList;
use rdkafka::bindings as native_api;
use rdkafka::bindings::rd_kafka_vtype_t as Kind;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::RDKafkaErrorCode;

use super::deliveries::{Delivered, Deliveries, Tag, undelivered};
use super::group::GroupMetadata;
use super::native::{self, Failure};
use super::reports::{Reports, log_line};
use crate::log::{Error, Result};

/// How long a record waits for room in librdkafka's queue before it counts as failed. With brokers answering, room
/// comes within milliseconds.
const QUEUE_FULL_PATIENCE: Duration = Duration::from_secs(30);

/// One wait for reports, ms.
const POLL_MS: i32 = 10;

/// librdkafka writes the reason of a failed start into a buffer of the caller's.
const ERROR_TEXT_BYTES: usize = 512;

/// A result of a call on the producer.
pub type Outcome<T> = std::result::Result<T, Failure>;

/// May be shared between threads.
pub struct Producer {
    client: *mut native_api::rd_kafka_t,
    topics: Mutex<HashMap<String, Topic>>,
    state: Box<State>,
}

/// What the callbacks see; at a fixed place in memory as long as the client lives.
struct State {
    deliveries: Deliveries,
    reports: Arc<Reports>,
}

#[derive(Clone, Copy)]
struct Topic(*mut native_api::rd_kafka_topic_t);

// SAFETY: librdkafka's clients and topics may be used from any thread; what the callbacks share is behind locks.
unsafe impl Send for Producer {}
// SAFETY: as above.
unsafe impl Sync for Producer {}

impl Producer {
    pub fn open(config: &ClientConfig, reports: Arc<Reports>) -> Result<Producer> {
        let what = "kafka producer";
        let native_config = config.create_native_config().map_err(|e| native::kafka_error(what, &e))?;
        let state = Box::new(State { deliveries: Deliveries::default(), reports });
        let conf = native_config.ptr();
        let mut why: [c_char; ERROR_TEXT_BYTES] = [0; ERROR_TEXT_BYTES];
        // SAFETY: the configuration is live. The callbacks take `state`, which is dropped after the client. The client
        // takes the configuration over when it starts, and only then.
        let client = unsafe {
            native_api::rd_kafka_conf_set_opaque(conf, ptr::from_ref(&*state).cast_mut().cast());
            native_api::rd_kafka_conf_set_dr_msg_cb(conf, Some(on_delivery));
            native_api::rd_kafka_conf_set_error_cb(conf, Some(on_error));
            native_api::rd_kafka_conf_set_log_cb(conf, Some(on_log));
            native_api::rd_kafka_conf_interceptor_add_on_new(conf, INTERCEPTOR.as_ptr(), Some(on_new), ptr::null_mut());
            let kind = native_api::rd_kafka_type_t::RD_KAFKA_PRODUCER;
            native_api::rd_kafka_new(kind, conf, why.as_mut_ptr(), ERROR_TEXT_BYTES)
        };
        if client.is_null() {
            // SAFETY: librdkafka ended the text with a zero byte.
            return Err(Error::refused(what, unsafe { native::text(why.as_ptr()) }));
        }
        let _taken_over = ManuallyDrop::new(native_config);
        Ok(Producer { client, topics: Mutex::default(), state })
    }

    /// Hands one record over; see [`Run::send`].
    pub fn send(&self, topic: &str, partition: Option<i32>, record: Record<'_>, tag: Tag) -> Outcome<()> {
        self.run(topic, partition, tag)?.send(record)
    }

    /// For records of one partition: what they have in common is said once. `partition`: `None` = murmur2 of the key.
    pub fn run<'a>(&'a self, topic: &'a str, partition: Option<i32>, tag: Tag) -> Outcome<Run<'a>> {
        let handle = self.topic(topic)?;
        Ok(Run { producer: self, topic, partition, tag, fields: Fields::new(handle, partition) })
    }

    /// Waits until every record is reported, at most this long; whether that is so.
    pub fn flush(&self, wait: Duration) -> bool {
        // SAFETY: a live client; its callbacks run inside on this thread.
        let code = unsafe { native_api::rd_kafka_flush(self.client, wait.as_millis() as c_int) };
        RDKafkaErrorCode::from(code) == RDKafkaErrorCode::NoError
    }

    /// Serves reports, waiting for the first at most this long.
    pub fn poll(&self, wait_ms: i32) {
        // SAFETY: a live client.
        unsafe { native_api::rd_kafka_poll(self.client, wait_ms) };
    }

    /// Records handed over and not reported yet.
    pub fn in_flight(&self) -> usize {
        // SAFETY: a live client.
        usize::try_from(unsafe { native_api::rd_kafka_outq_len(self.client) }).unwrap_or(0)
    }

    pub fn take_delivered(&self) -> Delivered {
        self.state.deliveries.take()
    }

    /// Notes the failure of a record that was never handed over, as if it had been reported.
    pub fn fail(&self, failure: Failure) {
        self.state.deliveries.fail(failure);
    }

    // === transactions ===

    pub fn init_transactions(&self, wait: Duration) -> Outcome<()> {
        // SAFETY: a live client; the error is ours.
        unsafe { Failure::check(native_api::rd_kafka_init_transactions(self.client, wait.as_millis() as c_int)) }
    }

    pub fn begin(&self) -> Outcome<()> {
        // SAFETY: as above.
        unsafe { Failure::check(native_api::rd_kafka_begin_transaction(self.client)) }
    }

    /// What has gone wrong with the open transaction in the background, such as that a partition could not be added to
    /// it: then the records for it stay where they are until they are too old. A transaction that is well refuses to
    /// begin again for its state alone, and changes nothing.
    pub fn transaction_failure(&self) -> Option<Failure> {
        self.begin()
            .err()
            .filter(|failure| !matches!(failure.code, RDKafkaErrorCode::State | RDKafkaErrorCode::NotConfigured))
    }

    pub fn send_offsets(&self, offsets: &TopicPartitionList, group: &GroupMetadata, wait: Duration) -> Outcome<()> {
        // SAFETY: client, list and metadata are live during the call.
        unsafe {
            let wait_ms = wait.as_millis() as c_int;
            let error =
                native_api::rd_kafka_send_offsets_to_transaction(self.client, offsets.ptr(), group.ptr(), wait_ms);
            Failure::check(error)
        }
    }

    /// Everything sent must have been reported: see [`Producer::flush`].
    pub fn commit(&self, wait: Duration) -> Outcome<()> {
        // SAFETY: as for `begin`.
        unsafe { Failure::check(native_api::rd_kafka_commit_transaction(self.client, wait.as_millis() as c_int)) }
    }

    pub fn abort(&self, wait: Duration) -> Outcome<()> {
        // SAFETY: as for `begin`.
        unsafe { Failure::check(native_api::rd_kafka_abort_transaction(self.client, wait.as_millis() as c_int)) }
    }

    fn topic(&self, name: &str) -> Outcome<Topic> {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(topic) = topics.get(name) {
            return Ok(*topic);
        }
        let refused = || Failure::new(RDKafkaErrorCode::InvalidTopic, format!("`{name}` is not a topic's name"));
        let c_name = native::c_string(name).map_err(|_| refused())?;
        // SAFETY: the client is live, the name is copied; without a configuration the client's own is used.
        let topic = unsafe { native_api::rd_kafka_topic_new(self.client, c_name.as_ptr(), ptr::null_mut()) };
        if topic.is_null() {
            return Err(refused());
        }
        topics.insert(name.to_owned(), Topic(topic));
        Ok(Topic(topic))
    }
}

// === records of one partition ===

/// A run of records of one partition on its way into a producer.
pub struct Run<'a> {
    producer: &'a Producer,
    topic: &'a str,
    partition: Option<i32>,
    tag: Tag,
    fields: Fields,
}

impl Run<'_> {
    /// Hands a record over, waiting while librdkafka's queue is full.
    pub fn send(&mut self, record: Record<'_>) -> Outcome<()> {
        let mut full_since: Option<Instant> = None;
        loop {
            match self.produce(record) {
                Err(full) if full.code == RDKafkaErrorCode::QueueFull => {
                    if full_since.get_or_insert_with(Instant::now).elapsed() >= QUEUE_FULL_PATIENCE {
                        return Err(self.undelivered(&full));
                    }
                    self.producer.poll(POLL_MS);
                }
                Err(failure) => return Err(self.undelivered(&failure)),
                Ok(()) => return Ok(()),
            }
        }
    }

    fn undelivered(&self, failure: &Failure) -> Failure {
        undelivered(failure.code, self.topic, self.partition.unwrap_or(-1), &failure.why)
    }

    fn produce(&mut self, record: Record<'_>) -> Outcome<()> {
        // Zero would be replaced by the time of sending; `on_send` puts it back.
        let (timestamp, tag) = match record.timestamp {
            0 => (STAND_IN_FOR_ZERO, self.tag.with_timestamp_zero()),
            timestamp => (timestamp, self.tag),
        };
        let headers = native_headers(record.headers);
        let fields = self.fields.of(record, timestamp, tag, headers);
        // SAFETY: the client is live; key and value live during the call, which copies them; the headers go over to
        // librdkafka when it takes the record, and stay ours when it does not.
        unsafe {
            let taken = native_api::rd_kafka_produceva(self.producer.client, fields.as_ptr(), fields.len());
            let taken = Failure::check(taken);
            if taken.is_err() && !headers.is_null() {
                native_api::rd_kafka_headers_destroy(headers);
            }
            taken
        }
    }
}

/// What librdkafka is told of a record: topic, partition and the way of handing over stay, the rest is set anew.
struct Fields([native_api::rd_kafka_vu_t; 8]);

const VALUE: usize = 3;
const KEY: usize = 4;
const OPAQUE: usize = 5;
const TIMESTAMP: usize = 6;
const HEADERS: usize = 7;

impl Fields {
    fn new(topic: Topic, partition: Option<i32>) -> Fields {
        Fields([
            field(Kind::RD_KAFKA_VTYPE_RKT, |u| u.rkt = topic.0),
            field(Kind::RD_KAFKA_VTYPE_PARTITION, |u| u.i32_ = partition.unwrap_or(-1)),
            field(Kind::RD_KAFKA_VTYPE_MSGFLAGS, |u| u.i = native_api::RD_KAFKA_MSG_F_COPY),
            field(Kind::RD_KAFKA_VTYPE_VALUE, |_| {}),
            field(Kind::RD_KAFKA_VTYPE_KEY, |_| {}),
            field(Kind::RD_KAFKA_VTYPE_OPAQUE, |_| {}),
            field(Kind::RD_KAFKA_VTYPE_TIMESTAMP, |_| {}),
            field(Kind::RD_KAFKA_VTYPE_HEADERS, |_| {}),
        ])
    }

    /// Without the last field when there are no headers.
    fn of(
        &mut self,
        record: Record<'_>,
        timestamp: i64,
        tag: Tag,
        headers: *mut native_api::rd_kafka_headers_t,
    ) -> &[native_api::rd_kafka_vu_t] {
        let fields = &mut self.0;
        fields[VALUE].u.mem = memory(record.value);
        fields[KEY].u.mem = memory(record.key);
        fields[OPAQUE].u.ptr = ptr::without_provenance_mut(tag.bits());
        fields[TIMESTAMP].u.i64_ = timestamp;
        fields[HEADERS].u.headers = headers;
        if headers.is_null() { &fields[..HEADERS] } else { fields }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        let everything = native_api::RD_KAFKA_PURGE_F_QUEUE | native_api::RD_KAFKA_PURGE_F_INFLIGHT;
        let topics = std::mem::take(&mut *self.topics.lock().unwrap_or_else(PoisonError::into_inner));
        // SAFETY: the client is live until the last line. What nobody waited for is purged and its reports are served,
        // since a client with records waits for them. Each topic handle is destroyed once.
        unsafe {
            native_api::rd_kafka_purge(self.client, everything);
            native_api::rd_kafka_poll(self.client, 0);
            for topic in topics.values() {
                native_api::rd_kafka_topic_destroy(topic.0);
            }
            native_api::rd_kafka_destroy(self.client);
        }
    }
}

fn field(vtype: Kind, set: impl FnOnce(&mut native_api::rd_kafka_vu_s__bindgen_ty_1)) -> native_api::rd_kafka_vu_t {
    let mut u = native_api::rd_kafka_vu_s__bindgen_ty_1 { _pad: [0; 64] };
    set(&mut u);
    native_api::rd_kafka_vu_t { vtype, u }
}

/// Null stays null, empty stays empty.
fn memory(bytes: Option<&[u8]>) -> native_api::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
    let ptr = bytes.map_or(ptr::null_mut(), |bytes| bytes.as_ptr().cast_mut().cast());
    native_api::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 { ptr, size: bytes.map_or(0, <[u8]>::len) }
}

/// The headers as librdkafka's own list, null for none.
fn native_headers(headers: Headers<'_>) -> *mut native_api::rd_kafka_headers_t {
    let mut list: *mut native_api::rd_kafka_headers_t = ptr::null_mut();
    for (name, value) in headers.iter() {
        let value = memory(value);
        // SAFETY: the list is made before its first entry; names and values are copied.
        unsafe {
            if list.is_null() {
                list = native_api::rd_kafka_headers_new(4);
            }
            let (name_len, value_len) = (name.len() as isize, value.size as isize);
            native_api::rd_kafka_header_add(list, name.as_ptr().cast(), name_len, value.ptr, value_len);
        }
    }
    list
}

// === callbacks ===

unsafe extern "C" fn on_delivery(
    _: *mut native_api::rd_kafka_t,
    message: *const native_api::rd_kafka_message_t,
    state: *mut c_void,
) {
    // SAFETY: librdkafka passes a live message and the state that `open` gave it.
    let (message, state) = unsafe { (&*message, &*state.cast::<State>()) };
    match RDKafkaErrorCode::from(message.err) {
        RDKafkaErrorCode::NoError => {
            state.deliveries.report(Tag::from_bits(message._private.addr()), message.partition, message.offset);
        }
        code => {
            // SAFETY: the message holds its topic; the text is copied.
            let topic = unsafe { native::text(native_api::rd_kafka_topic_name(message.rkt)) };
            state.deliveries.fail(undelivered(code, &topic, message.partition, &native::describe(code)));
        }
    }
}

unsafe extern "C" fn on_error(_: *mut native_api::rd_kafka_t, code: c_int, why: *const c_char, state: *mut c_void) {
    // SAFETY: as for `on_delivery`.
    let (state, why) = unsafe { (&*state.cast::<State>(), native::text(why)) };
    if let Ok(code) = native_api::rd_kafka_resp_err_t::try_from(code) {
        state.reports.hear(code.into(), &why);
    }
}

unsafe extern "C" fn on_log(
    _: *const native_api::rd_kafka_t,
    level: c_int,
    facility: *const c_char,
    line: *const c_char,
) {
    // SAFETY: librdkafka passes live texts.
    let (facility, line) = unsafe { (native::text(facility), native::text(line)) };
    let level = match level {
        0..=2 => RDKafkaLogLevel::Critical,
        3 | 4 => RDKafkaLogLevel::Warning,
        _ => RDKafkaLogLevel::Debug,
    };
    log_line(level, &facility, &line);
}

// === the timestamp 0 ===

const INTERCEPTOR: &CStr = c"millstream-timestamp";

/// Passed for a timestamp of 0, and what stays should librdkafka ever keep its records differently.
const STAND_IN_FOR_ZERO: i64 = 1;

/// Where librdkafka 2.12 keeps a record's timestamp: behind the public message two links and two 32-bit fields.
const TIMESTAMP_AT: usize = size_of::<native_api::rd_kafka_message_t>() + 2 * size_of::<usize>() + 2 * size_of::<i32>();

unsafe extern "C" fn on_new(
    client: *mut native_api::rd_kafka_t,
    _: *const native_api::rd_kafka_conf_t,
    _: *mut c_void,
    _: *mut c_char,
    _: usize,
) -> native_api::rd_kafka_resp_err_t {
    // SAFETY: called while the client is being made, the only time at which an interceptor may be added.
    unsafe {
        native_api::rd_kafka_interceptor_add_on_send(client, INTERCEPTOR.as_ptr(), Some(on_send), ptr::null_mut())
    }
}

/// Puts a timestamp of 0 back into a record that is about to be queued. Librdkafka has no call for it; the place is
/// checked against the public getter before and the change after, so that another layout leaves the stand-in.
unsafe extern "C" fn on_send(
    _: *mut native_api::rd_kafka_t,
    message: *mut native_api::rd_kafka_message_t,
    _: *mut c_void,
) -> native_api::rd_kafka_resp_err_t {
    // SAFETY: librdkafka passes a live message of its own, which is the head of a longer private structure of at
    // least `TIMESTAMP_AT` + 8 bytes; nobody else has it yet.
    unsafe {
        if Tag::from_bits((*message)._private.addr()).has_timestamp_zero() {
            let mut kind = native_api::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
            let timestamp = message.cast::<u8>().add(TIMESTAMP_AT).cast::<i64>();
            let told = native_api::rd_kafka_message_timestamp(message, &mut kind);
            if told == STAND_IN_FOR_ZERO && timestamp.read_unaligned() == STAND_IN_FOR_ZERO {
                timestamp.write_unaligned(0);
                if native_api::rd_kafka_message_timestamp(message, &mut kind) != 0 {
                    timestamp.write_unaligned(STAND_IN_FOR_ZERO);
                }
            }
        }
    }
    native_api::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
}
