//! What keeps a store's committed state, by itself: reads, writes and scans, in batches as a task makes them.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use millstream::lmdb::TaskDirectory;
use millstream::wasm::provider::Grant;
use millstream::wasm::{Compiler, Engine, Provider, ProviderBase, ProviderStore};
use millstream_engine::config::{ByteSize, Limits};
use millstream_engine::store::{
    Base as Kept, Changes, KeyRange, MemoryBase, Position, SizeLimits, StoreChanges, StoreKind, StoreSlot, TaskStores,
};
use serde::Serialize;

/// Room for LMDB's state: far more than is written.
const STATE_BYTES_MAX: ByteSize = ByteSize::gib(4);

/// How long each read is repeated.
const TIME: Duration = Duration::from_secs(3);

const WINDOWS: StoreKind =
    StoreKind::Window { size_ms: 1_000, retention_ms: 60_000, duplicates: false, closing: false };
/// When all windows of the beginning have expired, ms.
const FAR_LATER: i64 = 1_000_000;
const WRITTEN_AT_ONCE: u32 = 50_000;

/// Rows of one scan.
const SCANNED: usize = 100;

#[derive(Args)]
pub struct Base {
    /// memory, lmdb, or the file of a store provider
    base: String,
    /// The provider's configuration, a JSON object of texts
    #[arg(long, default_value = "{}")]
    config: String,
    /// What the provider may connect to, HOST:PORT
    #[arg(long)]
    network: Vec<String>,
    #[arg(long, default_value_t = 100_000)]
    rows: u32,
    #[arg(long, default_value_t = 100)]
    value_bytes: usize,
    /// Rows or keys of one call
    #[arg(long, default_value_t = 500)]
    batch: u32,
}

/// Microseconds.
#[derive(Serialize)]
struct Figures<'a> {
    base: &'a str,
    rows: u32,
    /// Of one row, written in batches.
    put_us: f64,
    /// Of a call for one key, and of one key in a call for a batch.
    read_us: f64,
    read_in_batch_us: f64,
    /// Of a scan of a hundred rows from a key on.
    scan_100_us: f64,
    /// Of a window that has expired and is cleaned up, beside the commits that do it.
    expire_us: f64,
}

impl Base {
    pub fn run(self) -> Result<()> {
        let state = tempfile::tempdir()?;
        let mut base = self.open(state.path().join("rows"), StoreKind::KeyValue)?;
        let put = self.put(&mut *base)?;
        let one = self.read(&*base, 1)?;
        let many = self.read(&*base, self.batch)?;
        let scan = self.scan(&*base)?;
        base.close()?;
        let expire = self.expire(self.open(state.path().join("windows"), WINDOWS)?)?;
        let figures = Figures {
            base: &self.base,
            rows: self.rows,
            put_us: put,
            read_us: one,
            read_in_batch_us: many,
            scan_100_us: scan,
            expire_us: expire,
        };
        println!("{}", serde_json::to_string(&figures)?);
        Ok(())
    }

    fn open(&self, state: PathBuf, kind: StoreKind) -> Result<Box<dyn Kept>> {
        Ok(match self.base.as_str() {
            "memory" => Box::new(MemoryBase::new(1)),
            "lmdb" => Box::new(TaskDirectory::of(&state, "in", 0).open(&["s"], STATE_BYTES_MAX)?),
            file => {
                let engine = Engine::new(Limits::default().stack, Compiler::in_process())?;
                let grant = if self.network.is_empty() { None } else { Some(Grant::resolve(&self.network)?) };
                let (bytes, config) = (std::fs::read(file)?, self.config.clone());
                let provider = Provider::load(&engine, &bytes, Limits::default(), ("bench", "base"), config, grant)?;
                // A name of its own: what an earlier run has left is not this one's.
                let id = format!("bench/{}", state.display());
                let store = ProviderStore { id, kind, changelog: None };
                Box::new(ProviderBase::open(provider, vec![store], 1)?)
            }
        })
    }

    fn put(&self, base: &mut dyn Kept) -> Result<f64> {
        let value = vec![7; self.value_bytes];
        let begun = Instant::now();
        for from in (0..self.rows).step_by(self.batch as usize) {
            let rows = (from..self.rows.min(from + self.batch)).map(|row| (key(scattered(row)), Some(value.clone())));
            let changes: Changes = rows.collect();
            let position = Some(Position { offset: i64::from(from) });
            base.apply(&[StoreChanges { store: 0, changes: &changes, position }])?;
        }
        Ok(begun.elapsed().as_secs_f64() * 1e6 / f64::from(self.rows))
    }

    fn read(&self, base: &dyn Kept, batch: u32) -> Result<f64> {
        let (begun, mut read) = (Instant::now(), 0);
        while begun.elapsed() < TIME {
            let keys: Vec<Vec<u8>> = (read..read + batch).map(|row| key(scattered(row % self.rows))).collect();
            let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
            let mut found = 0;
            base.get_many(0, &keys, &mut |_, value| found += u32::from(value.is_some()))?;
            anyhow::ensure!(found == batch, "{found} of {batch} keys are there");
            read += batch;
        }
        Ok(begun.elapsed().as_secs_f64() * 1e6 / f64::from(read))
    }

    fn scan(&self, base: &dyn Kept) -> Result<f64> {
        let (begun, mut scans) = (Instant::now(), 0);
        while begun.elapsed() < TIME {
            let from = key(scattered(scans % self.rows));
            let mut rows = 0;
            base.scan(0, KeyRange { lower: Some(&from), upper: None }, false, &mut |key, value| {
                black_box((key, value));
                rows += 1;
                if rows == SCANNED { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            scans += 1;
        }
        Ok(begun.elapsed().as_secs_f64() * 1e6 / f64::from(scans))
    }
}

impl Base {
    /// Windows of one time, which a later one expires: some of them go with each commit.
    fn expire(&self, base: Box<dyn Kept>) -> Result<f64> {
        let slot = StoreSlot { number: 0, name: "windows".to_owned(), base: 0, slot: 0, logged: false, kind: WINDOWS };
        let mut stores = TaskStores::new(vec![slot], vec![base], SizeLimits::default());
        let value = vec![7; self.value_bytes];
        let commit = |stores: &mut TaskStores| {
            stores.keep_batch();
            stores.seal(&mut |_, _| ());
            stores.apply_sealed(&[None])
        };
        for row in 0..self.rows {
            stores.windows_mut(0).put(&key(scattered(row)), 0, Some(&value), 0)?;
            if row % WRITTEN_AT_ONCE == 0 {
                commit(&mut stores)?;
            }
        }
        commit(&mut stores)?;
        let begun = Instant::now();
        let mut commits = 0;
        while stores.entries(0)? > commits {
            let time = FAR_LATER + i64::try_from(commits)?;
            stores.windows_mut(0).put(b"clock", time, Some(&value), time)?;
            commit(&mut stores)?;
            commits += 1;
        }
        Ok(begun.elapsed().as_secs_f64() * 1e6 / f64::from(self.rows))
    }
}

fn key(row: u32) -> Vec<u8> {
    format!("key-{row:010}").into_bytes()
}

/// Rows out of their order, each once: an odd factor permutes what has 32 bits.
fn scattered(row: u32) -> u32 {
    row.wrapping_mul(2_654_435_761)
}
