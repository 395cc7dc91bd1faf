//! The topologies of the cases: `tests/guests/cases`, the component, which is told by its configuration which one to be.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use millstream::wasm::{Component, Instance, Owner};
use millstream_engine::config::Limits;
use millstream_engine::functions::Functions;
use millstream_engine::topology::Description;
use millstream_sdk::Codec;
use millstream_sdk::prelude::{Data, Session, Windowed};
use serde_json::{Value, json};

use crate::{guests, providers};

/// Where everything is forwarded to.
pub(super) const OUT: &str = "out";

/// The kinds that this version knows.
const KINDS: [&str; 16] = [
    "group_agg",
    "windowed_agg",
    "stream_stream_join",
    "stream_table_join",
    "table_table_join",
    "fk_join",
    "table_group",
    "table_ops",
    "to_table",
    "cogroup",
    "kv_store",
    "ttl_store",
    "session_store",
    "versioned_store",
    "punctuate",
    "chain",
];

/// How Kafka Streams calls what is called after a name here.
pub(super) const RENAMED: [(&str, &str); 3] = [
    ("fk-subscription-registration-topic", "KTABLE-FK-JOIN-SUBSCRIPTION-REGISTRATION-0000000004-topic"),
    ("fk-subscription-response-topic", "KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-0000000012-topic"),
    ("fk-subscription-store-changelog", "KTABLE-FK-JOIN-SUBSCRIPTION-STATE-STORE-0000000008-changelog"),
];

/// Compiled once a process.
static CASES: Mutex<Option<Component>> = Mutex::new(None);

pub(super) struct Topology {
    component: Component,
    config: Arc<str>,
    /// As the component describes itself.
    described: Arc<Description>,
    /// As the case has it.
    pub description: Description,
    pub values: Values,
}

/// What the values in [`OUT`] are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Values {
    Text,
    /// A whole number: a count or a sum.
    Count,
    /// The same under the keys of windows.
    Windowed(Keys, bool),
    /// A forward as the case shows it, JSON.
    Shown,
}

impl Topology {
    /// `None`: a kind of a later version.
    pub fn of(case: &Value) -> Result<Option<Topology>> {
        if !case["kind"].as_str().is_some_and(|kind| KINDS.contains(&kind)) {
            return Ok(None);
        }
        let component = component()?;
        let config: Arc<str> = json!({"topology": case}).to_string().into();
        let described = component.describe("app", &config).with_context(|| case.to_string())?;
        let mut description = described.clone();
        if case["source_materialized"] == false {
            leave_store_out(&mut description, "src")?;
        }
        let described = Arc::new(described);
        Ok(Some(Topology { component, config, described, description, values: Values::of(case)? }))
    }

    /// An instance of the component, for a task.
    pub fn functions(&self) -> Box<dyn Functions> {
        let owner = Owner { application: "app".into(), task: None };
        Box::new(Instance::new(self.component.clone(), self.config.clone(), self.described.clone(), owner))
    }
}

impl Values {
    fn of(case: &Value) -> Result<Values> {
        let counts = case["agg"] == "count" || case["agg"] == "sum";
        let scripts = ["kv_store", "ttl_store", "session_store", "versioned_store", "punctuate"];
        if case.get("suppress").is_some() || scripts.contains(&case["kind"].as_str().unwrap_or_default()) {
            return Ok(Values::Shown);
        }
        Ok(match case.get("window") {
            Some(window) => Values::Windowed(Keys::of(window)?, counts),
            None if counts => Values::Count,
            None => Values::Text,
        })
    }
}

/// How the keys of a topic are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    /// Of windows of this size, ms.
    Time(u64),
    Session,
}

impl Keys {
    fn of(window: &Value) -> Result<Keys> {
        let size = match window["type"].as_str() {
            Some("session") => return Ok(Keys::Session),
            Some("sliding") => window["diff"].as_u64(),
            _ => window["size"].as_u64(),
        };
        size.map(Keys::Time).context("a window without a size")
    }

    pub fn shown(self, key: Option<&[u8]>) -> Result<Value> {
        let key = key.context("a window without a key")?;
        let (key, start, end) = match self {
            Keys::Time(size) => {
                let Windowed { key, start, end, .. } =
                    Windowed::<String>::from_topic(key, Duration::from_millis(size)).map_err(anyhow::Error::new)?;
                (key, start, end)
            }
            Keys::Session => {
                let Windowed { key, start, end, .. } =
                    <Windowed<String, Session> as Data>::Codec::decode(key).map_err(anyhow::Error::new)?;
                (key, start, end)
            }
        };
        Ok(json!({"key": key, "start": start, "end": end}))
    }
}

/// The component of `tests/guests/cases`.
fn component() -> Result<Component> {
    let mut loaded = CASES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(component) = &*loaded {
        return Ok(component.clone());
    }
    let engine = providers::engine()?;
    let bytes = std::fs::read(guests::plugin(engine, "tests/guests/cases")?)?;
    Ok(loaded.insert(Component::load(engine, &bytes, Limits::default())?).clone())
}

/// A table without a store: the SDK's tables all have one, the contract's need not.
fn leave_store_out(description: &mut Description, store: &str) -> Result<()> {
    description.stores.retain(|found| found.name != store);
    let node = description.nodes.iter_mut().find(|node| node.store.as_deref() == Some(store));
    node.context("a case whose source has no store to leave out")?.store = None;
    Ok(())
}
