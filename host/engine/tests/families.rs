//! Sources of several topics, by a list or by a pattern, and sinks whose records go where the component says.
#![allow(clippy::unwrap_used)]

mod rig;

use millstream_engine::config::Manifest;
use millstream_engine::error::Problem;
use millstream_engine::functions::Fault;
use millstream_engine::record::Outgoing;
use millstream_engine::store::TaskStores;
use millstream_engine::task::{Failure, Settings, Task};
use millstream_engine::topology::{Blueprint, Description, Plan, TopicFacts};
use rig::{Answer, asked, cut, give, give_to, no_code, record, run, task};

/// By its name: how many partitions a topic has.
const PARTITIONS: [(&str, i32); 7] =
    [("eu", 2), ("us", 3), ("orders-1", 1), ("out", 1), ("small", 1), ("large", 4), ("letters", 1)];

fn blueprint(manifest: &str, description: &str) -> Result<Blueprint, Problem> {
    let manifest = Manifest::parse(&format!("id = \"app\"\n{manifest}"), "app.toml").unwrap();
    let description: Description = serde_json::from_str(description).unwrap();
    Blueprint::new(manifest, &description)
}

fn facts(topic: &str) -> Option<TopicFacts> {
    let (_, partitions) = PARTITIONS.iter().find(|(name, _)| *name == topic)?;
    Some(TopicFacts::of_partitions(*partitions))
}

fn plan(manifest: &str, description: &str) -> Result<Plan, Problem> {
    blueprint(manifest, description)?.plan(&facts)
}

/// A source into `out`.
fn reads(source: &str) -> String {
    format!(
        r#"{{"version":1,"nodes":[{{"name":"orders","op":"source",{source}}},
        {{"name":"out","op":"sink","inputs":["orders"]}}]}}"#
    )
}

fn shown(outgoing: &Outgoing) -> Vec<String> {
    outgoing.iter().map(|(_, record)| record.value.unwrap().escape_ascii().to_string()).collect()
}

/// What each of its sources reads, and where it begins.
fn inputs(plan: &Plan) -> Vec<(String, i32, String)> {
    let inputs = plan.inputs(&plan.subtopologies[0]).into_iter();
    let shown = |(source, topic, partitions): (usize, millstream_engine::record::TopicId, i32)| {
        let start = format!("{:?}/{}", plan.policies[source].start, plan.policies[source].on_error);
        (plan.topics[topic.0 as usize].name.clone(), partitions, start)
    };
    inputs.map(shown).collect()
}

#[test]
fn a_source_of_several_topics_is_one_stream_with_tasks_for_the_widest_of_them() {
    let plan = plan("", &reads(r#""topics":["eu","us"]"#)).unwrap();
    let subtopology = &plan.subtopologies[0];
    assert_eq!((subtopology.name.as_str(), subtopology.partitions), ("orders", 3));
    assert_eq!(plan.topics[subtopology.subscribe.0 as usize].name, "app-orders-tasks");
    let mut task = task(plan, Settings::default(), no_code);
    give_to(&mut task, 0, 0, [record(b"k", b"10", 10), record(b"k", b"30", 30)]);
    give_to(&mut task, 1, 0, [record(b"k", b"20", 20)]);
    run(&mut task).unwrap();
    assert_eq!(shown(&cut(&mut task, 0).0), ["10", "20", "30"], "in the order of time");
}

#[test]
fn a_manifest_speaks_of_all_topics_of_a_source_or_of_one() {
    let manifest = "[sources.orders]\nstart = \"latest\"\non_error = \"skip\"\n[sources.us]\ntopic = \"orders-1\"";
    let plan = plan(manifest, &reads(r#""topics":["eu","us"]"#)).unwrap();
    let eu = ("eu".to_owned(), 2, "Latest/skip".to_owned());
    assert_eq!(inputs(&plan), [eu, ("orders-1".to_owned(), 1, "Earliest/skip".to_owned())]);
}

#[test]
fn a_manifest_that_does_not_fit_a_source_of_several_topics_is_refused() {
    for (manifest, why) in [
        ("[sources.orders]\ntopic = \"eu\"", "stands for several topics"),
        ("[sources.orders]\non_error = \"dead-letter:us\"", "they would come round for ever"),
        ("[sources.ordres]\nstart = \"latest\"", "the component has no source"),
        ("[sources.us]\ntopic = \"eu\"", "stands for the topic \"eu\", and so does"),
    ] {
        let problem = blueprint(manifest, &reads(r#""topics":["eu","us"]"#)).unwrap_err();
        assert!(problem.message.contains(why), "{manifest}: {problem}");
    }
}

#[test]
fn what_is_no_way_to_name_topics_is_refused() {
    for (source, why) in [
        (r#""topics":["eu","eu"]"#, "`eu` is declared twice"),
        (r#""topics":["eu"],"topic":"us""#, "one of `topic`, `topics` and `pattern`"),
        (r#""pattern":"eu","topics":["us"]"#, "one of `topic`, `topics` and `pattern`"),
        (r#""topics":["no name"]"#, "a name is 1 to"),
        (r#""pattern":"(""#, "its pattern `(`"),
    ] {
        let problem = blueprint("", &reads(source)).unwrap_err();
        assert!(problem.message.contains(why), "{source}: {problem}");
    }
    for (node, why) in [
        (r#"{"name":"t","op":"table-source","topics":["eu"]}"#, "only source and sink take `topics`"),
        (r#"{"name":"t","op":"table-source","pattern":"eu"}"#, "only source takes `pattern`"),
        (r#"{"name":"t","op":"source","partitioner":true}"#, "only sink takes `partitioner`"),
    ] {
        let problem = blueprint("", &format!(r#"{{"version":1,"nodes":[{node}]}}"#)).unwrap_err();
        assert!(problem.message.contains(why), "{node}: {problem}");
    }
}

#[test]
fn a_pattern_finds_the_topics_of_the_log_but_none_of_the_applications_own() {
    let names = |topics: &[&str]| topics.iter().map(|topic| (*topic).to_owned()).collect::<Vec<_>>();
    let log = names(&["app-orders-tasks", "app-counts-changelog", "eu", "letters", "us"]);
    let blueprint = blueprint("[sources.orders]\nstart = \"latest\"", &reads(r#""pattern":"eu|us|app-.*""#)).unwrap();
    let plan = blueprint.matched(&log).unwrap().plan(&facts).unwrap();
    let found: Vec<_> = inputs(&plan).into_iter().map(|(topic, _, start)| format!("{topic} {start}")).collect();
    assert_eq!(found, ["eu Latest/fail", "us Latest/fail"]);
    let problem = blueprint.matched(&names(&["letters"])).unwrap_err();
    assert_eq!((problem.name, &problem.to_json()["topic"]), ("SourceTopicNotFound", &"eu|us|app-.*".into()));
    // One topic today may be two tomorrow: the tasks are shared out by the same topic.
    let plan = blueprint.matched(&names(&["us"])).unwrap().plan(&facts).unwrap();
    let subtopology = &plan.subtopologies[0];
    assert_eq!(plan.topics[subtopology.subscribe.0 as usize].name, "app-orders-tasks");
    assert_eq!((subtopology.name.as_str(), subtopology.partitions), ("orders", 3));
}

const ROUTED: &str = r#"{"version":1,"nodes":[{"name":"in","op":"source","topic":"orders-1"},
    {"name":"audit","op":"sink","inputs":["in"],"topics":["small","large"],"partitioner":true}]}"#;

/// Each value is the number of a topic and a partition, or a topic alone: `1 3`.
fn as_told(_: u32, frame: &[u8], _: &mut TaskStores, out: &mut Vec<u8>) -> Result<(), Fault> {
    assert_eq!((frame[6], &frame[12..16]), (7, &2u32.to_le_bytes()[..]), "a route frame of two topics");
    let groups = &frame[32 + 40 * u32::from_le_bytes(frame[8..12].try_into().unwrap()) as usize..];
    let counts = [&groups[8..12], &groups[20..24]].map(|bytes| u32::from_be_bytes(bytes.try_into().unwrap()));
    assert_eq!(counts, [1, 4]);
    let mut answer = Answer::default();
    // The elements stand behind the groups.
    let elements = [&frame[..8], &[0; 8], &frame[16..32], &groups[24..]].concat();
    for (at, value) in rig::values(&elements).iter().enumerate() {
        let numbers: Vec<i32> =
            std::str::from_utf8(value).unwrap().split(' ').map(|number| number.parse().unwrap()).collect();
        let partition = numbers.get(1).map(|partition| partition.to_be_bytes());
        answer.to(at as u32, numbers[0] as u16, partition.as_ref().map(|bytes| &bytes[..]));
    }
    assert_eq!(asked(frame) as usize, rig::values(&elements).len());
    answer.finish(out);
    Ok(())
}

fn routing(manifest: &str) -> Task {
    task(plan(manifest, ROUTED).unwrap(), Settings::default(), as_told)
}

#[test]
fn a_record_goes_to_the_topic_and_the_partition_that_the_guest_says_in_one_call_for_a_batch() {
    let mut task = routing("");
    let plan = task.plan().clone();
    give(&mut task, 0, ["0", "1 3", "1 0", "1", "0 0"].map(|value| record(b"k", value.as_bytes(), 1)));
    run(&mut task).unwrap();
    let (out, _) = cut(&mut task, 0);
    let shown = out.iter().map(|(to, record)| {
        let topic = &plan.topics[to.topic.0 as usize].name;
        format!("{} {topic}-{}", record.value.unwrap().escape_ascii(), to.partition)
    });
    let by_key = millstream_engine::partitioner::partition(b"k", 4);
    let by_key = format!("1 large-{by_key}");
    let mut shown: Vec<String> = shown.collect();
    shown.sort();
    let mut expected = vec!["0 small-0", "1 3 large-3", "1 0 large-0", &by_key, "0 0 small-0"];
    expected.sort();
    assert_eq!(shown, expected);
}

#[test]
fn a_topic_or_a_partition_that_was_not_granted_fails_the_record_and_no_other() {
    for (wrong, why) in [("2", "topic number 2 of a sink that has 2"), ("1 4", "partition 4 of a topic that has 4")] {
        let mut task = routing("");
        give(&mut task, 0, ["0", wrong].map(|value| record(b"k", value.as_bytes(), 1)));
        let Err(Failure::Record(failed)) = run(&mut task) else { panic!("it was sent") };
        assert_eq!((failed.message.as_str(), failed.offset, failed.node.as_str()), (why, 1, "audit"));
        assert_eq!(shown(&cut(&mut task, 0).0), ["0"]);
    }
    let mut task = routing("on_error = \"dead-letter:letters\"");
    give(&mut task, 0, ["0 -1", "0", "9 0"].map(|value| record(b"k", value.as_bytes(), 1)));
    run(&mut task).unwrap();
    assert_eq!(task.dead_letters(), 2);
}

#[test]
fn the_topics_of_a_sink_are_sinks_to_the_manifest() {
    let renamed = plan("[sinks.small]\ntopic = \"out\"", ROUTED).unwrap();
    let written = renamed.nodes.iter().enumerate().filter(|(_, node)| node.operator.is_sink());
    let written: Vec<&str> =
        written.filter_map(|(at, _)| Some(&*renamed.topics[renamed.topic_of(at)?.0 as usize].name)).collect();
    assert_eq!(written, ["out", "large"]);
    let problem = plan("[sinks.audit]\ntopic = \"out\"", ROUTED).unwrap_err();
    assert!(problem.message.contains("the component has no sink"), "{problem}");
    let cycle = ROUTED.replace("\"small\",\"large\"", "\"small\",\"orders-1\"");
    let problem = plan("", &cycle).unwrap_err();
    assert_eq!((problem.name, &problem.to_json()["sink"]), ("UndeclaredCycle", &"orders-1".into()));
}
