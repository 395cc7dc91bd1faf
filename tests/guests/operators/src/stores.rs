//! Everything a processor can do with its stores: each record is a command, each answer a record.

use millstream_sdk::prelude::*;

pub fn topology(app: &mut Topology) {
    let shelf = app.store("shelf");
    let ledger = app.store(Materialized::named("ledger"));
    let open = |init: &mut Init| Clerk { shelf: init.store(&shelf), ledger: init.store(&ledger) };
    app.stream("commands").process("clerk", open).to("answers");
}

/// Keeps things on a shelf, and how often each command was given in a ledger.
struct Clerk {
    shelf: KeyValueStore<String, String>,
    ledger: KeyValueStore<String, i64>,
}

impl Processor<(), String, String, String> for Clerk {
    fn process(&mut self, command: Record<(), String>, ctx: &mut Context<String, String>) -> Result<(), Failure> {
        let words: Vec<&str> = command.value.split(' ').collect();
        let verb = words[0].to_owned();
        let times = self.ledger.get(&verb)?.unwrap_or(0) + 1;
        self.ledger.put(&verb, &times);
        let answer = self.obey(&words)?;
        ctx.forward(Record::new(verb, answer, command.timestamp));
        Ok(())
    }
}

impl Clerk {
    fn obey(&self, words: &[&str]) -> Result<String, Failure> {
        let shelf = &self.shelf;
        let text = |word: &&str| word.to_string();
        match *words {
            ["get", key] => Ok(shown(shelf.get(&text(&key))?)),
            ["put", key, value] => {
                shelf.put(&text(&key), &text(&value));
                Ok("done".to_owned())
            }
            ["dated", key] => Ok(dated(shelf.get_with_timestamp(&text(&key))?)),
            ["put-dated", key, value, time] => {
                shelf.put_with_timestamp(&text(&key), &text(&value), time.parse()?)?;
                Ok("done".to_owned())
            }
            ["all-dated"] => listed_dated(shelf.all()?),
            ["reverse-range-dated", from] => listed_dated(shelf.reverse_range(text(&from)..)?),
            ["put-if-absent", key, value] => Ok(shown(shelf.put_if_absent(&text(&key), &text(&value))?)),
            ["put-all", ref pairs @ ..] => {
                let pairs: Vec<(String, String)> =
                    pairs.iter().filter_map(|pair| pair.split_once('=')).map(|(k, v)| (text(&k), text(&v))).collect();
                shelf.put_all(pairs.iter().map(|(key, value)| (key, value)));
                Ok("done".to_owned())
            }
            ["delete", key] => Ok(shown(shelf.delete(&text(&key))?)),
            ["range", from, to] => listed(shelf.range(text(&from)..=text(&to))?),
            ["range-below", to] => listed(shelf.range(..text(&to))?),
            ["reverse-range", from] => listed(shelf.reverse_range(text(&from)..)?),
            ["prefix", prefix] => listed(shelf.prefix(&text(&prefix))?),
            ["all"] => listed(shelf.all()?),
            ["reverse-all"] => listed(shelf.reverse_all()?),
            ["count"] => Ok(shelf.approximate_entries()?.to_string()),
            _ => Err(Failure::fail(format!("what is {words:?}?"))),
        }
    }
}

fn shown(value: Option<String>) -> String {
    value.unwrap_or_else(|| "-".to_owned())
}

fn listed(scan: Scan<String, String>) -> Result<String, Failure> {
    let rows = scan.map(|row| row.map(|(key, value)| format!("{key}={value}")));
    Ok(rows.collect::<Result<Vec<_>, _>>()?.join(" "))
}

fn dated(found: Option<ValueAndTimestamp<String>>) -> String {
    found.map_or_else(|| "-".to_owned(), |found| format!("{}@{}", found.value, found.timestamp))
}

fn listed_dated(scan: Scan<String, String>) -> Result<String, Failure> {
    let rows = scan.with_timestamps().map(|row| row.map(|(key, found)| format!("{key}={}", dated(Some(found)))));
    Ok(rows.collect::<Result<Vec<_>, _>>()?.join(" "))
}
