//! Internal topics: their names and configurations.
use std::collections::BTreeMap;
pub fn changelog_topic(application: &str, store: &str) -> String { format!("{application}-{store}-changelog") }
pub fn repartition_topic(application: &str, name: &str) -> String { format!("{application}-{name}-repartition") }
pub fn tasks_topic(application: &str, name: &str) -> String { format!("{application}-{name}-tasks") }
pub fn key_value_configs(_g: &BTreeMap<String, String>, _s: &BTreeMap<String, String>) -> BTreeMap<String, String> { BTreeMap::new() }
pub fn repartition_configs(_g: &BTreeMap<String, String>) -> BTreeMap<String, String> { BTreeMap::new() }
