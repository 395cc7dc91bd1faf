//! What the log's errors tell a user.

use millstream_engine::error::{Problem, exit};

use super::Error;

/// The name of the problem that a topic is which does not exist.
pub const UNKNOWN_TOPIC: &str = "UnknownTopicOrPartition";

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        let message = error.to_string();
        let problem = |name, code, exit| Problem::new(name, code, exit, message);
        match error {
            Error::Unreachable { .. } => problem("LogUnreachable", "E0401", exit::LOG_UNREACHABLE)
                .why("without its log nothing can be read, and nothing that is done would be kept")
                .fix("check the address and that the broker runs; --log or MILLSTREAM_LOG names another log"),
            Error::UnknownTopic(topic) => problem(UNKNOWN_TOPIC, "E0402", exit::FAILED)
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
            Error::Unauthenticated { .. } => problem("AuthenticationFailed", "E0408", exit::FAILED)
                .why("the brokers know nobody of this name and password, or not by this way of proving it")
                .fix("look after sasl.mechanism, sasl.username and sasl.password in the manifest's [kafka]"),
            Error::Untrusted { .. } => problem("TlsFailed", "E0409", exit::FAILED)
                .why("client and brokers have to prove who they are before a word is said")
                .fix(
                    "look after ssl.ca.pem (who vouches for the brokers), ssl.certificate.pem and ssl.key.pem (who \
                     vouches for this client), and that the brokers' certificates name the hosts of the log's URL",
                ),
            Error::Unauthorised { .. } => problem("NotAuthorized", "E0410", exit::FAILED)
                .why("the brokers give rights by principal, and this one has not got what is needed here")
                .fix(
                    "have the brokers' administrator add the ACL; host/docs/security.md lists those of an application",
                ),
            Error::BadProperty(_) => problem("BadKafkaProperty", "E0103", exit::BAD_PLAN)
                .why("librdkafka does not take it, so no broker was asked")
                .fix("mend what is named; librdkafka's CONFIGURATION.md has every property"),
            Error::AlreadyRunning { application, holder } => problem("AlreadyRunning", "E0405", exit::FAILED)
                .why(
                    "on the embedded log an application runs once, for nobody could share its tasks out; in a Kafka \
                     group a process with a copy of this state directory has taken this one's place",
                )
                .fix("stop the other instance, or give this one another id")
                .field("application", application)
                .field("holder", holder),
            Error::Corrupted(place, _) => problem("LogCorrupted", "E0406", exit::FAILED)
                .why("what is on the disk is not what was written")
                .fix("copy the directory for an analysis, then restore it from a backup or begin a new log")
                .field("log", place),
            Error::Truncated { topic, partition, offset } => problem("TopicTruncated", "E0420", exit::FAILED)
                .why("retention or somebody has deleted records that were not read yet, and what is gone cannot be had")
                .fix("begin again from what is there; keep records longer: retention.ms, retention.bytes of the topic")
                .field("topic", topic)
                .field("partition", partition)
                .field("offset", offset),
        }
    }
}
