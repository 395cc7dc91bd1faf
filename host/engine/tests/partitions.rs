//! How many partitions everything has where keys must meet.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use millstream_engine::config::Manifest;
use millstream_engine::error::Problem;
use millstream_engine::topology::{Blueprint, Description, Plan, TopicFacts};

/// Plans nodes, and stores by their names, on topics of these counts.
fn plan(nodes: &str, stores: &[&str], topics: &[(&str, i32)]) -> Result<Plan, Problem> {
    let store = |name: &&str| format!(r#"{{"name":"{name}","kind":"key-value","key":"utf8","value":"utf8"}}"#);
    plan_with("", nodes, &stores.iter().map(store).collect::<Vec<_>>(), topics)
}

/// As [`plan`], with lines of the manifest and the stores' descriptions.
fn plan_with(manifest: &str, nodes: &str, stores: &[String], topics: &[(&str, i32)]) -> Result<Plan, Problem> {
    let description = format!(r#"{{"version":1,"nodes":[{nodes}],"stores":[{}]}}"#, stores.join(","));
    let description: Description = serde_json::from_str(&description).unwrap();
    let manifest = Manifest::parse(&format!("id = \"app\"\n{manifest}"), "app.toml").unwrap();
    let count = |name: &str| topics.iter().find(|(topic, _)| *topic == name).map(|(_, count)| *count);
    Blueprint::new(manifest, &description)?.plan(&|name| count(name).map(TopicFacts::of_partitions))
}

/// The counts of the topics that the plan makes.
fn internal(plan: &Plan) -> BTreeMap<&str, i32> {
    let made = plan.topics.iter().filter(|topic| topic.internal.is_some());
    // That which records the stores has no partitions of theirs.
    made.filter(|topic| topic.name != "app-names").map(|topic| (topic.name.as_str(), topic.partitions)).collect()
}

const TABLES: &str = r#"{"name":"left","op":"table-source","store":"l"},
    {"name":"right","op":"table-source","store":"r"}"#;

const STREAMS: &str = r#"{"name":"left","op":"source"},{"name":"right","op":"table-source","store":"r"}"#;

#[test]
fn what_is_joined_has_equal_counts_or_both_topics_are_named() {
    let unequal = [("left", 4), ("right", 8)];
    for (nodes, stores) in [
        (
            format!(r#"{TABLES},{{"name":"j","op":"table-join","inputs":["left","right"],"join":"outer"}}"#),
            &["l", "r"][..],
        ),
        (
            format!(r#"{STREAMS},{{"name":"j","op":"stream-table-join","inputs":["left","right"],"join":"left"}}"#),
            &["r"],
        ),
        (
            format!(
                r#"{STREAMS},{{"name":"f","op":"table-map-values","inputs":["right"]}},
                {{"name":"j","op":"stream-table-join","inputs":["left","f"],"join":"inner"}}"#
            ),
            &["r"],
        ),
        (
            r#"{"name":"left","op":"source"},{"name":"right","op":"source"},
                {"name":"c","op":"cogroup","inputs":["left","right"],"store":"c"}"#
                .to_owned(),
            &["c"],
        ),
    ] {
        let problem = plan(&nodes, stores, &unequal).unwrap_err();
        assert_eq!(problem.code, "E0202", "{nodes}");
        assert!(problem.message.ends_with(": left (4), right (8)"), "{}", problem.message);
        plan(&nodes, stores, &[("left", 4), ("right", 4)]).unwrap();
    }
}

#[test]
fn merged_streams_need_no_equal_counts() {
    let nodes = r#"{"name":"left","op":"source"},{"name":"right","op":"source"},
        {"name":"m","op":"merge","inputs":["left","right"]},{"name":"c","op":"count","inputs":["m"],"store":"c"}"#;
    let plan = plan(nodes, &["c"], &[("left", 4), ("right", 8)]).unwrap();
    assert_eq!(plan.subtopologies[0].partitions, 8);
    assert_eq!(internal(&plan)["app-c-changelog"], 8);
}

#[test]
fn a_stream_under_a_new_key_is_spread_as_the_table_it_meets() {
    let nodes = format!(
        r#"{STREAMS},{{"name":"k","op":"select-key","inputs":["left"]}},
        {{"name":"j","op":"stream-table-join","inputs":["k","right"],"join":"inner"}}"#
    );
    let plan = plan(&nodes, &["r"], &[("left", 4), ("right", 8)]).unwrap();
    assert_eq!(internal(&plan)["app-j-repartition"], 8);
}

const REKEYED: &str = r#"{"name":"left","op":"source"},{"name":"lk","op":"select-key","inputs":["left"]},
    {"name":"right","op":"source"},{"name":"rk","op":"select-key","inputs":["right"]}"#;

const JOINED: &str = r#"{"name":"j","op":"stream-join","join":"inner","join_windows":{"before_ms":10,"after_ms":10,
    "grace_ms":5},"inputs":"#;

#[test]
fn two_streams_under_new_keys_are_both_spread_as_the_wider_one() {
    for topics in [[("left", 4), ("right", 8)], [("left", 8), ("right", 4)]] {
        let plan = plan(&format!(r#"{REKEYED},{JOINED}["lk","rk"]}}"#), &[], &topics).unwrap();
        let internal = internal(&plan);
        assert_eq!(internal.values().copied().collect::<Vec<_>>(), [8; 5], "{internal:?}");
    }
}

#[test]
fn a_count_that_is_asked_for_holds_for_what_is_joined_with_it() {
    for (own, other) in [("left", "right"), ("right", "left")] {
        let nodes = format!(
            r#"{REKEYED},{{"name":"p","op":"repartition","inputs":["{}k"],"partitions":6}},{JOINED}["{}k","p"]}}"#,
            &own[..1],
            &other[..1]
        );
        let plan = plan(&nodes, &[], &[("left", 4), ("right", 8)]).unwrap();
        let internal = internal(&plan);
        assert_eq!(internal.values().copied().collect::<Vec<_>>(), [6; 5], "{internal:?}");
    }
}

#[test]
fn what_a_join_keeps_outlives_its_windows_and_its_grace() {
    let nodes =
        format!(r#"{{"name":"left","op":"source"}},{{"name":"right","op":"source"}},{JOINED}["left","right"]}}"#);
    let topics = [("left", 1), ("right", 1)];
    for store in ["j-this-join-store", "j-other-join-store"] {
        let keep = |ms: u32| format!("[stores.{store}]\nretention = \"{ms}ms\"");
        plan_with(&keep(25), &nodes, &[], &topics).unwrap();
        let problem = plan_with(&keep(24), &nodes, &[], &topics).unwrap_err();
        assert_eq!(problem.code, "E0230", "{}", problem.message);
        assert!(problem.message.contains(store), "{}", problem.message);
    }
}

/// The left side's words go where the right rows are, and the answers back.
#[test]
fn both_sides_of_a_foreign_key_join_keep_their_counts() {
    let nodes = format!(
        r#"{TABLES},{{"name":"j","op":"foreign-key-join","inputs":["left","right"],"join":"inner","store":"k"}}"#
    );
    let plan = plan(&nodes, &["l", "r", "k"], &[("left", 4), ("right", 8)]).unwrap();
    let internal = internal(&plan);
    assert_eq!(internal["app-j-subscription-registration-topic"], 8);
    assert_eq!(internal["app-j-subscription-store-changelog"], 8);
    assert_eq!(internal["app-j-subscription-response-topic"], 4);
    assert_eq!(internal["app-k-changelog"], 4);
    let mut partitions: Vec<i32> = plan.subtopologies.iter().map(|subtopology| subtopology.partitions).collect();
    partitions.sort();
    assert_eq!(partitions, [4, 8]);
}

/// Neither a join nor a grouped table makes its guest be asked record by record.
#[test]
fn joins_of_different_topics_run_in_batches() {
    for join in [r#""op":"table-join""#, r#""op":"foreign-key-join""#] {
        let nodes = format!(
            r#"{TABLES},{{"name":"j",{join},"inputs":["left","right"],"join":"left"}},
            {{"name":"g","op":"table-group-by","inputs":["left"]}},
            {{"name":"c","op":"table-count","inputs":["g"],"store":"c"}}"#
        );
        let plan = plan(&nodes, &["l", "r", "c"], &[("left", 2), ("right", 2)]).unwrap();
        assert!(plan.subtopologies.iter().all(|subtopology| subtopology.entangled.is_empty()), "{join}");
    }
}

/// Who only reads sees the same in whatever order: a stream that meets a table twice, and two streams that meet one.
#[test]
fn what_only_looks_a_table_up_runs_in_batches() {
    let nodes = format!(
        r#"{STREAMS},{{"name":"more","op":"source"}},
        {{"name":"i","op":"stream-table-join","inputs":["left","right"],"join":"inner"}},
        {{"name":"l","op":"stream-table-join","inputs":["left","right"],"join":"left"}},
        {{"name":"m","op":"stream-table-join","inputs":["more","right"],"join":"left"}}"#
    );
    let plan = plan(&nodes, &["r"], &[("left", 2), ("right", 2), ("more", 2)]).unwrap();
    let [all] = &plan.subtopologies[..] else { panic!("{}", plan.subtopologies.len()) };
    assert!(all.entangled.is_empty());
    // The table's own records and those of the streams still take turns.
    let source = |name: &str| plan.nodes.iter().position(|node| node.name == name).unwrap();
    let meet = |one: &str, other: &str| all.conflicts.contains(&(source(one), source(other)));
    assert_eq!([meet("left", "more"), meet("left", "right"), meet("right", "more")], [false, true, true]);
}

/// A table that is made of itself again and again is worked out of twice as many with every step: a hostile description
/// must neither hold the plan up nor pass.
#[test]
fn a_table_that_is_worked_out_of_too_many_is_refused_at_once() {
    let joined = |steps: usize| {
        let step = |at: usize| {
            let of = if at == 0 { "left".to_owned() } else { format!("j{}", at - 1) };
            format!(r#",{{"name":"j{at}","op":"table-join","inputs":["{of}","{of}"],"join":"outer"}}"#)
        };
        let nodes: String = (0..steps).map(step).collect();
        let stream = r#"{"name":"in","op":"source"}"#;
        let last = steps - 1;
        let met = format!(r#",{{"name":"met","op":"stream-table-join","inputs":["in","j{last}"],"join":"inner"}}"#);
        plan(&format!("{TABLES},{stream}{nodes}{met}"), &["l", "r"], &[("left", 1), ("right", 1), ("in", 1)])
    };
    joined(4).unwrap();
    let problem = joined(60).unwrap_err();
    assert!(problem.message.contains("is worked out of more than"), "{}", problem.message);
}

#[test]
fn stores_and_topics_between_subtopologies_are_recorded_in_a_topic_of_their_own() {
    let outside = [("in", 2), ("out", 2), ("left", 2), ("right", 2)];
    let names = |plan: &Plan| {
        let names = plan.topics.iter().find(|topic| topic.name == "app-names");
        names.map(|topic| topic.internal.as_ref().unwrap().configs["cleanup.policy"].clone())
    };
    let through = |node: &str| {
        format!(
            r#"{{"name":"in","op":"source"}},{{"name":"x",{node},"inputs":["in"]}},{{"name":"out","op":"sink","inputs":["x"]}}"#
        )
    };
    assert_eq!(names(&plan(&through(r#""op":"peek""#), &[], &outside).unwrap()), None);
    let repartition = through(r#""op":"repartition""#);
    assert_eq!(names(&plan(&repartition, &[], &outside).unwrap()).as_deref(), Some("compact"));
    assert_eq!(names(&plan(TABLES, &["l", "r"], &outside).unwrap()).as_deref(), Some("compact"));
    // Who may not create the topics that it is there for may not create it.
    let by_hand = |manifest: &str| {
        let topics = [&outside[..], &[("app-x-repartition", 2)]].concat();
        plan_with(manifest, &repartition, &[], &topics).map(|plan| names(&plan))
    };
    let refused = by_hand("[repartition]\nauto_create = false").unwrap_err();
    assert_eq!((refused.code, &refused.to_json()["topic"]), ("E0209", &"app-names".into()));
    assert!(by_hand("[changelog]\nauto_create = false").is_ok());
}

#[test]
fn what_is_between_subtopologies_is_known_by_name() {
    let blueprint = |nodes: &str, stores: &[&str]| {
        let store = |name: &&str| format!(r#"{{"name":"{name}","kind":"key-value","key":"utf8","value":"utf8"}}"#);
        let stores: Vec<String> = stores.iter().map(store).collect();
        let description = format!(r#"{{"version":1,"nodes":[{nodes}],"stores":[{}]}}"#, stores.join(","));
        let manifest = Manifest::parse("id = \"app\"", "app.toml").unwrap();
        let blueprint = Blueprint::new(manifest, &serde_json::from_str(&description).unwrap()).unwrap();
        blueprint.repartition_topics().collect::<Vec<_>>()
    };
    let join = r#"{"name":"j","op":"foreign-key-join","inputs":["left","right"],"join":"inner"}"#;
    assert_eq!(
        blueprint(&format!("{TABLES},{join}"), &["l", "r"]),
        ["app-j-subscription-registration-topic", "app-j-subscription-response-topic"]
    );
    let join = r#"{"name":"k","op":"select-key","inputs":["left"]},
        {"name":"stream-table-join-3","op":"stream-table-join","inputs":["k","right"],"join":"inner"}"#;
    assert_eq!(blueprint(&format!("{STREAMS},{join}"), &["r"]), ["app-stream-table-join-3-repartition"]);
}

/// What goes out would be restored as state.
#[test]
fn nothing_is_written_into_a_topic_that_the_application_keeps_for_itself() {
    let nodes = r#"{"name":"in","op":"source"},{"name":"c","op":"count","inputs":["in"],"store":"c"},
        {"name":"s","op":"to-stream","inputs":["c"]},{"name":"out","op":"sink","inputs":["s"]}"#;
    let described = [r#"{"name":"c","kind":"key-value","key":"utf8","value":"i64"}"#.to_owned()];
    let topics = [("in", 2), ("out", 2), ("app-c-changelog", 2), ("letters", 2)];
    let refused = |manifest: &str| plan_with(manifest, nodes, &described, &topics).err().map(|problem| problem.message);
    let changelog = "[stores.c.changelog]\ntopic = \"out\"";
    assert!(
        refused(changelog).is_some_and(|why| why.contains("the changelog of store `c` and node `out` would share"))
    );
    let sink = "[sinks.out]\ntopic = \"app-c-changelog\"";
    assert!(refused(sink).is_some_and(|why| why.contains("would share the topic `app-c-changelog`")));
    let letters = "on_error = \"dead-letter:app-c-changelog\"";
    assert!(refused(letters).is_some_and(|why| why.contains("its dead letters")));
    for fine in ["", "on_error = \"dead-letter:letters\""] {
        assert_eq!(refused(fine), None, "{fine}");
    }
}
