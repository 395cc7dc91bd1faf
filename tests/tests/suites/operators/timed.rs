//! Window, session and versioned stores in a processor: what is put is found by key and time, in the same batch and after a
//! restart, and what has expired is not.

use std::time::Duration;

use millstream::app::App;
use millstream::desk::query::{Keys, Range};
use tests::application::Input;
use tests::logs::{THEN, eventually};

use super::runs::each_run;
use super::shown::{shown, utf8};

/// When, command, answer; `~n` is a time in ms.
const COMMANDS: [(i64, &str, &str); 52] = [
    (1, "window a one", "true"),
    (2, "window b two", "true"),
    (2, "window a three", "true"),
    (3, "windows a ~0 ~9", "a@~1-~60001=one a@~2-~60002=three"),
    (3, "windows a ~2 ~2", "a@~2-~60002=three"),
    (3, "windows-back a", "a@~2-~60002=three a@~1-~60001=one"),
    (3, "windows a ~9 ~0", ""),
    (3, "window-at a ~2", "three"),
    (3, "windows-all", "a@~1-~60001=one a@~2-~60002=three b@~2-~60002=two"),
    (4, "repeat a x", "true"),
    (4, "repeat a y", "true"),
    (5, "session a ~1 ~10 s", "true"),
    (6, "session a ~15 ~20 t", "true"),
    (7, "session a ~30 ~30 u", "true"),
    (7, "session b ~1 ~40 v", "true"),
    (8, "unsession a ~1 ~10", "done"),
    (10, "version k v10", "Latest"),
    (20, "version k v20", "Latest"),
    (15, "version k v15", "Until(~20)"),
    (21, "as-of k ~17", "v15@~15"),
    // Behind a restart.
    (60, "windows a ~0 ~9", "a@~1-~60001=one a@~2-~60002=three"),
    (60, "windows-of a b", "a@~1-~60001=one a@~2-~60002=three b@~2-~60002=two"),
    (60, "windows-of-back a b", "b@~2-~60002=two a@~2-~60002=three a@~1-~60001=one"),
    (60, "windows-from b", "b@~2-~60002=two"),
    (60, "windows-below b", "a@~2-~60002=three a@~1-~60001=one"),
    (60, "windows-all-back", "b@~2-~60002=two a@~2-~60002=three a@~1-~60001=one"),
    (60, "windows-between ~2 ~9", "a@~2-~60002=three b@~2-~60002=two"),
    (60, "windows-between-back ~0 ~1", "a@~1-~60001=one"),
    (60, "windows-between-back ~1 ~2", "b@~2-~60002=two a@~2-~60002=three a@~1-~60001=one"),
    (60, "repeats a", "a@~4-~60004=x a@~4-~60004=y"),
    (60, "repeat a z", "true"),
    (60, "repeats a", "a@~4-~60004=x a@~4-~60004=y a@~60-~60060=z"),
    (60, "sessions a ~16 ~29", "a@~15-~20=t"),
    (60, "sessions-found-back a ~16 ~30", "a@~30-~30=u a@~15-~20=t"),
    (60, "sessions-of a b ~21 ~29", "b@~1-~40=v"),
    (60, "sessions-within b c", "b@~1-~40=v"),
    (60, "sessions-of-back a b ~16 ~30", "b@~1-~40=v a@~30-~30=u a@~15-~20=t"),
    (60, "sessions-that-end ~20 ~30", "a@~15-~20=t a@~30-~30=u"),
    (60, "sessions-that-end ~31 ~40", "b@~1-~40=v"),
    (60, "sessions-within-back a b", "b@~1-~40=v a@~30-~30=u a@~15-~20=t"),
    (60, "sessions-from-back b", "b@~1-~40=v"),
    (60, "sessions-all-back", "b@~1-~40=v a@~30-~30=u a@~15-~20=t"),
    (60, "sessions-all", "a@~15-~20=t a@~30-~30=u b@~1-~40=v"),
    (60, "sessions-back a", "a@~30-~30=u a@~15-~20=t"),
    (60, "session-at a ~15 ~20", "t"),
    (60, "as-of k ~14", "v10@~10"),
    (61, "unversion k", "v20@~20"),
    (62, "latest k", "-"),
    // At 120,001 what starts at 1 is seen no more, and what starts at 2 still is.
    (120_001, "window a four", "true"),
    (120_001, "windows-all", "a@~2-~60002=three b@~2-~60002=two a@~120001-~180001=four"),
    (120_001, "version k v", "Latest"),
    (120_001, "as-of k ~60000", "-"),
];

pub fn inputs() -> Vec<Input> {
    COMMANDS.map(|(at, command, _)| Input::at(at, "timed-commands").value(timed(command))).to_vec()
}

/// Times are behind [`THEN`].
pub fn timed(text: &str) -> String {
    let mut parts = text.split('~');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let time: i64 = part[..digits].parse().expect("a time");
        whole += &format!("{}{}", THEN + time, &part[digits..]);
    }
    whole
}

#[test]
fn what_is_put_is_found_by_key_and_time_until_it_has_expired() {
    let verb = |command: &'static str| command.split(' ').next().unwrap_or_default();
    let expected = COMMANDS.map(|(at, command, answer)| format!("{}={}@{at}", verb(command), timed(answer)));
    each_run(|run| assert_eq!(shown(run.topic("timed-answers"), utf8, utf8), expected));
}

/// The committed rows of a store, as a query answers them once all is committed.
pub fn rows(app: &App, store: &str) -> Vec<String> {
    let all = Keys::Range(Range { limit: 100, ..Range::default() });
    let page = eventually("an answer", || app.handle().query(store, all.clone(), Duration::from_secs(5)).ok());
    let shown = |row: &millstream::desk::Row| {
        let window = row.window.as_ref().map(|window| format!("@{}-{}", window.start - THEN, window.end - THEN));
        format!("{}{}={}", utf8(&row.key), window.unwrap_or_default(), utf8(&row.value))
    };
    page.rows.iter().map(shown).collect()
}

#[test]
fn queries_see_what_is_left_in_the_order_of_keys_and_times() {
    each_run(|run| {
        let windows = ["a@2-60002=three", "a@120001-180001=four", "b@2-60002=two"];
        assert_eq!(run.timed["windows"], windows);
        assert_eq!(run.timed["repeats"], ["a@4-60004=x", "a@4-60004=y", "a@60-60060=z"]);
        assert_eq!(run.timed["sessions"], ["a@15-20=t", "a@30-30=u", "b@1-40=v"]);
        assert_eq!(run.timed["versions"], ["k=v"]);
    });
}
