//! An open log: one per directory and process, shared by everything that opens that directory.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak, mpsc};
use std::time::Duration;

use heed::{Env, EnvOpenOptions, RoTxn, WithoutTls};

use super::change::{Change, Outcome};
use super::commit::{Committer, Job, Reply};
use super::fault::Named;
use super::janitor::{House, Janitor};
use super::ownership::Ownerships;
use super::presence::Presence;
use super::tables::{TABLES, Tables};
use super::topic::{Handle, Row};
use super::watch::Watch;
use super::{Committed, Error, Offsets, Result, directory};

/// Snapshots at one time, over all processes: each thread that reads has one for the length of one poll.
const READERS_MAX: u32 = 1_024;

/// Pages that begin the file and belong to no table.
const META_PAGES: usize = 2;

/// How long an open waits for the last user of the same log in this process, who is just closing it.
const CLOSE_WAIT: Duration = Duration::from_secs(30);

pub struct Environment {
    pub dir: PathBuf,
    pub watch: Arc<Watch>,
    pub ownerships: Ownerships,
    tables: Tables,
    // Both are joined before the environment is closed, and fields drop in this order: the janitor waits for the committer.
    janitor: Mutex<Option<Janitor>>,
    committer: Committer,
    env: Env<WithoutTls>,
    _presence: Presence,
}

/// Locked while its log is opened.
type Slot = Arc<Mutex<Weak<Environment>>>;

/// LMDB must not map one file twice in a process. A slot for each directory: the opening of a large log takes long, and
/// that of another one does not wait for it.
static OPEN: LazyLock<Mutex<HashMap<PathBuf, Slot>>> = LazyLock::new(Mutex::default);

pub fn open(dir: &Path) -> Result<Arc<Environment>> {
    let dir = directory::canonical(dir)?;
    let slot = slot(&dir);
    let mut open = slot.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(environment) = open.upgrade() {
        return Ok(environment);
    }
    if let Some(closing) = heed::env_closing_event(&dir) {
        closing.wait_timeout(CLOSE_WAIT);
    }
    let environment = Arc::new(Environment::open(&dir)?);
    *open = Arc::downgrade(&environment);
    Ok(environment)
}

fn slot(dir: &Path) -> Slot {
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    // Those of logs that nobody has open, and nobody is opening.
    open.retain(|_, slot| {
        Arc::get_mut(slot).is_none_or(|slot| slot.get_mut().unwrap_or_else(PoisonError::into_inner).strong_count() > 0)
    });
    open.entry(dir.to_owned()).or_default().clone()
}

/// Maps the file. Synced commits, and readers that belong to no thread.
fn map(dir: &Path) -> Result<Env<WithoutTls>> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(directory::MAP_BYTES).max_readers(READERS_MAX).max_dbs(TABLES);
    // SAFETY: the file is only ever changed through LMDB with its locking on; `directory` checked its format and
    // length, and `OPEN` keeps this process from mapping it twice.
    unsafe { options.open(dir) }.on(&format!("log directory {}", dir.display()))
}

impl Environment {
    fn open(dir: &Path) -> Result<Environment> {
        let presence = directory::prepare(dir, || Tables::create(&map(dir)?), || Tables::upgrade(&map(dir)?))?;
        let env = map(dir)?;
        // A process that was killed while it read keeps old pages from being used again.
        env.clear_stale_readers().on("stale readers")?;
        let tables = Tables::open(&env)?;
        let watch = Arc::new(Watch::default());
        let committer = Committer::start(env.clone(), tables, directory::write_lock(dir)?, watch.clone())?;
        let (ownerships, janitor) = (Ownerships::default(), Mutex::default());
        Ok(Environment { dir: dir.to_owned(), watch, ownerships, tables, janitor, committer, env, _presence: presence })
    }

    /// Who runs an application or writes also sees to it that the log does not grow for ever.
    pub fn start_janitor(&self) -> Result<()> {
        let mut janitor = self.janitor.lock().unwrap_or_else(PoisonError::into_inner);
        if janitor.is_none() {
            *janitor = Some(Janitor::start(self.house(), &self.dir)?);
        }
        Ok(())
    }

    /// What a janitor works on.
    pub fn house(&self) -> House {
        House::new(self.env.clone(), self.tables, self.committer.jobs())
    }

    /// What is committed now. Short-lived: it keeps pages from being used again.
    pub fn snapshot(&self) -> Result<Snapshot<'_>> {
        Snapshot::take(&self.env, &self.tables)
    }

    /// Number of the last commit by any process. May be ahead of what a snapshot shows by the one that is being
    /// synced.
    pub fn last_commit(&self) -> usize {
        self.env.info().last_txn_id
    }

    /// Size of the file, and what of it new records may take, bytes. What a reader still sees counts as free.
    pub fn space(&self) -> Result<(u64, u64)> {
        let snapshot = self.snapshot()?;
        let what = "the log's space";
        let (main, info) = (self.env.unnamed_database_stat(), self.env.info());
        let taken = META_PAGES + main.branch_pages + main.leaf_pages + self.tables.pages(&snapshot.txn)?;
        let free = (info.last_page_number + 1).saturating_sub(taken) as u64 * u64::from(main.page_size);
        let file = self.env.real_disk_size().on(what)?;
        Ok((file, free))
    }

    /// Hands a change to the committer; the reply is called on its thread.
    pub fn submit(&self, change: Change, reply: Reply) {
        self.committer.hand_over(Job { change, reply });
    }

    /// Hands a change to the committer; the receiver gets its outcome.
    pub fn begin(&self, change: Change) -> Receipt {
        let (sender, receiver) = mpsc::channel();
        // Who no longer waits needs no answer.
        self.submit(change, Reply::new(move |outcome| drop(sender.send(outcome))));
        Receipt(receiver)
    }

    /// Waits until a change is synced.
    pub fn commit(&self, change: Change) -> Result<Outcome> {
        self.begin(change).wait()
    }
}

/// A change on its way.
pub struct Receipt(mpsc::Receiver<Result<Outcome>>);

impl Receipt {
    pub fn new(outcome: mpsc::Receiver<Result<Outcome>>) -> Receipt {
        Receipt(outcome)
    }

    pub fn wait(self) -> Result<Outcome> {
        self.0.recv().unwrap_or_else(|_| Err(Error::unreachable("the log", "its committer has stopped")))
    }
}

/// A consistent view of the log.
pub struct Snapshot<'e> {
    pub txn: RoTxn<'e, WithoutTls>,
    pub tables: &'e Tables,
}

impl<'e> Snapshot<'e> {
    /// Never older than one that was taken before, by whatever thread.
    pub fn take(env: &'e Env<WithoutTls>, tables: &'e Tables) -> Result<Snapshot<'e>> {
        loop {
            let txn = env.read_txn().on("a snapshot of the log")?;
            // LMDB reads the number of the last commit, and then the page that this commit wrote: a thread that has to wait
            // between the two may find there what the second commit after it is just writing, which is in the file before
            // it is synced and counted. The next snapshot would be an older one, and what was read would seem deleted.
            if env.info().last_txn_id <= txn.id() + 1 {
                return Ok(Snapshot { txn, tables });
            }
        }
    }
}

impl Snapshot<'_> {
    /// Number of the last commit it shows.
    pub fn commit(&self) -> usize {
        self.txn.id()
    }

    pub fn topic_names(&self) -> Result<Vec<String>> {
        self.tables.topic_names(&self.txn)
    }

    pub fn topic(&self, name: &str) -> Result<Option<Row>> {
        self.tables.topic(&self.txn, name)
    }

    /// A topic that has to be there.
    pub fn handle(&self, name: &str) -> Result<Arc<Handle>> {
        self.topic(name)?.map(|row| row.handle(name)).ok_or_else(|| Error::UnknownTopic(name.to_owned()))
    }

    pub fn offsets(&self, handle: &Handle, partition: i32) -> Result<Offsets> {
        self.tables.offsets(&self.txn, handle, partition)
    }

    pub fn committed(&self, handle: &Handle, partition: i32, application: &str) -> Result<Option<Committed>> {
        self.tables.committed(&self.txn, handle, partition, application)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::NewTopic;
    use super::super::batch::Drafts;
    use super::super::change::{Append, Moved, Run};
    use super::*;
    use millstream_engine::record::{Headers, Record};

    fn topic(name: &str) -> Change {
        let topic =
            NewTopic { name: name.into(), partitions: 2, replication_factor: None, configs: Default::default() };
        Change::Create { name: name.into(), row: Row::of(&topic).unwrap() }
    }

    fn rows(environment: &Environment) -> u64 {
        let snapshot = environment.snapshot().unwrap();
        snapshot.tables.rows(&snapshot.txn)
    }

    fn drafts() -> Drafts {
        let mut drafts = Drafts::default();
        drafts.push(&Record { key: None, value: Some(b"v"), headers: Headers(b""), timestamp: 0 });
        drafts
    }

    #[test]
    fn a_deleted_topic_leaves_no_row_and_takes_none_of_others() {
        let dir = tempfile::tempdir().unwrap();
        let environment = open(dir.path()).unwrap();
        environment.commit(topic("first")).unwrap();
        let before = rows(&environment);
        environment.commit(topic("second")).unwrap();
        let handle = environment.snapshot().unwrap().handle("second").unwrap();
        let runs = vec![Run { handle: handle.clone(), partition: 1, drafts: drafts() }];
        let committed = Committed { offset: 1, metadata: String::new() };
        let offsets = vec![Moved { handle, partition: 1, committed }];
        let subscription = crate::log::Subscription {
            application: "app".into(),
            topics: Arc::new([]),
            task_sets: Vec::new(),
            guarantee: crate::log::Guarantee::ExactlyOnce,
            thread: 0,
            threads: 1,
            instance: String::new(),
            plan_hash: String::new(),
            address: None,
        };
        let owner = environment.ownerships.join(&environment, &subscription).unwrap().ownership.clone();
        environment.commit(Change::Append(Append { runs, offsets, owner: Some(owner), behind: None })).unwrap();
        assert_eq!(rows(&environment), before + 1 + 2 + 1 + 1 + 1);
        environment.commit(Change::Delete { name: "second".into() }).unwrap();
        assert_eq!(rows(&environment), before + 1, "the owner's epoch stays");
    }

    /// As the build before left it: rows of partitions without sizes.
    #[test]
    fn a_log_of_the_format_before_is_brought_to_this_one() {
        let dir = tempfile::tempdir().unwrap();
        let format = dir.path().join("FORMAT");
        let environment = open(dir.path()).unwrap();
        environment.commit(topic("t")).unwrap();
        let handle = environment.snapshot().unwrap().handle("t").unwrap();
        let runs = vec![Run { handle: handle.clone(), partition: 1, drafts: drafts() }];
        environment.commit(Change::Append(Append { runs, ..Append::default() })).unwrap();
        let extents = |environment: &Environment| {
            let snapshot = environment.snapshot().unwrap();
            [0, 1].map(|partition| snapshot.tables.extent(&snapshot.txn, &handle, partition).unwrap())
        };
        let before = extents(&environment);
        assert_eq!((before[1].bytes, before[1].newest), (53, 0));
        let mut txn = environment.env.write_txn().unwrap();
        environment.tables.downgrade(&mut txn, &handle).unwrap();
        txn.commit().unwrap();
        drop(environment);
        std::fs::write(&format, "millstream embedded log, format 1\n").unwrap();
        let environment = open(dir.path()).unwrap();
        assert_eq!(extents(&environment), before);
        assert_eq!(std::fs::read_to_string(&format).unwrap(), "millstream embedded log, format 2\n");
    }

    /// Readers enough for the scheduler to stop each of them at every instruction now and then.
    #[test]
    fn what_a_snapshot_has_shown_no_later_one_has_not() {
        const READERS: usize = 144;
        const COMMITS: usize = 1_000;
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let environment = open(dir.path()).unwrap();
        environment.commit(topic("t")).unwrap();
        let handle = environment.snapshot().unwrap().handle("t").unwrap();
        let ended = std::sync::atomic::AtomicBool::new(false);
        let look = || {
            let (mut seen, mut looks) = (0, 0_u64);
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                let end = environment.snapshot().unwrap().offsets(&handle, 0).unwrap().end;
                assert!(end >= seen, "{end} behind {seen} at look {looks}");
                (seen, looks) = (end, looks + 1);
            }
        };
        std::thread::scope(|scope| {
            (0..READERS).for_each(|_| drop(scope.spawn(look)));
            for _ in 0..COMMITS {
                let runs = vec![Run { handle: handle.clone(), partition: 0, drafts: drafts() }];
                environment.commit(Change::Append(Append { runs, ..Append::default() })).unwrap();
            }
            ended.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }

    /// The one's look cannot end while somebody else holds the lock of those who write.
    #[test]
    fn a_log_that_is_looked_through_keeps_no_other_one_from_being_opened() {
        let [slow, other] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        drop(open(slow.path()).unwrap());
        let lock = directory::write_lock(slow.path()).unwrap();
        let held = lock.hold(Duration::ZERO).unwrap();
        std::thread::scope(|scope| {
            let opening = scope.spawn(|| open(slow.path()).map(drop));
            std::thread::sleep(Duration::from_millis(200));
            open(other.path()).unwrap();
            assert!(!opening.is_finished());
            drop(held);
            opening.join().unwrap().unwrap();
        });
    }

    /// Changes that wait while another process holds the lock are one transaction.
    #[test]
    fn waiting_changes_share_a_commit() {
        let dir = tempfile::tempdir().unwrap();
        let environment = open(dir.path()).unwrap();
        let lock = directory::write_lock(&environment.dir).unwrap();
        let before = environment.last_commit();
        let held = lock.hold(Duration::ZERO).unwrap();
        let first = environment.begin(topic("first"));
        std::thread::sleep(Duration::from_millis(50));
        let rest: Vec<Receipt> = (0..20).map(|i| environment.begin(topic(&format!("t{}", i % 10)))).collect();
        drop(held);
        first.wait().unwrap();
        let refused = rest.into_iter().map(Receipt::wait).filter(Result::is_err).count();
        assert_eq!(refused, 10, "each name once, and a refused change drops only itself");
        assert_eq!(environment.last_commit() - before, 2);
    }
}
