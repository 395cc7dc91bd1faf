//! Builds of `guests/builds`: the same program under another stamp.

use std::path::PathBuf;
use std::sync::LazyLock;

use millstream::wasm::{Compiler, Engine};
use millstream_engine::config::Limits;

use crate::guests;

/// What stands in front of a build's number, and of its kind.
const NUMBER: &[u8] = b"stamp:build=";
const KIND: &[u8] = b",kind=";

static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let engine = Engine::new(Limits::default().stack, Compiler::in_process()).expect("the engine starts");
    guests::plugin(&engine, "tests/guests/builds").expect("the guest builds")
});

/// The component of a build; see the guest for its kinds.
pub fn build(number: u16, kind: char) -> Vec<u8> {
    let mut bytes = std::fs::read(&*FILE).expect("a component that was built can be read");
    let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(NUMBER)).collect();
    let [place] = places[..] else { panic!("the stamp stands {} times in the component", places.len()) };
    let digits = place + NUMBER.len();
    bytes[digits..digits + 4].copy_from_slice(format!("{number:04}").as_bytes());
    assert!(bytes[digits + 4..].starts_with(KIND), "the stamp has another layout");
    bytes[digits + 4 + KIND.len()] = u8::try_from(kind).expect("a kind is a letter");
    bytes
}
