//! `table`: many runs as one table. Of each number the median, the smallest and the largest; of each rate its ratio to
//! the same rate of the others in that group.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Map, Value};

/// Fields that say what was run and not how it went.
const LABELS: [&str; 3] = ["section", "case", "engine"];

#[derive(Args)]
pub struct Table {
    /// JSON lines with `section`, `case` and `engine` beside the numbers
    file: PathBuf,
    /// Numbers that are shown, in this order
    #[arg(long, value_delimiter = ',')]
    fields: Vec<String>,
    /// Only this section
    #[arg(long)]
    section: String,
    /// A number of which ratios to these engines are shown
    #[arg(long)]
    ratio_of: Option<String>,
    #[arg(long, value_delimiter = ',')]
    ratio_to: Vec<String>,
}

/// What was run: case, engine.
type Key = (String, String);

impl Table {
    pub fn run(self) -> Result<()> {
        let text = std::fs::read_to_string(&self.file).context(self.file.display().to_string())?;
        let lines: Vec<Map<String, Value>> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let (order, runs) = self.group(&lines);
        print!("{}", self.print(&order, &runs));
        Ok(())
    }

    /// Keys in the order in which they were first run, with all their runs.
    fn group<'a>(&self, lines: &'a [Map<String, Value>]) -> (Vec<Key>, BTreeMap<Key, Vec<&'a Map<String, Value>>>) {
        let (mut order, mut runs) = (Vec::new(), BTreeMap::<Key, Vec<_>>::new());
        for line in lines {
            let label = |name| line.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let [section, case, engine] = LABELS.map(label);
            if section != self.section {
                continue;
            }
            let key = (case, engine);
            if !order.contains(&key) {
                order.push(key.clone());
            }
            runs.entry(key).or_default().push(line);
        }
        (order, runs)
    }

    fn print(&self, order: &[Key], runs: &BTreeMap<Key, Vec<&Map<String, Value>>>) -> String {
        let ratios = self.ratio_to.iter().map(|to| format!("÷ {to}"));
        let head: Vec<String> = ["case", "engine", "runs"]
            .map(str::to_owned)
            .into_iter()
            .chain(self.fields.clone())
            .chain(ratios)
            .collect();
        let mut text = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
        for key in order {
            let of = &runs[key];
            let cells = self.fields.iter().map(|field| spread(&numbers(of, field)));
            let ratios = self.ratio_to.iter().map(|to| self.ratio(key, to, runs));
            let cells: Vec<String> = cells.chain(ratios).collect();
            let _ = writeln!(text, "| {} | {} | {} | {} |", key.0, key.1, of.len(), cells.join(" | "));
        }
        text
    }

    /// The medians' ratio, and from the runs of one round to the other what it was at its worst and best.
    fn ratio(&self, key: &Key, to: &str, runs: &BTreeMap<Key, Vec<&Map<String, Value>>>) -> String {
        let Some(field) = &self.ratio_of else { return String::new() };
        let other = runs.get(&(key.0.clone(), to.to_owned())).map(|other| numbers(other, field));
        let own = runs.get(key).map(|own| numbers(own, field)).unwrap_or_default();
        let Some(other) = other.filter(|other| !other.is_empty() && to != key.1) else { return String::new() };
        let rounds: Vec<f64> = own.iter().zip(&other).map(|(own, other)| own / other).collect();
        match (median(&own), median(&other)) {
            (Some(own), Some(other)) => format!("{:.2} ({})", own / other, range(&rounds, 2)),
            _ => String::new(),
        }
    }
}

fn numbers(runs: &[&Map<String, Value>], field: &str) -> Vec<f64> {
    runs.iter().filter_map(|run| run.get(field).and_then(Value::as_f64)).collect()
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        1 => sorted.get(middle).copied(),
        _ => Some((sorted.get(middle.checked_sub(1)?)? + sorted.get(middle)?) / 2.0),
    }
}

/// `median (smallest–largest)`
fn spread(values: &[f64]) -> String {
    let Some(median) = median(values) else { return "–".to_owned() };
    let digits = digits(median);
    match values.len() {
        1 => number(median, digits),
        _ => format!("{} ({})", number(median, digits), range(values, digits)),
    }
}

fn range(values: &[f64], digits: usize) -> String {
    let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{}–{}", number(lowest, digits), number(highest, digits))
}

/// Large numbers are read by their thousands, small ones by their fractions.
fn digits(value: f64) -> usize {
    match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    }
}

fn number(value: f64, digits: usize) -> String {
    let plain = format!("{value:.digits$}");
    let (whole, fraction) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) && grouped != "-" {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_a_median_between_its_ends() {
        assert_eq!(spread(&[1_000.0, 3_000_000.0, 2_000.0]), "2,000 (1,000–3,000,000)");
        assert_eq!(spread(&[0.5]), "0.50");
        assert_eq!(spread(&[]), "–");
    }
}
