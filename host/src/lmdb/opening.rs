//! Opens LMDB environments: for their one writer, and for readers.

use std::path::Path;
use std::time::Duration;

use heed::types::Bytes;
use heed::{CommitOrAbort, CommitToken, DatabaseOpener, EnvFlags, EnvOpenOptions, OnCommit, RoTxn, RwTxn, WithoutTls};
use millstream_engine::config::ByteSize;
use millstream_engine::store::Error;

use super::failure::failed;
use super::file_check;
use super::layout::{self, Database};
use super::marker::{Marker, OUTLIVED, boot_id};
use super::other_format::OtherFormat;

/// Databases of forgotten stores that one opening can empty; more are left to the next one.
const FORGOTTEN_MAX: usize = 16;

/// More than one task's topology has: what a reader makes room for.
const STORES_MAX: u32 = 1024;

/// A task may come to one thread of this process while another one is still about to drop its stores; longer, and
/// something is wrong.
const CLOSING_WAIT: Duration = Duration::from_secs(10);

/// What a reader may make of a state: nothing, so that it meets no bound.
const NOT_GROWN: ByteSize = ByteSize(0);

/// A multiple of every page size in use, as LMDB asks.
const MAP_ALIGNMENT: usize = 65_536;

pub type Env = heed::Env<WithoutTls>;

/// The handles of its databases.
pub struct Databases<'t> {
    pub meta: Database<'t>,
    pub stores: Vec<(String, Database<'t>)>,
}

impl OnCommit for Databases<'_> {
    type Committed = Databases<'static>;

    fn on_commit(self, token: &CommitToken) -> Databases<'static> {
        let stores = self.stores.into_iter().map(|(name, database)| (name, database.on_commit(token))).collect();
        Databases { meta: self.meta.on_commit(token), stores }
    }
}

pub fn for_writing(directory: &Path, stores: &[&str], max_size: ByteSize) -> Result<(Env, Databases<'static>), Error> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size((max_size.0 as usize).next_multiple_of(MAP_ALIGNMENT));
    options.max_dbs((1 + stores.len() + FORGOTTEN_MAX) as u32);
    // Safety: without syncing, a power cut may lose or mix pages; a machine that went down without a clean close is
    // noticed before (`TaskDirectory::open`), and the state restored.
    unsafe { options.flags(EnvFlags::NO_SYNC) };
    let env = open_once(&options, directory, max_size)?;
    let databases = (|| {
        env.clear_stale_readers()?;
        let txn = env.write_txn()?;
        env.create_databases_and_commit(txn, |opener, txn| create(opener, txn, stores))
    })();
    Ok((env.clone(), opened(databases, directory, max_size)?))
}

pub fn for_reading(directory: &Path) -> Result<(Env, Databases<'static>), Error> {
    let data = directory.join("data.mdb");
    // A walk through such a file cannot tell pages of before from those of after: nothing of it may be believed.
    match Marker::of(directory).read() {
        Ok(left) if left.outlived(boot_id().as_deref()) => {
            return Err(Error::Corrupted(format!("the state in {}: {OUTLIVED}", data.display())));
        }
        Ok(_) => {}
        Err(why) => return Err(Error::Retry(format!("the state in {}: {why}", data.display()))),
    }
    match file_check::damage_while_written(&data) {
        Ok(None) if data.exists() => {}
        Ok(None) => return Err(Error::Retry(format!("there is no state in {}", directory.display()))),
        Ok(Some(why)) => return Err(Error::Corrupted(format!("the state in {}: {why}", data.display()))),
        Err(why) => return Err(Error::Retry(format!("the state in {}: {why}", data.display()))),
    }
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.max_dbs(STORES_MAX);
    // Safety: read-only is the safe one among LMDB's flags.
    unsafe { options.flags(EnvFlags::READ_ONLY) };
    let env = open_once(&options, directory, NOT_GROWN)?;
    let databases = (|| {
        let txn = env.read_txn()?;
        env.open_databases_and_commit(txn, |opener, txn| find(opener, txn))
    })();
    Ok((env.clone(), opened(databases, directory, NOT_GROWN)?))
}

fn open_once(options: &EnvOpenOptions<WithoutTls>, directory: &Path, max_size: ByteSize) -> Result<Env, Error> {
    let unopened = |error| failed(directory, error, max_size);
    // Safety: nobody else changes the files: the state directory is locked, and LMDB locks its own.
    match unsafe { options.open(directory) } {
        Err(heed::Error::EnvAlreadyOpened) => {
            let path = directory.canonicalize().map_err(|why| unopened(why.into()))?;
            let closed = heed::env_closing_event(&path).is_none_or(|closing| closing.wait_timeout(CLOSING_WAIT));
            match closed {
                // Safety: as above.
                true => unsafe { options.open(directory) }.map_err(unopened),
                false => Err(unopened(heed::Error::EnvAlreadyOpened)),
            }
        }
        opened => opened.map_err(unopened),
    }
}

type Opening<'t> = heed::Result<CommitOrAbort<Databases<'t>, layout::Other>>;

fn create<'e>(opener: &DatabaseOpener<'e, WithoutTls>, txn: &mut RwTxn<'e>, stores: &[&str]) -> Opening<'e> {
    let create = |name: &str, txn: &mut RwTxn<'e>| {
        let mut options = opener.database_options().types::<Bytes, Bytes>();
        options.name(name).create(txn)
    };
    let meta = create(layout::META, txn)?;
    if let Some(other) = layout::settle_format(&meta, txn)? {
        return Ok(CommitOrAbort::Abort(other));
    }
    for forgotten in layout::forget_others(&meta, txn, stores)?.iter().take(FORGOTTEN_MAX) {
        create(&layout::database_name(forgotten), txn)?.clear(txn)?;
    }
    let mut databases = Vec::with_capacity(stores.len());
    for store in stores {
        let database = create(&layout::database_name(store), txn)?;
        if !layout::is_known(&meta, txn, store)? {
            database.clear(txn)?;
            layout::put_position(&meta, txn, store, None)?;
        }
        // Both ends are touched here, where a crash is still blamed on the opening (`super::marker`).
        database.first(txn)?;
        database.last(txn)?;
        databases.push(((*store).to_owned(), database));
    }
    Ok(CommitOrAbort::Commit(Databases { meta, stores: databases }))
}

fn find<'e>(opener: &DatabaseOpener<'e, WithoutTls>, txn: &RoTxn<'e, WithoutTls>) -> Opening<'e> {
    let open = |name: &str| {
        let mut options = opener.database_options().types::<Bytes, Bytes>();
        options.name(name).open(txn)
    };
    let Some(meta) = open(layout::META)? else { return Ok(CommitOrAbort::Abort(layout::Other::Unknown)) };
    if let Some(other) = layout::other_format(&meta, txn)? {
        return Ok(CommitOrAbort::Abort(other));
    }
    let mut stores = Vec::new();
    for name in layout::stores(&meta, txn)? {
        if let Some(database) = open(&layout::database_name(&name))? {
            stores.push((name, database));
        }
    }
    Ok(CommitOrAbort::Commit(Databases { meta, stores }))
}

fn opened(databases: Opening<'static>, directory: &Path, max_size: ByteSize) -> Result<Databases<'static>, Error> {
    match databases {
        Ok(CommitOrAbort::Commit(databases)) => Ok(databases),
        Ok(CommitOrAbort::Abort(layout::Other::Format { found, host })) => {
            let other = OtherFormat::new(directory, found.to_string(), layout::FORMAT, host);
            Err(Error::Refused(Box::new(other.problem())))
        }
        Ok(CommitOrAbort::Abort(layout::Other::Unknown)) => {
            Err(Error::Corrupted(format!("the state in {} is not Millstream's", directory.display())))
        }
        Err(error) => Err(failed(directory, error, max_size)),
    }
}
