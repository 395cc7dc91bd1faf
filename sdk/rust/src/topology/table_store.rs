//! A table's store, for processors that look into it.

use std::cell::RefCell;
use std::rc::Rc;

use super::graph::Draft;
use super::{Changes, Materialized, Table};
use crate::codec::Data;
use crate::store::{Buffer, Sessions, Store, Versions, Windows};
use crate::windowed::{Session, Windowed};

impl<K: Data, V: Data, C: Changes> Table<K, V, C> {
    /// The table's store of keys and values, to be opened with [`crate::Init::store`]. Tables of windows and sessions, and
    /// those that keep versions, have others: [`Table::window_store`], [`Table::session_store`], [`Table::versioned_store`].
    pub fn store(&self) -> Store<K, V> {
        Store::new(self.kept("key-value"))
    }

    /// The store of a table that keeps versions ([`Materialized::versioned`]), to be opened with [`crate::Init::versioned_store`].
    pub fn versioned_store(&self) -> Versions<K, V> {
        Versions::new(self.kept("versioned"))
    }

    /// Its store, which a processor reads as one of this kind; one of another kind is an error of the topology.
    fn kept(&self, wanted: &'static str) -> Rc<RefCell<Buffer>> {
        let mut graph = self.topology.graph.borrow_mut();
        let &mut Draft { op, store, .. } = graph.node(self.port.node);
        if op == "suppress" {
            graph.error("what a `suppress` holds back is no table; ask its parent for its store");
        }
        let Some(place) = store else {
            graph.error(format!("a `{op}` has no store; give it one with `materialized`"));
            let place = graph.add_store::<K, V>(op, Materialized::unnamed());
            return graph.buffer(place);
        };
        let kind = graph.kind(place);
        if kind != wanted {
            graph.error(format!("the store of this `{op}` is a {kind} store; ask for it with `{}`", asked_with(kind)));
        }
        graph.buffer(place)
    }
}

impl<K: Data, V: Data, C: Changes> Table<Windowed<K>, V, C> {
    /// The store of an aggregation in time or sliding windows, to be opened with [`crate::Init::window_store`]. It has the
    /// windows of a key by their starts.
    ///
    /// ```
    /// # use millstream_sdk::prelude::*;
    /// # struct Busiest(WindowStore<String, i64>);
    /// # impl Processor<String, String, String, i64> for Busiest {
    /// #     fn process(&mut self, ask: Record<String, String>, ctx: &mut Context<String, i64>) -> Result<(), Failure> {
    /// for window in self.0.fetch(&ask.key, ..) {
    ///     ctx.forward(ask.clone().with_value(window?.value));
    /// }
    /// #         Ok(())
    /// #     }
    /// # }
    /// # fn topology(app: &mut Topology) {
    /// # let clicks = app.stream::<String, String>("clicks");
    /// let hours = TimeWindows::of(Duration::from_secs(3600));
    /// let clicks_per_hour = clicks.group_by_key().windowed_by(hours).count("clicks-per-hour");
    /// # let questions = app.stream::<String, String>("questions");
    /// questions.process("hours", |init| Busiest(init.window_store(&clicks_per_hour.window_store()))).to("answers");
    /// # }
    /// ```
    pub fn window_store(&self) -> Windows<K, V> {
        Windows::new(self.kept("window"))
    }
}

impl<K: Data, V: Data, C: Changes> Table<Windowed<K, Session>, V, C> {
    /// The store of an aggregation in sessions, to be opened with [`crate::Init::session_store`].
    pub fn session_store(&self) -> Sessions<K, V> {
        Sessions::new(self.kept("session"))
    }
}

fn asked_with(kind: &str) -> &'static str {
    match kind {
        "window" => "window_store",
        "session" => "session_store",
        "versioned" => "versioned_store",
        _ => "store",
    }
}
