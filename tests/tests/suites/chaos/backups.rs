//! A copy of the state that is made under load, and who starts from it.

use tests::chaos::gap;
use tests::chaos::load::Load;
use tests::chaos::verdict;
use tests::chaos::words::{LMDB, PARTITIONS, STATE, Words};
use tests::logs::{each_log, eventually};

const BACKUP: &str = "saved";

/// Before and after the copy: so that there is something in it, and something that it has not.
const COMMITS: u64 = 20;

#[test]
fn a_backup_under_load_is_a_state_that_goes_on_from_where_it_was_made() {
    each_log(|log| {
        let words = Words::new(log, LMDB);
        let load = Load::start(&words);
        let mut running = words.start();
        let address = running.ready();
        let commits = || words.metric(&address, "millstream_commits_total", "committed");
        let until_it_commits = || {
            let before = commits();
            eventually("commits", || (commits() > before + COMMITS).then_some(()));
        };
        let logged = || words.outside().ends(&words.changelog());
        until_it_commits();
        let before = logged();
        words.mill.run(&["store", "backup", ".", BACKUP]).ok();
        until_it_commits();
        running.kill();
        drop(running);
        let (fed, after) = (load.end(), logged());
        std::fs::remove_dir_all(words.mill.dir().join(STATE)).expect("nobody uses it");

        let mut heir = words.start_in(BACKUP);
        let address = heir.ready();
        words.until_shared(&[&address]);
        words.until_caught_up();
        verdict::check(&words, fed, &[BACKUP]);
        let restores = gap::restores(&words.stop(heir));
        assert_eq!(restores.len(), PARTITIONS as usize, "each task has missed something: {restores:?}");
        for one in restores {
            let place = one.partition as usize;
            // An interval may have been in the log and not in the state yet when it was copied.
            assert!(one.from > 0 && one.end <= after[place], "{one:?}: {before:?} to {after:?}");
            println!("{one:?}, of a changelog that had {} before the copy", before[place]);
        }
    });
}
