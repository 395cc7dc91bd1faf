//! `log`: a log by itself. Records are written, read, and committed in intervals, with no engine above.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use clap::Args;
use millstream::log::{
    self, Client, Event, Fetched, Guarantee, InputOffset, Interval, Isolation, Log, Subscription, TaskSet,
};
use millstream_engine::record::{Headers, Outgoing, Record, TopicId, TopicPartition};
use millstream_engine::task::Metadata;
use serde_json::{Map, Value, json};

use crate::app::make_topic;
use crate::load::{START_MS, Values, write_key};
use crate::meter::Promise;
use crate::usage::{Moment, rate, rounded};

const POLL: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(60);

/// By name, without what they are of.
type Numbers = Vec<(&'static str, Value)>;

#[derive(Args)]
pub struct Rates {
    #[arg(long)]
    log: String,
    /// Made anew, with `TOPIC-out` beside it
    #[arg(long, default_value = "bench-log")]
    topic: String,
    #[arg(long, default_value_t = 8)]
    partitions: i32,
    #[arg(long, default_value_t = 500_000)]
    records: u64,
    #[arg(long, default_value_t = 100)]
    value_bytes: usize,
    /// Intervals that are committed one after the other, each as soon as the one before is
    #[arg(long, default_value_t = 50)]
    commits: u64,
    /// Records of each interval
    #[arg(long, default_value_t = 5_000)]
    interval_records: u64,
}

impl Rates {
    pub fn run(self) -> Result<()> {
        let log = log::open(&self.log, &log::Options::default())?;
        let partitions = usize::try_from(self.partitions)?;
        make_topic(&*log, &self.topic, partitions, true)?;
        make_topic(&*log, &self.out(), partitions, true)?;
        let mut line = Map::new();
        let mut put = |of: &str, numbers: Numbers| {
            line.extend(numbers.into_iter().map(|(name, number)| (format!("{of}_{name}"), number)));
        };
        put("produce", timed(self.records, || self.produce(&*log))?);
        put("consume", timed(self.records, || self.consume(&*log))?);
        put("at_least_once", self.commit(&*log, Promise::AtLeastOnce)?);
        put("exactly_once", self.commit(&*log, Promise::ExactlyOnce)?);
        println!("{}", Value::Object(line));
        Ok(())
    }

    fn out(&self) -> String {
        format!("{}-out", self.topic)
    }

    fn produce(&self, log: &dyn Log) -> Result<()> {
        let mut writer = log.writer()?;
        let (mut values, mut key) = (Values::new(self.value_bytes, 1), Vec::new());
        for number in 0..self.records {
            write_key(number % 1_000_000, &mut key);
            let value = Some(values.of(number));
            let record = Record { key: Some(&key), value, headers: Headers(b""), timestamp: START_MS };
            writer.send(&self.topic, None, record)?;
        }
        Ok(writer.flush()?)
    }

    fn consume(&self, log: &dyn Log) -> Result<()> {
        let mut reader = log.reader(Isolation::Committed)?;
        let all: Vec<_> = (0..self.partitions).map(|partition| (self.topic.clone(), partition, 0)).collect();
        reader.assign(&all)?;
        let (mut seen, mut fetched, start) = (0, Vec::new(), Instant::now());
        while seen < self.records {
            ensure!(start.elapsed() < PATIENCE, "{seen} of {} records were read", self.records);
            reader.poll(POLL, &mut fetched)?;
            for one in fetched.drain(..) {
                if let Fetched::Records { records, .. } = one {
                    seen += records.len() as u64;
                }
            }
        }
        Ok(())
    }

    /// Commits intervals of records and offsets; answers how long one takes and how many records a second that is.
    fn commit(&self, log: &dyn Log, promise: Promise) -> Result<Numbers> {
        let mut member = Member::join(log, self.subscription(promise.into()), self.partitions)?;
        let outgoing = self.interval()?;
        let begin = Moment::now();
        let mut took = Vec::new();
        for sequence in 1..=self.commits {
            let start = Instant::now();
            member.commit(sequence, &outgoing)?;
            took.push(start.elapsed());
        }
        let (wall, used) = (begin.at.elapsed(), Moment::now().cpu - begin.cpu);
        member.leave()?;
        took.sort_unstable();
        let ms = |time: Option<&Duration>| json!(time.map(|time| rounded(time.as_secs_f64() * 1e3, 2)));
        let mut numbers = rates(self.commits * self.interval_records, wall, used);
        numbers.extend([("p50_ms", ms(took.get(took.len() / 2))), ("max_ms", ms(took.last()))]);
        Ok(numbers)
    }

    fn interval(&self) -> Result<Outgoing> {
        let mut outgoing = Outgoing::default();
        let (mut values, mut key) = (Values::new(8, 1), Vec::new());
        for number in 0..self.interval_records {
            write_key(number, &mut key);
            let to = TopicPartition { topic: TopicId(1), partition: i32::try_from(number)? % self.partitions };
            let value = Some(values.of(number));
            outgoing.push(to, Record { key: Some(&key), value, headers: Headers(b""), timestamp: START_MS });
        }
        Ok(outgoing)
    }

    fn subscription(&self, guarantee: Guarantee) -> Subscription {
        let application = format!("{}-{guarantee}-{}", self.topic, std::process::id());
        let topic = TopicId(0);
        let partitions = self.partitions;
        Subscription {
            instance: application.clone(),
            application,
            topics: [self.topic.clone(), self.out()].into(),
            task_sets: vec![TaskSet {
                subtopology: 0,
                subscribe: topic,
                partitions,
                inputs: vec![(topic, partitions)],
            }],
            guarantee,
            thread: 0,
            threads: 1,
            plan_hash: "bench".to_owned(),
            address: None,
        }
    }
}

/// Runs it; wall and CPU rates for this many records.
fn timed(records: u64, work: impl FnOnce() -> Result<()>) -> Result<Numbers> {
    let start = Moment::now();
    work()?;
    let (wall, used) = (start.at.elapsed(), Moment::now().cpu - start.cpu);
    Ok(rates(records, wall, used))
}

fn rates(records: u64, wall: Duration, used: Duration) -> Numbers {
    vec![("per_s", json!(rate(records, wall))), ("per_cpu_s", json!(rate(records, used)))]
}

/// A member of a group that owns all tasks and commits.
struct Member {
    client: Box<dyn Client>,
    partitions: i32,
    owned: Vec<millstream_engine::task::TaskId>,
}

impl Member {
    fn join(log: &dyn Log, subscription: Subscription, partitions: i32) -> Result<Member> {
        let mut member = Member { client: log.client(subscription)?, partitions, owned: Vec::new() };
        let start = Instant::now();
        while member.owned.len() < usize::try_from(partitions)? {
            ensure!(start.elapsed() < PATIENCE, "the group gave {} of {partitions} tasks", member.owned.len());
            for event in member.poll()? {
                if let Event::Assigned { tasks } = event {
                    let ids: Vec<_> = tasks.iter().map(|task| task.task).collect();
                    member.client.accept(&ids)?;
                    member.owned.extend(ids);
                }
            }
        }
        Ok(member)
    }

    fn poll(&mut self) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        self.client.poll(POLL, &mut events)?;
        Ok(events)
    }

    fn commit(&mut self, sequence: u64, outgoing: &Outgoing) -> Result<()> {
        let metadata = Metadata { partition_time: START_MS, values: Default::default() }.encode();
        let offset = |partition| InputOffset {
            input: TopicPartition { topic: TopicId(0), partition },
            offset: i64::try_from(sequence).unwrap_or(i64::MAX),
            metadata: metadata.clone(),
        };
        let offsets = (0..self.partitions).map(offset).collect();
        self.client.submit(Interval { sequence, outgoing: outgoing.clone(), offsets, ..Interval::default() })?;
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            for event in self.poll()? {
                match event {
                    Event::Committed { .. } => return Ok(()),
                    Event::Aborted { why, .. } => bail!("aborted: {why}"),
                    _ => {}
                }
            }
        }
        bail!("interval {sequence} had no outcome")
    }

    fn leave(mut self) -> Result<()> {
        self.client.release(&self.owned)?;
        Ok(self.client.leave(false)?)
    }
}
