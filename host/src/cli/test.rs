//! `test DIR`

use std::path::PathBuf;

use clap::Args;
use millstream_engine::error::{Problem, exit};
use serde::Serialize;

use super::output::{self, Output};
use super::{Global, Result};
use crate::app::{Loaded, running};
use crate::case::{self, Bench, Case, Difference, File, Row, Verdict};

#[derive(Debug, Args)]
pub struct Test {
    /// The plugin project, with its case files in tests/
    dir: PathBuf,
    /// Write what came into the case files, in the place of what was expected; a failure is never written
    #[arg(long)]
    update: bool,
    /// Give the plugin other random numbers: what a case expects must not depend on them
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    output: Output,
}

/// All of a run.
#[derive(Debug, Serialize)]
struct Report {
    cases: Vec<CaseReport>,
    passed: usize,
    failed: usize,
    /// Cases that expect now what came.
    updated: usize,
    seed: u64,
}

#[derive(Debug, Serialize)]
struct CaseReport {
    file: String,
    line: usize,
    name: String,
    outcome: Outcome,
    differences: Vec<DifferenceReport>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Passed,
    Failed,
    Updated,
}

#[derive(Debug, Serialize)]
struct DifferenceReport {
    place: String,
    line: usize,
    /// Lines of what was expected and did not come, and of what came and was not expected.
    expected: Vec<String>,
    got: Vec<String>,
    #[serde(skip)]
    rows: Vec<Row>,
}

impl Test {
    pub fn run(self, global: &Global) -> Result {
        let application = global.application(&self.dir)?;
        let engine = global.engine(std::slice::from_ref(&application))?;
        let loaded = Loaded::load(&engine, &self.dir)?;
        let bench = Bench::of(&loaded, self.seed);
        let files = case::find(&self.dir, &bench.names)?;
        let mut cases = Vec::new();
        for (file, verdicts) in files.iter().zip(verdicts(&loaded, &bench, &files)?) {
            for (one, verdict) in file.cases.iter().zip(&verdicts) {
                cases.push(CaseReport::of(file, one, verdict, self.update));
            }
            if let Some(text) = self.update.then(|| case::update(file, &verdicts, &bench.names)).flatten() {
                std::fs::write(&file.path, text).map_err(|error| super::error::output_failed(&file.shown(), &error))?;
            }
        }
        let count = |outcome| cases.iter().filter(|case| case.outcome == outcome).count();
        let [passed, failed, updated] = [Outcome::Passed, Outcome::Failed, Outcome::Updated].map(count);
        let report = Report { passed, failed, updated, cases, seed: self.seed };
        output::object(self.output.format, &report, || report.text())?;
        if failed == 0 { Ok(()) } else { Err(cases_failed(&report).into()) }
    }
}

/// What becomes of each case of each file. A guest needs a thread with room for its stack.
fn verdicts(loaded: &Loaded, bench: &Bench, files: &[File]) -> std::result::Result<Vec<Vec<Verdict>>, Problem> {
    let judge =
        |case: &Case| -> std::result::Result<Verdict, Problem> { Ok(case::judge(case, &case::play(bench, case)?)) };
    let of_file = |file: &File| file.cases.iter().map(judge).collect::<std::result::Result<Vec<_>, _>>();
    let run = || files.iter().map(of_file).collect::<std::result::Result<Vec<_>, _>>();
    let id = &loaded.application.manifest.id;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(id.clone()).stack_size(loaded.component.thread_stack_bytes());
        let thread = thread.spawn_scoped(scope, run).map_err(|error| running::thread_not_started(id, &error))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

impl CaseReport {
    fn of(file: &File, case: &Case, verdict: &Verdict, update: bool) -> CaseReport {
        let outcome = match verdict.differences.as_slice() {
            [] => Outcome::Passed,
            all if update && all.iter().all(Difference::is_written) => Outcome::Updated,
            _ => Outcome::Failed,
        };
        CaseReport {
            file: file.shown(),
            line: case.line,
            name: case.name.clone(),
            outcome,
            differences: verdict.differences.iter().map(DifferenceReport::of).collect(),
        }
    }
}

impl DifferenceReport {
    fn of(difference: &Difference) -> DifferenceReport {
        let (mut expected, mut got) = (Vec::new(), Vec::new());
        for row in &difference.rows {
            match row {
                Row::Same(_) => {}
                Row::Expected(line) => expected.push(line.clone()),
                Row::Got(line) => got.push(line.clone()),
            }
        }
        let (place, line, rows) = (difference.place.clone(), difference.line, difference.rows.clone());
        DifferenceReport { place, line, expected, got, rows }
    }
}

/// Lines around a difference that are as they should be.
const CONTEXT: usize = 2;

/// Lines of one difference that are shown; `-o json` has all of them.
const ROWS_MAX: usize = 60;

impl Report {
    fn text(&self) -> String {
        let mut out = String::new();
        for case in self.cases.iter().filter(|case| case.outcome != Outcome::Passed) {
            let updated = if case.outcome == Outcome::Updated { " (updated)" } else { "" };
            out += &format!("{}:{}: {}{updated}\n", case.file, case.line, case.name);
            for difference in &case.differences {
                out += &format!("  {} (line {})\n", difference.place, difference.line);
                out += &rows(&difference.rows);
            }
        }
        let updated = if self.updated > 0 { format!(", {} updated", self.updated) } else { String::new() };
        out + &format!("{} passed, {} failed{updated}\n", self.passed, self.failed)
    }
}

fn rows(rows: &[Row]) -> String {
    let differs = |row: &Row| !matches!(row, Row::Same(_));
    let is_near = |at: usize| rows[at.saturating_sub(CONTEXT)..(at + CONTEXT + 1).min(rows.len())].iter().any(differs);
    let near: Vec<usize> = (0..rows.len()).filter(|at| is_near(*at)).collect();
    let mut out = String::new();
    let mut next = 0;
    for at in near.iter().copied().take(ROWS_MAX) {
        if at > next {
            out += &format!("    … {} as expected\n", at - next);
        }
        next = at + 1;
        let (word, line) = match &rows[at] {
            Row::Same(line) => ("", line),
            Row::Expected(line) => ("expected", line),
            Row::Got(line) => ("got", line),
        };
        out += &format!("    {word:8}  {}\n", printable(line));
    }
    match (near.len().saturating_sub(ROWS_MAX), rows.len() - next) {
        (0, 0) => out,
        (0, rest) => out + &format!("    … {rest} as expected\n"),
        (more, _) => out + &format!("    … {more} lines more; -o json has all\n"),
    }
}

/// What a plugin wrote cannot steer the screen.
fn printable(line: &str) -> String {
    line.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

fn cases_failed(report: &Report) -> Problem {
    let failed = report.cases.iter().filter(|case| case.outcome == Outcome::Failed);
    let names: Vec<&str> = failed.map(|case| case.name.as_str()).collect();
    let message = format!("{} of {} cases failed", report.failed, report.cases.len());
    Problem::new("CasesFailed", "E0512", exit::FAILED, message)
        .field("cases", names)
        .field("seed", report.seed)
        .why("what came is not what the case files expect")
        .fix("mend the plugin; or, where it is right, write what came into the files with --update")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_shown_with_what_is_around_it() {
        let same = |n: usize| Row::Same(format!("{{\"value\":{n}}}"));
        let mut all: Vec<Row> = (0..6).map(same).collect();
        all.splice(4..5, [Row::Expected("{\"value\":9}".to_owned()), Row::Got("{\"value\":\u{1b}4}".to_owned())]);
        let expected = "    … 2 as expected\n              {\"value\":2}\n              {\"value\":3}\n    \
                        expected  {\"value\":9}\n    got       {\"value\":\\u{1b}4}\n              {\"value\":5}\n";
        assert_eq!(rows(&all), expected);
    }

    #[test]
    fn a_long_difference_is_cut_and_says_so() {
        let all: Vec<Row> = (0..ROWS_MAX + 3).map(|n| Row::Got(n.to_string())).collect();
        let shown = rows(&all);
        assert_eq!(shown.lines().count(), ROWS_MAX + 1);
        assert!(shown.ends_with("    … 3 lines more; -o json has all\n"), "{shown}");
    }
}
