//! Bits that flip in a state file: while nobody runs, and under a process that does.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::process::Signal;
use tests::chance::Chance;
use tests::chaos::damage::data_files;
use tests::chaos::load::Load;
use tests::chaos::verdict::{self, put_aside};
use tests::chaos::words::{LMDB, STATE, TASKS, Words};
use tests::logs::{each_log, eventually};

/// Words enough, and long enough, for a tree of more than one page in each task.
const MANY: u64 = 3_000;
const LONG: usize = 60;

/// Lives of the process, with flips in the file of every task between two of them.
const LIVES: usize = 6;

fn words(log: &tests::logs::TestLog) -> Words<'_> {
    Words { vocabulary: MANY, letters: LONG, ..Words::new(log, LMDB) }
}

fn open(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).expect("the file is there")
}

/// Flips one bit.
fn flip(file: &File, at: u64, bit: u64) {
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("a file can be read");
    byte[0] ^= 1 << bit;
    file.write_all_at(&byte, at).expect("a file can be written");
}

/// Every start opens, restores what it has to, and goes on; nobody dies of what he finds.
#[test]
fn bits_that_flip_while_nobody_runs_are_found_before_anything_is_read() {
    each_log(|log| {
        let (words, mut chance) = (words(log), Chance::new());
        let load = Load::start(&words);
        let mut said = String::new();
        for _ in 0..LIVES {
            let mut running = words.start();
            let address = running.ready();
            eventually("commits", || {
                (words.metric(&address, "millstream_commits_total", "committed") > 10).then_some(())
            });
            assert!(!running.has_ended(), "it ended: {}", running.said());
            running.kill();
            said += &running.finish().stderr;
            for file in data_files(&words, STATE) {
                let (opened, bits) = (open(&file), [1, 1, 8, 64][chance.below(4) as usize]);
                let len = opened.metadata().expect("a file has a length").len();
                (0..bits).for_each(|_| flip(&opened, chance.below(len), chance.below(8)));
            }
        }
        let fed = load.end();
        let mut last = words.start();
        last.ready();
        words.until_caught_up();
        verdict::check_contents(&words, fed, &[STATE]);
        said += &words.stop(last);
        let aside = said.matches("state put aside").count();
        println!("{aside} of {} states were put aside", LIVES * TASKS / 2);
        assert!(aside > 0, "nothing was put aside");
        assert!(!put_aside(&words, STATE).is_empty(), "nothing is kept of it");
    });
}

/// The row of a word says another count from one moment to the next. That number never comes out.
#[test]
fn a_row_that_flips_while_it_runs_is_put_aside_with_its_state_and_restored() {
    each_log(|log| {
        let (words, mut chance) = (words(log), Chance::new());
        let load = Load::start(&words);
        let mut running = words.start();
        let address = running.ready();
        eventually("every word was counted", || (load.sent() > 2 * MANY).then_some(()));
        let found = |said: &str| said.contains("the local state is damaged");
        eventually("the damage is found", || {
            // A page may just be written anew, without the flip.
            let word = format!("word{}{}", chance.below(MANY), "x".repeat(LONG));
            // Stopped, so that what is read here is still there when the bit flips, and nothing else is hit.
            running.signal(Signal::STOP);
            data_files(&words, STATE).iter().for_each(|file| flip_count(file, word.as_bytes()));
            running.signal(Signal::CONT);
            found(&running.said()).then_some(())
        });
        assert!(!running.has_ended(), "it ended: {}", running.said());
        let before = words.metric(&address, "millstream_commits_total", "committed");
        eventually("it goes on", || {
            (words.metric(&address, "millstream_commits_total", "committed") > before + 2).then_some(())
        });
        let fed = load.end();
        words.until_caught_up();
        verdict::check_contents(&words, fed, &[STATE]);
        assert!(!put_aside(&words, STATE).is_empty(), "nothing was put aside");
        words.stop(running);
    });
}

/// Flips a bit of the count in the row of this word, in every page that has one, in use or not. Of keys and of pages that
/// lead to others LMDB has no checksum: those are not hit.
fn flip_count(file: &Path, word: &[u8]) {
    // It may just be put aside.
    let Ok(opened) = OpenOptions::new().read(true).write(true).open(file) else { return };
    let Ok(bytes) = std::fs::read(file) else { return };
    for (number, page) in bytes.chunks(PAGE).enumerate() {
        counts_in(page, word).for_each(|at| flip(&opened, (number * PAGE + at) as u64, 0));
    }
}

/// What LMDB's pages have here: those of the machine's memory.
const PAGE: usize = 4096;
/// A page's header: its flags, and where the list of its nodes ends.
const FLAGS: usize = 10;
const LOWER: usize = 12;
const HEADER: usize = 16;
const LEAF: u16 = 2;
/// A node's header: at its end the length of its key, which follows, and then the value.
const KEY_LENGTH: usize = 6;
const NODE: usize = 8;
/// Of a row's value: eight bytes of time, eight of the count, big-endian, of which this is the last.
const COUNT: usize = 15;

/// Where the counts of a word end in a page.
fn counts_in(page: &[u8], word: &[u8]) -> impl Iterator<Item = usize> {
    let number = |at: usize| Some(u16::from_ne_bytes(page.get(at..at + 2)?.try_into().ok()?));
    let is_leaf = number(FLAGS) == Some(LEAF);
    let end = number(LOWER).filter(|_| is_leaf).map_or(HEADER, usize::from);
    (HEADER..end.min(page.len())).step_by(2).filter_map(move |slot| {
        let node = usize::from(number(slot)?);
        let key = node + NODE..node + NODE + usize::from(number(node + KEY_LENGTH)?);
        let count = key.end + COUNT;
        (page.get(key)?.ends_with(word) && count < page.len()).then_some(count)
    })
}
