//! T19: machine code that somebody has changed on the disk, beside a neighbour and under it.

use std::path::{Path, PathBuf};

use tests::chance::Chance;
use tests::guests;
use tests::http::put;
use tests::logs::eventually;
use tests::millstream::CACHE;

use super::neighbour::{Street, half_rate};
use super::{Attack, DEFAULT};

/// Times that everything in the cache is changed while the neighbour is fed.
const ROUNDS: usize = 20;

/// What the host says of an entry that it does not believe.
const NOTICED: &str = "a compiled component is not as it was written";

#[test]
fn t19_compiled_code_that_was_changed_never_runs() {
    let (attack, rate, chance) = (Attack { id: "T19", guest: "quiet", ..DEFAULT }, half_rate(), &mut Chance::new());
    let mut street = attack.street("");
    let (cache, quiet) = (street.mill.dir().join("cache"), guests::wat("quiet").unwrap());
    start(&mut street, &cache);
    street.stop().ok();
    assert_eq!(entries(&cache).len(), 2, "one of each application");

    // Under everybody's feet before a start: both are compiled again.
    flip(&cache, chance);
    start(&mut street, &cache);
    std::thread::scope(|scope| {
        let address = street.address().to_owned();
        let (cache, quiet, chance) = (&cache, &quiet, &mut *chance);
        let attacking = scope.spawn(move || {
            for _ in 0..ROUNDS {
                flip(cache, chance);
                // It has to be loaded for this, and does not fit.
                put(&address, "/v1/apps/neighbour/component", quiet).is(409);
            }
        });
        attack.tell(&street.feed(rate));
        attacking.join().expect("every one is noticed");
    });
    for app in ["neighbour", "attacker"] {
        assert_eq!(street.status(app)["state"], "RUNNING", "{app}");
    }
    let said = street.stop().ok().stderr;
    assert_eq!(said.matches(NOTICED).count(), 2 + ROUNDS, "{said}");
}

fn start(street: &mut Street, cache: &Path) {
    street.start_with(&["neighbour", "attacker"], |command| {
        command.env(CACHE, cache);
    });
    eventually("the attacker runs", || (street.status("attacker")["state"] == "RUNNING").then_some(()));
}

/// What is kept beside the key.
fn entries(cache: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(cache.join("components")).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| !path.ends_with("key")).collect()
}

/// Changes one byte of each.
fn flip(cache: &Path, chance: &mut Chance) {
    for entry in entries(cache) {
        let mut bytes = std::fs::read(&entry).unwrap();
        let at = chance.below(bytes.len() as u64) as usize;
        bytes[at] ^= 1 + chance.below(255) as u8;
        std::fs::write(&entry, bytes).unwrap();
    }
}
