//! The manifest's `[config]` table.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// What the operator configured for this plugin: a JSON object, empty when there is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config(Map<String, Value>);

impl Config {
    pub(crate) fn parse(text: &str) -> Result<Config, String> {
        serde_json::from_str(text).map(Config).map_err(|error| format!("the configuration is no JSON object: {error}"))
    }

    /// One setting; `None` when it is not set. The error names it.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, String> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        T::deserialize(value).map(Some).map_err(|error| format!("[config] {name} = {value}: {error}"))
    }

    /// The whole table as a type of one's own, best with `#[serde(deny_unknown_fields, default)]`.
    pub fn parse_into<T: DeserializeOwned>(&self) -> Result<T, String> {
        T::deserialize(&Value::Object(self.0.clone())).map_err(|error| format!("[config]: {error}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_setting_of_the_wrong_type_is_named() {
        let config = Config::parse(r#"{"limit":"ten"}"#).unwrap();
        assert_eq!(config.get::<u32>("other"), Ok(None));
        assert_eq!(config.get::<String>("limit"), Ok(Some("ten".to_string())));
        assert!(config.get::<u32>("limit").unwrap_err().starts_with("[config] limit = \"ten\": "));
    }
}
