//! `store export`: a store's committed entries as lines of JSON.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use millstream_engine::error::{Problem, exit};

use super::super::codecs::CodecFlags;
use super::super::output::{self, Output};
use super::super::state::State;
use super::{Result, declared};
use crate::desk::query::{Keys, ROWS_MAX, Range};
use crate::text::Codecs;
use crate::text::entry::Entry;

#[derive(Debug, Args)]
pub struct Export {
    pub app: PathBuf,
    store: String,
    /// Where to; `-` is stdout. A file that is there is replaced when the export is whole
    file: PathBuf,
    #[command(flatten)]
    codecs: CodecFlags,
}

impl Export {
    pub fn run(&self, state: &State, output: Output) -> Result {
        let codecs = self.codecs.or(declared(state, &self.store)?);
        let failed = |error| cannot_write(&self.file, &error);
        if self.file == Path::new("-") {
            let mut out = BufWriter::new(io::stdout().lock());
            self.write(state, codecs, &mut out)?;
            return Ok(out.flush()?);
        }
        let mut partial = self.file.clone().into_os_string();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let mut out = BufWriter::new(File::create(&partial).map_err(failed)?);
        let entries = self.write(state, codecs, &mut out)?;
        let written = out.into_inner().map_err(io::IntoInnerError::into_error).and_then(|file| file.sync_all());
        written.and_then(|()| fs::rename(&partial, &self.file)).map_err(failed)?;
        let report = serde_json::json!({ "store": self.store, "entries": entries, "file": self.file });
        output::object(output.format, &report, || {
            format!("exported {entries} entries of {} to {}\n", self.store, self.file.display())
        })
    }

    /// Page by page: each is committed state, and a later one may be of a later commit. What does not decode stands
    /// there as base64, so nothing is lost.
    fn write(&self, state: &State, codecs: Codecs, out: &mut impl Write) -> Result<u64> {
        let mut range = Range { limit: ROWS_MAX, ..Range::default() };
        let (mut entries, mut undecodable) = (0, 0);
        loop {
            let page = state.read(&self.store, &Keys::Range(range.clone()))?;
            for row in &page.rows {
                serde_json::to_writer(&mut *out, &Entry::new(row, codecs, &mut undecodable))
                    .map_err(io::Error::from)?;
                out.write_all(b"\n")?;
                entries += 1;
            }
            match page.next {
                Some(next) => range.after = Some(next),
                None => return Ok(entries),
            }
        }
    }
}

fn cannot_write(file: &Path, error: &io::Error) -> Problem {
    Problem::new("OutputFailed", "E0002", exit::FAILED, format!("cannot write {}: {error}", file.display()))
        .field("file", file.display().to_string())
        .why("the export goes there")
        .fix("name a file in a directory that is there and has room")
}
