//! Redis servers of a test's own: each on a free port and in a directory of its own, gone with its value.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use millstream::wasm::Provider;
use millstream::wasm::provider::Grant;
use millstream_engine::config::Limits;

use crate::providers;

/// The provider that keeps stores on one.
pub const STORE: &str = "plugins/redis-store";

/// Until a server answers: it starts in some tens of milliseconds, on a busy machine in seconds.
const UP: Duration = Duration::from_secs(30);

/// The one that lives as long as anybody of this process has it, for tests with names of their own.
pub fn shared() -> Arc<Redis> {
    static SHARED: Mutex<Weak<Redis>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let redis = Arc::new(Redis::with(""));
        *shared = Arc::downgrade(&redis);
        redis
    })
}

pub struct Redis {
    dir: tempfile::TempDir,
    address: SocketAddr,
    config: String,
    child: Mutex<Option<Child>>,
    /// Compiled once.
    plain: OnceLock<Provider>,
}

impl Redis {
    /// Writes every command to disk before it answers.
    pub fn start() -> Redis {
        Redis::with("appendonly yes\nappendfsync always\n")
    }

    /// With lines of `redis.conf` beside those that place it.
    pub fn with(config: &str) -> Redis {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.expect("a port is free");
        let redis = Redis { dir, address, config: config.to_owned(), child: Mutex::default(), plain: OnceLock::new() };
        redis.again();
        redis
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Starts it, on the data and the port that it had.
    pub fn again(&self) {
        let file = self.dir.path().join("redis.conf");
        let (port, dir) = (self.address.port(), self.dir.path().display());
        let placed = format!("bind 127.0.0.1\nport {port}\ndir {dir}\nsave \"\"\nlogfile {dir}/log\n{}", self.config);
        std::fs::write(&file, placed).expect("a configuration can be written");
        let mut command = Command::new("redis-server");
        command.arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().expect("redis-server starts: Debian's package redis-server");
        *self.child() = Some(child);
        let begun = Instant::now();
        // A password is wanted only of those who ask for something.
        while !["PONG", "NOAUTH"].iter().any(|answer| self.ask(&["PING"]).contains(answer)) {
            assert!(
                begun.elapsed() < UP,
                "{}",
                std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// By `kill -9`.
    pub fn kill(&self) {
        if let Some(mut child) = self.child().take() {
            child.kill().and_then(|()| child.wait()).expect("a child can be killed");
        }
    }

    /// It lives, listens and does nothing.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child().as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().expect("kill starts").success());
    }

    /// What `redis-cli` prints.
    pub fn ask(&self, command: &[&str]) -> String {
        let port = self.address.port().to_string();
        let asked = Command::new("redis-cli").args(["-p", &port]).args(command).output();
        String::from_utf8_lossy(&asked.expect("redis-cli starts").stdout).into_owned()
    }

    /// A copy of all that it holds now.
    pub fn copy(&self) -> PathBuf {
        assert!(self.ask(&["SAVE"]).contains("OK"));
        let copy = self.dir.path().join("copy.rdb");
        std::fs::copy(self.dir.path().join("dump.rdb"), &copy).expect("a dump can be copied");
        copy
    }

    /// Dies and comes back with what a copy holds.
    pub fn set_back_to(&self, copy: &Path) {
        self.kill();
        std::fs::copy(copy, self.dir.path().join("dump.rdb")).expect("a dump can be copied");
        self.again();
    }

    /// The provider on it, as a manifest without anything else has it.
    pub fn plain_provider(&self) -> Provider {
        self.plain.get_or_init(|| self.provider(Limits::default(), &[])).clone()
    }

    /// The provider on it, with `config` beside its URL.
    pub fn provider(&self, limits: Limits, config: &[(&str, &str)]) -> Provider {
        let url = self.url();
        let all = [("url", url.as_str())].into_iter().chain(config.iter().copied());
        let all = all.map(|(key, value)| (key.to_owned(), value.into())).collect();
        let grant = Grant::resolve(&[self.address.to_string()]).expect("an address is one");
        let config = serde_json::Value::Object(all).to_string();
        providers::load_granted(STORE, limits, &config, Some(grant)).expect("the provider loads")
    }

    /// What a manifest says of it: `[providers.redis]`, with `config` beside its URL, for every store.
    pub fn manifest(&self, config: &str) -> String {
        let component = providers::file(STORE).expect("the provider builds");
        format!(
            "[providers.redis]\ncomponent = {component:?}\nconfig = {{ url = \"{}\"{config} }}\nnetwork = [\"{}\"]\n\
             [state]\nprovider = \"redis\"\n",
            self.url(),
            self.address
        )
    }

    /// The same for a manifest that has its `[state]` already.
    pub fn section(&self) -> String {
        self.manifest("").split_once("[state]").map(|(section, _)| section.to_owned()).expect("it has a [state]")
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
