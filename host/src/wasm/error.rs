//! Why a component is not taken.

use millstream_engine::error::{Problem, exit};
use millstream_engine::functions::GuestFault;

use super::compile::Refusal;

/// The field of a problem that names the key of `[limits]` that a component goes beyond.
pub const LIMITS_KEY: &str = "limits_key";

/// Each names the object, what is wrong with it and the fix.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the WebAssembly engine does not start: {0}")]
    Engine(String),
    #[error("the component has {bytes} bytes, more than the {limit} a component may have")]
    TooLarge { bytes: usize, limit: usize },
    #[error("this is not a WebAssembly component but {found}")]
    NotAComponent { found: &'static str },
    #[error("the component imports {}, which a plugin is not given", names.join(", "))]
    ForbiddenImport { names: Vec<String> },
    #[error("the component imports {}, and is granted no network", names.join(", "))]
    NoGrant { names: Vec<String> },
    #[error("{address} cannot be granted: {why}")]
    UnknownHost { address: String, why: String },
    #[error("the component is built against {found}, this host speaks {supported}")]
    ContractVersion { found: String, supported: String },
    #[error("the component imports {name}, which {contract} does not have here")]
    UnknownImport { name: String, contract: String },
    #[error("the component's export \"{name}\" {what}")]
    Export { name: &'static str, what: String },
    #[error("the component is no store provider: {what}")]
    NotAProvider { what: String },
    #[error("the component is damaged or uses what this host does not run: {0}")]
    Invalid(String),
    #[error(transparent)]
    Refused(Refusal),
    #[error("the component has {instances} core instances, more than the {limit} it may have ([limits] instances)")]
    Instances { instances: u64, limit: u64 },
    #[error("the component cannot be compiled now: {0}")]
    Compiler(String),
    #[error("the directory of compiled components {dir} cannot be used: {why}")]
    Cache { dir: String, why: String },
    #[error("the component's describe() failed: {0}")]
    /// Beside it the key of `[limits]` that it went beyond.
    Describe(GuestFault, Option<&'static str>),
    #[error("the component's describe() returned what is no topology: {0}")]
    Description(String),
    #[error("the component's topology has version {found}, this host reads version {supported}")]
    DescriptionVersion { found: u64, supported: u32 },
}

impl Error {
    pub(super) fn engine(error: wasmtime::Error) -> Error {
        Error::Engine(format!("{error:#}"))
    }

    pub(super) fn invalid(error: wasmtime::Error) -> Error {
        Error::Invalid(format!("{error:#}"))
    }

    /// As users see it. `component` is the file, or how else it was named.
    pub fn problem(&self, component: &str) -> Problem {
        let (name, code, fix) = self.kind();
        let problem =
            Problem::new(name, code, exit::BAD_PLAN, format!("{component}: {self}")).field("component", component);
        let problem = match self {
            Error::TooLarge { bytes, limit } => problem.field("bytes", *bytes).field("limit", *limit),
            Error::Instances { instances, limit } => problem.field("instances", *instances).field("limit", *limit),
            Error::Cache { dir, .. } => problem.field("dir", dir.clone()),
            Error::UnknownHost { address, .. } => problem.field("address", address.clone()),
            Error::ForbiddenImport { names } | Error::NoGrant { names } => problem.field("imports", names.clone()),
            Error::ContractVersion { found, supported } => {
                problem.field("found", found.clone()).field("supported", supported.clone())
            }
            Error::UnknownImport { name, .. } => problem.field("import", name.clone()),
            Error::Export { name, .. } => problem.field("export", *name),
            Error::Describe(fault, _) if !fault.backtrace.is_empty() => {
                problem.field("backtrace", fault.backtrace.lines().collect::<Vec<_>>())
            }
            Error::DescriptionVersion { found, supported } => {
                problem.field("found", *found).field("supported", *supported)
            }
            _ => problem,
        };
        let problem = match self.limit() {
            Some(name) => problem.field(LIMITS_KEY, name),
            None => problem,
        };
        problem.why(self.why()).fix(fix)
    }

    /// The key of `[limits]` that it goes beyond.
    fn limit(&self) -> Option<&'static str> {
        match self {
            Error::Instances { .. } => Some("instances"),
            Error::Describe(_, limit) => *limit,
            _ => None,
        }
    }

    /// Why that is not taken.
    fn why(&self) -> &'static str {
        match self {
            Error::Engine(_) => "without its engine the host can run no component",
            Error::TooLarge { .. } => "compiling takes a multiple of its size in memory, whoever hands it in",
            Error::NotAComponent { .. } => "the contract is one of components; nothing else can be checked against it",
            Error::ForbiddenImport { .. } => {
                "a plugin has no files, no network, no clock and no environment: only its stores and its log"
            }
            Error::NoGrant { .. } => {
                "a store provider reaches the addresses that it is granted, and this one is granted none"
            }
            Error::UnknownHost { .. } => {
                "the names of a grant are looked up by the host when it starts, and the provider reaches what they mean then"
            }
            Error::ContractVersion { .. } => "another version may mean another thing by the same bytes",
            Error::UnknownImport { .. } => "it would be called, and there is nothing behind it",
            Error::Export { .. } => "the host calls a component by its exports `describe` and `process`",
            Error::NotAProvider { .. } => "the host keeps state in it by the functions of the interface `provider`",
            Error::Invalid(_) | Error::Refused(Refusal::Invalid(_)) => {
                "what cannot be compiled and checked cannot be run"
            }
            Error::Refused(_) => {
                "compiling has bounds, so that no component can keep the host from its work; the verdict is kept with \
                 the compiled components and not tried again"
            }
            Error::Instances { .. } => "each core instance costs host memory before it runs",
            Error::Compiler(_) => "components are compiled in a child process, and it did not come to an end by itself",
            Error::Cache { .. } => "what lies in it is run as this process: nobody else may write there",
            Error::Describe(..) | Error::Description(_) => {
                "the topology is what the host runs; without one there is nothing to do"
            }
            Error::DescriptionVersion { .. } => "a newer description may hold what this host would silently leave out",
        }
    }

    /// Name, code and fix.
    fn kind(&self) -> (&'static str, &'static str, &'static str) {
        match self {
            Error::Engine(_) => ("EngineFailed", "E0300", "look at the memory and address space this process may use"),
            Error::TooLarge { .. } => {
                ("ComponentTooLarge", "E0301", "build with optimisation and without debug information")
            }
            Error::NotAComponent { .. } => (
                "NotAComponent",
                "E0302",
                "build it with `millstream build DIR`, or make a core module a component with \
                 `wasm-tools component new`",
            ),
            Error::ForbiddenImport { names } if names.iter().any(|name| name.starts_with("wasi:")) => (
                "ForbiddenImport",
                "E0303",
                "build without WASI: Rust for wasm32-unknown-unknown (`millstream build` does), JavaScript and \
                 Python with --stub-wasi",
            ),
            Error::ForbiddenImport { .. } => {
                ("ForbiddenImport", "E0303", "build it against the world `processor` of Millstream's wit/ alone")
            }
            Error::NoGrant { .. } => (
                "NoGrant",
                "E0319",
                "grant it what it is to reach, and no more: `network = [\"HOST:PORT\"]` in [providers.NAME], or \
                 --network HOST:PORT",
            ),
            Error::UnknownHost { .. } => {
                ("UnknownHost", "E0322", "mend the name in `network` of [providers.NAME], or write its address")
            }
            Error::ContractVersion { .. } => {
                ("ContractVersion", "E0304", "build it again with the SDK of this host's version, or update the host")
            }
            Error::UnknownImport { .. } => ("UnknownImport", "E0305", "update the host"),
            Error::Export { .. } => (
                "BadExport",
                "E0306",
                "build it against the world `processor` of Millstream's wit/; an SDK exports both functions",
            ),
            Error::NotAProvider { .. } => (
                "NotAProvider",
                "E0318",
                "build it against the world `store-provider` of Millstream's wit/; the Rust SDK's `provider!` does",
            ),
            Error::Invalid(_) | Error::Refused(Refusal::Invalid(_)) => ("BadComponent", "E0307", "build it again"),
            Error::Refused(_) => {
                ("ComponentTooCostly", "E0315", "make it smaller: split its largest functions, or leave libraries out")
            }
            Error::Instances { .. } => {
                ("ComponentTooCostly", "E0315", "compose it of fewer modules, or raise [limits] instances")
            }
            Error::Compiler(_) => {
                ("CompilerFailed", "E0316", "try again; look at the processes and the memory this machine allows")
            }
            Error::Cache { .. } => (
                "CacheNotPrivate",
                "E0317",
                "chmod 700 the directory, remove it, or name another one by --cache-dir or MILLSTREAM_CACHE_DIR",
            ),
            Error::Describe(..) => ("DescribeFailed", "E0308", "mend the topology or the manifest's [config]"),
            Error::Description(_) => {
                ("BadDescription", "E0309", "use an SDK, or check the JSON against wit/topology.schema.json")
            }
            Error::DescriptionVersion { .. } => ("DescriptionVersion", "E0310", "update the host"),
        }
    }
}
