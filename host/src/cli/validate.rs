//! `validate APP`

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use millstream_engine::config::Limit;
use millstream_engine::topology::Plan;
use serde::Serialize;

use super::output::{self, Output};
use super::{Global, Result};
use crate::app::effective::{self, Choice, Effective};
use crate::app::{Loaded, orphans, plan, topics};
use crate::lmdb::StateDirectory;

#[derive(Debug, Args)]
pub struct Validate {
    /// A manifest, a directory that holds app.toml, or a component
    app: PathBuf,
    /// Where the application keeps its state; default: the manifest's
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// What a start would do; everything that it would refuse is an error instead.
#[derive(Debug, Serialize)]
struct Valid {
    id: String,
    log: String,
    guarantee: String,
    /// What the manifest names.
    component: String,
    /// What was swapped in before and would run in its place: then everything else here is said of this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    swapped_in: Option<String>,
    /// Without secrets.
    kafka: BTreeMap<String, String>,
    stores: Vec<Effective>,
    internal_topics: Vec<InternalTopic>,
    limits: Vec<ShownLimit>,
}

#[derive(Debug, Serialize)]
struct InternalTopic {
    name: String,
    partitions: i32,
    /// A start creates what does not exist.
    exists: bool,
    configs: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct ShownLimit {
    name: &'static str,
    value: String,
    default: String,
    reason: &'static str,
}

impl Validate {
    pub fn run(self, global: &Global) -> Result {
        let application = global.application(&self.app)?;
        let engine = global.engine(std::slice::from_ref(&application))?;
        let loaded = Loaded::load_to_look(&engine, &self.app, self.state_dir.as_deref())?;
        let log = global.open_log_of(&application)?;
        let plan = plan::plan(&*log, &loaded.blueprint)?;
        let state_dir = application.state_dir(self.state_dir.as_deref());
        let directory = StateDirectory::path_of(&state_dir, &application.manifest.id);
        let kept = orphans::check(&*log, &loaded.blueprint, &directory, false)?;
        topics::check_recreated(&*log, &plan, &kept, false)?;
        let valid = Valid::of(&loaded, &plan, log.url());
        output::object(self.output.format, &valid, || valid.text())
    }
}

impl Valid {
    fn of(loaded: &Loaded, plan: &Plan, log: &str) -> Valid {
        let manifest = &loaded.application.manifest;
        let internal = |topic: &millstream_engine::topology::TopicPlan| {
            let internal = topic.internal.as_ref()?;
            let (exists, configs) = (internal.exists, internal.configs.clone());
            Some(InternalTopic { name: topic.name.clone(), partitions: topic.partitions, exists, configs })
        };
        let limit = |Limit { name, value, default, reason }| ShownLimit { name, value, default, reason };
        Valid {
            id: manifest.id.clone(),
            log: log.to_owned(),
            guarantee: manifest.guarantee.to_string(),
            component: format!("sha256:{}", loaded.named.digest),
            swapped_in: loaded.is_swapped_in().then(|| format!("sha256:{}", loaded.component.digest())),
            kafka: manifest
                .kafka
                .shown()
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            stores: effective::stores(&loaded.blueprint),
            internal_topics: plan.topics.iter().filter_map(internal).collect(),
            limits: manifest.limits.rows().into_iter().map(limit).collect(),
        }
    }

    fn text(&self) -> String {
        let row = |topic: &InternalTopic| {
            let does = if topic.exists { "exists" } else { "is created at the start" };
            [topic.name.clone(), topic.partitions.to_string(), does.to_owned()]
        };
        let topics = output::table(["internal topic", "partitions", ""], &[1], self.internal_topics.iter().map(row));
        let row = |limit: &ShownLimit| [limit.name.to_owned(), limit.value.clone(), limit.reason.to_owned()];
        let limits = output::table(["limit", "value", "reason"], &[], self.limits.iter().map(row));
        let option = |(store, choice): (&Effective, &Choice)| {
            let value = choice.value.as_str().map_or_else(|| choice.value.to_string(), str::to_owned);
            [store.name.clone(), choice.name.clone(), value, choice.to_string()]
        };
        let options = self.stores.iter().flat_map(|store| store.options.iter().map(move |choice| (store, choice)));
        let stores = match self.stores.is_empty() {
            true => String::new(),
            false => format!("{}\n", output::table(["store", "option", "value", "from"], &[], options.map(option))),
        };
        let swapped_in = self.swapped_in.as_ref().map_or_else(String::new, |digest| {
            format!("\na start runs {digest}, which was swapped in for what the manifest names\n")
        });
        format!("{} is valid on {} ({})\n{swapped_in}\n{stores}{topics}\n{limits}", self.id, self.log, self.guarantee)
    }
}
