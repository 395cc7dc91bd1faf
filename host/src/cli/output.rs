//! What verbs print on stdout.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use comfy_table::{CellAlignment, Table, presets};
use millstream_engine::error::{Problem, exit};
use serde::Serialize;

use super::Result;

/// `-o`; `build` alone means something else by it.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Output {
    /// How data is printed; default: text on a terminal, else jsonl for records and json for objects
    #[arg(short = 'o', long = "output", id = "output", global = true, value_enum, value_name = "FORMAT")]
    pub format: Option<Format>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Text,
    /// One JSON value
    Json,
    /// One JSON value a line
    Jsonl,
}

impl Format {
    /// The format of one object.
    fn of_object(asked: Option<Format>) -> Format {
        asked.unwrap_or_else(|| if io::stdout().is_terminal() { Format::Text } else { Format::Json })
    }

    /// The format of a stream of records.
    fn of_stream(asked: Option<Format>) -> Format {
        asked.unwrap_or_else(|| if io::stdout().is_terminal() { Format::Text } else { Format::Jsonl })
    }
}

/// Prints one object, or its text.
pub fn object(asked: Option<Format>, value: &impl Serialize, text: impl FnOnce() -> String) -> Result {
    let mut out = io::stdout().lock();
    match Format::of_object(asked) {
        Format::Text => out.write_all(text().as_bytes())?,
        Format::Json | Format::Jsonl => json_line(&mut out, value)?,
    }
    Ok(out.flush()?)
}

/// Prints a list: a JSON array, an object a line, or a table.
pub fn list<T: Serialize>(asked: Option<Format>, items: &[T], text: impl FnOnce() -> String) -> Result {
    let mut out = BufWriter::new(io::stdout().lock());
    match Format::of_object(asked) {
        Format::Text => out.write_all(text().as_bytes())?,
        Format::Json => json_line(&mut out, &items)?,
        Format::Jsonl => items.iter().try_for_each(|item| json_line(&mut out, item))?,
    }
    Ok(out.flush()?)
}

/// What is not data, for the one who watches: on stderr.
pub fn say(text: impl std::fmt::Display) {
    anstream::eprintln!("{text}");
}

/// Records one after the other, as they come.
pub struct Stream {
    out: BufWriter<StdoutLock<'static>>,
    format: Format,
    rows: u64,
}

impl Stream {
    pub fn open(asked: Option<Format>) -> Stream {
        Stream { out: BufWriter::new(io::stdout().lock()), format: Format::of_stream(asked), rows: 0 }
    }

    pub fn row(&mut self, row: &impl Serialize, text: impl FnOnce() -> String) -> Result {
        let first = self.rows == 0;
        self.rows += 1;
        match self.format {
            Format::Text => writeln!(self.out, "{}", text())?,
            Format::Jsonl => json_line(&mut self.out, row)?,
            Format::Json => {
                self.out.write_all(if first { b"[\n" } else { b",\n" })?;
                serde_json::to_writer(&mut self.out, row).map_err(io::Error::from)?;
            }
        }
        Ok(())
    }

    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Lets the reader see what was printed so far.
    pub fn flush(&mut self) -> Result {
        Ok(self.out.flush()?)
    }

    /// Closes what was opened; an array without rows is an empty one.
    pub fn finish(mut self) -> Result {
        if self.format == Format::Json {
            self.out.write_all(if self.rows == 0 { b"[]\n" } else { b"\n]\n" })?;
        }
        self.flush()
    }
}

/// A table without lines; the columns named in `right` hold numbers.
pub fn table<const N: usize>(
    header: [&str; N],
    right: &[usize],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.map(str::to_uppercase)).add_rows(rows);
    for (place, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right.contains(&place) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// A mistake in the arguments that only the verb can see.
pub fn usage(message: impl Into<String>) -> Problem {
    Problem::new("Usage", "E0001", exit::USAGE, message)
        .why("what was meant is not certain, so nothing was done")
        .fix("`millstream VERB --help` shows a verb's arguments")
}

fn json_line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_aligned_columns_and_no_lines() {
        let rows = [["a".to_owned(), "1".to_owned()], ["long".to_owned(), "100".to_owned()]];
        assert_eq!(table(["name", "end"], &[1], rows), "NAME  END\na       1\nlong  100\n");
    }
}
