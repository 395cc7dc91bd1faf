//! The sample `word-count`, as a user has it: a manifest in a directory, and the program.

use millstream::wasm::{Compiler, Engine};
use millstream_engine::config::Limits;
use serde_json::Value;

use crate::guests;
use crate::logs::{TestLog, unique};
use crate::millstream::Millstream;

/// The sample `word-count` under names of its own, its six words fed and not yet counted.
pub struct Words {
    pub mill: Millstream,
    pub id: String,
    pub lines: String,
    pub counts: String,
}

impl Words {
    /// `keys`: more lines for the top of the manifest.
    pub fn on(log: &TestLog, keys: &str) -> Words {
        let (mill, id) = (Millstream::new(log.log.url()), unique("contract"));
        let (lines, counts) = (log.topic("lines", 2), log.topic("counts", 2));
        let engine = Engine::new(Limits::default().stack, Compiler::in_process()).expect("the engine starts");
        let component = guests::plugin(&engine, "plugins/word-count").expect("the sample builds");
        mill.write(
            "app.toml",
            &format!(
                "id = \"{id}\"\ncomponent = \"{}\"\n{keys}\n[sources.lines]\ntopic = \"{lines}\"\n[sinks.counts]\n\
                 topic = \"{counts}\"\n",
                component.display()
            ),
        );
        log.produce(&lines, 0, &["the mill turns"]);
        log.produce(&lines, 1, &["the mill stops"]);
        Words { mill, id, lines, counts }
    }

    pub fn changelog(&self) -> String {
        format!("{}-word-counts-changelog", self.id)
    }

    /// A verb that ends well with one JSON value.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Value {
        self.mill.run(args).ok().json()
    }
}
