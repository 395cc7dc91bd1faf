//! `kill -9` at random instants, as often as wanted.

use std::time::{Duration, Instant};

use super::load::Load;
use super::subject::{STATE, Subject};
use super::words::Words;
use super::{gap, verdict};
use crate::chance::Chance;
use crate::http::get;
use crate::millstream::Running;

/// How long after it runs a process is killed at the latest: many commit intervals.
const ALIVE_MS: u64 = 700;

/// The same for one that is killed while it starts, from its first moment on.
const STARTING_MS: u64 = 1_200;

/// Every so many-th is killed while it starts. Not by chance: then most of a few would be, now and then.
const STARTING_EVERY: usize = 4;

/// How long a process may take until it runs.
const START: Duration = Duration::from_secs(240);

/// Kills the application this often under load, and checks what came of it.
pub fn be_killed(words: &Words<'_>, kills: usize, chance: &mut Chance) {
    let load = Load::start(words);
    let lives = live_and_die(words, kills, chance);
    settle(words, load.end(), lives);
}

/// Starts a process and kills it, this often: what each of them said.
pub fn live_and_die(subject: &Subject<'_>, kills: usize, chance: &mut Chance) -> Vec<String> {
    let (mut lives, mut working) = (Vec::new(), 0);
    for life in 1..=kills {
        let (said, worked) = one_life(subject, life % STARTING_EVERY == 0, chance);
        lives.push(said);
        working += usize::from(worked);
    }
    println!("{kills} kills, {working} of them between two commits or in one");
    assert!(working * 2 > kills, "most kills came before the process had committed anything");
    lives
}

/// A process from its start to its kill: what it said, and whether it had committed anything.
fn one_life(subject: &Subject<'_>, is_starting: bool, chance: &mut Chance) -> (String, bool) {
    let mut running = subject.start();
    let worked = if is_starting {
        std::thread::sleep(Duration::from_millis(chance.below(STARTING_MS)));
        false
    } else {
        let address = running.address();
        until_it_commits(subject, &mut running, &address);
        std::thread::sleep(Duration::from_millis(chance.below(ALIVE_MS)));
        true
    };
    running.kill();
    (running.finish().stderr, worked)
}

/// Waits for the second commit at the earliest: the first one only takes the tasks.
fn until_it_commits(subject: &Subject<'_>, running: &mut Running, address: &str) {
    let start = Instant::now();
    while get(address, "/readyz").status != 200 || subject.metric(address, "millstream_commits_total", "committed") < 2
    {
        assert!(!running.has_ended(), "it ended by itself: {}", running.said());
        assert!(start.elapsed() < START, "no commit within {START:?}: {}", running.said());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Lets a last process finish the work, checks everything, stops it, and sees that there is nothing left to restore.
/// `lives` is what the processes before it said. Answers how many changelog records all of them read.
pub fn settle(words: &Words<'_>, fed: u64, mut lives: Vec<String>) -> usize {
    let mut last = words.start();
    last.ready();
    words.until_caught_up();
    verdict::check(words, fed, &[STATE]);
    lives.push(stop(words, last));
    if !words.shape.is_kept() {
        return lives.iter().map(|said| gap::read(words, said)).sum();
    }
    let mut again = words.start();
    again.ready();
    let said = words.stop(again);
    let read = gap::read(words, &said);
    assert_eq!(read, 0, "a clean stop leaves nothing to restore");
    gap::check(words, &lives)
}

/// Ends a process, which has 10 s for it: what it had said.
pub fn stop(subject: &Subject<'_>, running: Running) -> String {
    let stopping = Instant::now();
    let said = subject.stop(running);
    assert!(stopping.elapsed() < Duration::from_secs(10), "it took {:?} to stop", stopping.elapsed());
    said
}
