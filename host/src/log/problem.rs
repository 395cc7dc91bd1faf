//! What the log's errors tell a user.

use millstream_engine::error::{Problem, exit};

use super::Error;

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        let message = error.to_string();
        let problem = |name, code, exit| Problem::new(name, code, exit, message);
        match error {
            Error::Unreachable { .. } => problem("LogUnreachable", "E0401", exit::LOG_UNREACHABLE)
                .fix("check the address and that the broker runs; --log or MILLSTREAM_LOG names another log"),
            Error::UnknownTopic(topic) => problem("UnknownTopicOrPartition", "E0402", exit::FAILED)
                .fix(format!("create it: millstream topics create {topic} --partitions N"))
                .field("topic", topic),
            Error::TopicExists(topic) => problem("TopicExists", "E0403", exit::FAILED).field("topic", topic),
            Error::Refused { .. } => problem("LogRefused", "E0404", exit::FAILED),
            Error::AlreadyRunning { application, holder } => problem("AlreadyRunning", "E0405", exit::FAILED)
                .field("application", application)
                .field("holder", holder)
                .fix("stop the other instance, or give this one another id"),
            Error::Corrupted(place, _) => problem("LogCorrupted", "E0406", exit::FAILED).field("log", place),
        }
    }
}
