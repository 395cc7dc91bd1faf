//! The global tables of an application in one process.

use std::sync::Arc;

use crate::config::Provider;
use crate::record::{Records, TopicId};
use crate::store::{Base, Error, GlobalTable, GlobalTables, OFFSETS, SizeLimits, Taken, TaskStores};
use crate::topology::{Plan, SubtopologyPlan};

/// All of them, for their one owner.
pub struct Globals {
    /// By provider that has any.
    kept: Vec<GlobalTables>,
    tables: Vec<Global>,
    limits: SizeLimits,
}

/// A global table.
#[derive(Clone, Debug)]
pub struct Global {
    /// Its store's number and name.
    pub number: u32,
    pub name: String,
    pub topic: TopicId,
    topic_name: String,
    pub partitions: i32,
    /// Which of the bases it is in, and its place there.
    kept: usize,
    slot: usize,
}

/// All of them, for those who look them up.
#[derive(Clone, Default)]
pub struct GlobalViews(Arc<[View]>);

struct View {
    number: u32,
    name: String,
    table: GlobalTable,
    /// The first one of its base.
    counts: bool,
}

impl Globals {
    /// `open` gives the base of a provider with stores of these names: memory, or LMDB.
    pub fn open(
        plan: &Plan,
        limits: SizeLimits,
        open: &mut dyn FnMut(&Provider, &[&str]) -> Result<Box<dyn Base>, Error>,
    ) -> Result<Globals, Error> {
        let mut globals = Globals { kept: Vec::new(), tables: Vec::new(), limits };
        for provider in &[Provider::Lmdb, Provider::Memory] {
            let of_provider = || plan.globals().filter(|(number, _)| plan.stores[*number].provider == *provider);
            let name = |number: usize| plan.stores[number].description.name.as_str();
            let names: Vec<&str> = of_provider().map(|(number, _)| name(number)).collect();
            if names.is_empty() {
                continue;
            }
            let kept = globals.kept.len();
            let offsets: Vec<String> = names.iter().map(|name| format!("{OFFSETS}{name}")).collect();
            let stores: Vec<&str> = names.iter().copied().chain(offsets.iter().map(String::as_str)).collect();
            globals.kept.push(GlobalTables::new(open(provider, &stores)?, names.len()));
            globals.tables.extend(of_provider().enumerate().map(|(slot, (number, topic))| Global {
                number: number as u32,
                name: name(number).to_owned(),
                topic,
                topic_name: plan.topics[topic.0 as usize].name.clone(),
                partitions: plan.topics[topic.0 as usize].partitions,
                kept,
                slot,
            }));
        }
        Ok(globals)
    }

    pub fn tables(&self) -> &[Global] {
        &self.tables
    }

    pub fn views(&self) -> GlobalViews {
        let view = |table: &Global| View {
            number: table.number,
            name: table.name.clone(),
            table: self.kept[table.kept].table(table.slot),
            counts: table.slot == 0,
        };
        GlobalViews(self.tables.iter().map(view).collect())
    }

    /// See [`GlobalTables::offsets`]. `at` is a place in [`Globals::tables`], as below.
    pub fn offsets(&self, at: usize) -> Result<Option<Vec<i64>>, Error> {
        let table = &self.tables[at];
        self.kept[table.kept].offsets(table.slot, &table.topic_name, table.partitions)
    }

    /// See [`GlobalTables::begin`].
    pub fn begin(&mut self, at: usize, offsets: &[i64]) -> Result<(), Error> {
        let table = &self.tables[at];
        self.kept[table.kept].begin(table.slot, &table.topic_name, offsets)
    }

    /// See [`GlobalTables::take`].
    pub fn take(&mut self, at: usize, partition: i32, records: &Records, next: i64) -> Result<Taken, Error> {
        let table = &self.tables[at];
        self.kept[table.kept].take(table.slot, partition, (records, next), self.limits)
    }

    /// See [`GlobalTables::set_whole`].
    pub fn set_whole(&mut self, is_whole: bool) {
        self.kept.iter_mut().for_each(|kept| kept.set_whole(is_whole));
    }

    /// When the base of a table last stood where its topics end; see [`Base::whole_at`].
    pub fn whole_at(&self, at: usize) -> Result<Option<i64>, Error> {
        self.kept[self.tables[at].kept].whole_at()
    }

    pub fn mark_whole(&mut self, now: i64) -> Result<(), Error> {
        self.kept.iter_mut().try_for_each(|kept| kept.mark_whole(now))
    }

    /// See [`GlobalTables::damage`].
    pub fn damage(&self) -> Option<String> {
        self.kept.iter().find_map(GlobalTables::damage)
    }

    /// See [`GlobalTables::wipe`].
    pub fn wipe(&mut self) -> Result<(), Error> {
        self.kept.iter_mut().try_for_each(GlobalTables::wipe)
    }

    pub fn close(&mut self) -> Result<(), Error> {
        self.kept.iter_mut().try_for_each(GlobalTables::close)
    }
}

impl GlobalViews {
    /// Gives a task those that its nodes look up.
    pub fn lend(&self, subtopology: &SubtopologyPlan, stores: &mut TaskStores) {
        for view in self.0.iter().filter(|view| subtopology.globals.contains(&(view.number as usize))) {
            stores.add_global(view.number, &view.name, view.table.clone());
        }
    }

    /// All of them, to be read outside of any task.
    pub fn all(&self) -> TaskStores {
        let mut stores = TaskStores::default();
        self.0.iter().for_each(|view| stores.add_global(view.number, &view.name, view.table.clone()));
        stores
    }

    /// A table by the name of its store.
    pub fn table(&self, name: &str) -> Option<&GlobalTable> {
        self.0.iter().find(|view| view.name == name).map(|view| &view.table)
    }

    pub fn are_whole(&self) -> bool {
        self.0.iter().all(|view| view.table.is_whole())
    }

    /// Records without a key, which no table has taken.
    pub fn dropped(&self) -> u64 {
        // Tables that are kept together count together.
        self.0.iter().filter(|view| view.counts).map(|view| view.table.dropped()).sum()
    }
}
