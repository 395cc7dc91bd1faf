//! Chaos: the real program under load is hurt, and what came of it is read from outside.
//!
//! | file | holds |
//! |---|---|
//! | [`subject`] | an application under test, its processes and their state |
//! | [`words`] | the one of most tests, which counts words |
//! | [`crossroads`] | one with windows, sessions and every join behind repartition topics |
//! | [`ticks`] | another one, which works by the clock and without input |
//! | [`clock`] | a clock on the wall that steps |
//! | [`load`] | lines that keep coming, whatever happens |
//! | [`outside`] | topics as somebody reads them who knows nothing of the host |
//! | [`verdict`] | what must hold at the end |
//! | [`gap`] | what each start restored, against what was missing |
//! | [`kills`] | `kill -9` at random instants, as often as wanted |
//! | [`damage`] | ways to spoil a state file |
//! | [`storm`] | all faults at once, from a seed |
//!
//! The verdict shares no code with the host: Kafka is read by rdkafka alone, the embedded log and the live stores as
//! the text that the program prints.

pub mod clock;
pub mod crossroads;
pub mod damage;
pub mod gap;
pub mod kills;
pub mod load;
pub mod outside;
pub mod storm;
pub mod subject;
pub mod ticks;
pub mod verdict;
pub mod words;
