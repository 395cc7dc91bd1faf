//! A broker of a test's own, with the script that the other tests' broker is started by.

use std::process::{Command, Stdio};

use crate::proxy::Proxy;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/kafka/broker");

/// Killed when it falls.
pub struct Broker {
    dir: tempfile::TempDir,
    /// Where clients find it.
    pub address: String,
}

impl Broker {
    pub fn start() -> Broker {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let address = script(&["start", &dir.path().display().to_string()]);
        Broker { dir, address }
    }

    /// Behind a wire that can fail.
    pub fn behind(proxy: &Proxy) -> Broker {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let port = proxy.port().to_string();
        proxy.serve(&script(&["start", &dir.path().display().to_string(), &port]));
        Broker { dir, address: format!("127.0.0.1:{port}") }
    }

    /// On the same data and the same port.
    pub fn again(&self) {
        script(&["start", &self.dir.path().display().to_string()]);
    }

    /// By `kill -9`.
    pub fn kill(&self) {
        script(&["kill", &self.dir.path().display().to_string()]);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = Command::new(SCRIPT).arg("kill").arg(self.dir.path()).stderr(Stdio::null()).status();
    }
}

fn script(arguments: &[&str]) -> String {
    let output = Command::new(SCRIPT).args(arguments).stderr(Stdio::inherit()).output().expect("the script runs");
    assert!(output.status.success(), "broker {arguments:?}");
    String::from_utf8(output.stdout).expect("an address is text").trim().to_owned()
}
