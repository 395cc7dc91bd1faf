//! Bytes → a store provider: checked, compiled, named.

use std::sync::Arc;

use millstream_engine::config::Limits;
use sha2::{Digest, Sha256};
use wasmparser::{Parser, Payload};
use wasmtime::component::{HasSelf, Linker};

use super::super::host::Owner;
use super::super::runtime::GuestLog;
use super::super::version::CONTRACT;
use super::super::{Engine, Error, Result, imports};
use super::bindings::{StoreProvider, StoreProviderPre};
use super::faults::Faults;
use super::grant::{self, Grant};
use super::lookup;
use super::state::State;

/// What a provider may import of our package: its log.
const INTERFACES: [&str; 1] = ["runtime"];

/// A compiled provider under the name that a manifest gives it. Cheap to clone.
#[derive(Clone)]
pub struct Provider(Arc<Inner>);

struct Inner {
    name: String,
    application: Arc<str>,
    config: String,
    pre: StoreProviderPre<State>,
    limits: Limits,
    /// `None`: it may reach nothing, and is given no WASI.
    grant: Option<Grant>,
    digest: String,
    faults: Faults,
}

impl Provider {
    /// Checks the imports, compiles, checks the exports. `name` is `[providers.NAME]` of the application, `config` its
    /// configuration as a JSON object of texts. With a grant it may import WASI, and reach what is granted by it.
    pub fn load(
        engine: &Engine,
        bytes: &[u8],
        limits: Limits,
        (application, name): (&str, &str),
        config: String,
        grant: Option<Grant>,
    ) -> Result<Provider> {
        if !is_provider(bytes) {
            imports::check(bytes, &limits)?;
            return Err(Error::NotAProvider { what: "it exports no interface `provider`".to_owned() });
        }
        check_imports(bytes, &limits, grant.is_some())?;
        let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let component = engine.compile(bytes, &digest)?;
        let mut linker = Linker::new(engine.inner());
        StoreProvider::add_to_linker::<_, HasSelf<_>>(&mut linker, |state: &mut State| &mut state.host)
            .map_err(Error::engine)?;
        if grant.is_some() {
            let added = wasmtime_wasi::p2::add_to_linker_async(&mut linker);
            added.and_then(|()| lookup::add_to_linker(&mut linker)).map_err(Error::engine)?;
        }
        let pre = linker.instantiate_pre(&component).map_err(Error::invalid)?;
        let pre = StoreProviderPre::new(pre).map_err(|error| Error::NotAProvider { what: format!("{error:#}") })?;
        let (name, application) = (name.to_owned(), application.into());
        Ok(Provider(Arc::new(Inner {
            name,
            application,
            config,
            pre,
            limits,
            grant,
            digest,
            faults: Faults::default(),
        })))
    }

    /// As the manifest calls it.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// SHA-256 of the file, in hex.
    pub fn digest(&self) -> &str {
        &self.0.digest
    }

    pub(super) fn config(&self) -> &str {
        &self.0.config
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    pub(super) fn grant(&self) -> Option<&Grant> {
        self.0.grant.as_ref()
    }

    pub(super) fn pre(&self) -> &StoreProviderPre<State> {
        &self.0.pre
    }

    pub(super) fn faults(&self) -> &Faults {
        &self.0.faults
    }

    pub(super) fn log(&self) -> Arc<GuestLog> {
        let owner = Owner { application: self.0.application.clone(), task: None };
        Arc::new(GuestLog::new(owner, self.0.limits.log_lines.get()))
    }
}

/// Sockets without a grant are refused by that name; what else of WASI comes with them is not the point.
fn check_imports(bytes: &[u8], limits: &Limits, is_granted: bool) -> Result<()> {
    let packages: &[&str] = if is_granted { &grant::PACKAGES } else { &[] };
    match imports::check_for(bytes, limits, &INTERFACES, packages) {
        Err(Error::ForbiddenImport { names }) if names.iter().any(|name| name.starts_with(grant::SOCKETS)) => {
            let names = names.into_iter().filter(|name| name.starts_with(grant::SOCKETS)).collect();
            Err(Error::NoGrant { names })
        }
        checked => checked,
    }
}

/// Whether a component says that it is a provider. What is no component says nothing.
pub fn is_provider(bytes: &[u8]) -> bool {
    let package = CONTRACT.split_once('@').map_or(CONTRACT, |(package, _)| package);
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload {
            Ok(Payload::ModuleSection { .. } | Payload::ComponentSection { .. }) => depth += 1,
            Ok(Payload::End(_)) => depth -= 1,
            Ok(Payload::ComponentExportSection(exports)) if depth == 0 => {
                let is_ours = |name: &str| {
                    let rest = name.strip_prefix(package).and_then(|rest| rest.strip_prefix("/provider"));
                    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('@'))
                };
                if exports.into_iter().flatten().any(|export| is_ours(export.name.name)) {
                    return true;
                }
            }
            Ok(_) => {}
            Err(_) => return false,
        }
    }
    false
}
