//! An application as the command line names it: a manifest, a directory that holds one or a project, or a component.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use millstream_engine::config::{ConfigError, Manifest, Setting, bad_manifest};
use millstream_engine::error::{Problem, exit};
use millstream_engine::topology;

use super::build;
use crate::log;
use crate::wasm::{Component, Engine};

/// The manifest's name in its directory.
pub const MANIFEST: &str = "app.toml";

/// The log of an application whose manifest names none, beside it.
pub const DEFAULT_LOG: &str = "embedded:.millstream/log";

/// A manifest and where it stands; nothing was started or built.
#[derive(Clone, Debug)]
pub struct Application {
    pub manifest: Manifest,
    /// What its relative paths are relative to.
    pub dir: PathBuf,
}

impl Application {
    /// Nothing but the manifest is looked at.
    pub fn open(path: &Path) -> Result<Application, Problem> {
        Application::open_with(path, &|_| None)
    }

    /// The same, where a bad manifest is held against its component too, so that all errors come at once. `engine` is
    /// asked for only then: a component is hostile until it is compiled, and that costs.
    pub fn open_with(path: &Path, engine: &dyn Fn(&Manifest) -> Option<Engine>) -> Result<Application, Problem> {
        if path.is_dir() {
            let manifest = path.join(MANIFEST);
            let bare = !manifest.exists() && build::is_project(path);
            return if bare { Application::of_project(path) } else { Application::open_manifest(&manifest, engine) };
        }
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("wasm") => Application::of_component(path),
            _ => Application::open_manifest(path, engine),
        }
    }

    fn open_manifest(file: &Path, engine: &dyn Fn(&Manifest) -> Option<Engine>) -> Result<Application, Problem> {
        let name = file.display().to_string();
        let text = fs::read_to_string(file).map_err(|error| unreadable(name.clone(), &error))?;
        let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let (draft, mut errors) = Manifest::draft(&text, &name);
        let application = draft.map(|manifest| Application { manifest, dir: dir.to_owned() });
        match application {
            Some(application) if errors.is_empty() => Ok(application),
            Some(application) => {
                let mut more = errors_against_component(&application, engine);
                more.retain(|error| errors.iter().all(|known| known.message != error.message));
                errors.append(&mut more);
                errors.sort_by_key(|error| error.line);
                Err(bad_manifest(&errors))
            }
            None => Err(bad_manifest(&errors)),
        }
    }

    /// A plugin project without a manifest: its directory's name is the id, everything else is as by default.
    fn of_project(dir: &Path) -> Result<Application, Problem> {
        let name = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        let id = name.file_name().unwrap_or_default().to_string_lossy();
        let manifest =
            Manifest::default_for(&id, &dir.display().to_string()).map_err(|errors| bad_manifest(&errors))?;
        Ok(Application { manifest, dir: dir.to_owned() })
    }

    /// A component without a manifest: its file's name is the id, everything else is as by default.
    fn of_component(file: &Path) -> Result<Application, Problem> {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let id = name.split('.').next().unwrap_or_default();
        let manifest = Manifest::default_for(id, &file.display().to_string());
        let mut manifest = manifest.map_err(|errors| bad_manifest(&errors))?;
        manifest.component = std::path::absolute(file).unwrap_or_else(|_| file.to_owned()).display().to_string();
        Ok(Application { manifest, dir: PathBuf::from(".") })
    }

    /// The component's file, or the directory with the project it is built from.
    pub fn component(&self) -> PathBuf {
        self.dir.join(&self.manifest.component)
    }

    /// Where local state lies; `asked` is the command line's word.
    pub fn state_dir(&self, asked: Option<&Path>) -> PathBuf {
        asked.map_or_else(|| self.dir.join(&self.manifest.state_dir), Path::to_path_buf)
    }

    /// The log's URL and how it is opened. The URL of the command line is relative to the current directory, the
    /// manifest's own to the manifest.
    pub fn log(&self, asked: Option<&str>) -> Result<(String, log::Options), Problem> {
        let kafka = self.kafka_properties()?;
        Ok(match asked {
            Some(url) => (url.to_owned(), log::Options { kafka, base: None }),
            None => {
                let url = self.manifest.log.as_deref().unwrap_or(DEFAULT_LOG);
                (url.to_owned(), log::Options { kafka, base: Some(self.dir.clone()) })
            }
        })
    }

    /// `[kafka]` with its secrets.
    fn kafka_properties(&self) -> Result<BTreeMap<String, String>, Problem> {
        let resolve = |(name, setting): (&String, &Setting)| {
            Ok((name.clone(), self.resolve(&format!("kafka.\"{name}\""), setting)?))
        };
        self.manifest.kafka.properties.iter().map(resolve).collect()
    }

    /// A setting's value, read from where it is kept. `key` is what the manifest calls it.
    pub(super) fn resolve(&self, key: &str, setting: &Setting) -> Result<String, Problem> {
        let env = |name: &str| std::env::var(name).ok();
        let file = |path: &str| fs::read_to_string(self.dir.join(path));
        setting.resolve(&env, &file).map_err(|error| {
            Problem::new("SecretNotFound", "E0102", exit::BAD_PLAN, format!("{key}: {error}"))
                .field("file", self.manifest.file.clone())
                .field("key", key)
                .why("without it the log or the provider does not let the application in")
                .fix("set the variable or write the file; a file's path is relative to the manifest")
        })
    }
}

fn unreadable(file: String, error: &std::io::Error) -> Problem {
    let message = format!("cannot be read: {error}");
    bad_manifest(&[ConfigError { file, line: 1, key: String::new(), message, suggestion: None }])
        .fix(format!("name a manifest, a directory that holds {MANIFEST}, or a component"))
}

/// What else is wrong with a manifest that is bad already, so that all comes at once: the names that its component does
/// not have. A component that is not built yet, or is bad itself, has no say.
fn errors_against_component(
    application: &Application,
    engine: &dyn Fn(&Manifest) -> Option<Engine>,
) -> Vec<ConfigError> {
    let manifest = &application.manifest;
    let graph = || {
        let bytes = fs::read(application.component()).ok()?;
        let engine = engine(manifest)?;
        let component = Component::load(&engine, &bytes, manifest.limits).ok()?;
        let config = serde_json::Value::Object(manifest.config.clone()).to_string();
        topology::build(&component.describe(&manifest.id, &config).ok()?).ok()
    };
    graph().map_or_else(Vec::new, |graph| topology::manifest_errors(manifest, &graph))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_application_is_a_manifest_a_directory_or_a_component() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(MANIFEST), "id = \"mill\"\nstate_dir = \"s\"\n").unwrap();
        for path in [dir.path().to_owned(), dir.path().join(MANIFEST)] {
            let app = Application::open(&path).unwrap();
            assert_eq!((app.manifest.id.as_str(), &*app.dir), ("mill", dir.path()));
            assert_eq!(app.state_dir(None), dir.path().join("s"));
            assert_eq!(app.state_dir(Some(Path::new("x"))), Path::new("x"));
        }
        let app = Application::open(Path::new("dist/word-count.component.wasm")).unwrap();
        assert_eq!((app.manifest.id.as_str(), &*app.dir), ("word-count", Path::new(".")));
        assert!(app.component().is_absolute());
    }

    #[test]
    fn the_command_lines_log_wins_and_is_not_relative_to_the_manifest() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(MANIFEST), "id = \"mill\"").unwrap();
        let app = Application::open(dir.path()).unwrap();
        let (url, options) = app.log(None).unwrap();
        assert_eq!((url.as_str(), options.base.as_deref()), (DEFAULT_LOG, Some(dir.path())));
        let (url, options) = app.log(Some("embedded:x")).unwrap();
        assert_eq!((url.as_str(), options.base), ("embedded:x", None));
    }

    #[test]
    fn a_secret_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = "id = \"mill\"\n[kafka]\n\"sasl.password\" = { file = \"nowhere\" }\n";
        fs::write(dir.path().join(MANIFEST), manifest).unwrap();
        let problem = Application::open(dir.path()).unwrap().log(None).unwrap_err();
        assert_eq!((problem.name, problem.exit), ("SecretNotFound", exit::BAD_PLAN));
        assert!(problem.message.contains("sasl.password"), "{}", problem.message);
    }

    #[test]
    fn a_manifest_that_is_not_there_is_a_bad_manifest() {
        let problem = Application::open(Path::new("/nowhere")).unwrap_err();
        assert_eq!((problem.name, problem.exit), ("BadManifest", exit::BAD_PLAN));
    }
}
