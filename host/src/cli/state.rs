//! An application's committed state: asked of the running application, else read where it lies.

use std::path::{Path, PathBuf};

use super::ask::Running;
use super::client::{Client, SOCKET_PREFIX};
use super::local::Local;
use super::output::usage;
use super::{Global, Result};
use crate::api::socket_path;
use crate::app::status::StoreInfo;
use crate::app::{Application, Loaded};
use crate::desk::Page;
use crate::desk::query::Keys;

pub enum State {
    Running(Running),
    Local(Box<Local>),
}

impl State {
    /// Of the processes that run it, wherever they say that they can be asked, or of the disk and the log.
    pub fn open(app: &Path, asked: Option<&Path>, global: &Global) -> Result<State> {
        let application = global.application(app)?;
        let id = application.manifest.id.clone();
        let state_dir = application.state_dir(asked);
        let socket = socket_path(&state_dir, &id);
        let mut clients: Vec<Client> = Client::connect(socket.clone())?.into_iter().collect();
        let silent = others(global, &application, &socket, &mut clients)?;
        if let Some(running) = Running::new(clients, silent, id) {
            return Ok(State::Running(running));
        }
        let engine = global.engine(std::slice::from_ref(&application))?;
        let log = global.open_log_of(&application)?;
        let loaded = Loaded::load_to_look(&engine, app, asked)?;
        Ok(State::Local(Box::new(Local::new(loaded.blueprint, &state_dir, log))))
    }

    pub fn stores(&self) -> Result<Vec<StoreInfo>> {
        Ok(self.stores_found()?.0)
    }

    /// Beside them, which processes have not answered for their tasks, with the reason.
    pub fn stores_found(&self) -> Result<(Vec<StoreInfo>, Vec<String>)> {
        match self {
            State::Running(running) => running.stores(),
            State::Local(local) => Ok((local.stores()?, Vec::new())),
        }
    }

    /// As [`Local::position`]; a store that runs moves, and has none.
    pub fn position(&self, store: &str, partition: i32) -> Result<Option<i64>> {
        match self {
            State::Running(_) => Ok(None),
            State::Local(local) => local.position(store, partition),
        }
    }

    /// Whether what [`State::read`] says of a partition is what a store holds, and not what its changelog adds up to.
    pub fn is_held(&self, store: &str, partition: i32) -> Result<bool> {
        match self {
            State::Running(_) => Ok(true),
            State::Local(local) => local.is_on_disk(store, partition),
        }
    }

    pub fn read(&self, store: &str, keys: &Keys) -> Result<Page> {
        match self {
            State::Running(running) => running.read(store, keys),
            State::Local(local) => local.read(store, keys),
        }
    }
}

/// The token for addresses of the network, in a file that this names.
pub const TOKEN: &str = "MILLSTREAM_HTTP_TOKEN_FILE";

/// Adds those of the group that run elsewhere; answers which have an address and cannot be asked there. Where the log does
/// not answer, who is here says what is missing.
fn others(global: &Global, application: &Application, own: &Path, clients: &mut Vec<Client>) -> Result<Vec<String>> {
    let is_kafka = application.log(global.log.as_deref()).is_ok_and(|(url, _)| url.starts_with("kafka:"));
    let log = if is_kafka { global.open_log_of(application).ok() } else { None };
    let Some(addresses) = log.and_then(|log| log.addresses(&application.manifest.id).ok()) else {
        return Ok(Vec::new());
    };
    let own = std::path::absolute(own).map(|path| format!("{SOCKET_PREFIX}{}", path.display())).unwrap_or_default();
    let unreadable = |file: &Path, why: std::io::Error| usage(format!("{TOKEN}: {}: {why}", file.display()));
    let read = |file: PathBuf| std::fs::read_to_string(&file).map_err(|why| unreadable(&file, why));
    let token = std::env::var_os(TOKEN).map(PathBuf::from).map(read).transpose()?;
    let mut silent = Vec::new();
    for address in addresses.into_iter().filter(|address| *address != own) {
        match Client::at(&address, token.as_deref()) {
            Ok(client) => clients.push(client),
            Err(why) => silent.push(format!("{address}: {why}")),
        }
    }
    Ok(silent)
}
