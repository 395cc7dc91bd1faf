//! `load`: a topic of records, the same bytes for every engine.
//!
//! Key: `k`, the id in seven digits, then zero to four letters that follow from the id: 8 to 12 bytes. Value: the
//! record's number as a big-endian 64-bit integer, then printable bytes; with `--refer-keys` a byte with the length of a
//! key and such a key stand between. Timestamp: 1,700,000,000,000 + number / 100 ms, or as `--step-ms` says. Partition:
//! murmur2 of the key.

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use millstream::log;
use millstream_engine::record::{Headers, Record};
use serde_json::json;

use crate::app::make_topic;
use crate::usage::{Moment, rate, rounded};

/// The first record's timestamp, ms.
pub const START_MS: i64 = 1_700_000_000_000;
const RECORDS_PER_MS: u64 = 100;
/// The smallest value: the record's number.
const NUMBER_BYTES: usize = 8;
/// The longest key, and its length in front of it.
const REFERENCE_BYTES: usize = 13;
/// Keys have seven digits.
const KEYS_MAX: u64 = 10_000_000;
/// Values are windows into padding of this length.
const PADDING_BYTES: usize = 4096;

#[derive(Args)]
pub struct Load {
    #[arg(long)]
    log: String,
    /// Must not be there yet
    #[arg(long)]
    topic: String,
    #[arg(long, default_value_t = 8)]
    partitions: usize,
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    #[arg(long, default_value_t = 100_000)]
    keys: u64,
    #[arg(long, value_enum, default_value = "zipf")]
    dist: Dist,
    #[arg(long, default_value_t = 100)]
    value_bytes: usize,
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Between the timestamps of two records. Default: a hundred records have the same one
    #[arg(long)]
    step_ms: Option<u64>,
    /// How much later than others the first record is: two topics of even steps, one of them later by an odd number, have no
    /// timestamp in common
    #[arg(long, default_value_t = 0)]
    first_ms: u64,
    /// Each value names one of so many keys, all with the same weight
    #[arg(long, default_value_t = 0)]
    refer_keys: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Dist {
    /// The key of rank r with a weight of 1/r
    Zipf,
    /// Every key with the same weight
    Uniform,
    /// Every key once, scattered, and again from the start when there are more records
    Once,
}

impl Load {
    pub fn run(self) -> Result<()> {
        ensure!((1..=KEYS_MAX).contains(&self.keys), "--keys must be from 1 to {KEYS_MAX}");
        ensure!(self.refer_keys <= KEYS_MAX, "--refer-keys must be at most {KEYS_MAX}");
        let least = if self.refer_keys > 0 { NUMBER_BYTES + REFERENCE_BYTES } else { NUMBER_BYTES };
        ensure!(self.value_bytes >= least, "--value-bytes must be {least} or more");
        let log = log::open(&self.log, &log::Options::default())?;
        make_topic(&*log, &self.topic, self.partitions, false)?;
        let mut writer = log.writer()?;
        let mut ids = Ids::new(self.dist, self.keys, self.seed);
        let mut values = Values::new(self.value_bytes, self.seed);
        let mut referred = Ids::new(Dist::Uniform, self.refer_keys.max(1), self.seed.wrapping_add(2));
        let (mut key, mut reference) = (Vec::new(), Vec::new());
        let start = Moment::now();
        for number in 0..self.records {
            write_key(ids.next(), &mut key);
            let since = self.step_ms.map_or(number / RECORDS_PER_MS, |step| number * step) + self.first_ms;
            let timestamp = START_MS + i64::try_from(since)?;
            let value = match self.refer_keys {
                0 => values.of(number),
                _ => {
                    write_key(referred.next(), &mut reference);
                    values.referring(number, &reference)
                }
            };
            let record = Record { key: Some(&key), value: Some(value), headers: Headers(b""), timestamp };
            writer.send(&self.topic, None, record)?;
        }
        writer.flush()?;
        let wall = start.at.elapsed();
        let line = json!({
            "topic": self.topic, "records": self.records, "wall_s": rounded(wall.as_secs_f64(), 3),
            "per_s": rate(self.records, wall), "cpu_s": rounded((Moment::now().cpu - start.cpu).as_secs_f64(), 3),
        });
        println!("{line}");
        Ok(())
    }
}

/// Which key each record has.
pub struct Ids {
    random: Random,
    keys: u64,
    kind: Kind,
}

enum Kind {
    /// Sums of the weights of the ranks up to each.
    Zipf(Vec<f64>),
    Uniform,
    Once(u64),
}

/// A prime beyond any number of keys, so that its multiples visit all of them.
const SCATTER: u64 = 611_953;

impl Ids {
    pub fn new(dist: Dist, keys: u64, seed: u64) -> Ids {
        let kind = match dist {
            Dist::Uniform => Kind::Uniform,
            Dist::Once => Kind::Once(0),
            Dist::Zipf => {
                let mut sum = 0.0;
                let weight = |rank: u64| {
                    sum += 1.0 / rank as f64;
                    sum
                };
                Kind::Zipf((1..=keys).map(weight).collect())
            }
        };
        Ids { random: Random(seed), keys, kind }
    }

    pub fn next(&mut self) -> u64 {
        match &mut self.kind {
            Kind::Zipf(sums) => {
                let point = self.random.unit() * sums.last().copied().unwrap_or_default();
                (sums.partition_point(|sum| *sum < point) as u64).min(self.keys - 1)
            }
            Kind::Uniform => self.random.next() % self.keys,
            Kind::Once(number) => {
                *number += 1;
                (*number - 1) * SCATTER % self.keys
            }
        }
    }
}

pub fn write_key(id: u64, out: &mut Vec<u8>) {
    const LETTERS: &[u8] = b"abcd";
    out.clear();
    out.push(b'k');
    let mut scale = KEYS_MAX / 10;
    while scale > 0 {
        out.push(b'0' + (id / scale % 10) as u8);
        scale /= 10;
    }
    let letters = (id.wrapping_mul(2_654_435_761) >> 16) as usize % (LETTERS.len() + 1);
    out.extend_from_slice(&LETTERS[..letters]);
}

/// Values of one length that do not compress to nothing.
pub struct Values {
    padding: Vec<u8>,
    value: Vec<u8>,
}

impl Values {
    pub fn new(bytes: usize, seed: u64) -> Values {
        let mut random = Random(seed.wrapping_add(1));
        let padding = (0..PADDING_BYTES + bytes).map(|_| b'!' + (random.next() % 94) as u8).collect();
        Values { padding, value: vec![0; bytes] }
    }

    pub fn of(&mut self, number: u64) -> &[u8] {
        let from = number as usize % PADDING_BYTES;
        let bytes = self.value.len();
        self.value.copy_from_slice(&self.padding[from..from + bytes]);
        self.value[..NUMBER_BYTES].copy_from_slice(&number.to_be_bytes());
        &self.value
    }

    /// The same with a key of another topic in it.
    fn referring(&mut self, number: u64, key: &[u8]) -> &[u8] {
        self.of(number);
        self.value[NUMBER_BYTES] = key.len() as u8;
        self.value[NUMBER_BYTES + 1..][..key.len()].copy_from_slice(key);
        &self.value
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): a run is the same for the same seed everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// In 0..1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_8_to_12_bytes_and_all_different() {
        let keys: std::collections::BTreeSet<Vec<u8>> = (0..20_000)
            .map(|id| {
                let mut key = Vec::new();
                write_key(id, &mut key);
                key
            })
            .collect();
        assert_eq!(keys.len(), 20_000);
        assert!(keys.iter().all(|key| (8..=12).contains(&key.len())));
    }

    #[test]
    fn once_visits_every_key() {
        let mut ids = Ids::new(Dist::Once, 1_000, 0);
        let seen: std::collections::BTreeSet<u64> = (0..1_000).map(|_| ids.next()).collect();
        assert_eq!(seen.len(), 1_000);
    }

    #[test]
    fn the_first_rank_of_zipf_has_its_share() {
        let mut ids = Ids::new(Dist::Zipf, 1_000, 42);
        let first = (0..100_000).filter(|_| ids.next() == 0).count();
        // 1 / (1 + 1/2 + … + 1/1000) = 13.4 %
        assert!((12_900..13_900).contains(&first), "{first}");
    }
}
