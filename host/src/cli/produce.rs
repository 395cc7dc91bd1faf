//! `produce TOPIC`: records from stdin into a topic.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, SystemTime};

use clap::{Args, ValueEnum};
use millstream_engine::error::{Problem, exit};
use millstream_engine::record::{Headers, Record};

use super::codecs::CodecFlags;
use super::interrupt::Interrupt;
use super::lines::{LINE_BYTES_MAX, Lines, Next};
use super::output::{self, Output};
use super::{Error, Global, Result, topics};
use crate::log::{self, Writer};
use crate::text::Codecs;
use crate::text::record::{self, Parsed};

/// Records that may wait for their acknowledgement: bounds what an error cannot tell about.
const UNACKNOWLEDGED_MAX: u64 = 10_000;

/// How long stdin may be silent before what was sent is acknowledged: nobody waits for a record that was typed.
const IDLE: Duration = Duration::from_millis(50);

#[derive(Debug, Args)]
pub struct Produce {
    topic: String,
    #[command(flatten)]
    codecs: CodecFlags,
    #[arg(long, value_enum, default_value_t)]
    format: Input,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Input {
    /// One JSON object a line, as `consume` prints it; only `value` is needed
    #[default]
    Jsonl,
    /// key<TAB>value, or a value without a tab
    Kv,
}

impl Produce {
    pub fn run(self, global: &Global) -> Result {
        let interrupt = Interrupt::watch().map_err(cannot_read)?;
        let log = global.open_log()?;
        let partitions = topics::existing(&*log, &self.topic)?.partitions;
        let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(cannot_read)?;
        let mut sender = Sender {
            writer: log.writer()?,
            topic: &self.topic,
            partitions,
            format: self.format,
            codecs: self.codecs.or(Codecs::default()),
            sent: 0,
            acknowledged: 0,
        };
        let end = sender.send_all(&mut Lines::new(File::from(stdin)), &interrupt);
        // What stood before a bad line is in the topic, and its number is true.
        let flushed = sender.flush();
        let sent = sender.acknowledged;
        match end.and_then(|end| flushed.map(|()| end).map_err(Stop::Log)) {
            Ok(End::OfInput) => {}
            Ok(End::Interrupted) => {
                output::say(format_args!("interrupted: sent {sent} records to {}", self.topic));
                return Err(Error::Interrupted);
            }
            Err(stop) => return Err(stop.problem(&self.topic, sent).into()),
        }
        let report = serde_json::json!({ "topic": self.topic, "sent": sent });
        output::object(self.output.format, &report, || format!("sent {sent} records to {}\n", self.topic))
    }
}

struct Sender<'a> {
    writer: Box<dyn Writer>,
    topic: &'a str,
    partitions: i32,
    format: Input,
    codecs: Codecs,
    sent: u64,
    acknowledged: u64,
}

/// Why nothing more is sent.
enum Stop {
    BadLine { line: u64, why: String },
    Stdin(io::Error),
    Log(log::Error),
}

/// Why there is nothing more to send.
enum End {
    OfInput,
    Interrupted,
}

impl Sender<'_> {
    fn send_all(&mut self, lines: &mut Lines<File>, interrupt: &Interrupt) -> std::result::Result<End, Stop> {
        let mut number = 0;
        loop {
            if interrupt.came() {
                return Ok(End::Interrupted);
            }
            number += 1;
            match lines.next(IDLE).map_err(Stop::Stdin)? {
                Next::Line(line) => self.send(line, number)?,
                Next::Idle => {
                    number -= 1;
                    self.flush().map_err(Stop::Log)?;
                }
                Next::TooLong => {
                    let why = format!("it is longer than {} MiB", LINE_BYTES_MAX >> 20);
                    return Err(Stop::BadLine { line: number, why });
                }
                Next::End => return Ok(End::OfInput),
            }
        }
    }

    fn send(&mut self, line: &[u8], number: u64) -> std::result::Result<(), Stop> {
        let parsed = match self.format {
            Input::Jsonl if line.trim_ascii().is_empty() => return Ok(()),
            Input::Jsonl => record::parse_json(line, self.codecs),
            Input::Kv => record::parse_kv(line, self.codecs),
        };
        let parsed = parsed.and_then(|parsed| self.check(parsed));
        let parsed = parsed.map_err(|why| Stop::BadLine { line: number, why })?;
        let record = Record {
            key: parsed.key.as_deref(),
            value: parsed.value.as_deref(),
            headers: Headers(&parsed.headers),
            timestamp: parsed.timestamp.unwrap_or_else(now_ms),
        };
        self.writer.send(self.topic, parsed.partition, record).map_err(Stop::Log)?;
        self.sent += 1;
        if self.sent - self.acknowledged >= UNACKNOWLEDGED_MAX {
            self.flush().map_err(Stop::Log)?;
        }
        Ok(())
    }

    fn check(&self, parsed: Parsed) -> std::result::Result<Parsed, String> {
        match parsed.partition {
            Some(partition) if !(0..self.partitions).contains(&partition) => {
                Err(format!("there is no partition {partition}: {} has {}", self.topic, self.partitions))
            }
            _ => Ok(parsed),
        }
    }

    fn flush(&mut self) -> log::Result<()> {
        if self.acknowledged < self.sent {
            self.writer.flush()?;
            self.acknowledged = self.sent;
        }
        Ok(())
    }
}

impl Stop {
    fn problem(self, topic: &str, sent: u64) -> Problem {
        let problem = match self {
            Stop::BadLine { line, why } => {
                Problem::new("InvalidRecord", "E0501", exit::FAILED, format!("line {line}: {why}"))
                    .field("line", line)
                    .fix("mend the line, and produce from there on")
            }
            Stop::Log(error) => error.into(),
            Stop::Stdin(error) => cannot_read(error),
        };
        let what = format!("{sent} records were sent and acknowledged; nothing after them is known to be in the topic");
        // What the log says names the topic itself.
        let problem = match problem.fields.iter().any(|(name, _)| *name == "topic") {
            true => problem,
            false => problem.field("topic", topic),
        };
        let why =
            [problem.why.as_str(), &what].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
        problem.field("sent", sent).why(why)
    }
}

fn cannot_read(error: io::Error) -> Problem {
    Problem::new("InputFailed", "E0005", exit::FAILED, format!("cannot read stdin: {error}"))
        .why("without it there are no records to send")
        .fix("give a file or a pipe as stdin: millstream produce TOPIC < FILE")
}

/// Milliseconds since the epoch.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as i64
}
