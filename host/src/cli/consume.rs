//! `consume TOPIC`: a topic's records on stdout.

use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use millstream_engine::record::Records;

use super::codecs::{CodecFlags, check_decoded};
use super::interrupt::Interrupt;
use super::output::{self, Output, Stream};
use super::{Error, Global, Result, topics};
use crate::log::{self, Fetched, Isolation, Log, Reader};
use crate::text::Codecs;
use crate::text::record::Line;

/// How long one poll may wait: how late SIGINT may be seen.
const POLL: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub struct Consume {
    topic: String,
    /// Only this partition
    #[arg(long, value_name = "P")]
    partition: Option<i32>,
    /// Where each partition begins: begin, end or an offset
    #[arg(long, value_name = "begin|end|OFFSET", default_value = "begin")]
    from: From,
    /// Stop at the end that each partition has now
    #[arg(long)]
    until_end: bool,
    /// Stop after this many records
    #[arg(long, value_name = "N")]
    max: Option<u64>,
    /// committed: only records of committed transactions
    #[arg(long, value_enum, default_value = "committed")]
    isolation: ReadIsolation,
    #[command(flatten)]
    codecs: CodecFlags,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Begin,
    End,
    Offset(i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ReadIsolation {
    Committed,
    Uncommitted,
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<From, String> {
        match (text, text.parse()) {
            ("begin", _) => Ok(From::Begin),
            ("end", _) => Ok(From::End),
            (_, Ok(offset)) if offset >= 0 => Ok(From::Offset(offset)),
            _ => Err("it is begin, end or an offset".to_owned()),
        }
    }
}

impl Consume {
    pub fn run(self, global: &Global) -> Result {
        let interrupt = Interrupt::watch()?;
        let log = global.open_log()?;
        let partitions = self.partitions(&*log)?;
        let isolation = match self.isolation {
            ReadIsolation::Committed => Isolation::Committed,
            ReadIsolation::Uncommitted => Isolation::Uncommitted,
        };
        let mut reader = log.reader(isolation)?;
        let assigned: Vec<_> = partitions.iter().map(|part| (self.topic.clone(), part.partition, part.start)).collect();
        reader.assign(&assigned)?;
        let mut printer = Printer {
            topic: &self.topic,
            codecs: self.codecs.or(Codecs::default()),
            until_end: self.until_end,
            max: self.max.unwrap_or(u64::MAX),
            partitions,
            out: Stream::open(self.output.format),
            undecodable: 0,
        };
        let whole = printer.print_all(&mut *reader, &interrupt)?;
        let undecodable = printer.undecodable;
        printer.out.finish()?;
        match whole {
            true => Ok(check_decoded(undecodable)?),
            false => Err(Error::Interrupted),
        }
    }

    /// The partitions to read, from where, and to where.
    fn partitions(&self, log: &dyn Log) -> Result<Vec<Partition>> {
        let topic = topics::existing(log, &self.topic)?;
        let wanted = match self.partition {
            Some(partition) if !(0..topic.partitions).contains(&partition) => {
                let message = format!("there is no partition {partition}: {} has {}", topic.name, topic.partitions);
                return Err(output::usage(message).into());
            }
            Some(partition) => partition..partition + 1,
            None => 0..topic.partitions,
        };
        let partition = |partition| {
            let offsets = log.offsets(&self.topic, partition)?;
            let first = match self.from {
                From::Begin => offsets.begin,
                From::End => offsets.end,
                From::Offset(offset) => offset,
            };
            // A log refuses to read from where it has nothing; a partition that ends before the offset may reach it.
            let start = first.min(offsets.end).max(offsets.begin);
            Ok(Partition { partition, first, start, end: offsets.end, done: start >= offsets.end })
        };
        Ok(wanted.map(partition).collect::<log::Result<_>>()?)
    }
}

struct Partition {
    partition: i32,
    /// The first offset that is printed.
    first: i64,
    /// Where reading begins.
    start: i64,
    /// What it was when the command began.
    end: i64,
    done: bool,
}

struct Printer<'a> {
    topic: &'a str,
    codecs: Codecs,
    until_end: bool,
    max: u64,
    partitions: Vec<Partition>,
    out: Stream,
    undecodable: u64,
}

impl Printer<'_> {
    /// Prints until everything asked for was printed (`true`) or SIGINT came.
    fn print_all(&mut self, reader: &mut dyn Reader, interrupt: &Interrupt) -> Result<bool> {
        let mut fetched = Vec::new();
        while !self.is_done() {
            if interrupt.came() {
                return Ok(false);
            }
            reader.poll(POLL, &mut fetched)?;
            for part in fetched.drain(..) {
                match part {
                    Fetched::Records { partition, records, .. } => self.print(partition, &records)?,
                    Fetched::End { partition, offset, .. } => self.mark(partition, offset),
                    Fetched::Truncated { topic, partition, offset } => {
                        return Err(log::Error::Truncated { topic, partition, offset }.into());
                    }
                }
            }
            self.out.flush()?;
        }
        Ok(true)
    }

    fn is_done(&self) -> bool {
        self.out.rows() >= self.max || self.until_end && self.partitions.iter().all(|part| part.done)
    }

    fn print(&mut self, partition: i32, records: &Records) -> Result {
        let wanted = self.offsets_of(partition);
        for (offset, record) in records.iter() {
            if self.out.rows() >= self.max || offset >= wanted.end {
                break;
            }
            if offset < wanted.start {
                continue;
            }
            let line = Line::new(self.topic, partition, (offset, record), self.codecs, &mut self.undecodable);
            self.out.row(&line, || line.to_string())?;
        }
        if let Some((last, _)) = records.len().checked_sub(1).map(|last| records.get(last)) {
            self.mark(partition, last + 1);
        }
        Ok(())
    }

    /// What to print of a partition.
    fn offsets_of(&self, partition: i32) -> Range<i64> {
        let found = self.partitions.iter().find(|part| part.partition == partition);
        found.map_or(0..i64::MAX, |part| part.first..if self.until_end { part.end } else { i64::MAX })
    }

    /// Everything below `offset` was printed.
    fn mark(&mut self, partition: i32, offset: i64) {
        for part in self.partitions.iter_mut().filter(|part| part.partition == partition) {
            part.done |= offset >= part.end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_a_word_or_an_offset() {
        assert_eq!("begin".parse(), Ok(From::Begin));
        assert_eq!("end".parse(), Ok(From::End));
        assert_eq!("17".parse(), Ok(From::Offset(17)));
        for bad in ["-1", "", "start", "1.5"] {
            assert!(bad.parse::<From>().is_err(), "{bad}");
        }
    }
}
