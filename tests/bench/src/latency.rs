//! `latency`: sends records at a fixed rate into one topic and reads the updates, committed ones only, from another.
//!
//! A record's timestamp is the time at which it should be sent, an engine keeps it, and so now − timestamp at the
//! reader is the whole way, with whatever the sender was late by.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow, ensure};
use clap::Args;
use millstream::log::{self, Fetched, Isolation, Log};
use millstream_engine::record::{Headers, Record};
use serde_json::json;

use crate::app::ends;
use crate::load::{Dist, Ids, Values, write_key};

const POLL: Duration = Duration::from_millis(1);
/// How long the sender sleeps between two looks at the clock.
const TICK: Duration = Duration::from_millis(1);
/// After this time without an update the rest counts as not arrived.
const PATIENCE: Duration = Duration::from_secs(20);
/// Keys of the Zipf distribution.
const KEYS: u64 = 100_000;

#[derive(Args)]
pub struct Latency {
    #[arg(long)]
    log: String,
    /// Where records are sent
    #[arg(long)]
    topic: String,
    /// Where updates come; default `TOPIC-out`
    #[arg(long)]
    out: Option<String>,
    /// Records a second
    #[arg(long, default_value_t = 5_000)]
    rate: u64,
    /// Seconds that are sent and not measured
    #[arg(long, default_value_t = 10)]
    warm_s: u64,
    #[arg(long, default_value_t = 20)]
    measured_s: u64,
}

impl Latency {
    pub fn run(self) -> Result<()> {
        let log = log::open(&self.log, &log::Options::default())?;
        let out = self.out.clone().unwrap_or_else(|| format!("{}-out", self.topic));
        let mut reader = log.reader(Isolation::Committed)?;
        let from: Vec<_> = ends(&*log, &out)?.into_iter().map(|(at, end)| (out.clone(), at, end)).collect();
        reader.assign(&from)?;
        let total = self.rate * (self.warm_s + self.measured_s);
        let begin = now_ms() + 500;
        let window = begin + millis(self.warm_s)..begin + millis(self.warm_s + self.measured_s);
        let late = Arc::new(AtomicU64::new(0));
        let sender = self.sender(log.clone(), begin, total, late.clone());
        let (mut waits, mut received, mut last, mut fetched) = (Vec::new(), 0, Instant::now(), Vec::new());
        while received < total && last.elapsed() < PATIENCE {
            reader.poll(POLL, &mut fetched)?;
            let now = now_ms();
            for one in fetched.drain(..) {
                let Fetched::Records { records, .. } = one else { continue };
                last = Instant::now();
                received += records.len() as u64;
                let timestamps = records.iter().map(|(_, record)| record.timestamp);
                waits.extend(timestamps.filter(|time| window.contains(time)).map(|time| now - time));
            }
        }
        sender.join().map_err(|_| anyhow!("the sender panicked"))??;
        ensure!(received == total, "{received} of {total} records came back");
        waits.sort_unstable();
        let at = |share: f64| waits.get(((waits.len() as f64 * share) as usize).min(waits.len() - 1)).copied();
        let line = json!({
            "rate": self.rate, "measured": waits.len(), "p50_ms": at(0.5), "p90_ms": at(0.9), "p99_ms": at(0.99),
            "max_ms": waits.last(), "sender_late_max_ms": late.load(Ordering::Relaxed),
        });
        println!("{line}");
        Ok(())
    }

    fn sender(
        &self,
        log: Arc<dyn Log>,
        begin: i64,
        total: u64,
        late: Arc<AtomicU64>,
    ) -> std::thread::JoinHandle<Result<()>> {
        let (topic, rate) = (self.topic.clone(), self.rate);
        std::thread::spawn(move || {
            let mut writer = log.writer()?;
            let (mut ids, mut values) = (Ids::new(Dist::Zipf, KEYS, 7), Values::new(100, 7));
            let (mut key, mut sent) = (Vec::new(), 0);
            while sent < total {
                let due = u64::try_from(now_ms() - begin).unwrap_or(0) * rate / 1_000;
                while sent < due.min(total) {
                    let timestamp = begin + i64::try_from(sent * 1_000 / rate)?;
                    late.fetch_max(u64::try_from(now_ms() - timestamp).unwrap_or(0), Ordering::Relaxed);
                    write_key(ids.next(), &mut key);
                    let value = Some(values.of(sent));
                    writer.send(&topic, None, Record { key: Some(&key), value, headers: Headers(b""), timestamp })?;
                    sent += 1;
                }
                std::thread::sleep(TICK);
            }
            Ok(writer.flush()?)
        })
    }
}

fn millis(seconds: u64) -> i64 {
    i64::try_from(seconds * 1_000).unwrap_or(i64::MAX)
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
