//! Named stores in a processor: what it writes it reads, in the same batch and after a restart.

use tests::application::Input;

use super::runs::{NOON, each_run};
use super::shown::{i64, shown, stored, utf8};
use super::timed::timed;

/// Time, command, answer; `~n` is a time in ms.
const COMMANDS: [(i64, &str, &str); 26] = [
    (10, "get a", "-"),
    (11, "put b 1", "done"),
    (12, "put a 2", "done"),
    (13, "get a", "2"),
    (14, "put-if-absent a 9", "2"),
    (15, "put-if-absent c 3", "-"),
    (16, "all", "a=2 b=1 c=3"),
    (17, "delete b", "1"),
    (18, "delete zz", "-"),
    (19, "reverse-all", "c=3 a=2"),
    (20, "put-all ab=4 b=5 d=6", "done"),
    (21, "range ab c", "ab=4 b=5 c=3"),
    (22, "dated a", "2@~12"),
    (23, "put-dated c 3 ~7", "done"),
    (24, "dated c", "3@~7"),
    (60, "range-below b", "a=2 ab=4"),
    (61, "reverse-range b", "d=6 c=3 b=5"),
    (62, "prefix a", "a=2 ab=4"),
    (63, "put a 7", "done"),
    (64, "delete d", "6"),
    (65, "all", "a=7 ab=4 b=5 c=3"),
    (66, "range c a", ""),
    (67, "reverse-all", "c=3 b=5 ab=4 a=7"),
    (68, "dated c", "3@~7"),
    (69, "all-dated", "a=7@~63 ab=4@~20 b=5@~20 c=3@~7"),
    (70, "reverse-range-dated b", "c=3@~7 b=5@~20"),
];

pub fn inputs() -> Vec<Input> {
    COMMANDS.map(|(at, command, _)| Input::at(at, "commands").value(timed(command))).to_vec()
}

#[test]
fn a_processor_reads_what_it_wrote() {
    let verb = |command: &'static str| command.split(' ').next().unwrap_or_default();
    let expected = COMMANDS.map(|(at, command, answer)| format!("{}={}@{at}", verb(command), timed(answer)));
    each_run(|run| assert_eq!(shown(run.topic("answers"), utf8, utf8), expected));
}

#[test]
fn each_store_holds_what_was_written_to_it() {
    each_run(|run| {
        assert_eq!(stored(run.store("shelf"), utf8, utf8), ["a=7@63", "ab=4@20", "b=5@20", "c=3@7"]);
        let ledger = [
            "all=2@65",
            "all-dated=1@69",
            "dated=3@68",
            "delete=3@64",
            "get=2@13",
            "prefix=1@62",
            "put=3@63",
            "put-all=1@20",
            "put-dated=1@23",
            "put-if-absent=2@15",
            "range=2@66",
            "range-below=1@60",
            "reverse-all=2@67",
            "reverse-range=1@61",
            "reverse-range-dated=1@70",
        ];
        assert_eq!(stored(run.store("ledger"), utf8, i64), ledger);
    });
}

#[test]
fn a_changelog_has_every_write_in_order_deletions_of_nothing_too() {
    let before = ["b=1@11", "a=2@12", "c=3@15", "b=-@17", "zz=-@18", "ab=4@20", "b=5@20", "d=6@20", "c=3@7"];
    let after = ["a=7@63", "d=-@64"];
    each_run(|run| {
        let changes = shown(run.changelog("shelf"), utf8, utf8);
        if run.logs_every_write {
            assert_eq!(changes, [&before[..], &after].concat());
        } else {
            // One record for each key and commit.
            let at = |change: &String| change.rsplit('@').next().and_then(|at| at.parse().ok()).unwrap_or(0);
            assert!(changes.iter().filter(|change| at(change) < NOON).count() <= before.len());
            assert_eq!(changes.iter().filter(|change| at(change) >= NOON).collect::<Vec<_>>(), after);
        }
    });
}
