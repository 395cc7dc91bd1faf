//! What a function may say about a record instead of "done".

/// A record's outcome other than keeping it. Nothing said (`Ok`) means: kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub(crate) kind: Kind,
    pub(crate) message: String,
}

/// As numbered in the frame contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Drop = 1,
    DeadLetter = 2,
    Retry = 3,
    Fail = 4,
}

impl Failure {
    /// The record ends here and is counted as dropped. What it has already written and forwarded stays.
    pub fn drop() -> Failure {
        Failure { kind: Kind::Drop, message: String::new() }
    }

    /// Undoes the record in all nodes and sends it to its source's dead-letter topic.
    pub fn dead_letter(message: impl Into<String>) -> Failure {
        Failure { kind: Kind::DeadLetter, message: message.into() }
    }

    /// Undoes the record and tries it again after a while; after the last attempt the source's `on_error` decides.
    pub fn retry(message: impl Into<String>) -> Failure {
        Failure { kind: Kind::Retry, message: message.into() }
    }

    /// Undoes the record; its source's `on_error` decides what becomes of it.
    pub fn fail(message: impl Into<String>) -> Failure {
        Failure { kind: Kind::Fail, message: message.into() }
    }

    /// Whether the host undoes what the record did.
    pub(crate) fn undoes(&self) -> bool {
        self.kind != Kind::Drop
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            Kind::Drop => return f.write_str("drop"),
            Kind::DeadLetter => "dead-letter",
            Kind::Retry => "retry",
            Kind::Fail => "fail",
        };
        write!(f, "{kind}: {}", self.message)
    }
}

/// So that `?` on any error fails the record with the error's text. (For this a `Failure` is no `Error` itself.)
impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::fail(error.to_string())
    }
}
