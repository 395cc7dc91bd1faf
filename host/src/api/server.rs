//! Listening: one TCP address for all applications, one Unix socket for each.

use std::fs::{File, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::middleware::from_fn_with_state;
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Runtime;

use super::guard::{Guard, guarded};
use super::{Apps, router};

/// How long answers under way may take when the process ends.
const SHUTDOWN: Duration = Duration::from_millis(500);

/// The longest path that fits into a Unix socket's address on Linux, its closing zero left out.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Where applications can be asked.
pub enum Listen {
    /// Not blocking.
    Tcp { listener: std::net::TcpListener, guard: Guard, apps: Apps },
    /// Whoever may enter the directory may ask. A socket that a killed process left behind is replaced.
    Unix { path: PathBuf, apps: Apps },
}

#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {place}: {error}")]
pub struct Error {
    pub place: String,
    pub error: io::Error,
}

/// Answers until it is dropped.
pub struct Server {
    runtime: Option<Runtime>,
    /// Of the TCP listeners, with the ports that the system chose for port 0.
    addresses: Vec<SocketAddr>,
    sockets: Vec<PathBuf>,
}

/// Where an application's state directory has its socket.
pub fn socket_path(state_dir: &Path, application: &str) -> PathBuf {
    state_dir.join(application).join("query.sock")
}

impl Server {
    pub fn start(listeners: Vec<Listen>) -> Result<Server, Error> {
        let failed = |error| Error { place: "HTTP".to_owned(), error };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("http")
            .enable_all()
            .build()
            .map_err(failed)?;
        let mut server = Server { runtime: Some(runtime), addresses: Vec::new(), sockets: Vec::new() };
        for listen in listeners {
            server.listen(listen)?;
        }
        Ok(server)
    }

    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    fn listen(&mut self, listen: Listen) -> Result<(), Error> {
        let Some(runtime) = &self.runtime else { return Ok(()) };
        match listen {
            Listen::Tcp { listener, guard, apps } => {
                let failed = |error| Error { place: "HTTP".to_owned(), error };
                let _inside = runtime.enter();
                self.addresses.push(listener.local_addr().map_err(failed)?);
                let listener = TcpListener::from_std(listener).map_err(failed)?;
                let router = router(apps).layer(from_fn_with_state(guard, guarded));
                runtime.spawn(async move { axum::serve(listener, router).await });
            }
            Listen::Unix { path, apps } => {
                let failed = |error| Error { place: path.display().to_string(), error };
                let _inside = runtime.enter();
                let listener = bind(&path).map_err(failed)?;
                self.sockets.push(path);
                runtime.spawn(async move { axum::serve(listener, router(apps)).await });
            }
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(SHUTDOWN);
        }
        for socket in &self.sockets {
            // It may be gone with its directory.
            let _ = std::fs::remove_file(socket);
        }
    }
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = with_short_path(path, |path| UnixListener::bind(path))?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Hands over a path that fits into a socket's address: a long one goes by its open directory.
pub fn with_short_path<T>(path: &Path, usage: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    match (path.parent(), path.file_name()) {
        (Some(directory), Some(name)) if path.as_os_str().len() > SOCKET_PATH_BYTES_MAX => {
            let directory = File::open(directory)?;
            usage(&Path::new(&format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name))
        }
        _ => usage(path),
    }
}
