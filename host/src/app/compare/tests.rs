#![allow(clippy::unwrap_used)]

use millstream_engine::config::Manifest;

use super::*;

/// A stream that looks up a global table of a topic; `None`: one that does not.
fn looking_up(table: Option<(&str, &str)>) -> Blueprint {
    let nodes = match table {
        None => r#"{"version":1,"nodes":[{"name":"in","op":"source"}],"stores":[]}"#.to_owned(),
        Some((topic, codec)) => format!(
            r#"{{"version":1,"nodes":[{{"name":"in","op":"source"}},
            {{"name":"places","op":"global-table-source","store":"places","topic":"{topic}","key":"utf8","value":"{codec}"}},
            {{"name":"placed","op":"stream-global-join","inputs":["in","places"],"join":"inner"}}],
            "stores":[{{"name":"places","kind":"key-value","key":"utf8","value":"{codec}"}}]}}"#
        ),
    };
    let manifest = Manifest::parse("id = \"app\"", "app.toml").unwrap();
    Blueprint::new(manifest, &serde_json::from_str(&nodes).unwrap()).unwrap()
}

#[test]
fn a_global_table_that_comes_goes_or_reads_another_topic_has_to_be_allowed() {
    let (old, none) = (looking_up(Some(("places", "utf8"))), looking_up(None));
    assert_eq!(compare(&old, &looking_up(Some(("places", "utf8")))), []);
    for (old, new) in [(&old, &none), (&none, &old), (&old, &looking_up(Some(("shops", "utf8"))))] {
        let found = compare(old, new);
        let of_table = found.iter().find(|one| one.kind == "node" && one.name == "places").unwrap();
        assert_eq!((of_table.class, of_table.allow), (Class::NeedsAllow, Some("sources")), "{found:?}");
    }
    // What its rows are is for nobody to allow.
    let found = compare(&old, &looking_up(Some(("places", "json"))));
    assert!(found.iter().any(|one| one.kind == "store" && one.class == Class::Refused), "{found:?}");
}

/// A stream that goes through a repartition topic of this name.
fn repartitioned(name: &str) -> Blueprint {
    let nodes = format!(
        r#"{{"version":1,"nodes":[{{"name":"in","op":"source"}},
        {{"name":"{name}","op":"repartition","inputs":["in"]}},
        {{"name":"out","op":"sink","inputs":["{name}"]}}],"stores":[]}}"#
    );
    let manifest = Manifest::parse("id = \"app\"", "app.toml").unwrap();
    Blueprint::new(manifest, &serde_json::from_str(&nodes).unwrap()).unwrap()
}

#[test]
fn a_repartition_topic_that_is_read_no_more_has_to_be_allowed() {
    let old = repartitioned("by-user");
    assert_eq!(compare(&old, &repartitioned("by-user")), []);
    let found = compare(&old, &repartitioned("by-account"));
    let gone = found.iter().find(|one| one.name == "by-user-source").unwrap();
    assert_eq!((gone.class, gone.allow), (Class::NeedsAllow, Some("sources")), "{found:?}");
    assert!(gone.why.contains("unread"), "{gone:?}");
}

/// Streams counted by windows and joined, and a stream with one of two tables.
fn blueprint(window: &str, join: &str, joined: &str, table: &str) -> Blueprint {
    let nodes = format!(
        r#"{{"version":1,"nodes":[{{"name":"in","op":"source"}},{{"name":"other","op":"source"}},
        {{"name":"one","op":"table-source","store":"ones"}},{{"name":"two","op":"table-source","store":"twos"}},
        {{"name":"count","op":"count","inputs":["in"],"store":"counts","window":{{"type":"time",{window}}}}},
        {{"name":"both","op":"stream-join","inputs":["in","other"],"join":"{join}","join_windows":{{{joined}}}}},
        {{"name":"met","op":"stream-table-join","inputs":["in","{table}"],"join":"inner"}}],
        "stores":[{{"name":"ones","kind":"key-value","key":"utf8","value":"utf8"}},
        {{"name":"twos","kind":"key-value","key":"utf8","value":"utf8"}},
        {{"name":"counts","kind":"window","key":"utf8","value":"i64","window_size_ms":10,"retention_ms":100}}]}}"#
    );
    let manifest = Manifest::parse("id = \"app\"", "app.toml").unwrap();
    Blueprint::new(manifest, &serde_json::from_str(&nodes).unwrap()).unwrap()
}

const WINDOW: &str = r#""size_ms":10,"advance_ms":10,"grace_ms":0"#;
const JOINED: &str = r#""before_ms":5,"after_ms":5,"grace_ms":0"#;

#[test]
fn other_windows_and_other_joins_over_the_same_stores_have_to_be_allowed() {
    let old = blueprint(WINDOW, "left", JOINED, "one");
    assert_eq!(compare(&old, &blueprint(WINDOW, "left", JOINED, "one")), []);
    let advances = r#""size_ms":10,"advance_ms":5,"grace_ms":0"#;
    let shifted = r#""before_ms":4,"after_ms":6,"grace_ms":0"#;
    for (new, name) in [
        (blueprint(advances, "left", JOINED, "one"), "count"),
        (blueprint(WINDOW, "left", shifted, "one"), "both"),
        (blueprint(WINDOW, "left", JOINED, "two"), "met"),
    ] {
        let found = compare(&old, &new);
        let of_node = found.iter().find(|one| one.name == name && one.change.contains("windows")).unwrap();
        assert_eq!((of_node.class, of_node.allow), (Class::NeedsAllow, Some("stores")), "{found:?}");
    }
}

/// A source, two processors on one store, a sink.
const NODES: &str = r#"{"name":"in","op":"source","key":"utf8","value":"utf8"},
    {"name":"work","op":"process","inputs":["in"],"stores":["kept"]},
    {"name":"also","op":"process","inputs":["in"],"stores":["kept"]},
    {"name":"out","op":"sink","inputs":["work"]}"#;

const STORE: &str = r#"{"name":"kept","kind":"key-value","key":"utf8","value":"utf8"}"#;

/// Under a manifest that says this besides the id.
fn planned(nodes: &str, stores: &str, manifest: &str) -> Blueprint {
    let description = format!(r#"{{"version":1,"nodes":[{nodes}],"stores":[{stores}]}}"#);
    let manifest = Manifest::parse(&format!("id = \"app\"\n{manifest}"), "app.toml").unwrap();
    Blueprint::new(manifest, &serde_json::from_str(&description).unwrap()).unwrap()
}

/// Among the differences is this one.
#[track_caller]
fn differs(old: &Blueprint, new: &Blueprint, (kind, name): (&str, &str), change: &str, judged: Judged) {
    let found = compare(old, new);
    let one = found.iter().find(|one| (one.kind, &*one.name) == (kind, name) && one.change.contains(change));
    let one = one.unwrap_or_else(|| panic!("{name} {change}: {found:#?}"));
    assert_eq!((one.class, one.allow), judged, "{one:?}");
}

const REFUSED: Judged = (Class::Refused, None);

#[test]
fn what_changes_in_a_node_is_judged_by_what_it_does_to_topics_and_state() {
    let old = planned(NODES, STORE, "");
    assert_eq!(compare(&old, &planned(NODES, STORE, "")), []);
    let work = r#""name":"work","op":"process","inputs":["in"],"stores":["kept"]"#;
    let also = r#""name":"also","op":"process","inputs":["in"],"stores":["kept"]"#;
    let (source, sink) = (r#""name":"in","op":"source","key":"utf8""#, r#""name":"out","op":"sink","inputs":["work"]"#);
    let tick = r#","punctuations":[{"name":"tick","time":"stream","every_ms":1000}]"#;
    for (was, is, node, change, judged) in [
        (work, format!(r#"{work},"schedules":true"#), "work", "makes schedules", SAFE),
        (work, format!(r#"{work},"fixed_key":true"#), "work", "keeps its records' keys", SAFE),
        (work, format!(r#"{work},"resumes":true{tick}"#), "work", "go on by tokens", SAFE),
        (work, format!("{work}{tick}"), "work", "has other punctuations", SAFE),
        (work, work.replace("[\"kept\"]", "[]"), "work", "works on stores [], was [kept]", needs("stores")),
        (source, format!(r#"{source},"topic":"others""#), "in", "topic others, was in", needs("sources")),
        (source, format!(r#"{source},"pattern":"these|those""#), "in", "by another pattern", needs("sources")),
        (source, format!(r#"{source},"timestamp":"wall-clock""#), "in", "times from elsewhere", needs("sources")),
        (source, source.replace("utf8", "i64"), "in", "codecs i64/utf8, were utf8/utf8", needs("codecs")),
        (sink, format!(r#"{sink},"topic":"elsewhere""#), "out", "topic elsewhere, was out", needs("sinks")),
        (sink, format!(r#"{sink},"value":"i64""#), "out", "codecs -/i64, were -/-", needs("codecs")),
        (sink, sink.replace("work", "also"), "out", "has other parents", SAFE),
        (also, r#""name":"also","op":"filter","inputs":["in"]"#.into(), "also", "is filter, was process", SAFE),
        (also, r#""name":"also","op":"sink","inputs":["in"]"#.into(), "also", "is sink, was process", needs("sinks")),
        (also, r#""name":"also","op":"source""#.into(), "also", "is source, was process", needs("sources")),
    ] {
        differs(&old, &planned(&NODES.replace(was, &is), STORE, ""), ("node", node), change, judged);
    }
    // And back again.
    let sink_again = planned(&NODES.replace(also, r#""name":"also","op":"sink","inputs":["in"]"#), STORE, "");
    differs(&sink_again, &old, ("node", "also"), "is process, was sink", needs("sinks"));
    let source_again = planned(&NODES.replace(also, r#""name":"also","op":"source""#), STORE, "");
    differs(&source_again, &old, ("node", "also"), "is process, was source", needs("sources"));
}

#[test]
fn what_comes_and_what_goes_is_judged_by_the_topics_and_the_state_it_stands_for() {
    let old = planned(NODES, STORE, "");
    for (more, name, is_new, judged) in [
        (r#"{"name":"more","op":"source"}"#, "more", "is new", needs("sources")),
        (r#"{"name":"copied","op":"sink","inputs":["in"]}"#, "copied", "is new", needs("sinks")),
        (r#"{"name":"some","op":"filter","inputs":["in"]}"#, "some", "is new: filter", SAFE),
    ] {
        let new = planned(&format!("{NODES},{more}"), STORE, "");
        differs(&old, &new, ("node", name), is_new, judged);
        differs(&new, &old, ("node", name), "is gone", judged);
    }
    let third = r#"{"name":"third","op":"process","inputs":["in"],"stores":["other"]}"#;
    let other = STORE.replace("kept", "other");
    let new = planned(&format!("{NODES},{third}"), &format!("{STORE},{other}"), "");
    differs(&old, &new, ("store", "other"), "is new", SAFE);
    differs(&new, &old, ("store", "other"), "is gone", needs("stores"));
}

#[test]
fn a_repartition_topic_keeps_its_number_of_partitions() {
    let of = |partitions: u32| {
        let spread = format!(r#"{{"name":"spread","op":"repartition","inputs":["in"],"partitions":{partitions}}}"#);
        planned(&format!("{NODES},{spread}"), STORE, "")
    };
    let found = compare(&of(4), &of(8));
    assert!(found.iter().any(|one| one.change.contains("partitions") && one.class == Class::Refused), "{found:?}");
}

#[test]
fn a_store_stays_what_its_state_and_its_changelog_can_be_read_as() {
    let window = |size_ms: i64, retention_ms: i64| {
        let times = format!(r#""window_size_ms":{size_ms},"retention_ms":{retention_ms}"#);
        planned(NODES, &STORE.replace("key-value", "window").replace("\"value\"", &format!("{times},\"value\"")), "")
    };
    let old = planned(NODES, STORE, "");
    let numbers = planned(NODES, &STORE.replace(r#""value":"utf8""#, r#""value":"i64""#), "");
    differs(&old, &numbers, ("store", "kept"), "of utf8/i64, was key-value of utf8/utf8", REFUSED);
    differs(&old, &window(10, 100), ("store", "kept"), "window of utf8/utf8, was key-value", REFUSED);
    differs(&window(10, 100), &window(20, 100), ("store", "kept"), "windows of (20, false), were (10, false)", REFUSED);
    differs(&window(10, 100), &window(10, 200), ("store", "kept"), "retention 200 ms, was 100 ms", REFUSED);
}

#[test]
fn windows_that_go_when_they_close_stand_in_another_order() {
    let counted = |emit: &str| {
        let count = format!(
            r#"{{"name":"in","op":"source"}},{{"name":"count","op":"count","inputs":["in"],"store":"counts",
            "window":{{"type":"time",{WINDOW}}}{emit}}}"#
        );
        let counts =
            r#"{"name":"counts","kind":"window","key":"utf8","value":"i64","window_size_ms":10,"retention_ms":100}"#;
        planned(&count, counts, "")
    };
    let (updates, closed) = (counted(""), counted(r#","emit":"on-window-close""#));
    differs(&updates, &closed, ("store", "counts"), "when they close, was as they change", REFUSED);
    differs(&closed, &updates, ("store", "counts"), "as they change, was when they close", REFUSED);
}

#[test]
fn where_a_store_is_kept_and_logged_may_change_as_far_as_nothing_is_left_behind() {
    let under = |manifest: &str| planned(NODES, STORE, manifest);
    let unlogged = "[stores.kept]\nchangelog = false\n";
    let (old, lmdb) = (under(""), under("[state]\nprovider = \"lmdb\""));
    differs(&old, &lmdb, ("store", "kept"), "provider lmdb, was memory", SAFE);
    let (memory, lmdb) = (under(unlogged), under(&format!("{unlogged}provider = \"lmdb\"")));
    differs(&memory, &lmdb, ("store", "kept"), "provider lmdb, was memory", needs("stores"));
    let cached = under("[stores.kept]\ncache = \"1MiB\"");
    differs(&old, &cached, ("store", "kept"), "cache 1048576 bytes, was none", SAFE);
    let named = under("[stores.kept]\nchangelog = { topic = \"kept-log\" }");
    differs(&old, &named, ("store", "kept"), "changelog kept-log, was app-kept-changelog", needs("stores"));
    differs(&old, &memory, ("store", "kept"), "changelog none, was app-kept-changelog", needs("stores"));
}

#[test]
fn a_limit_that_is_broken_is_a_line_that_nobody_can_allow() {
    let line = limit("memory", "wanted 200 MiB, may have 128 MiB ([limits] memory)");
    assert_eq!((line.kind, &*line.name, (line.class, line.allow)), ("limit", "memory", REFUSED));
}
