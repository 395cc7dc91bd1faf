//! Disks and files: full, damaged, gone, too old, shared.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use tests::chance::Chance;
use tests::chaos::damage::{DAMAGES, data_files};
use tests::chaos::kills::settle;
use tests::chaos::load::Load;
use tests::chaos::verdict::{self, put_aside};
use tests::chaos::words::{LMDB, STATE, TASKS, Words};
use tests::http::get;
use tests::logs::{each_log, eventually};
use tests::millstream::Running;

// === damage ===

/// Spoils one task's file between a kill and the next start; the start restores that task and goes on.
#[test]
fn a_file_that_was_spoilt_while_nobody_ran_is_put_aside_and_restored() {
    each_log(|log| {
        let (words, mut chance) = (Words::new(log, LMDB), Chance::new());
        let load = Load::start(&words);
        for (what, damage) in DAMAGES {
            let mut running = words.start();
            running.ready();
            eventually("commits", || (committed(&mut running, &words) > 10).then_some(()));
            running.kill();
            running.finish();
            let files = data_files(&words, STATE);
            let file = &files[chance.below(files.len() as u64) as usize];
            println!("{what}: {}", file.display());
            damage(file, &mut chance);
        }
        let fed = load.end();
        let mut last = words.start();
        last.ready();
        words.until_caught_up();
        verdict::check_contents(&words, fed, &[STATE]);
        words.stop(last);
        // A file that is gone is nothing to keep.
        assert!(!put_aside(&words, STATE).is_empty(), "nothing was put aside");
    });
}

fn committed(running: &mut Running, words: &Words<'_>) -> u64 {
    let address = running.address();
    words.metric(&address, "millstream_commits_total", "committed")
}

/// A machine that went down may have written some pages and not others: what it left open is not trusted.
#[test]
fn state_of_another_boot_of_the_machine_is_put_aside_and_restored() {
    each_log(|log| {
        let words = Words::new(log, LMDB);
        let load = Load::start(&words);
        let mut running = words.start();
        running.ready();
        eventually("commits", || (committed(&mut running, &words) > 10).then_some(()));
        running.kill();
        running.finish();
        let open = data_files(&words, STATE).into_iter().map(|data| data.with_file_name("open"));
        for marker in open {
            let said = std::fs::read_to_string(&marker).expect("it was left open");
            assert!(said.starts_with("open "), "{said}");
            std::fs::write(&marker, "open 00000000-0000-0000-0000-000000000000").expect("a file can be written");
        }
        let fed = load.end();
        let mut last = words.start();
        last.ready();
        words.until_caught_up();
        verdict::check_contents(&words, fed, &[STATE]);
        words.stop(last);
        assert_eq!(put_aside(&words, STATE).len(), TASKS / 2, "every task with a store was put aside");
    });
}

// === limits ===

/// What LMDB writes last; everything else of a commit lies behind it.
const META_PAGES: u64 = 8_192;

/// A limit that the process meets in the middle of a write, inside LMDB's commit, and dies of (SIGXFSZ).
#[test]
fn a_process_that_dies_in_the_middle_of_a_write_finds_the_state_before_it() {
    each_log(|log| {
        let words = Words::new(log, LMDB);
        let load = Load::start(&words);
        let mut lives = Vec::new();
        for _ in 0..3 {
            let mut running = words.start_with(STATE, by_default_deadly);
            running.ready();
            eventually("commits", || (committed(&mut running, &words) > 2).then_some(()));
            limit_files(&running, META_PAGES);
            eventually("its death", || running.has_ended().then_some(()));
            lives.push(running.finish().stderr);
        }
        settle(&words, load.end(), lives);
    });
}

/// Programs may be started with the limit's signal ignored; this one is not.
fn by_default_deadly(command: &mut Command) {
    let mut wrapped = Command::new("env");
    wrapped.arg("--default-signal=XFSZ").arg(command.get_program()).args(command.get_args());
    wrapped.current_dir(command.get_current_dir().expect("it has its own directory"));
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    *command = wrapped;
}

/// No file of this process may be written beyond so many bytes.
fn limit_files(running: &Running, bytes: u64) {
    let pid = Pid::from_raw(running.id() as i32).expect("a process has a number");
    let limit = Rlimit { current: Some(bytes), maximum: None };
    prlimit(Some(pid), Resource::Fsize, limit).expect("a child can be limited");
}

/// Small enough to be full soon, large enough to begin.
const DISK_BYTES: u64 = 24 << 20;

/// A disk of its own in memory, where that is allowed.
struct Disk(PathBuf);

impl Disk {
    fn mount(path: &Path, bytes: u64) -> Option<Disk> {
        std::fs::create_dir_all(path).expect("a directory can be made");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"]).arg(path);
        let mounted = mount.output().is_ok_and(|ended| ended.status.success());
        mounted.then(|| Disk(path.to_owned()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Words enough, and long enough, for a store to need more and more room.
const MANY: u64 = 20_000;
const LONG: usize = 300;

#[test]
fn on_a_full_disk_tasks_wait_and_go_on_by_themselves_when_there_is_room() {
    each_log(|log| {
        let words = Words { vocabulary: MANY, letters: LONG, ..Words::new(log, LMDB) };
        let Some(disk) = Disk::mount(&words.mill.dir().join(STATE), DISK_BYTES) else {
            return eprintln!("SKIPPED: nobody may mount a disk here");
        };
        let mut running = words.start();
        let address = running.ready();
        let filler = disk.0.join("filler");
        fill(&filler);
        let load = Load::start(&words);
        running.until_it_says(|said| said.contains("a store does not answer").then_some(()));
        assert!(!running.has_ended(), "it ended of a full disk");
        get(&address, "/livez").is(200);
        std::fs::remove_file(&filler).expect("a file can be deleted");
        let before = committed(&mut running, &words);
        eventually("it goes on", || (committed(&mut running, &words) > before + 2).then_some(()));
        let fed = load.end();
        let said = words.stop(running);
        settle(&words, fed, vec![said]);
    });
}

/// Too small for its words.
const SMALL: &str = "1MiB";

#[test]
fn a_store_that_is_full_says_so_waits_and_goes_on_when_it_may_be_larger() {
    each_log(|log| {
        let words = Words {
            vocabulary: MANY,
            letters: LONG,
            ..Words::with_state(log, LMDB, &format!("max_size = \"{SMALL}\"\n"))
        };
        let load = Load::start(&words);
        let mut running = words.start();
        let address = running.ready();
        let said =
            running.until_it_says(|said| said.lines().find(|line| line.contains("StateFull")).map(str::to_owned));
        assert!(said.contains("max_size") && said.contains("E0705"), "{said}");
        get(&address, "/livez").is(200);
        eventually("its status says so", || {
            let status = words.status(&address);
            let reason = status["reason"].as_str().unwrap_or_default();
            (status["state"] == "DEGRADED" && reason.starts_with("E0705 StateFull: ")).then_some(())
        });
        let fed = load.end();
        running.signal(Signal::TERM);
        let life = running.finish();
        assert_eq!(life.code, Some(1), "{}", life.stderr);
        assert!(life.stderr.contains("error[E0705]"), "{}", life.stderr);
        words.reconfigure("");
        settle(&words, fed, vec![life.stderr]);
    });
}

/// What a small container has.
const MEMORY_BYTES: u64 = 512 << 20;

/// Lines: many commits, and a state of some ten megabytes.
const MANY_LINES: u64 = 60_000;

/// F35: no more memory of its own than a small container has; what LMDB maps is the system's to take back.
#[test]
fn with_little_memory_a_state_on_disk_goes_on() {
    each_log(|log| {
        let words = Words { vocabulary: MANY, letters: LONG, ..Words::new(log, LMDB) };
        let load = Load::start(&words);
        let mut running = words.start();
        let pid = Pid::from_raw(running.id() as i32).expect("a process has a number");
        let limit = Rlimit { current: Some(MEMORY_BYTES), maximum: Some(MEMORY_BYTES) };
        prlimit(Some(pid), Resource::Data, limit).expect("a child can be limited");
        running.ready();
        eventually("it has work", || (load.sent() > MANY_LINES).then_some(()));
        assert!(!running.has_ended(), "it ended: {}", running.said());
        let fed = load.end();
        words.until_caught_up();
        let said = words.stop(running);
        settle(&words, fed, vec![said]);
    });
}

/// Writes until nothing more goes.
fn fill(path: &Path) {
    let file = File::create(path).expect("a file can be made");
    let mut at = 0;
    while file.write_all_at(&[1; 4096], at).is_ok() {
        at += 4096;
    }
}

// === two hosts ===

#[test]
fn a_second_process_on_one_state_directory_is_refused_by_name() {
    each_log(|log| {
        let words = Words::new(log, LMDB);
        let load = Load::start(&words);
        let mut running = words.start();
        running.ready();
        let second = words.mill.run(&["run", ".", "--state-dir", STATE, "--error-format", "json"]).fails(1).problem();
        let holder = format!("{} {}", second["message"], second["pid"]);
        assert!(holder.contains(&running.id().to_string()), "{second}");
        let fed = load.end();
        let said = words.stop(running);
        settle(&words, fed, vec![said]);
    });
}
