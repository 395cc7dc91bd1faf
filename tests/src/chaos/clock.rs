//! A clock on the wall that steps: a small library in front of libc, told by a file (`clock.c`).

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/chaos/clock.c");

/// Names the file to the library.
const VARIABLE: &str = "MILLSTREAM_TEST_CLOCK";

const NANOSECONDS: i64 = 1_000_000_000;

pub struct Clock {
    dir: tempfile::TempDir,
    shift: File,
}

impl Clock {
    /// One that tells the right time. The library is built with the machine's C compiler.
    pub fn new() -> Clock {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"]).arg(dir.path().join("clock.so")).arg(SOURCE);
        let built = cc.arg("-ldl").status().expect("there is a C compiler, for LMDB needs one");
        assert!(built.success(), "{SOURCE} does not build");
        let shift = File::create(dir.path().join("shift")).expect("a file can be made");
        let clock = Clock { dir, shift };
        clock.set(0);
        clock
    }

    /// Steps at once, to so many seconds before or behind the right time.
    pub fn set(&self, seconds: i64) {
        let bytes = (seconds * NANOSECONDS).to_ne_bytes();
        self.shift.write_all_at(&bytes, 0).expect("a file can be written");
    }

    /// Makes a process tell the time by this clock.
    pub fn hang(&self, command: &mut Command) {
        command.env("LD_PRELOAD", self.file("clock.so")).env(VARIABLE, self.file("shift"));
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::new()
    }
}
