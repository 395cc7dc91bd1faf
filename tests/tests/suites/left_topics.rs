//! Topics between subtopologies that a new component does not read any more: a start is refused that would leave unread
//! records in one, whatever it is called after.

use serde_json::{Value, json};
use tests::guests;
use tests::logs::{TestLog, each_log, eventually, pair, unique};
use tests::millstream::{Millstream, Output, fields};

const BAD_PLAN: i32 = 78;

const RESET: [&str; 5] = ["app", "reset", ".", "-o", "json"];

/// An application that has another component from start to start.
struct Changing<'a> {
    mill: Millstream,
    log: &'a TestLog,
    id: String,
    lines: String,
    out: String,
}

impl<'a> Changing<'a> {
    /// With one line to read.
    fn on(log: &'a TestLog) -> Changing<'a> {
        let (mill, id) = (Millstream::new(log.log.url()), unique("changing"));
        let (lines, out) = (log.topic("lines", 1), log.topic("out", 1));
        let changing = Changing { mill, log, id, lines, out };
        changing.send(&changing.lines, "first");
        changing
    }

    fn send(&self, topic: &str, value: &str) {
        let mut writer = self.log.log.writer().unwrap();
        writer.send(topic, Some(0), pair("key", value)).unwrap();
        writer.flush().unwrap();
    }

    /// Puts a component in place that describes itself like this. `more`: what the manifest says besides.
    fn becomes(&self, description: &Value, more: &str) {
        self.mill.write("app.toml", &format!("id = \"{}\"\ncomponent = \"guest.wasm\"\n{more}", self.id));
        let component = guests::described_as(&description.to_string()).unwrap();
        std::fs::write(self.mill.dir().join("guest.wasm"), component).unwrap();
    }

    /// A stream that goes through a repartition topic of this name.
    fn goes_through(&self, name: &str) {
        let description = json!({
            "version": 1,
            "nodes": [
                {"name": "lines", "op": "source"},
                {"name": name, "op": "repartition", "inputs": ["lines"]},
                {"name": "out", "op": "sink", "inputs": [name]},
            ],
            "stores": [],
        });
        let (lines, out) = (&self.lines, &self.out);
        self.becomes(&description, &format!("[sources.lines]\ntopic = \"{lines}\"\n[sinks.out]\ntopic = \"{out}\"\n"));
    }

    fn run(&self, more: &[&str]) -> Output {
        self.mill.run(&[&["run", ".", "--until-end", "--error-format", "json"], more].concat())
    }

    fn topic(&self, name: &str) -> String {
        format!("{}-{name}", self.id)
    }

    fn is_there(&self, topic: &str) -> bool {
        self.log.log.describe(&[topic]).unwrap()[0].is_some()
    }

    /// A record that is in a topic of its own and not read yet, as a stop leaves it between two subtopologies; answers what is
    /// told of it.
    fn leave_unread(&self, topic: &str) -> Value {
        self.send(topic, "on its way");
        let committed = self.log.log.committed(&self.id, &[(topic.to_owned(), 0)]).unwrap().remove(0);
        let (committed, end) = (committed.map(|at| at.offset), self.log.log.offsets(topic, 0).unwrap().end);
        json!({"topic": topic, "partition": 0, "committed": committed, "end": end})
    }

    /// What the record in the log says, and how often it was written.
    fn names(&self) -> (Value, usize) {
        let said = self.log.read(&self.topic("names"), 0);
        (serde_json::from_slice(said.last().unwrap().value.as_ref().unwrap()).unwrap(), said.len())
    }

    fn forget_state(&self) {
        std::fs::remove_dir_all(self.mill.dir().join(".millstream")).unwrap();
    }

    fn came_out(&self) -> usize {
        self.log.read(&self.out, 0).len()
    }
}

#[test]
fn a_start_that_would_leave_unread_records_behind_is_refused_until_they_are_read() {
    each_log(|log| {
        // The record in the state directory; that in the log; without both a generated name there.
        for (first, second, keeps_state, keeps_names) in [
            ("by-user", "by-account", true, true),
            ("by-user", "by-account", true, false),
            ("by-user", "by-account", false, true),
            ("repartition-1", "repartition-2", false, false),
        ] {
            let changing = Changing::on(log);
            let [old, new] = [first, second].map(|name| changing.topic(&format!("{name}-repartition")));
            let names = changing.topic("names");
            changing.goes_through(first);
            changing.run(&[]).ok();
            changing.run(&[]).ok();
            let expected = json!({"stores": {}, "internal": [old], "abandoned": []});
            assert_eq!(changing.names(), (expected, 1), "a start that knows nothing new says nothing");
            let unread = changing.leave_unread(&old);
            if !keeps_state {
                changing.forget_state();
            }
            if !keeps_names {
                log.log.delete(&names).unwrap();
                eventually("it is gone", || (!changing.is_there(&names)).then_some(()));
            }
            changing.goes_through(second);
            let problem = changing.run(&[]).fails(BAD_PLAN).problem();
            let expected = json!({
                "error": "OrphanedRecords", "code": "E0212", "application": changing.id, "orphaned_topics": [old],
                "unread": [unread], "internal_topics": [new],
            });
            assert_eq!(fields(&problem), expected);
            for (field, text) in [("message", &*old), ("fix", "--until-end"), ("fix", "--allow-orphaned-state")] {
                assert!(problem[field].as_str().unwrap().contains(text), "{problem}");
            }
            let validated = changing.mill.run(&["validate", ".", "--error-format", "json"]);
            assert_eq!(validated.fails(BAD_PLAN).problem(), problem);
            assert!(!changing.is_there(&new), "a start that is refused makes nothing");
            // The component before reads it, and then nothing is left.
            changing.goes_through(first);
            changing.run(&[]).ok();
            assert_eq!(changing.came_out(), 2);
            changing.goes_through(second);
            changing.run(&[]).ok();
            changing.run(&[]).ok();
            assert_eq!(changing.came_out(), 2);
            // On a machine that is new to it as well.
            changing.forget_state();
            let mut own = [names, old.clone(), new];
            own.sort();
            let dry = changing.mill.run(&[&RESET[..], &["--dry-run"]].concat()).ok().json();
            assert_eq!(dry["topics"], json!(own));
            assert_eq!(changing.mill.run(&RESET).ok().json()["topics"], json!(own));
            eventually("it is deleted", || (!changing.is_there(&old)).then_some(()));
        }
    });
}

#[test]
fn what_is_given_up_is_given_up_once_and_what_comes_behind_it_counts_again() {
    each_log(|log| {
        let changing = Changing::on(log);
        let [old, new] = ["by-user", "by-account"].map(|name| changing.topic(&format!("{name}-repartition")));
        changing.goes_through("by-user");
        changing.run(&[]).ok();
        let given_up = changing.leave_unread(&old);
        changing.goes_through("by-account");
        changing.run(&[]).fails(BAD_PLAN);
        changing.run(&["--allow-orphaned-state"]).ok();
        let (names, times) = changing.names();
        let left = json!({ (old.as_str()): [given_up["end"]] });
        assert_eq!((&names["internal"], &names["left"]), (&json!([new]), &left));
        // Said once, it holds, on every machine.
        changing.run(&[]).ok();
        changing.forget_state();
        changing.run(&[]).ok();
        assert_eq!(changing.names().1, times);
        // Of a component before that still ran somewhere.
        let later = changing.leave_unread(&old);
        let problem = changing.run(&[]).fails(BAD_PLAN).problem();
        assert_eq!(problem["unread"], json!([later]));
        // Going back loses nothing: all of it was only left behind.
        changing.goes_through("by-user");
        changing.run(&[]).ok();
        assert_eq!(changing.came_out(), 3);
        assert!(changing.names().0["left"].get(&old).is_none(), "it is read again");
    });
}

#[test]
fn an_application_that_has_committed_nothing_makes_its_records_anew() {
    each_log(|log| {
        let changing = Changing::on(log);
        changing.goes_through("by-user");
        changing.run(&[]).ok();
        changing.leave_unread(&changing.topic("by-user-repartition"));
        log.log.forget(&changing.id).unwrap();
        changing.goes_through("by-account");
        changing.run(&[]).ok();
        assert_eq!(changing.came_out(), 2, "the line is read again");
    });
}

/// Two tables by a key in the left one's values.
fn joined(name: &str) -> Value {
    let table = |name: &str| json!({"name": name, "kind": "key-value", "key": "utf8", "value": "utf8"});
    json!({
        "version": 1,
        "nodes": [
            {"name": "left", "op": "table-source", "store": "lefts"},
            {"name": "right", "op": "table-source", "store": "rights"},
            {"name": name, "op": "foreign-key-join", "inputs": ["left", "right"], "join": "inner"},
        ],
        "stores": [table("lefts"), table("rights")],
    })
}

#[test]
fn what_is_unread_is_told_beside_the_stores_that_would_be_left() {
    each_log(|log| {
        let changing = Changing::on(log);
        let (left, right) = (log.topic("left", 1), log.topic("right", 1));
        let tables = format!("[sources.left]\ntopic = \"{left}\"\n[sources.right]\ntopic = \"{right}\"\n");
        changing.becomes(&joined("homes"), &tables);
        changing.run(&[]).ok();
        let [asks, answers, changelog] = ["registration-topic", "response-topic", "store-changelog"]
            .map(|of| changing.topic(&format!("homes-subscription-{of}")));
        let unread = changing.leave_unread(&asks);
        changing.becomes(&joined("houses"), &tables);
        let problem = changing.run(&[]).fails(BAD_PLAN).problem();
        let expected = json!({
            "error": "OrphanedState", "code": "E0212", "application": changing.id,
            "orphaned_stores": ["homes-subscription-store"], "changelog_topics": [changelog],
            "stores": ["lefts", "rights", "houses-subscription-store"], "unread": [unread],
        });
        assert_eq!(fields(&problem), expected);
        assert!(problem["message"].as_str().unwrap().contains(&asks), "{problem}");
        assert!(problem["fix"].as_str().unwrap().contains("--until-end"), "{problem}");
        changing.run(&["--allow-orphaned-state"]).ok();
        let dry = changing.mill.run(&[&RESET[..], &["--dry-run"]].concat()).ok().json();
        for topic in [&asks, &answers, &changelog] {
            assert!(dry["topics"].as_array().unwrap().contains(&json!(topic)), "{dry}");
        }
    });
}
