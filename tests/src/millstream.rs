//! The real program as a child process.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::guests::root;
use crate::http;

/// How long a command may take before the test gives up on it.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// `millstream` in a directory of its own, with MILLSTREAM_LOG set.
pub struct Millstream {
    log: Option<String>,
    dir: TempDir,
}

impl Millstream {
    /// On a log by its URL.
    pub fn new(log: impl Into<String>) -> Millstream {
        Millstream { log: Some(log.into()), ..Millstream::without_log() }
    }

    /// With no log named anywhere.
    pub fn without_log() -> Millstream {
        Millstream { log: None, dir: tempfile::tempdir().expect("a temporary directory can be made") }
    }

    /// The directory that commands run in.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file that commands will find.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir().join(name), text).expect("a file can be written");
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        self.run_with(args, b"")
    }

    pub fn run_with(&self, args: &[&str], stdin: impl AsRef<[u8]>) -> Output {
        let mut running = self.start(args);
        // It may end before it has read everything.
        let _ = running.stdin().write_all(stdin.as_ref());
        running.finish()
    }

    /// Starts a command and leaves it running.
    pub fn start(&self, args: &[&str]) -> Running {
        self.start_with(args, |_| {})
    }

    /// The same, of a process that `prepare` makes special: its environment, its limits.
    pub fn start_with(&self, args: &[&str], prepare: impl FnOnce(&mut Command)) -> Running {
        let mut command = Command::new(binary());
        command.args(args).current_dir(self.dir()).env_remove("MILLSTREAM_LOG").env_remove("RUST_LOG");
        command.env(CACHE, root().join("target/millstream-cache"));
        if let Some(log) = &self.log {
            command.env("MILLSTREAM_LOG", log);
        }
        prepare(&mut command);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("millstream starts");
        let stdout = collect(child.stdout.take().expect("stdout is a pipe"));
        let stderr = collect(child.stderr.take().expect("stderr is a pipe"));
        Running { what: args.join(" "), child, stdout, stderr }
    }
}

/// A command that has not ended. It is killed when it falls.
pub struct Running {
    what: String,
    child: Child,
    stdout: Pipe,
    stderr: Pipe,
}

impl Running {
    pub fn stdin(&mut self) -> &mut impl Write {
        self.child.stdin.as_mut().expect("stdin was not closed yet")
    }

    /// Of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a child can be signalled");
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("a child can be killed");
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_some()
    }

    /// What it has said on stderr.
    pub fn said(&self) -> String {
        self.stderr.so_far()
    }

    /// Closes stdin and waits for the end.
    pub fn finish(mut self) -> Output {
        drop(self.child.stdin.take());
        let status = self.wait();
        Output { what: self.what.clone(), code: status.code(), stdout: self.stdout.end(), stderr: self.stderr.end() }
    }

    /// Waits until stderr says something that `find` knows.
    #[track_caller]
    pub fn until_it_says<T>(&mut self, find: impl Fn(&str) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            let said = self.stderr.so_far();
            if let Some(found) = find(&said) {
                return found;
            }
            let ended = self.child.try_wait().expect("a child can be waited for");
            assert!(ended.is_none(), "`millstream {}` ended: {ended:?}\n{said}", self.what);
            assert!(
                start.elapsed() < DEADLINE,
                "`millstream {}` did not say it within {DEADLINE:?}\n{said}",
                self.what
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The address that `--http` was given, once it listens.
    #[track_caller]
    pub fn address(&mut self) -> String {
        self.until_it_says(|said| Some(said.split_once("listening on http://")?.1.split_once('\n')?.0.to_owned()))
    }

    /// Waits until it has tasks and all of them run, and answers its address. Needs `--http`.
    #[track_caller]
    pub fn ready(&mut self) -> String {
        let address = self.address();
        let start = Instant::now();
        while http::get(&address, "/readyz").status != 200 {
            assert!(start.elapsed() < DEADLINE, "`millstream {}` is not ready within {DEADLINE:?}", self.what);
            std::thread::sleep(Duration::from_millis(20));
        }
        address
    }

    fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(start.elapsed() < DEADLINE, "`millstream {}` did not end within {DEADLINE:?}", self.what);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Output {
    what: String,
    /// `None`: by a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Fails the test unless the command ended well.
    #[track_caller]
    pub fn ok(self) -> Output {
        assert_eq!(self.code, Some(0), "`millstream {}`\n{}\n{}", self.what, self.stdout, self.stderr);
        self
    }

    /// Fails the test unless the command ended with this code.
    #[track_caller]
    pub fn fails(self, code: i32) -> Output {
        assert_eq!(self.code, Some(code), "`millstream {}`\n{}\n{}", self.what, self.stdout, self.stderr);
        self
    }

    /// stdout as one JSON value.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// stdout as JSON lines.
    #[track_caller]
    pub fn jsonl(&self) -> Vec<Value> {
        let line = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        self.stdout.lines().map(line).collect()
    }

    /// The error on stderr, with `--error-format json`. Every one is complete.
    #[track_caller]
    pub fn problem(&self) -> Value {
        let last = self.stderr.lines().last().unwrap_or_default();
        complete(serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {self:?}")))
    }
}

/// A typed error has a name, a code, a message, a reason and a fix.
#[track_caller]
pub fn complete(problem: Value) -> Value {
    for field in ["error", "code", "message", "why", "fix"] {
        let text = problem[field].as_str().unwrap_or_default();
        assert!(!text.is_empty(), "no {field} in {problem}");
    }
    let code = problem["code"].as_str().unwrap_or_default();
    assert!(code.len() == 5 && code.starts_with("E0"), "{problem}");
    problem
}

/// A problem without its words: its name, its code, and the values that belong to it.
pub fn fields(problem: &Value) -> Value {
    let mut fields = problem.clone();
    for words in ["message", "why", "fix"] {
        fields.as_object_mut().expect("a problem is an object").remove(words);
    }
    fields
}

/// What a child writes, read as it comes.
struct Pipe {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Pipe {
    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().expect("the reader does not panic")).into_owned()
    }

    fn end(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader does not panic");
        }
        self.so_far()
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> Pipe {
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let into = bytes.clone();
    let reader = std::thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(read @ 1..) = pipe.read(&mut chunk) {
            into.lock().expect("nobody panics with it").extend_from_slice(&chunk[..read]);
        }
    });
    Pipe { bytes, reader: Some(reader) }
}

/// Names where the program keeps what it compiled: in the tests not among the developer's own.
pub const CACHE: &str = "MILLSTREAM_CACHE_DIR";

/// Where the program was built already, once for a whole run: `tests/run` sets it.
pub const BINARY: &str = "MILLSTREAM_TEST_BINARY";

/// The program: the one that was built for the run, else the one beside this test's own, built from the same sources.
pub fn binary() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        if let Some(built) = std::env::var_os(BINARY) {
            return built.into();
        }
        if let Ok(cargo) = std::env::var("CARGO") {
            let build = ["build", "--release", "--quiet", "--package", "millstream", "--bin", "millstream"];
            let status = Command::new(cargo).args(build).status().expect("cargo runs");
            assert!(status.success(), "the program does not build");
        }
        let test = std::env::current_exe().expect("a test knows its own file");
        let release = test.ancestors().nth(2).expect("a test lies in target/release/deps");
        release.join("millstream")
    })
}
