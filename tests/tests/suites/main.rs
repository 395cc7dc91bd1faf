//! Every suite over the host, its plugins and its documents, on both logs. One file or folder is one suite over one
//! subject. They are one program, so that it is linked once, and no suite waits for the last test of another.

// `schema` writes down a topology that has everything.
#![recursion_limit = "256"]

mod arrows;
mod attacks;
mod bases;
mod build;
mod cases;
mod changed_kinds;
mod chaos;
mod cli;
mod compile;
mod contract;
mod crossings;
mod dev;
mod docs;
mod drawn;
mod driver;
mod faulty_stores;
mod flights;
mod flights_weather;
mod fuzz;
mod globals;
mod guests;
mod held_back;
mod idle;
mod imports;
mod in_process;
mod inputs;
mod interop;
mod javascript;
mod joins;
mod keeping;
mod kinds;
mod left_topics;
mod log;
mod log_kafka;
mod named_changelogs;
mod nexmark;
mod operators;
mod oracle;
mod order;
mod outcomes;
mod plugins;
mod processes;
mod providers;
mod recommits;
mod redis;
mod refusals;
mod reset;
mod restart;
mod run;
mod schema;
mod second_language;
mod security;
mod shown_manifests;
mod source_changelogs;
mod spine;
mod swap;
mod swap_thread;
mod thread;
mod tidy;
mod timed_keeping;
mod timed_queries;
mod vectors;
