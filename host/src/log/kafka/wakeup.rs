//! Wakes a client that waits: a pair of sockets, of which librdkafka's queues and the client's threads write one.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rdkafka::bindings as native_api;

use super::native::Queue;

pub struct Wakeup {
    reading: UnixStream,
    writing: UnixStream,
}

impl Wakeup {
    pub fn new() -> std::io::Result<Wakeup> {
        let (reading, writing) = UnixStream::pair()?;
        reading.set_nonblocking(true)?;
        writing.set_nonblocking(true)?;
        Ok(Wakeup { reading, writing })
    }

    pub fn ring(&self) {
        // A full pipe rings already.
        let _ = (&self.writing).write(&[1]);
    }

    /// Rings when the queue gets something after it was found empty. To be taken back before this value goes.
    pub fn watch(&self, queue: &Queue) {
        self.enable(queue, self.writing.as_raw_fd());
    }

    pub fn ignore(&self, queue: &Queue) {
        self.enable(queue, -1);
    }

    /// Waits for a ring, at most this long, and takes all of them.
    pub fn wait(&self, wait: Duration) {
        let timeout = rustix::event::Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
        let mut poll = [rustix::event::PollFd::new(&self.reading, rustix::event::PollFlags::IN)];
        // An interrupted wait is a short one; the caller looks at its own deadline.
        let _ = rustix::event::poll(&mut poll, Some(&timeout));
        let mut rings = [0; 256];
        loop {
            match (&self.reading).read(&mut rings) {
                Ok(n) if n == rings.len() => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => return,
            }
        }
    }

    fn enable(&self, queue: &Queue, fd: RawFd) {
        const RING: [u8; 1] = [1];
        // SAFETY: the queue is live; librdkafka copies the payload. The descriptor stays open while it is watched,
        // see `watch`; -1 ends the watching.
        unsafe { native_api::rd_kafka_queue_io_event_enable(queue.ptr(), fd, RING.as_ptr().cast(), RING.len()) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_ring_before_the_wait_is_not_lost_and_rings_once() {
        let wakeup = Wakeup::new().unwrap();
        (0..1_000).for_each(|_| wakeup.ring());
        let start = Instant::now();
        wakeup.wait(Duration::from_secs(10));
        assert!(start.elapsed() < Duration::from_secs(5));
        let start = Instant::now();
        wakeup.wait(Duration::from_millis(50));
        assert!(start.elapsed() >= Duration::from_millis(50), "all rings were taken");
    }
}
