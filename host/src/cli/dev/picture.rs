//! What the one at the screen sees: inputs, outputs and stores, now and at the end.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use millstream_engine::record::TopicId;
use millstream_engine::topology::{Operator, Plan};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::app::Handle;
use crate::app::status::{AppState, StoreInfo};
use crate::cli::output::{say, table};
use crate::desk::Row;
use crate::desk::query::{Keys, Range};
use crate::log::{self, Log};
use crate::text::entry::Entry;
use crate::text::{Codec, Codecs};

/// Rows of a store that fit a screen beside the others'.
const ROWS_SHOWN: usize = 20;

/// Characters of a line that fit a screen.
const LINE_CHARS: usize = 110;

/// How long the picture may wait for busy threads before it goes without the rows.
const QUERY_DEADLINE: Duration = Duration::from_millis(200);

/// How often there is a line where nobody can see a picture.
const LINE_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug, Serialize)]
pub struct Picture {
    id: String,
    state: AppState,
    inputs: Vec<InputPicture>,
    outputs: Vec<OutputPicture>,
    stores: Vec<StorePicture>,
}

#[derive(Debug, Serialize)]
struct InputPicture {
    topic: String,
    /// Processed and committed, of all partitions.
    committed: i64,
    lag: i64,
}

#[derive(Debug, Serialize)]
struct OutputPicture {
    topic: String,
    records: i64,
}

#[derive(Debug, Serialize)]
struct StorePicture {
    name: String,
    entries: u64,
    /// The first ones, as `store get` prints them.
    rows: Vec<Box<RawValue>>,
    #[serde(skip)]
    lines: Vec<String>,
}

impl Picture {
    pub fn of(handle: &Handle, plan: &Plan, log: &dyn Log) -> log::Result<Picture> {
        let status = handle.status();
        let mut inputs: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
        for input in status.tasks.iter().flat_map(|task| &task.inputs) {
            let committed = input.committed.unwrap_or(0);
            let (done, lag) = inputs.entry(&input.topic).or_default();
            *done += committed;
            *lag += (input.end - committed).max(0);
        }
        let input = |(topic, (committed, lag)): (&str, _)| InputPicture { topic: topic.to_owned(), committed, lag };
        Ok(Picture {
            inputs: inputs.into_iter().map(input).collect(),
            outputs: outputs(plan, log)?,
            stores: stores(handle),
            id: status.id,
            state: status.state,
        })
    }

    pub fn text(&self) -> String {
        let inputs = self.inputs.iter().map(|row| [row.topic.clone(), row.committed.to_string(), row.lag.to_string()]);
        let mut out = table(["input", "records", "lag"], &[1, 2], inputs);
        let outputs = self.outputs.iter().map(|row| [row.topic.clone(), row.records.to_string()]);
        out = out + "\n" + &table(["output", "records"], &[1], outputs);
        for store in &self.stores {
            out += &format!("\n{} ({} entries)\n", store.name, store.entries);
            store.lines.iter().for_each(|line| out += &format!("  {line}\n"));
        }
        out
    }

    /// For a log file: how far it is, on one line.
    fn line(&self) -> String {
        let inputs = self.inputs.iter().map(|row| format!("{} {} (lag {})", row.topic, row.committed, row.lag));
        let outputs = self.outputs.iter().map(|row| format!("{} {}", row.topic, row.records));
        let join = |parts: &mut dyn Iterator<Item = String>| parts.collect::<Vec<_>>().join(", ");
        format!("{}: {} → {}", self.id, join(&mut inputs.into_iter()), join(&mut outputs.into_iter()))
    }
}

fn outputs(plan: &Plan, log: &dyn Log) -> log::Result<Vec<OutputPicture>> {
    let sinks = plan.nodes.iter().enumerate().filter(|(_, node)| node.operator == Operator::Sink);
    let mut topics: Vec<_> = sinks.filter_map(|(place, _)| plan.topic_of(place)).collect();
    topics.sort_unstable();
    topics.dedup();
    let records = |topic: TopicId| {
        let topic = &plan.topics[topic.0 as usize];
        let mut records = 0;
        for partition in 0..topic.partitions {
            let offsets = log.offsets(&topic.name, partition)?;
            records += offsets.end - offsets.begin;
        }
        Ok(OutputPicture { topic: topic.name.clone(), records })
    };
    topics.into_iter().map(records).collect()
}

/// A store whose threads are busy or that restores is shown without rows.
fn stores(handle: &Handle) -> Vec<StorePicture> {
    let all = Keys::Range(Range { limit: ROWS_SHOWN, ..Range::default() });
    let picture = |info: StoreInfo| {
        let rows = handle.query(&info.name, all.clone(), QUERY_DEADLINE).map(|page| page.rows).unwrap_or_default();
        let codecs = Codecs { key: Codec::declared(&info.codecs.key), value: Codec::declared(&info.codecs.value) };
        let entry = |row: &Row| serde_json::value::to_raw_value(&Entry::new(row, codecs, &mut 0)).ok();
        StorePicture {
            lines: rows.iter().map(|row| line(row, codecs)).collect(),
            rows: rows.iter().filter_map(entry).collect(),
            name: info.name,
            entries: info.entries,
        }
    };
    handle.stores().into_iter().map(picture).collect()
}

fn line(row: &Row, codecs: Codecs) -> String {
    let Entry { key, value, .. } = Entry::new(row, codecs, &mut 0);
    format!("{key}  {value}").chars().take(LINE_CHARS).collect()
}

/// Where pictures go: redrawn in place on a terminal, else a line now and then, on stderr.
pub struct Screen {
    bar: Option<ProgressBar>,
    last_line: Option<Instant>,
}

impl Screen {
    pub fn new() -> Screen {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
            ProgressBar::new_spinner().with_style(style)
        });
        Screen { bar, last_line: None }
    }

    /// Shows the picture, or takes it away while a build writes to the same screen.
    pub fn show(&mut self, picture: &Picture, is_building: bool) {
        match &self.bar {
            Some(bar) if is_building => bar.set_message(""),
            Some(bar) => bar.set_message(format!("\n{}", picture.text())),
            None if self.last_line.is_none_or(|last| last.elapsed() >= LINE_EVERY) => {
                self.last_line = Some(Instant::now());
                say(picture.line());
            }
            None => {}
        }
    }

    /// Says something above the picture.
    pub fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say(text.trim_end())),
            None => say(text.trim_end()),
        }
    }

    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
