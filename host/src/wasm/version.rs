//! What components are run by.

/// The package of the contract, with the version this host speaks.
pub const CONTRACT: &str = "millstream:plugin@0.1.0";

/// Of wasmtime, which does not say it itself.
pub const ENGINE_VERSION: &str = "48.0.8";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_are_those_in_use() {
        let lock = include_str!("../../../Cargo.lock");
        let entry = format!("name = \"wasmtime\"\nversion = \"{ENGINE_VERSION}\"");
        assert!(lock.contains(&entry));
        assert!(include_str!("../../../wit/millstream.wit").starts_with(&format!("package {CONTRACT};")));
    }
}
