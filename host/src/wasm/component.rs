//! Bytes → a component: checked, compiled, described.

use std::sync::Arc;

use millstream_engine::config::Limits;
use millstream_engine::functions::{FaultKind, GuestFault};
use millstream_engine::topology::description::{Description, VERSION};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{ComponentNamedList, HasSelf, Lift, Linker, Lower};

use super::bindings::{Processor, ProcessorPre};
use super::engine::Engine;
use super::fault;
use super::guest::Guest;
use super::host::{HostState, Owner};
use super::imports;
use super::limits::DESCRIPTION_BYTES;
use super::runtime::GuestLog;
use super::{Error, Result};

/// A compiled component, ready to be instantiated any number of times. Cheap to clone.
#[derive(Clone)]
pub struct Component {
    pre: ProcessorPre<HostState>,
    limits: Arc<Limits>,
    digest: Arc<str>,
    digest_bytes: [u8; 32],
    engine: Engine,
}

impl Component {
    /// Checks the imports, compiles (about a millisecond of CPU for each KiB, unless it was compiled before), checks
    /// the exports and links.
    pub fn load(engine: &Engine, bytes: &[u8], limits: Limits) -> Result<Component> {
        let ours = engine.clone();
        imports::check(bytes, &limits)?;
        let digest_bytes: [u8; 32] = Sha256::digest(bytes).into();
        let digest: String = digest_bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let component = engine.compile(bytes, &digest)?;
        let engine = engine.inner();
        check_export::<(&str,), (std::result::Result<String, String>,)>(&component, "describe")?;
        check_export::<(u32, &[u8]), (std::result::Result<Vec<u8>, String>,)>(&component, "process")?;
        let mut linker = Linker::new(engine);
        Processor::add_to_linker::<_, HasSelf<HostState>>(&mut linker, |state| state).map_err(Error::engine)?;
        let pre = linker.instantiate_pre(&component).and_then(ProcessorPre::new).map_err(Error::invalid)?;
        Ok(Component { pre, limits: Arc::new(limits), digest: digest.into(), digest_bytes, engine: ours })
    }

    /// SHA-256 of the file, in hex.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The same as bytes.
    pub fn digest_bytes(&self) -> [u8; 32] {
        self.digest_bytes
    }

    /// See [`Engine::thread_stack_bytes`].
    pub fn thread_stack_bytes(&self) -> usize {
        self.engine.thread_stack_bytes()
    }

    /// The engine it was compiled by; another build of it needs the same one.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Asks a throw-away instance for its topology. `config`: the manifest's `[config]` as a JSON object.
    pub fn describe(&self, application: &str, config: &str) -> Result<Description> {
        let owner = Owner { application: application.into(), task: None };
        let log = Arc::new(GuestLog::new(owner, self.limits.log_lines.get()));
        let fault = |error: wasmtime::Error, words| {
            Error::Describe(fault::guest(&error, &self.limits, words), fault::limit_of(&error))
        };
        let mut guest = Guest::start(self, &log).map_err(|error| fault(error, None))?;
        match guest.describe(config) {
            Ok(Ok(json)) => parse(&json),
            Ok(Err(message)) => {
                let fault = GuestFault { kind: FaultKind::Failed, message, backtrace: String::new() };
                Err(Error::Describe(fault, None))
            }
            Err(error) => Err(fault(error, guest.last_words())),
        }
    }

    pub(super) fn pre(&self) -> &ProcessorPre<HostState> {
        &self.pre
    }
}

/// Reads a description. The version is looked at first, so that a newer one is called newer and not malformed.
pub(super) fn parse(json: &str) -> Result<Description> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u64,
    }
    if json.len() > DESCRIPTION_BYTES {
        let bytes = json.len();
        return Err(Error::Description(format!("it has {bytes} bytes, more than {DESCRIPTION_BYTES}")));
    }
    let malformed = |error: serde_json::Error| Error::Description(error.to_string());
    let Versioned { version } = serde_json::from_str(json).map_err(malformed)?;
    if version != u64::from(VERSION) {
        return Err(Error::DescriptionVersion { found: version, supported: VERSION });
    }
    serde_json::from_str(json).map_err(malformed)
}

fn check_export<Params, Return>(component: &wasmtime::component::Component, name: &'static str) -> Result<()>
where
    Params: ComponentNamedList + Lower,
    Return: ComponentNamedList + Lift,
{
    let ty = component.component_type();
    let item = ty.get_export(component.engine(), name).map(|export| export.ty);
    match item {
        None => Err(Error::Export { name, what: "is missing".into() }),
        Some(ComponentItem::ComponentFunc(function)) => function
            .typecheck::<Params, Return>(&ty.instance_type())
            .map_err(|error| Error::Export { name, what: format!("has another type: {error:#}") }),
        Some(_) => Err(Error::Export { name, what: "is no function".into() }),
    }
}
