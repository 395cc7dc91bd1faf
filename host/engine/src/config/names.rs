//! What the manifest calls things, held against what the component calls them.

use std::collections::{BTreeMap, BTreeSet};

use super::error::{ConfigError, nearest};
use super::manifest::Manifest;
use super::policy::OnError;

/// The names in a component's description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Component<'a> {
    pub sources: Vec<Named<'a>>,
    /// What several of the sources are called together, with the name of each.
    pub families: Vec<(&'a str, &'a str)>,
    pub sinks: Vec<Named<'a>>,
    pub stores: Vec<&'a str>,
}

/// A source or a sink, with the topic the component gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    pub name: &'a str,
    pub topic: Option<&'a str>,
}

impl Manifest {
    /// The topic of a source: the manifest's word for it, else the component's, else its name.
    pub fn source_topic<'a>(&'a self, source: Named<'a>) -> &'a str {
        let own = self.sources.get(source.name).and_then(|source| source.topic.as_deref());
        own.or(source.topic).unwrap_or(source.name)
    }

    /// The topic of a sink, likewise.
    pub fn sink_topic<'a>(&'a self, sink: Named<'a>) -> &'a str {
        let own = self.sinks.get(sink.name).and_then(|sink| sink.topic.as_deref());
        own.or(sink.topic).unwrap_or(sink.name)
    }

    /// What of the manifest does not fit the component: names it does not have, two sources that read one topic, a
    /// dead letter that would be read again.
    pub fn check_against(&self, component: &Component<'_>) -> Vec<ConfigError> {
        let own = component.sources.iter().map(|source| source.name);
        let sources: Vec<&str> = own.chain(component.families.iter().map(|(family, _)| *family)).collect();
        let sinks: Vec<&str> = component.sinks.iter().map(|sink| sink.name).collect();
        let mut errors = self.unknown("sources", self.sources.iter().map(|(name, of)| (name, of.line)), &sources);
        errors.extend(self.unknown("sinks", self.sinks.iter().map(|(name, of)| (name, of.line)), &sinks));
        errors.extend(self.unknown("stores", self.stores.iter().map(|(name, of)| (name, of.line)), &component.stores));

        let families: BTreeSet<&str> = component.families.iter().map(|(family, _)| *family).collect();
        let renamed = families.into_iter().filter(|name| self.sources.get(*name).is_some_and(|of| of.topic.is_some()));
        let why = "stands for several topics; each of them has a table of its own, called like it";
        errors.extend(renamed.map(|name| self.about_source(name, why.to_owned())));

        let topics = component.sources.iter().map(|source| (source.name, self.source_topic(*source)));
        errors.extend(distinct_topics(topics.clone()).into_iter().map(|(name, why)| self.about_source(name, why)));
        let on_error = |name: &str| {
            let family = component.families.iter().find(|(_, member)| *member == name).map(|(family, _)| *family);
            let own = |name: &str| self.sources.get(name)?.on_error.as_ref();
            own(name).or_else(|| own(family?)).unwrap_or(&self.on_error)
        };
        let loops = topics.filter_map(|(name, topic)| Some((name, no_dead_letter_loop(topic, on_error(name))?)));
        errors.extend(loops.map(|(name, why)| self.about_source(name, why)));
        errors.sort_by_key(|error| error.line);
        errors
    }

    fn unknown<'a>(
        &self,
        table: &str,
        names: impl Iterator<Item = (&'a String, usize)>,
        known: &[&str],
    ) -> Vec<ConfigError> {
        let what = table.trim_end_matches('s');
        let error = |(name, line): (&String, usize)| ConfigError {
            file: self.file.clone(),
            line,
            key: format!("{table}.{name}"),
            message: format!("the component has no {what} {name:?}"),
            suggestion: nearest(name, known.iter().copied()),
        };
        names.filter(|(name, _)| !known.contains(&name.as_str())).map(error).collect()
    }

    fn about_source(&self, name: &str, message: String) -> ConfigError {
        ConfigError {
            file: self.file.clone(),
            line: self.sources.get(name).map_or(1, |source| source.line),
            key: format!("sources.{name}"),
            message,
            suggestion: None,
        }
    }
}

/// Which of these names stand for a topic that another one has already, and what to say about it.
pub(super) fn distinct_topics<'a>(topics: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<(&'a str, String)> {
    let mut first = BTreeMap::new();
    let mut doubles = Vec::new();
    for (name, topic) in topics {
        match first.get(topic) {
            None => drop(first.insert(topic, name)),
            Some(other) => doubles.push((name, format!("stands for the topic {topic:?}, and so does {other:?}"))),
        }
    }
    doubles
}

/// What to say about a source whose dead letters go back into its own topic.
pub(super) fn no_dead_letter_loop(topic: &str, on_error: &OnError) -> Option<String> {
    match on_error {
        OnError::DeadLetter(letters) if letters == topic => {
            Some(format!("sends dead letters to {letters:?}, which it reads itself: they would come round for ever"))
        }
        _ => None,
    }
}
