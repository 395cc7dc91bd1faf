//! The import interface `stores`: the guest's way into its task's stores.

use millstream_engine::store;

use super::bindings::millstream::plugin::stores::{Host, ScanPage, ScanRequest, StoreError, TimedPage, TimedScan};
use super::host::HostState;

type Answer<T> = wasmtime::Result<Result<T, StoreError>>;

impl Host for HostState {
    fn get_many(&mut self, store: u32, keys: Vec<u8>) -> Answer<Vec<u8>> {
        self.access(keys.len(), |stores| {
            let mut values = Vec::new();
            stores.get_many(store, &keys, &mut values)?;
            Ok(values)
        })
    }

    fn apply(&mut self, store: u32, writes: Vec<u8>) -> Answer<()> {
        self.access(writes.len(), |stores| stores.apply_writes(store, &writes))
    }

    fn scan(&mut self, store: u32, request: ScanRequest) -> Answer<ScanPage> {
        let bounds = [&request.lower, &request.upper, &request.prefix, &request.after];
        self.access(bounds.into_iter().flatten().map(Vec::len).sum(), |stores| {
            let mut entries = Vec::new();
            let more = stores.scan_page(store, borrowed(&request), &mut entries)?;
            Ok(ScanPage { entries, more })
        })
    }

    fn approximate_entries(&mut self, store: u32) -> Answer<u64> {
        self.access(0, |stores| stores.approximate_entries(store))
    }

    fn get_timed(&mut self, store: u32, things: Vec<u8>) -> Answer<Vec<u8>> {
        self.access(things.len(), |stores| {
            let mut values = Vec::new();
            stores.get_timed(store, &things, &mut values)?;
            Ok(values)
        })
    }

    fn apply_timed(&mut self, store: u32, writes: Vec<u8>) -> Answer<Vec<u8>> {
        self.access(writes.len(), |stores| {
            let mut became = Vec::new();
            stores.apply_timed(store, &writes, &mut became)?;
            Ok(became)
        })
    }

    fn scan_timed(&mut self, store: u32, request: TimedScan) -> Answer<TimedPage> {
        self.page_of_rows(store, &request, None)
    }

    fn scan_sessions(&mut self, store: u32, request: TimedScan, latest_end: i64) -> Answer<TimedPage> {
        self.page_of_rows(store, &request, Some(latest_end))
    }
}

impl HostState {
    /// A page of windows or sessions; `latest_end` is asked for of sessions alone.
    fn page_of_rows(&mut self, store: u32, request: &TimedScan, latest_end: Option<i64>) -> Answer<TimedPage> {
        let bounds = [&request.key, &request.lower, &request.upper, &request.after];
        self.access(bounds.into_iter().flatten().map(Vec::len).sum(), |stores| {
            let mut entries = Vec::new();
            let request = store::TimedRequest {
                key: request.key.as_deref(),
                lower: request.lower.as_deref(),
                upper: request.upper.as_deref(),
                from: request.from,
                to: request.to,
                latest_end,
                after: request.after.as_deref(),
                reverse: request.reverse,
                limit: request.limit,
            };
            let next = stores.scan_timed(store, request, &mut entries)?;
            Ok(TimedPage { entries, next })
        })
    }
}

fn borrowed(request: &ScanRequest) -> store::ScanRequest<'_> {
    store::ScanRequest {
        lower: request.lower.as_deref(),
        upper: request.upper.as_deref(),
        prefix: request.prefix.as_deref(),
        after: request.after.as_deref(),
        reverse: request.reverse,
        limit: request.limit,
    }
}
