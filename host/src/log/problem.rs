//! What the log's errors tell a user.

use millstream_engine::error::{Problem, exit};

use super::Error;

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        let message = error.to_string();
        let problem = |name, code, exit| Problem::new(name, code, exit, message);
        match error {
            Error::Unreachable { .. } => problem("LogUnreachable", "E0401", exit::LOG_UNREACHABLE)
                .why("without its log nothing can be read, and nothing that is done would be kept")
                .fix("check the address and that the broker runs; --log or MILLSTREAM_LOG names another log"),
            Error::UnknownTopic(topic) => problem("UnknownTopicOrPartition", "E0402", exit::FAILED)
                .why("topics are not created by reading or writing them: a slip of the pen would make one")
                .fix(format!("create it: millstream topics create {topic} --partitions N"))
                .field("topic", topic),
            Error::TopicExists(topic) => problem("TopicExists", "E0403", exit::FAILED)
                .why("its records would be someone else's")
                .fix(format!("choose another name, or delete it first: millstream topics delete {topic}"))
                .field("topic", topic),
            Error::Refused { .. } => problem("LogRefused", "E0404", exit::FAILED)
                .why("the log answered, and does not take this")
                .fix("change what the message names"),
            Error::AlreadyRunning { application, holder } => problem("AlreadyRunning", "E0405", exit::FAILED)
                .why("on the embedded log an application runs once: there is nobody who could share its tasks out")
                .fix("stop the other instance, or give this one another id")
                .field("application", application)
                .field("holder", holder),
            Error::Corrupted(place, _) => problem("LogCorrupted", "E0406", exit::FAILED)
                .why("what is on the disk is not what was written")
                .fix("copy the directory for an analysis, then restore it from a backup or begin a new log")
                .field("log", place),
        }
    }
}
