//! Brokers of a test's own, with the script that the other tests' broker is started by.

use std::process::{Command, Stdio};
use std::sync::{Condvar, Mutex, PoisonError};

use crate::proxy::Proxy;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/kafka/broker");

/// Room for JVMs. The tests that have brokers of their own stand side by side, so libtest runs them at once: fourteen JVMs
/// on two cores, none of which starts in a minute.
#[derive(Debug)]
struct Room(usize);

/// A cluster of three brokers and their controller, and one broker more; or two clusters of one.
const JVMS_MAX: usize = 5;

static TAKEN: Mutex<usize> = Mutex::new(0);
static GIVEN_BACK: Condvar = Condvar::new();

impl Room {
    /// Waits until there is room for so many.
    fn take(jvms: usize) -> Room {
        assert!(jvms <= JVMS_MAX, "there is never room for {jvms} JVMs");
        let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |taken: &mut usize| *taken + jvms > JVMS_MAX;
        *GIVEN_BACK.wait_while(taken, is_full).unwrap_or_else(PoisonError::into_inner) += jvms;
        Room(jvms)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) -= self.0;
        GIVEN_BACK.notify_all();
    }
}

/// One broker or several, which can crash and come back; their controller stays. Killed when it falls.
pub struct Brokers {
    dir: tempfile::TempDir,
    /// Where clients find them, in their order.
    pub addresses: Vec<String>,
    _room: Room,
}

impl Brokers {
    pub fn start(count: usize) -> Brokers {
        let _room = Room::take(count + 1);
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let addresses = script(&["cluster", &dir.path().display().to_string(), &count.to_string()]);
        Brokers { dir, addresses: addresses.split(',').map(str::to_owned).collect(), _room }
    }

    /// One, behind a wire that can fail.
    pub fn behind(proxy: &Proxy) -> Brokers {
        let _room = Room::take(2);
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let port = proxy.port().to_string();
        proxy.serve(&script(&["cluster", &dir.path().display().to_string(), "1", &port]));
        Brokers { dir, addresses: vec![format!("127.0.0.1:{port}")], _room }
    }

    /// One of them on the same data and the same port.
    pub fn again(&self, index: usize) {
        script(&["start", &self.dir_of(index)]);
    }

    /// One of them, by `kill -9`.
    pub fn kill(&self, index: usize) {
        script(&["kill", &self.dir_of(index)]);
    }

    /// The script counts from 1, as Kafka does.
    fn dir_of(&self, index: usize) -> String {
        self.dir.path().join((index + 1).to_string()).display().to_string()
    }
}

impl Drop for Brokers {
    fn drop(&mut self) {
        forget(&self.dir);
    }
}

/// A broker with doors and rights: `tests/kafka/secure.properties` says which. Killed when it falls.
pub struct SecureBroker {
    dir: tempfile::TempDir,
    /// For everybody; who comes this way may do everything.
    pub open: String,
    /// TLS, for who has a certificate.
    pub tls: String,
    /// TLS, for who has a password.
    pub sasl: String,
    _room: Room,
}

impl SecureBroker {
    pub fn start() -> SecureBroker {
        let _room = Room::take(1);
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let doors = script(&["secure", &dir.path().display().to_string()]);
        let doors: Vec<String> = doors.split(',').map(str::to_owned).collect();
        let [open, tls, sasl] = doors.try_into().expect("it has three doors");
        SecureBroker { dir, open, tls, sasl, _room }
    }

    /// Where a key, a certificate or a password lies.
    pub fn file(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    pub fn text(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.dir.path().join(name)).expect("the broker has made it");
        text.trim_end().to_owned()
    }
}

impl Drop for SecureBroker {
    fn drop(&mut self) {
        forget(&self.dir);
    }
}

/// A broker behind a wire that can fail. Killed when it falls.
pub struct Broker {
    dir: tempfile::TempDir,
    pub address: String,
    _room: Room,
}

impl Broker {
    pub fn behind(proxy: &Proxy) -> Broker {
        let _room = Room::take(1);
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let port = proxy.port().to_string();
        proxy.serve(&script(&["start", &dir.path().display().to_string(), &port]));
        Broker { dir, address: format!("127.0.0.1:{port}"), _room }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        forget(&self.dir);
    }
}

fn forget(dir: &tempfile::TempDir) {
    let _ = Command::new(SCRIPT).arg("kill").arg(dir.path()).stderr(Stdio::null()).status();
}

fn script(arguments: &[&str]) -> String {
    let output = Command::new(SCRIPT).args(arguments).output().expect("the script runs");
    assert!(output.status.success(), "broker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("an address is text").trim().to_owned()
}
