//! Lines of a file descriptor, with a way to do something else while none come.

use std::io::Read;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// No record is larger on any log; a longer line is refused instead of filling the memory.
pub const LINE_BYTES_MAX: usize = 64 << 20;

const READ_BYTES: usize = 256 << 10;

/// Reads lines without their line feeds.
pub struct Lines<F> {
    file: F,
    buffer: Vec<u8>,
    /// Of the buffer: what was handed out, and what was searched for a line feed.
    taken: usize,
    searched: usize,
    ended: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Next<'a> {
    Line(&'a [u8]),
    /// Nothing came within the wait.
    Idle,
    TooLong,
    End,
}

impl<F: Read + AsFd> Lines<F> {
    pub fn new(file: F) -> Lines<F> {
        Lines { file, buffer: Vec::new(), taken: 0, searched: 0, ended: false }
    }

    /// The next line, waiting at most `wait` for more to read.
    pub fn next(&mut self, wait: Duration) -> std::io::Result<Next<'_>> {
        loop {
            if let Some(length) = self.buffer[self.searched..].iter().position(|&byte| byte == b'\n') {
                let (start, end) = (self.taken, self.searched + length);
                self.taken = end + 1;
                self.searched = self.taken;
                return Ok(Next::Line(&self.buffer[start..end]));
            }
            self.searched = self.buffer.len();
            if self.ended {
                let rest = std::mem::replace(&mut self.taken, self.buffer.len());
                return Ok(if rest == self.buffer.len() { Next::End } else { Next::Line(&self.buffer[rest..]) });
            }
            if self.buffer.len() - self.taken > LINE_BYTES_MAX {
                return Ok(Next::TooLong);
            }
            if !self.is_readable(wait)? {
                return Ok(Next::Idle);
            }
            self.read()?;
        }
    }

    fn is_readable(&self, wait: Duration) -> std::io::Result<bool> {
        let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&wait)) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn read(&mut self) -> std::io::Result<()> {
        self.buffer.drain(..self.taken);
        self.searched -= self.taken;
        self.taken = 0;
        let end = self.buffer.len();
        self.buffer.resize(end + READ_BYTES, 0);
        let read = self.file.read(&mut self.buffer[end..]);
        self.buffer.truncate(end + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(read) => self.ended = read == 0,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => (),
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Write;

    const WAIT: Duration = Duration::from_millis(10);

    #[test]
    fn lines_come_one_by_one_and_the_last_needs_no_line_feed() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut lines = Lines::new(reader);
        assert_eq!(lines.next(WAIT).unwrap(), Next::Idle);
        writer.write_all(b"a\n\nb").unwrap();
        assert_eq!(lines.next(WAIT).unwrap(), Next::Line(b"a"));
        assert_eq!(lines.next(WAIT).unwrap(), Next::Line(b""));
        assert_eq!(lines.next(WAIT).unwrap(), Next::Idle);
        writer.write_all(b"c").unwrap();
        drop(writer);
        assert_eq!(lines.next(WAIT).unwrap(), Next::Line(b"bc"));
        assert_eq!(lines.next(WAIT).unwrap(), Next::End);
        assert_eq!(lines.next(WAIT).unwrap(), Next::End);
    }

    #[test]
    fn a_line_longer_than_a_read_comes_whole() {
        let mut file = tempfile::tempfile().unwrap();
        let long = vec![b'x'; 3 * READ_BYTES];
        file.write_all(&long).unwrap();
        file.write_all(b"\ny\n").unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        let mut lines = Lines::new(file);
        assert_eq!(lines.next(WAIT).unwrap(), Next::Line(&long));
        assert_eq!(lines.next(WAIT).unwrap(), Next::Line(b"y"));
        assert_eq!(lines.next(WAIT).unwrap(), Next::End);
    }
}
