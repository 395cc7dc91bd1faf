//! Chaos: the real program under load is hurt, and what came of it is read from outside.
//!
//! | file | holds |
//! |---|---|
//! | [`words`] | the application under test, its processes and their state |
//! | [`load`] | lines that keep coming, whatever happens |
//! | [`outside`] | topics as somebody reads them who knows nothing of the host |
//! | [`verdict`] | what must hold at the end |
//! | [`gap`] | what each start restored, against what was missing |
//! | [`kills`] | `kill -9` at random instants, as often as wanted |
//!
//! The verdict shares no code with the host: Kafka is read by rdkafka alone, the embedded log and the live stores as
//! the text that the program prints.

pub mod gap;
pub mod kills;
pub mod load;
pub mod outside;
pub mod verdict;
pub mod words;
