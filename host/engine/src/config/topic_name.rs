//! What Kafka takes as a topic's name.

use super::value::Wrong;

/// Kafka's limit: the name is a directory's name on the broker, with the partition's number behind it.
pub const TOPIC_NAME_BYTES_MAX: usize = 249;

/// Kafka's limit takes in what Millstream puts behind an application's id (`-STORE-changelog`); a hundred bytes
/// leave a store's name as much.
pub const APPLICATION_ID_BYTES_MAX: usize = 100;

/// Why `name` cannot be a topic's name.
pub fn check_topic_name(name: &str) -> Result<(), String> {
    check(name, TOPIC_NAME_BYTES_MAX).map_err(|why| format!("is {name:?}, and no topic can be called that: {why}"))
}

/// Why `id` cannot be an application's id: it is the prefix of topics' names and the name of a directory.
pub fn check_application_id(id: &str) -> Result<(), String> {
    check(id, APPLICATION_ID_BYTES_MAX).map_err(|why| format!("is {id:?}, and cannot begin a topic's name: {why}"))
}

fn check(name: &str, bytes_max: usize) -> Result<(), String> {
    let legal = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match name {
        "" => Err("it is empty".to_owned()),
        "." | ".." => Err("it is the name of a directory".to_owned()),
        _ if name.len() > bytes_max => Err(format!("it has {} bytes, {bytes_max} are allowed", name.len())),
        _ => match name.chars().find(|c| !legal(c)) {
            Some(c) => Err(format!("{c:?} is none of A-Z a-z 0-9 . _ -")),
            None => Ok(()),
        },
    }
}

/// A topic's name as a value of the manifest.
pub(super) struct TopicName(pub String);

impl super::value::Value for TopicName {
    fn read(value: &toml::de::DeValue<'_>) -> Result<TopicName, Wrong> {
        let name = String::read(value)?;
        check_topic_name(&name)?;
        Ok(TopicName(name))
    }
}
