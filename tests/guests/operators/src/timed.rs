//! Window, session and versioned stores in a processor: each record is a command, each answer a record. The record's
//! timestamp is the window's start and the version's time.

use millstream_sdk::prelude::*;

pub fn topology(app: &mut Topology) {
    let minute = Duration::from_secs(60);
    let windows = app.window_store(Materialized::named("windows").window_size(minute).retention(2 * minute));
    let repeats =
        app.window_store(Materialized::named("repeats").window_size(minute).retention(2 * minute).retain_duplicates());
    let sessions = app.session_store(Materialized::named("sessions").retention(2 * minute));
    let versions = app.versioned_store(Materialized::named("versions").retention(minute));
    let open = |init: &mut Init| Keeper {
        windows: init.window_store(&windows),
        repeats: init.window_store(&repeats),
        sessions: init.session_store(&sessions),
        versions: init.versioned_store(&versions),
    };
    app.stream("timed-commands").process("keeper", open).to("timed-answers");
}

struct Keeper {
    windows: WindowStore<String, String>,
    repeats: WindowStore<String, String>,
    sessions: SessionStore<String, String>,
    versions: VersionedStore<String, String>,
}

impl Processor<(), String, String, String> for Keeper {
    fn process(&mut self, command: Record<(), String>, ctx: &mut Context<String, String>) -> Result<(), Failure> {
        let words: Vec<&str> = command.value.split(' ').collect();
        let answer = self.obey(&words, command.timestamp)?;
        ctx.forward(Record::new(words[0].to_owned(), answer, command.timestamp));
        Ok(())
    }
}

impl Keeper {
    fn obey(&self, words: &[&str], now: i64) -> Result<String, Failure> {
        let text = |word: &str| word.to_owned();
        let number = |word: &str| word.parse::<i64>();
        match *words {
            ["window", key, value] => Ok(self.windows.put(&text(key), now, &text(value))?.to_string()),
            ["window-at", key, start] => Ok(self.windows.fetch_one(&text(key), number(start)?)?.unwrap_or_default()),
            ["windows", key, from, to] => listed(self.windows.fetch(&text(key), number(from)?..=number(to)?)),
            ["windows-back", key] => listed(self.windows.backward_fetch(&text(key), ..)),
            ["windows-of", from, to] => listed(self.windows.fetch_keys(text(from)..=text(to), ..)),
            ["windows-of-back", from, to] => listed(self.windows.backward_fetch_keys(text(from)..=text(to), ..)),
            ["windows-from", from] => listed(self.windows.fetch_keys(text(from).., ..)),
            ["windows-below", to] => listed(self.windows.backward_fetch_keys(..text(to), ..)),
            ["windows-all-back"] => listed(self.windows.backward_all()),
            ["windows-between", from, to] => listed(self.windows.fetch_all(number(from)?..=number(to)?)),
            ["windows-between-back", from, to] => listed(self.windows.backward_fetch_all(number(from)?..=number(to)?)),
            ["windows-all"] => listed(self.windows.all()),
            ["repeat", key, value] => Ok(self.repeats.put(&text(key), now, &text(value))?.to_string()),
            ["repeats", key] => listed(self.repeats.fetch(&text(key), ..)),
            ["session", key, start, end, value] => {
                Ok(self.sessions.put(&text(key), number(start)?, number(end)?, &text(value))?.to_string())
            }
            ["unsession", key, start, end] => {
                self.sessions.remove(&text(key), number(start)?, number(end)?)?;
                Ok("done".to_owned())
            }
            ["sessions", key, end, start] => {
                listed(self.sessions.find_sessions(&text(key), number(end)?, number(start)?))
            }
            ["sessions-found-back", key, end, start] => {
                listed(self.sessions.backward_find_sessions(&text(key), number(end)?, number(start)?))
            }
            ["sessions-of", from, to, end, start] => {
                listed(self.sessions.find_sessions_of(text(from)..=text(to), number(end)?, number(start)?))
            }
            ["sessions-of-back", from, to, end, start] => {
                listed(self.sessions.backward_find_sessions_of(text(from)..=text(to), number(end)?, number(start)?))
            }
            ["sessions-that-end", from, to] => {
                listed(self.sessions.find_sessions_that_end(number(from)?..=number(to)?))
            }
            ["sessions-within-back", from, to] => listed(self.sessions.backward_fetch_keys(text(from)..=text(to))),
            ["sessions-from-back", from] => listed(self.sessions.backward_fetch_keys(text(from)..)),
            ["sessions-all-back"] => listed(self.sessions.backward_all()),
            ["sessions-within", from, to] => listed(self.sessions.fetch_keys(text(from)..=text(to))),
            ["sessions-all"] => listed(self.sessions.all()),
            ["sessions-back", key] => listed(self.sessions.backward_fetch(&text(key))),
            ["session-at", key, start, end] => {
                Ok(self.sessions.fetch_session(&text(key), number(start)?, number(end)?)?.unwrap_or_default())
            }
            ["version", key, value] => Ok(format!("{:?}", self.versions.put(&text(key), &text(value), now)?)),
            ["unversion", key] => Ok(version(self.versions.delete(&text(key), now)?)),
            ["latest", key] => Ok(version(self.versions.get(&text(key))?)),
            ["as-of", key, time] => Ok(version(self.versions.get_as_of(&text(key), number(time)?)?)),
            _ => Err(Failure::fail(format!("what is {words:?}?"))),
        }
    }
}

fn listed(scan: TimedScan<String, String>) -> Result<String, Failure> {
    let rows = scan.map(|row| row.map(|row| format!("{}@{}-{}={}", row.key, row.start, row.end, row.value)));
    Ok(rows.collect::<Result<Vec<_>, _>>()?.join(" "))
}

fn version(found: Option<Versioned<String>>) -> String {
    found.map_or_else(|| "-".to_owned(), |found| format!("{}@{}", found.value, found.timestamp))
}
