//! A component's door, read before anything is compiled: it may import our contract and nothing else.

use wasmparser::{Encoding, Instance, Parser, Payload};

use millstream_engine::config::Limits;

use super::limits::COMPONENT_BYTES;
use super::version::CONTRACT;
use super::{Error, Result};

/// What a processor may import of our package.
const INTERFACES: [&str; 2] = ["stores", "runtime"];

/// Refuses what is too large, no component, made of too many instances, or wants more than it is given. Every import
/// that is not ours is named.
pub fn check(bytes: &[u8], limits: &Limits) -> Result<()> {
    check_for(bytes, limits, &INTERFACES, &[])
}

/// As [`check`], for a component that may import these interfaces of ours, and what begins with one of `packages`.
pub(super) fn check_for(bytes: &[u8], limits: &Limits, interfaces: &[&str], packages: &[&str]) -> Result<()> {
    if bytes.len() > COMPONENT_BYTES {
        return Err(Error::TooLarge { bytes: bytes.len(), limit: COMPONENT_BYTES });
    }
    let Contents { imports, instances } = read(bytes)?;
    let limit = u64::from(limits.instances.get());
    if instances > limit {
        return Err(Error::Instances { instances, limit });
    }
    let (known, mut others): (Vec<_>, Vec<_>) = imports.into_iter().partition(|name| ours(name).is_some());
    others.retain(|name| !packages.iter().any(|package| name.starts_with(package)));
    if !others.is_empty() {
        return Err(Error::ForbiddenImport { names: others });
    }
    known.iter().try_for_each(|name| check_ours(name, interfaces))
}

fn check_ours(import: &str, interfaces: &[&str]) -> Result<()> {
    let (interface, contract) = ours(import).unwrap_or_default();
    if contract != CONTRACT {
        return Err(Error::ContractVersion { found: contract, supported: CONTRACT.into() });
    }
    if !interfaces.contains(&interface) {
        return Err(Error::UnknownImport { name: import.into(), contract });
    }
    Ok(())
}

/// Interface and contract of an import of ours: `millstream:plugin/stores@0.1.0` is of `stores` and
/// `millstream:plugin@0.1.0`.
fn ours(import: &str) -> Option<(&str, String)> {
    let (package, _) = CONTRACT.split_once('@')?;
    let rest = import.strip_prefix(package)?.strip_prefix('/')?;
    let (interface, version) = rest.split_once('@').unwrap_or((rest, "none"));
    Some((interface, format!("{package}@{version}")))
}

/// What is looked at before a component is compiled.
struct Contents {
    /// The names it imports, in its order.
    imports: Vec<String>,
    /// Core instances it makes of modules, those of components inside it counted once each. A component that
    /// instantiates others again and again has more, which the instance's own meter stops.
    instances: u64,
}

fn read(bytes: &[u8]) -> Result<Contents> {
    let damaged = |error: wasmparser::BinaryReaderError| Error::Invalid(error.to_string());
    if !bytes.starts_with(b"\0asm") {
        return Err(Error::NotAComponent { found: "something else: it does not begin with \\0asm" });
    }
    let (mut names, mut instances) = (Vec::new(), 0);
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(damaged)? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                return Err(Error::NotAComponent { found: "a core module" });
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(imports) if depth == 0 => {
                for import in imports {
                    names.push(import.map_err(damaged)?.name.name.to_owned());
                }
            }
            Payload::InstanceSection(made) => {
                for instance in made {
                    instances += u64::from(matches!(instance.map_err(damaged)?, Instance::Instantiate { .. }));
                }
            }
            _ => {}
        }
    }
    Ok(Contents { imports: names, instances })
}
