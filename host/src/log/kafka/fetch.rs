//! Batches of messages out of a queue of librdkafka's, each copied once.

use std::ffi::{CStr, c_void};
use std::marker::PhantomData;
use std::ptr;
use std::slice;
use std::time::Duration;

use millstream_engine::record::{Headers, Record, Records, push_header};
use rdkafka::bindings as native_api;
use rdkafka::error::RDKafkaErrorCode;

use super::native::{self, Queue};

/// Taken from one queue at a time: large enough to make the call cheap (0.3 µs a record), small enough that the
/// batch stays in the cache.
pub const BATCH_RECORDS: usize = 1_000;

/// A stretch of one partition.
#[derive(Debug)]
pub enum Stretch {
    Records(Records),
    /// Everything below this offset was delivered or skipped.
    End(i64),
    /// The log does not have this offset; librdkafka has stopped the partition.
    Truncated(i64),
    Failed(RDKafkaErrorCode, String),
}

/// Takes what a queue holds, waiting for the first message at most this long, and hands its stretches to `each`, in
/// order, with topic and partition. Returns whether the queue may hold more.
pub fn take(queue: &Queue, wait: Duration, mut each: impl FnMut(&str, i32, Stretch)) -> bool {
    let mut batch = Batch::take(queue, BATCH_RECORDS, Duration::ZERO);
    if batch.0.is_empty() && !wait.is_zero() {
        // The call waits until all it asks for is there: wait for one, then take the rest.
        Batch::take(queue, 1, wait).stretches(&mut each);
        batch = Batch::take(queue, BATCH_RECORDS, Duration::ZERO);
    }
    batch.stretches(&mut each);
    batch.0.len() == BATCH_RECORDS
}

/// Messages as librdkafka handed them over; each pins the buffer it was fetched in until the batch is dropped.
#[derive(Default)]
struct Batch(Vec<*mut native_api::rd_kafka_message_t>);

impl Batch {
    fn take(queue: &Queue, limit: usize, wait: Duration) -> Batch {
        let mut messages: Vec<*mut native_api::rd_kafka_message_t> = Vec::with_capacity(limit);
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is live and the vector has room for `limit` pointers, of which librdkafka writes the
        // first `taken`; -1 says that it took none.
        unsafe {
            let taken = native_api::rd_kafka_consume_batch_queue(queue.ptr(), wait_ms, messages.as_mut_ptr(), limit);
            messages.set_len(usize::try_from(taken).unwrap_or(0));
        }
        Batch(messages)
    }

    fn stretches(&self, each: &mut impl FnMut(&str, i32, Stretch)) {
        // Nearly always all of it is one run.
        let records = Records::with_capacity(self.0.len(), self.messages().map(|message| message.bytes()).sum());
        let (mut run, mut headers) = (Run { of: None, records }, Vec::new());
        for message in self.messages() {
            match message.error() {
                None => {
                    if !run.holds(&message) {
                        run.end(each);
                        run.begin(&message);
                    }
                    run.records.push(message.0.offset, message.record(&mut headers));
                }
                Some(code) => {
                    run.end(each);
                    let stretch = match code {
                        RDKafkaErrorCode::PartitionEOF => Stretch::End(message.0.offset),
                        code if native::is_truncated(code) => Stretch::Truncated(message.0.offset),
                        code => Stretch::Failed(code, message.why()),
                    };
                    each(message.topic(), message.0.partition, stretch);
                }
            }
        }
        run.end(each);
    }

    fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        // SAFETY: each pointer is a live message that this batch owns.
        self.0.iter().map(|message| Message(unsafe { &**message }, PhantomData))
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        for message in &self.0 {
            // SAFETY: owned, destroyed once; nothing borrowed from it outlives the batch.
            unsafe { native_api::rd_kafka_message_destroy(*message) }
        }
    }
}

/// Neighbours of one partition.
struct Run<'a> {
    of: Option<Message<'a>>,
    records: Records,
}

impl<'a> Run<'a> {
    fn holds(&self, message: &Message<'a>) -> bool {
        self.of.is_some_and(|of| ptr::eq(of.0.rkt, message.0.rkt) && of.0.partition == message.0.partition)
    }

    fn begin(&mut self, message: &Message<'a>) {
        self.of = Some(*message);
    }

    fn end(&mut self, each: &mut impl FnMut(&str, i32, Stretch)) {
        if let Some(of) = self.of.take() {
            each(of.topic(), of.0.partition, Stretch::Records(std::mem::take(&mut self.records)));
        }
    }
}

#[derive(Clone, Copy)]
struct Message<'a>(&'a native_api::rd_kafka_message_t, PhantomData<&'a Batch>);

impl<'a> Message<'a> {
    fn error(&self) -> Option<RDKafkaErrorCode> {
        let code = RDKafkaErrorCode::from(self.0.err);
        (code != RDKafkaErrorCode::NoError).then_some(code)
    }

    /// Of key and value together.
    fn bytes(&self) -> usize {
        self.0.key_len + self.0.len
    }

    fn why(&self) -> String {
        // SAFETY: a live message; the text is copied.
        unsafe { native::text(native_api::rd_kafka_message_errstr(self.0)) }
    }

    fn topic(&self) -> &'a str {
        if self.0.rkt.is_null() {
            return "";
        }
        // SAFETY: the message holds its topic; a topic's name is ASCII and lives as long as the topic.
        unsafe { CStr::from_ptr(native_api::rd_kafka_topic_name(self.0.rkt)) }.to_str().unwrap_or("")
    }

    /// The record, borrowed from librdkafka's buffer, its headers written into `headers`.
    fn record<'b>(&self, headers: &'b mut Vec<u8>) -> Record<'b>
    where
        'a: 'b,
    {
        headers.clear();
        self.copy_headers(headers);
        let mut kind = native_api::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: a live message; its bytes live as long as the batch.
        unsafe {
            Record {
                key: bytes(self.0.key, self.0.key_len),
                value: bytes(self.0.payload, self.0.len),
                headers: Headers(headers),
                timestamp: native_api::rd_kafka_message_timestamp(self.0, &mut kind),
            }
        }
    }

    fn copy_headers(&self, out: &mut Vec<u8>) {
        let mut headers = ptr::null_mut();
        // SAFETY: a live message; names and values live as long as it does.
        unsafe {
            let found = native_api::rd_kafka_message_headers(self.0, &mut headers);
            if RDKafkaErrorCode::from(found) != RDKafkaErrorCode::NoError {
                return;
            }
            for i in 0..native_api::rd_kafka_header_cnt(headers) {
                let (mut name, mut value, mut len) = (ptr::null(), ptr::null(), 0);
                native_api::rd_kafka_header_get_all(headers, i, &mut name, &mut value, &mut len);
                // Kafka asks for UTF-8 in names and does not check it.
                push_header(out, &native::text(name), bytes(value, len));
            }
        }
    }
}

/// # Safety
/// `start` is null or points to `len` bytes that live for `'a`.
unsafe fn bytes<'a>(start: *const c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start.cast(), len) })
}
