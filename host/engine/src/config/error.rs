//! What is wrong with a manifest: one error a place, all of them at once.

use crate::error::{Problem, exit};

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The manifest as the user named it.
    pub file: String,
    /// From 1; of something that is missing, the line of the table it is missing in.
    pub line: usize,
    /// With all its tables, as TOML writes it: `stores.user-counts.provider`, `kafka."group.id"`.
    pub key: String,
    pub message: String,
    /// What was probably meant: the nearest known key or value, or the knob to use instead.
    pub suggestion: Option<String>,
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        self.suggestion.as_ref().map_or(Ok(()), |suggestion| write!(f, "; did you mean `{suggestion}`?"))
    }
}

impl std::error::Error for ConfigError {}

impl ConfigError {
    /// `{"file":…,"line":…,"key":…,"message":…,"suggestion":…}`
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "file": self.file,
            "line": self.line,
            "key": self.key,
            "message": self.message,
            "suggestion": self.suggestion,
        })
    }
}

/// All errors of a manifest as the one problem that users see.
pub fn bad_manifest(errors: &[ConfigError]) -> Problem {
    let count = match errors {
        [_] => "1 error".to_owned(),
        _ => format!("{} errors", errors.len()),
    };
    let lines: String = errors.iter().map(|error| format!("\n  {error}")).collect();
    let list: Vec<serde_json::Value> = errors.iter().map(ConfigError::to_json).collect();
    Problem::new("BadManifest", "E0101", exit::BAD_PLAN, format!("the manifest has {count}:{lines}"))
        .field("errors", list)
        .why("a key that is ignored, or read as something else, would change what the application does")
        .fix("correct the named lines; `millstream validate` checks a manifest without starting anything")
}

/// The candidate that `name` was probably meant to be.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    /// Half of the letters right: below it, suggestions are guesses ("foo" is no "log").
    const SIMILARITY_MIN: f64 = 0.5;
    candidates
        .into_iter()
        .map(|candidate| (strsim::normalized_damerau_levenshtein(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate.to_owned())
}
