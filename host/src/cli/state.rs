//! An application's committed state: asked of the running application, else read where it lies.

use std::path::Path;

use super::ask::Running;
use super::client::Client;
use super::local::Local;
use super::{Global, Result};
use crate::api::socket_path;
use crate::app::Loaded;
use crate::app::status::StoreInfo;
use crate::desk::Page;
use crate::desk::query::Keys;

pub enum State {
    Running(Running),
    Local(Box<Local>),
}

impl State {
    pub fn open(app: &Path, asked: Option<&Path>, global: &Global) -> Result<State> {
        let application = global.application(app)?;
        let id = application.manifest.id.clone();
        let state_dir = application.state_dir(asked);
        if let Some(client) = Client::connect(socket_path(&state_dir, &id))? {
            return Ok(State::Running(Running::new(client, id)));
        }
        let engine = global.engine(std::slice::from_ref(&application))?;
        let log = global.open_log_of(&application)?;
        let loaded = Loaded::load_kept(&engine, app, asked)?;
        Ok(State::Local(Box::new(Local::new(loaded.blueprint, &state_dir, log))))
    }

    pub fn stores(&self) -> Result<Vec<StoreInfo>> {
        match self {
            State::Running(running) => running.stores(),
            State::Local(local) => local.stores(),
        }
    }

    pub fn read(&self, store: &str, keys: &Keys) -> Result<Page> {
        match self {
            State::Running(running) => running.read(store, keys),
            State::Local(local) => local.read(store, keys),
        }
    }
}
