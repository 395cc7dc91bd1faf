//! In a component that is a store provider. What it holds goes with its instance, so each death costs a whole restore.

use millstream::wasm::{ProviderBase, ProviderStore};
use millstream_engine::store::{Base, StoreKind};
use tests::providers::map_store;

use super::model::{Bases, try_every_kind};

/// Each is [`super::model::KINDS`] sequences: 320.
const SEEDS: u64 = 40;

/// Owners of one store, one after the other.
struct InComponent {
    epoch: u64,
}

impl Bases for InComponent {
    fn reopen(&mut self, kind: StoreKind) -> Box<dyn Base> {
        self.epoch += 1;
        let store = ProviderStore { id: "app/task/store".to_owned(), kind, changelog: None };
        Box::new(ProviderBase::open(map_store().unwrap(), vec![store], self.epoch).unwrap())
    }

    fn empty(&mut self, kind: StoreKind) -> Box<dyn Base> {
        self.reopen(kind)
    }

    fn are_kept(&self) -> bool {
        false
    }
}

#[test]
fn every_kind_in_a_component_is_its_model_whatever_is_done() {
    try_every_kind(SEEDS, "cargo test --release -p tests kinds::provider", &mut InComponent { epoch: 0 });
}
