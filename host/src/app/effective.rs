//! What each store is kept by in the end, and who has said so: the component, the manifest or nobody.

use millstream_engine::changelog::{StoreKind, changelog_configs};
use millstream_engine::config::{Provider, StoreChangelog};
use millstream_engine::topology::{Blueprint, description::Store};
use serde::Serialize;
use serde_json::Value;

/// A store with its options.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Effective {
    pub name: String,
    pub kind: String,
    pub options: Vec<Choice>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Choice {
    pub name: String,
    pub value: Value,
    pub origin: Origin,
    /// The manifest's table that says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    Code,
    Manifest,
    Default,
}

impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.table, self.origin) {
            (Some(table), _) => f.write_str(table),
            (None, Origin::Code) => f.write_str("code"),
            (None, Origin::Manifest | Origin::Default) => f.write_str("default"),
        }
    }
}

/// Of all stores, in the component's order.
pub fn stores(blueprint: &Blueprint) -> Vec<Effective> {
    let store = |store: &Store| Effective {
        name: store.name.clone(),
        kind: blueprint.kind(store).name().to_owned(),
        options: options(blueprint, store),
    };
    blueprint.graph.stores.iter().map(store).collect()
}

fn options(blueprint: &Blueprint, store: &Store) -> Vec<Choice> {
    let (manifest, table) = (&blueprint.manifest, format!("[stores.{}]", store.name));
    let own = manifest.stores.get(&store.name);
    let mut found = vec![code("key", &*store.key), code("value", &*store.value)];
    if let StoreKind::Window { size_ms, duplicates, .. } = blueprint.kind(store) {
        found.push(code("window_size_ms", size_ms));
        found.push(match duplicates {
            true => code("retain_duplicates", true),
            false => default("retain_duplicates", false),
        });
    }
    if let Some(retention_ms) = blueprint.kind(store).retention_ms() {
        found.push(match own.and_then(|own| own.retention) {
            Some(_) => said("retention_ms", retention_ms, &table),
            None => code("retention_ms", retention_ms),
        });
    }
    let provider = blueprint.provider(store);
    let declared = store.provider.as_deref().and_then(|name| blueprint.manifest.provider_named(name));
    let shown = provider.to_string();
    found.push(match (own.and_then(|own| own.provider.as_ref()), declared, &manifest.state.provider) {
        (Some(_), ..) => said("provider", shown, &table),
        (None, Some(_), _) => code("provider", shown),
        (None, None, Some(_)) => said("provider", shown, "[state]"),
        (None, None, None) => default("provider", shown),
    });
    if provider == Provider::Lmdb {
        found.push(match own.and_then(|own| own.max_size) {
            Some(size) => said("max_size", size.to_string(), &table),
            None if manifest.state.is_sized => said("max_size", manifest.state.max_size.to_string(), "[state]"),
            None => default("max_size", manifest.state.max_size.to_string()),
        });
    }
    found.push(match (own.and_then(|own| own.cache), store.cache_bytes) {
        (Some(bytes), _) => said("cache_bytes", bytes.0, &table),
        (None, Some(bytes)) => code("cache_bytes", bytes),
        (None, None) => default("cache_bytes", 0),
    });
    found.extend(changelog(blueprint, store, &table));
    found
}

fn changelog(blueprint: &Blueprint, store: &Store, table: &str) -> Vec<Choice> {
    let manifest = &blueprint.manifest;
    let said_own = manifest.stores.get(&store.name).and_then(|own| own.changelog.as_ref());
    let own = match said_own {
        Some(StoreChangelog::On(own)) => own.clone(),
        Some(StoreChangelog::Off) => return vec![said("changelog", false, table)],
        None => Default::default(),
    };
    let place = format!("{}.changelog]", table.trim_end_matches(']'));
    if let Some(topic) = blueprint.global_topic(store) {
        return vec![code("changelog", topic)];
    }
    if blueprint.reuses_source(store) {
        let topic = blueprint.logged_topic(store);
        let reused = |option: &str, value: Value| match own.reuse_source_topic {
            Some(_) => said(option, value, &place),
            None => code(option, value),
        };
        return vec![reused("changelog", topic.into()), reused("reuse_source_topic", true.into())];
    }
    let Some(topic) = blueprint.changelog_topic(store) else { return vec![code("changelog", false)] };
    let mut found = vec![match own.topic {
        Some(_) => said("changelog", topic, &place),
        None => default("changelog", topic),
    }];
    let all = &manifest.changelog.topics;
    found.push(match (own.replication_factor, all.replication_factor) {
        (Some(factor), _) => said("replication_factor", factor.get(), &place),
        (None, Some(factor)) => said("replication_factor", factor.get(), "[changelog]"),
        (None, None) => default("replication_factor", Value::Null),
    });
    for (name, value) in changelog_configs(blueprint.kind(store), &all.topic_configs, &own.topic_configs) {
        let option = format!("topic_configs.{name}");
        found.push(match (own.topic_configs.contains_key(&name), all.topic_configs.contains_key(&name)) {
            (true, _) => said(&option, value, &place),
            (false, true) => said(&option, value, "[changelog]"),
            (false, false) => default(&option, value),
        });
    }
    found.push(match own.skip_restoration {
        true => said("skip_restoration", true, &place),
        false => default("skip_restoration", false),
    });
    found
}

fn code(name: &str, value: impl Into<Value>) -> Choice {
    Choice { name: name.to_owned(), value: value.into(), origin: Origin::Code, table: None }
}

fn default(name: &str, value: impl Into<Value>) -> Choice {
    Choice { name: name.to_owned(), value: value.into(), origin: Origin::Default, table: None }
}

fn said(name: &str, value: impl Into<Value>, table: &str) -> Choice {
    Choice { name: name.to_owned(), value: value.into(), origin: Origin::Manifest, table: Some(table.to_owned()) }
}
