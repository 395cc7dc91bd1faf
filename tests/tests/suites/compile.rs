//! Components are compiled by a child process within its bounds, and what was compiled is kept where nobody can
//! change it unseen.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use millstream::wasm::compile::{Bounds, Refusal};
use millstream::wasm::{Cache, Compiler, Component, Engine, Error};
use millstream_engine::config::{ByteSize, Limits};
use tests::chance::Chance;
use tests::guests::{self, bomb};
use tests::millstream::binary;

/// Loads components with a program that compiles them and a cache of its own.
struct Rig {
    dir: tempfile::TempDir,
    program: PathBuf,
    bounds: Bounds,
}

impl Rig {
    fn new() -> Rig {
        Rig { dir: tempfile::tempdir().unwrap(), program: binary().to_owned(), bounds: Bounds::default() }
    }

    /// From here on a shell script stands in for the program.
    fn script(&mut self, text: &str) {
        self.program = self.dir.path().join("script");
        std::fs::write(&self.program, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&self.program, PermissionsExt::from_mode(0o700)).unwrap();
    }

    /// From here on nothing can be compiled: only the cache can answer.
    fn forget_the_compiler(&mut self) {
        self.program = "nothing-by-this-name".into();
    }

    fn load(&self, component: &[u8]) -> Result<Component, Error> {
        let cache = Cache::open(self.dir.path())?;
        let compiler = Compiler::child(self.program.clone(), self.bounds, Some(cache));
        let engine = Engine::new(Limits::default().stack, compiler)?;
        Component::load(&engine, component, Limits::default())
    }

    fn runs(&self, component: &[u8]) {
        let loaded = self.load(component).unwrap();
        assert_eq!(loaded.describe("app", "{}").unwrap().nodes.len(), 3);
    }

    fn refusal(&self, component: &[u8]) -> Refusal {
        match self.load(component) {
            Err(Error::Refused(refusal)) => refusal,
            other => panic!("expected a refusal, got {:?}", other.err()),
        }
    }

    /// Why this attempt came to nothing.
    fn failure(&self, component: &[u8]) -> String {
        match self.load(component) {
            Err(Error::Compiler(why)) => why,
            other => panic!("expected that the compiler fails, got {:?}", other.err()),
        }
    }

    fn components(&self) -> PathBuf {
        self.dir.path().join("components")
    }

    /// What is kept beside the key.
    fn entries(&self) -> Vec<PathBuf> {
        let all = std::fs::read_dir(self.components()).unwrap().map(|entry| entry.unwrap().path());
        all.filter(|path| !path.ends_with("key")).collect()
    }

    fn entry(&self) -> PathBuf {
        let entries = self.entries();
        assert_eq!(entries.len(), 1, "{entries:?}");
        entries.into_iter().next().unwrap()
    }
}

fn quiet() -> Vec<u8> {
    guests::wat("quiet").unwrap()
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn what_was_compiled_once_is_not_compiled_again() {
    let mut rig = Rig::new();
    let cold = Instant::now();
    rig.runs(&quiet());
    let cold = cold.elapsed();
    rig.forget_the_compiler();
    let warm = Instant::now();
    rig.runs(&quiet());
    println!("a small component: compiled in {cold:?}, taken from the cache in {:?}", warm.elapsed());
    rig.failure(&guests::wat("leak").unwrap());
}

#[test]
fn only_its_owner_can_enter_the_cache() {
    let rig = Rig::new();
    rig.runs(&quiet());
    assert_eq!(mode(&rig.components()), 0o700);
    assert_eq!(mode(&rig.components().join("key")), 0o600);
    assert_eq!(mode(&rig.entry()), 0o600);
    std::fs::set_permissions(rig.components(), PermissionsExt::from_mode(0o750)).unwrap();
    let error = rig.load(&quiet()).err().unwrap();
    let problem = error.problem("x.wasm");
    assert_eq!((problem.name, problem.code), ("CacheNotPrivate", "E0317"));
    assert!(problem.message.contains("others may enter it (mode 750)"), "{}", problem.message);
}

/// T19: an artefact that somebody swapped or damaged never runs.
#[test]
fn a_byte_that_was_flipped_is_always_noticed() {
    let mut rig = Rig::new();
    rig.runs(&quiet());
    let (entry, chance) = (rig.entry(), &mut Chance::new());
    let whole = std::fs::read(&entry).unwrap();
    rig.forget_the_compiler();
    for _ in 0..100 {
        let (at, by) = (chance.below(whole.len() as u64) as usize, 1 + chance.below(255) as u8);
        let mut bytes = whole.clone();
        bytes[at] ^= by;
        std::fs::write(&entry, &bytes).unwrap();
        // It is not believed: it would have to be compiled again, and it is removed.
        rig.failure(&quiet());
        assert!(!entry.exists(), "byte {at} flipped by {by}");
    }
    std::fs::write(&entry, &whole[..whole.len() / 2]).unwrap();
    rig.failure(&quiet());
    std::fs::write(&entry, &whole).unwrap();
    rig.runs(&quiet());
}

#[test]
fn an_entry_under_another_name_or_another_key_is_not_believed() {
    let mut rig = Rig::new();
    let leak = guests::wat("leak").unwrap();
    rig.runs(&quiet());
    let of_quiet = rig.entry();
    rig.runs(&leak);
    let of_leak = rig.entries().into_iter().find(|path| *path != of_quiet).unwrap();
    rig.forget_the_compiler();
    std::fs::copy(&of_quiet, &of_leak).unwrap();
    rig.failure(&leak);
    rig.runs(&quiet());
    std::fs::write(rig.components().join("key"), [7; 32]).unwrap();
    rig.failure(&quiet());
}

#[test]
fn a_key_that_others_can_read_is_replaced() {
    let rig = Rig::new();
    rig.runs(&quiet());
    let key = rig.components().join("key");
    let known = std::fs::read(&key).unwrap();
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    rig.runs(&quiet());
    assert_ne!(std::fs::read(&key).unwrap(), known);
    assert_eq!(mode(&key), 0o600);
}

#[test]
fn a_component_that_takes_too_long_to_compile_is_refused_once_and_for_all() {
    let mut rig = Rig::new();
    rig.bounds.cpu = Duration::from_secs(1);
    let bomb = bomb(40, 600).unwrap();
    println!("the bomb has {} KiB", bomb.len() >> 10);
    let began = Instant::now();
    assert_eq!(rig.refusal(&bomb), Refusal::Cpu(1));
    println!("refused after {:?}", began.elapsed());
    // Not even tried a second time.
    rig.forget_the_compiler();
    assert_eq!(rig.refusal(&bomb), Refusal::Cpu(1));
    let problem = rig.load(&bomb).err().unwrap().problem("bomb.wasm");
    assert_eq!((problem.name, problem.code), ("ComponentTooCostly", "E0315"));
    // Another bound is another question.
    rig.bounds.cpu = Duration::from_secs(2);
    rig.failure(&bomb);
}

#[test]
fn a_component_that_takes_too_much_memory_to_compile_is_refused() {
    let mut rig = Rig::new();
    rig.bounds.address_space = ByteSize::mib(400);
    assert_eq!(rig.refusal(&bomb(8, 3000).unwrap()), Refusal::Memory("400.0 MiB".into()));
    rig.runs(&quiet());
}

/// T18: whatever the bytes, there is a verdict, and this process is still here.
#[test]
fn mutated_components_get_a_verdict() {
    let (rig, chance) = (Rig::new(), &mut Chance::new());
    let seeds = ["quiet", "handle-flood", "traps-on-bang", "canary"].map(|name| guests::wat(name).unwrap());
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..60 {
        let mut bytes = seeds[chance.below(4) as usize].clone();
        for _ in 0..=chance.below(3) {
            let at = 8 + chance.below(bytes.len() as u64 - 8) as usize;
            bytes[at] = chance.below(256) as u8;
        }
        match rig.load(&bytes) {
            // What compiles runs under its limits, and says what it is or does not.
            Ok(component) => {
                let _ = component.describe("app", "{}");
                taken += 1;
            }
            Err(Error::Compiler(why)) => panic!("{why}"),
            Err(_) => refused += 1,
        }
    }
    println!("{taken} taken, {refused} refused");
}

#[test]
fn a_damaged_component_is_refused_in_the_compilers_words() {
    let mut rig = Rig::new();
    let mut damaged = quiet();
    let at = damaged.windows(4).position(|bytes| bytes == b"MSF1").unwrap() - 40;
    damaged[at] ^= 0xff;
    let Refusal::Invalid(why) = rig.refusal(&damaged) else { panic!("it is not refused as damaged") };
    assert!(!why.is_empty());
    rig.forget_the_compiler();
    assert_eq!(rig.refusal(&damaged), Refusal::Invalid(why));
}

#[test]
fn a_compiler_that_does_not_end_is_killed_and_nothing_is_held_against_the_component() {
    let mut rig = Rig::new();
    rig.bounds.wall = Duration::from_millis(300);
    rig.script("exec sleep 100");
    let began = Instant::now();
    assert!(rig.failure(&quiet()).contains("stopped after 300ms"));
    assert!(began.elapsed() < Duration::from_secs(50));
    assert!(rig.entries().is_empty());
}

#[test]
fn a_compiler_that_gives_code_without_end_is_stopped() {
    let mut rig = Rig::new();
    rig.bounds.code = ByteSize::mib(1);
    rig.script("exec cat /dev/zero");
    assert!(rig.failure(&quiet()).contains("more than 1.0 MiB of code"));
    assert!(rig.entries().is_empty());
}

#[test]
fn what_a_compiler_says_of_a_component_is_cut() {
    let mut rig = Rig::new();
    rig.script("cat >/dev/null; head -c 100000 /dev/zero | tr '\\0' x >&2; exit 3");
    let Refusal::Invalid(why) = rig.refusal(&quiet()) else { panic!("it is not refused as damaged") };
    assert_eq!(why, "x".repeat(16 << 10));
}

/// What is kept altogether has at most 1 GiB.
#[test]
fn what_was_not_used_for_longest_makes_room_for_what_is_new() {
    let rig = Rig::new();
    rig.runs(&quiet());
    let used = rig.entry();
    // Files of holes, which take no place on the disk.
    let [oldest, old] = [(3, "oldest"), (2, "old")].map(|(hours, name)| {
        let path = rig.components().join(name);
        let file = std::fs::File::create(&path).unwrap();
        file.set_len(600 << 20).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(hours * 3_600)).unwrap();
        path
    });
    rig.runs(&guests::wat("leak").unwrap());
    assert!(!oldest.exists(), "both of them are more than it may have");
    assert!(old.exists() && used.exists() && rig.components().join("key").exists());
    assert_eq!(rig.entries().len(), 3);
}

#[test]
fn the_compiler_is_given_no_environment() {
    let mut rig = Rig::new();
    let seen = rig.dir.path().join("seen");
    rig.script(&format!("/usr/bin/env > {}; exit 1", seen.display()));
    let _ = rig.load(&quiet());
    let seen = std::fs::read_to_string(seen).unwrap();
    let names: Vec<_> = seen.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    let shells_own = ["PWD", "OLDPWD", "SHLVL", "_"];
    let names: BTreeSet<_> = names.into_iter().filter(|name| !shells_own.contains(name)).collect();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["MALLOC_ARENA_MAX", "RAYON_NUM_THREADS"]);
}

#[test]
fn the_compiler_gives_way_and_can_open_nothing() {
    let rig = Rig::new();
    let bomb = bomb(40, 600).unwrap();
    let (limits, nice) = std::thread::scope(|scope| {
        let loading = scope.spawn(|| drop(rig.load(&bomb)));
        let mut seen = None;
        while !loading.is_finished() {
            seen = look_at_a_compiler().or(seen);
            std::thread::sleep(Duration::from_millis(5));
        }
        seen.expect("it was seen while it ran")
    });
    let row = |name: &str| limits.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    let soft = |name: &str| row(name)[26..].split_whitespace().next().unwrap().to_owned();
    assert_eq!(soft("Max cpu time"), "60");
    assert_eq!(soft("Max address space"), (2u64 << 30).to_string());
    assert_eq!(soft("Max open files"), "3");
    assert_eq!((soft("Max file size"), soft("Max core file size")), ("0".into(), "0".into()));
    assert_eq!(nice, 10);
}

/// Limits and nice value of a child of this process that compiles and has bound itself already.
fn look_at_a_compiler() -> Option<(String, i64)> {
    for entry in std::fs::read_dir("/proc").unwrap() {
        let path = entry.unwrap().path();
        let read = |name: &str| std::fs::read_to_string(path.join(name)).ok();
        let Some(stat) = read("stat") else { continue };
        // After the name in brackets: state, parent, …; the nice value is the 19th of the line.
        let Some((_, fields)) = stat.rsplit_once(") ") else { continue };
        let fields: Vec<&str> = fields.split(' ').collect();
        let compiles = read("cmdline").is_some_and(|line| line.contains("compile-component"));
        if compiles && fields[1] == std::process::id().to_string() {
            let (limits, nice) = (read("limits")?, fields[16].parse().ok()?);
            return limits
                .lines()
                .any(|line| line.starts_with("Max open files            3 "))
                .then_some((limits, nice));
        }
    }
    None
}
