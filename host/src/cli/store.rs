//! `store list | get | scan | export | import | verify | backup`

mod backup;
mod export;
mod import;
mod timed;
mod verify;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use millstream_engine::config::ByteSize;

use super::codecs::{CodecFlags, check_decoded};
use super::output::{self, Output, Stream, say};
use super::state::State;
use super::{Global, Result};
use crate::app::query;
use crate::app::status::StoreInfo;
use crate::desk::Page;
use crate::desk::query::{Keys, ROWS_MAX, Range};
use crate::text::entry::Entry;
use crate::text::{Codec, Codecs};

#[derive(Debug, Args)]
pub struct Store {
    #[command(subcommand)]
    verb: Verb,
    /// Where the application keeps its state; default: the manifest's
    #[arg(long, global = true, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show an application's stores
    #[command(visible_alias = "ls")]
    List {
        /// A manifest, a directory that holds app.toml, or a component
        app: PathBuf,
    },
    /// Print the entry of one key
    Get(Get),
    /// Print entries in byte order of their keys
    Scan(Scan),
    /// Write a store's committed entries into a file, one JSON object a line
    Export(export::Export),
    /// Put entries into a store of an application that does not run
    Import(import::Import),
    /// Compare stores with what their changelogs add up to
    Verify(verify::Verify),
    /// Copy the state on disk, also while the application runs
    Backup(backup::Backup),
}

#[derive(Debug, Args)]
struct Get {
    app: PathBuf,
    store: String,
    /// In the key's codec, or base64:…
    #[arg(id = "entry", value_name = "KEY", allow_hyphen_values = true)]
    key: String,
    /// Of a window or a session: when it starts
    #[arg(long, value_name = "MS", allow_hyphen_values = true)]
    start: Option<i64>,
    /// Of a session: when it ends
    #[arg(long, value_name = "MS", requires = "start", allow_hyphen_values = true)]
    end: Option<i64>,
    /// Of a versioned store: the version at this time
    #[arg(long, value_name = "MS", conflicts_with_all = ["start", "end"], allow_hyphen_values = true)]
    as_of: Option<i64>,
    #[command(flatten)]
    codecs: CodecFlags,
}

#[derive(Debug, Args)]
struct Scan {
    app: PathBuf,
    store: String,
    /// The first key, in the key's codec or base64:…
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    from: Option<String>,
    /// The last key, itself included
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    to: Option<String>,
    /// Only keys that begin with this
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    prefix: Option<String>,
    /// Only windows that start here or later, only sessions that end here or later
    #[arg(long, value_name = "MS", allow_hyphen_values = true)]
    from_time: Option<i64>,
    /// Only windows and sessions that start here or earlier
    #[arg(long, value_name = "MS", allow_hyphen_values = true)]
    to_time: Option<i64>,
    /// From the last key to the first
    #[arg(long)]
    reverse: bool,
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    #[command(flatten)]
    codecs: CodecFlags,
}

impl Store {
    pub fn run(self, global: &Global) -> Result {
        let open = |app: &Path| State::open(app, self.state_dir.as_deref(), global);
        match self.verb {
            Verb::List { app } => list(&open(&app)?, self.output),
            Verb::Get(get) => get.run(&open(&get.app)?, self.output),
            Verb::Scan(scan) => scan.run(&open(&scan.app)?, self.output),
            Verb::Export(export) => export.run(&open(&export.app)?, self.output),
            Verb::Import(import) => import.run(global, self.state_dir.as_deref(), self.output),
            Verb::Verify(verify) => verify.run(global, self.state_dir.as_deref(), self.output),
            Verb::Backup(backup) => backup.run(global, self.state_dir.as_deref(), self.output),
        }
    }
}

fn list(state: &State, output: Output) -> Result {
    let (stores, silent) = state.stores_found()?;
    let parted = |store: &&StoreInfo| store.tasks.len() < store.of;
    if let Some(store) = stores.iter().find(parted) {
        let (found, of, name) = (store.tasks.len(), store.of, &store.name);
        let why = if silent.is_empty() { String::new() } else { format!(": {}", silent.join("; ")) };
        say(format_args!("only {found} of the {of} tasks of store {name} are counted{why}"));
    }
    output::list(output.format, &stores, || {
        let row = |store: &StoreInfo| {
            let codecs = format!("{} → {}", store.codecs.key, store.codecs.value);
            let source = if store.reuses_source_topic { " (source)" } else { "" };
            let changelog = format!("{}{source}", store.changelog_topic.as_deref().unwrap_or_default());
            let (kind, provider) = (store.kind.clone(), store.provider.clone());
            let size = ByteSize(store.bytes).to_string();
            let tasks = if store.of == 0 { "all".to_owned() } else { format!("{}/{}", store.tasks.len(), store.of) };
            [store.name.clone(), kind, provider, codecs, changelog, tasks, store.entries.to_string(), size]
        };
        output::table(
            ["name", "kind", "provider", "codecs", "changelog", "tasks", "entries", "size"],
            &[5, 6, 7],
            stores.iter().map(row),
        )
    })
}

impl Get {
    fn run(&self, state: &State, output: Output) -> Result {
        let codecs = self.codecs.or(declared(state, &self.store)?);
        let key = codecs.key.read_key(&self.key).map_err(|why| output::usage(format!("the key: {why}")))?;
        let keys = match (self.start, self.end, self.as_of) {
            (Some(start), Some(end), _) => Keys::Session(key, start, end),
            (Some(start), None, _) => Keys::Window(key, start),
            (None, _, Some(time)) => Keys::AsOf(key, time),
            (None, ..) => Keys::One(key),
        };
        check_kind(state, &self.store, &keys)?;
        let page = state.read(&self.store, &keys)?;
        let Some(row) = page.rows.first() else {
            return Err(query::key_not_found(&self.store, &self.key).into());
        };
        let mut undecodable = 0;
        let entry = Entry::new(row, codecs, &mut undecodable);
        output::object(output.format, &entry, || format!("{entry}\n"))?;
        Ok(check_decoded(undecodable)?)
    }
}

impl Scan {
    fn run(&self, state: &State, output: Output) -> Result {
        let codecs = self.codecs.or(declared(state, &self.store)?);
        let mut range = self.range(codecs.key)?;
        check_kind(state, &self.store, &Keys::Range(range.clone()))?;
        let mut left = self.limit.unwrap_or(usize::MAX);
        let mut out = Stream::open(output.format);
        let mut undecodable = 0;
        while left > 0 {
            range.limit = left.min(ROWS_MAX);
            let page = state.read(&self.store, &Keys::Range(range.clone()))?;
            left -= page.rows.len();
            print(&page, codecs, &mut out, &mut undecodable)?;
            match page.next {
                Some(next) => range.after = Some(next),
                None => break,
            }
        }
        out.finish()?;
        Ok(check_decoded(undecodable)?)
    }

    fn range(&self, codec: Codec) -> Result<Range> {
        let bound = |name: &str, text: &Option<String>| {
            let read = |text: &String| codec.read_key(text).map_err(|why| output::usage(format!("--{name}: {why}")));
            text.as_ref().map(read).transpose()
        };
        Ok(Range {
            from: bound("from", &self.from)?,
            to: bound("to", &self.to)?,
            prefix: bound("prefix", &self.prefix)?,
            reverse: self.reverse,
            times: match (self.from_time, self.to_time) {
                (None, None) => None,
                (from, to) => Some((from.unwrap_or(i64::MIN), to.unwrap_or(i64::MAX))),
            },
            after: None,
            limit: 0,
        })
    }
}

/// Refuses what a store of its kind cannot be asked.
fn check_kind(state: &State, store: &str, keys: &Keys) -> Result {
    let kind = state.stores()?.into_iter().find(|found| found.name == store).map(|found| found.kind);
    match kind.and_then(|kind| Some((keys.misfit(&kind)?, kind))) {
        Some((why, kind)) => Err(query::other_kind(store, &kind, why).into()),
        None => Ok(()),
    }
}

fn print(page: &Page, codecs: Codecs, out: &mut Stream, undecodable: &mut u64) -> Result {
    for row in &page.rows {
        let entry = Entry::new(row, codecs, undecodable);
        out.row(&entry, || entry.to_string())?;
    }
    out.flush()
}

/// The codecs that the component declared for a store.
fn declared(state: &State, store: &str) -> Result<Codecs> {
    let stores = state.stores()?;
    let found = stores.iter().find(|found| found.name == store).ok_or_else(|| {
        let known: Vec<&str> = stores.iter().map(|store| store.name.as_str()).collect();
        query::unknown_store(store, &known)
    })?;
    Ok(Codecs { key: Codec::declared(&found.codecs.key), value: Codec::declared(&found.codecs.value) })
}
