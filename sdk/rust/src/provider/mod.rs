//! Store providers: components that keep the committed state of stores, for any application whose manifest says so.
//!
//! Implement [`Provider`] and say `millstream_sdk::provider!(YourProvider);`. `wit/provider.wit` has what each call must
//! do, and `millstream provider check FILE` whether it does.

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod component;
mod frames;

pub use frames::{Keys, Rows, Values, Writes};

use std::ops::Bound;

use crate::Config;

/// Where a store stands: bytes of the host's. None at all: it is empty and new.
pub type Position = Vec<u8>;

/// Why a call was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It may be done later.
    Retry(String),
    /// What is held cannot be trusted: it is wiped and restored.
    Corrupted(String),
    /// The store stands elsewhere, or belongs to a higher epoch.
    Conflict(String),
    /// Only a person can help.
    Refused(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    KeyValue,
    Window,
    Session,
    Versioned,
}

/// What a store is opened with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which store of which task of which application.
    pub id: String,
    pub kind: Kind,
    /// The manifest's `[providers.NAME] config`.
    pub config: Config,
    pub epoch: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Whether what was flushed outlives the instance.
    pub persistent: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    pub entries: u64,
    pub bytes: u64,
}

/// A page to answer: bounds are inclusive, `after` is not.
#[derive(Clone, Debug)]
pub struct Scan {
    pub lower: Option<Vec<u8>>,
    pub upper: Option<Vec<u8>>,
    pub after: Option<Vec<u8>>,
    pub reverse: bool,
    pub limit: u32,
}

impl Scan {
    /// What is left of the range: for `BTreeMap::range`.
    pub fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        let (lower, upper) = (included(&self.lower), included(&self.upper));
        match self.after.as_deref() {
            Some(after) if self.reverse => (lower, Bound::Excluded(after)),
            Some(after) => (Bound::Excluded(after), upper),
            None => (lower, upper),
        }
    }
}

fn included(bound: &Option<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_deref().map_or(Bound::Unbounded, Bound::Included)
}

/// Ordered maps of bytes, each with a position. Stores go by the number they were opened with.
pub trait Provider: Default {
    fn open(&mut self, store: u32, options: Options) -> Result<Capabilities, Failure>;

    /// Answers a value for each key, in their order, until `values` takes no more.
    fn get_many(&mut self, store: u32, keys: Keys<'_>, values: &mut Values) -> Result<Position, Failure>;

    /// Answers rows in order, until `rows` takes no more.
    fn scan(&mut self, store: u32, scan: &Scan, rows: &mut Rows) -> Result<Position, Failure>;

    /// All or nothing, if the store is the epoch's and stands at `from`.
    fn apply(&mut self, store: u32, epoch: u64, from: &[u8], to: &[u8], writes: Writes<'_>) -> Result<(), Failure>;

    fn position(&mut self, store: u32) -> Result<Position, Failure>;

    fn size(&mut self, store: u32) -> Result<Extent, Failure>;

    fn flush(&mut self, _store: u32, _epoch: u64) -> Result<(), Failure> {
        Ok(())
    }

    fn wipe(&mut self, store: u32, epoch: u64) -> Result<(), Failure>;

    fn close(&mut self, _store: u32) -> Result<(), Failure> {
        Ok(())
    }
}

/// Makes the crate a store provider: `provider!(YourProvider)`.
#[macro_export]
macro_rules! provider {
    ($provider:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::provider::component::{self, wit};

            struct Component;

            thread_local! {
                static PROVIDER: ::std::cell::RefCell<$provider> = ::std::cell::RefCell::default();
            }

            impl wit::Guest for Component {
                fn open(store: u32, options: wit::Options) -> Result<wit::Capabilities, wit::Failure> {
                    PROVIDER.with_borrow_mut(|provider| component::open(provider, store, options))
                }

                fn get_many(store: u32, keys: Vec<u8>) -> Result<wit::Answer, wit::Failure> {
                    PROVIDER.with_borrow_mut(|provider| component::get_many(provider, store, &keys))
                }

                fn scan(store: u32, request: wit::ScanRequest) -> Result<wit::Page, wit::Failure> {
                    PROVIDER.with_borrow_mut(|provider| component::scan(provider, store, request))
                }

                fn apply(
                    store: u32,
                    epoch: u64,
                    from: Vec<u8>,
                    to: Vec<u8>,
                    writes: Vec<u8>,
                ) -> Result<(), wit::Failure> {
                    PROVIDER.with_borrow_mut(|provider| component::apply(provider, store, epoch, [&from, &to, &writes]))
                }

                fn position(store: u32) -> Result<Vec<u8>, wit::Failure> {
                    PROVIDER.with_borrow_mut(|provider| component::position(provider, store))
                }

                fn size(store: u32) -> Result<wit::Extent, wit::Failure> {
                    PROVIDER.with_borrow_mut(|provider| component::size(provider, store))
                }

                fn flush(store: u32, epoch: u64) -> Result<(), wit::Failure> {
                    PROVIDER.with_borrow_mut(|provider| component::flush(provider, store, epoch))
                }

                fn wipe(store: u32, epoch: u64) -> Result<(), wit::Failure> {
                    PROVIDER.with_borrow_mut(|provider| component::wipe(provider, store, epoch))
                }

                fn close(store: u32) -> Result<(), wit::Failure> {
                    PROVIDER.with_borrow_mut(|provider| component::close(provider, store))
                }
            }

    component::bindings::export!(Component with_types_in $crate::provider::component::bindings);
        };

        /// The provider as native code.
        #[cfg(not(target_arch = "wasm32"))]
        pub fn provider() -> $provider {
            <$provider>::default()
        }
    };
}
