//! A value that may be a secret, kept outside the manifest.

use std::io;

use toml::de::DeValue;

use super::value::{Value, Wrong, property};

/// What stands in for a secret wherever settings are shown.
pub const HIDDEN: &str = "***";

/// A text, or where to read it. Never printed: a password written straight into the manifest is one too.
#[derive(Clone, PartialEq, Eq)]
pub enum Setting {
    Plain(String),
    Secret(Secret),
}

/// Where a secret is kept.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// `{ env = "NAME" }`: an environment variable of the host process.
    Env(String),
    /// `{ file = "PATH" }`: a file's text, without the newline at its end.
    File(String),
}

impl Setting {
    /// The value itself. The engine does no I/O: `env` and `file` are how the host reads a variable and a file.
    pub fn resolve(
        &self,
        env: &dyn Fn(&str) -> Option<String>,
        file: &dyn Fn(&str) -> io::Result<String>,
    ) -> io::Result<String> {
        match self {
            Setting::Plain(text) => Ok(text.clone()),
            Setting::Secret(Secret::Env(name)) => env(name).ok_or_else(|| {
                io::Error::new(io::ErrorKind::NotFound, format!("the environment variable {name} is not set"))
            }),
            Setting::Secret(Secret::File(path)) => match file(path) {
                Ok(text) => Ok(text.strip_suffix('\n').map(|text| text.trim_end_matches('\r')).unwrap_or(&text).into()),
                Err(why) => Err(io::Error::new(why.kind(), format!("the secret's file {path}: {why}"))),
            },
        }
    }

    pub fn plain(&self) -> Option<&str> {
        match self {
            Setting::Plain(text) => Some(text),
            Setting::Secret(_) => None,
        }
    }
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Value for Setting {
    fn read(value: &DeValue<'_>) -> Result<Setting, Wrong> {
        let place = |name: &str| match value {
            DeValue::Table(table) if table.len() == 1 => {
                table.get(name).and_then(|place| place.get_ref().as_str()).filter(|place| !place.is_empty())
            }
            _ => None,
        };
        if let Some(name) = place("env") {
            return Ok(Setting::Secret(Secret::Env(name.to_owned())));
        }
        if let Some(path) = place("file") {
            return Ok(Setting::Secret(Secret::File(path.to_owned())));
        }
        match property(value) {
            Ok(text) => Ok(Setting::Plain(text)),
            Err(wrong) => Err(Wrong {
                message: format!("{}; a secret is {{ env = \"NAME\" }} or {{ file = \"PATH\" }}", wrong.message),
                ..wrong
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_secret_is_read_from_where_it_is_kept_and_never_printed() {
        let env = |name: &str| (name == "KAFKA_PASSWORD").then(|| "from env".to_owned());
        let file = |path: &str| match path {
            "secret" => Ok("from file\n".to_owned()),
            _ => Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        let resolve = |setting: &Setting| setting.resolve(&env, &file);
        assert_eq!(resolve(&Setting::Plain("x".into())).unwrap(), "x");
        assert_eq!(resolve(&Setting::Secret(Secret::Env("KAFKA_PASSWORD".into()))).unwrap(), "from env");
        assert_eq!(resolve(&Setting::Secret(Secret::File("secret".into()))).unwrap(), "from file");
        let missing = resolve(&Setting::Secret(Secret::Env("NOPE".into()))).unwrap_err();
        assert!(missing.to_string().contains("NOPE"), "{missing}");
        let missing = resolve(&Setting::Secret(Secret::File("nope".into()))).unwrap_err();
        assert!(missing.to_string().contains("nope"), "{missing}");
        assert_eq!(format!("{:?} {}", Setting::Plain("hunter2".into()), Setting::Plain("hunter2".into())), "*** ***");
    }
}
