//! On a Redis server, by a store provider. What is committed outlives the instance; whoever comes next is another owner.

use std::sync::Arc;

use millstream::wasm::{ProviderBase, ProviderStore};
use millstream_engine::store::{Base, StoreKind};
use tests::logs::unique;
use tests::redis::{self, Redis};

use super::model::{Bases, try_every_kind};

/// Each is [`super::model::KINDS`] sequences: 160.
const SEEDS: u64 = 20;

struct OnServer {
    redis: Arc<Redis>,
    epoch: u64,
    /// Of the store that there is now.
    id: String,
}

impl Bases for OnServer {
    fn reopen(&mut self, kind: StoreKind) -> Box<dyn Base> {
        self.epoch += 1;
        let store = ProviderStore { id: self.id.clone(), kind, changelog: None };
        Box::new(ProviderBase::open(self.redis.plain_provider(), vec![store], self.epoch).unwrap())
    }

    fn empty(&mut self, kind: StoreKind) -> Box<dyn Base> {
        self.id = unique("app/task/store");
        self.reopen(kind)
    }
}

#[test]
fn every_kind_on_a_server_is_its_model_whatever_is_done() {
    let mut bases = OnServer { redis: redis::shared(), epoch: 0, id: String::new() };
    try_every_kind(SEEDS, "cargo test --release -p tests kinds::server", &mut bases);
}
