//! Which topics a source reads and a sink writes, in the words of the SDK.
#![allow(clippy::unwrap_used)]

use millstream_sdk::prelude::*;
use millstream_sdk::testing::Driver;

fn driver(topology: impl Fn(&mut Topology) + Send + Sync + 'static) -> Driver {
    Driver::with_manifest(topology, "id = \"app\"\non_error = \"dead-letter:letters\"").unwrap()
}

fn orders(values: &[i64]) -> Vec<Record<String, i64>> {
    values.iter().map(|value| Record::new("k".to_string(), *value, 7)).collect()
}

#[test]
fn a_source_reads_several_topics_as_one_stream() {
    let mut driver = driver(|app| {
        app.stream::<String, i64>(Consumed::topics("orders", ["eu", "us"])).map_values(|n| n * 10).to("out");
    });
    driver.pipe_all("eu", orders(&[1])).unwrap();
    driver.pipe_all("us", orders(&[2])).unwrap();
    assert_eq!(driver.read_pairs::<String, i64>("out").unwrap().iter().map(|(_, n)| *n).collect::<Vec<_>>(), [10, 20]);
    assert!(driver.pipe_all("orders", orders(&[3])).is_err(), "there is no topic of that name");
}

/// Puts the topic that a record came in by in front of its value.
struct Whence;

impl Processor<String, i64, String, String> for Whence {
    fn process(&mut self, order: Record<String, i64>, ctx: &mut Context<String, String>) -> Result<(), Failure> {
        let whence = format!("{} {}", ctx.topic().unwrap(), order.value);
        ctx.forward(order.with_value(whence));
        Ok(())
    }
}

#[test]
fn a_processor_knows_which_of_the_topics_a_record_came_in_by() {
    let mut driver = driver(|app| {
        let orders = app.stream::<String, i64>(Consumed::topics("orders", ["eu", "us"]));
        orders.clone().process("whence", |_| Whence).to("out");
        orders.repartition("again").process("after", |_| Whence).to("behind");
    });
    driver.pipe_all("us", orders(&[2])).unwrap();
    driver.pipe_all("eu", orders(&[1])).unwrap();
    let values = |driver: &mut Driver, topic: &str| {
        driver.read_pairs::<String, String>(topic).unwrap().into_iter().map(|(_, text)| text).collect::<Vec<_>>()
    };
    assert_eq!(values(&mut driver, "out"), ["us 2", "eu 1"]);
    assert_eq!(values(&mut driver, "behind"), ["app-again-repartition 2", "app-again-repartition 1"]);
}

#[test]
fn the_function_of_a_source_of_several_topics_finds_the_time_in_all_of_them() {
    let mut driver = driver(|app| {
        let orders =
            Consumed::topics("orders", ["eu", "us"]).extract_timestamp(|order: &Record<String, i64>, _| order.value);
        app.stream(orders).to("out");
    });
    driver.pipe_all("us", orders(&[5])).unwrap();
    driver.pipe_all("eu", orders(&[6])).unwrap();
    let times = driver.read::<String, i64>("out").unwrap().iter().map(|order| order.timestamp).collect::<Vec<_>>();
    assert_eq!(times, [5, 6]);
}

#[test]
fn a_source_with_a_pattern_has_one_topic_in_a_test() {
    let mut driver = driver(|app| app.stream::<String, i64>(Consumed::pattern("orders", "orders-.*")).to("out"));
    driver.pipe_all("orders", orders(&[1])).unwrap();
    assert_eq!(driver.read_pairs::<String, i64>("out").unwrap().len(), 1);
}

#[test]
fn a_record_goes_to_the_topic_that_a_function_names_and_to_no_other_than_those_named_before() {
    let mut driver = driver(|app| {
        let name = |order: &Record<String, i64>| match order.value {
            0 => "secrets".to_string(),
            value if value < 10 => "small".to_string(),
            _ => "large".to_string(),
        };
        app.stream("orders").to(Produced::to_one_of("by-size", ["small", "large"], name));
    });
    driver.pipe_all("orders", orders(&[1, 10, 0, 2])).unwrap();
    let values = |driver: &mut Driver, topic: &str| {
        driver.read_pairs::<String, i64>(topic).unwrap().iter().map(|(_, n)| *n).collect::<Vec<_>>()
    };
    assert_eq!(values(&mut driver, "small"), [1, 2]);
    assert_eq!(values(&mut driver, "large"), [10]);
    let letters = driver.read::<String, i64>("letters").unwrap();
    assert_eq!(letters.len(), 1);
    let why =
        String::from_utf8_lossy(letters[0].headers.last("__streams.errors.message").unwrap().unwrap()).into_owned();
    assert!(why.contains("topic `secrets` is none of those that the sink has named: small, large"), "{why}");
}

#[test]
fn a_partition_that_is_not_there_fails_its_record() {
    let mut driver = driver(|app| {
        let partition = |_: &String, value: &i64, partitions: u32| {
            assert_eq!(partitions, 1, "the driver's topics have one");
            (*value > 0).then_some(*value as u32 - 1)
        };
        app.stream("orders").to(Produced::named("out").partitioner(partition));
    });
    driver.pipe_all("orders", orders(&[0, 1, 2])).unwrap();
    assert_eq!(driver.read_pairs::<String, i64>("out").unwrap().len(), 2);
    assert_eq!(driver.read_pairs::<String, i64>("letters").unwrap(), [("k".to_string(), 2)]);
}

#[test]
fn foreach_looks_at_each_record_and_gives_nothing_on() {
    let mut driver = driver(|app| {
        let orders = app.stream::<String, i64>("orders");
        orders.foreach(|_, value| assert!(*value > 0, "not above zero"));
        orders.to("out");
    });
    driver.pipe_all("orders", orders(&[1, -1])).unwrap();
    assert_eq!(driver.read_pairs::<String, i64>("out").unwrap(), [("k".to_string(), 1)]);
    assert_eq!(driver.read_pairs::<String, i64>("letters").unwrap().len(), 1, "it saw the other one");
}

/// Why the host refuses a topology.
fn refused(topology: impl Fn(&mut Topology) + Send + Sync + 'static) -> String {
    Driver::new(topology).err().unwrap().to_string()
}

#[test]
fn a_topic_that_is_written_or_read_twice_is_refused_with_what_to_do() {
    let twice = |app: &mut Topology| {
        let orders = app.stream::<String, i64>("orders");
        orders.to("out");
        orders.filter(|_, n| *n > 0).to("out");
    };
    let fix = "node `out` is declared twice: merge the streams that go there, or give this sink another name and say its \
               `topic`";
    assert!(refused(twice).contains(fix), "{}", refused(twice));
    let twice = |app: &mut Topology| {
        app.stream::<String, i64>("orders").to("a");
        app.stream::<String, i64>("orders").to("b");
    };
    let fix = "node `orders` is declared twice: a topic has one source, which may have many children";
    assert!(refused(twice).contains(fix), "{}", refused(twice));
    let twice = |app: &mut Topology| {
        app.stream::<String, i64>("orders").to("a");
        app.stream::<String, i64>(Consumed::named("again").topic("orders")).to("b");
    };
    assert!(refused(twice).contains("stands for the topic \"orders\""), "{}", refused(twice));
}

#[test]
fn sinks_and_sources_may_have_other_names_than_their_topics() {
    let mut driver = driver(|app| {
        let orders = app.stream::<String, i64>(Consumed::named("orders").topic("orders-v2"));
        orders.filter(|_, n| *n > 9).to(Produced::named("large").topic("of-note"));
        orders.filter(|_, n| *n < 0).to(Produced::named("returned").topic("of-note"));
        orders.to(Produced::named("spread").topic("all").partitioner(|_, _, _| Some(0)));
    });
    driver.pipe_all("orders-v2", orders(&[1, -2, 30])).unwrap();
    let mut values =
        |topic: &str| driver.read_pairs::<String, i64>(topic).unwrap().into_iter().map(|(_, n)| n).collect::<Vec<_>>();
    assert_eq!((values("of-note"), values("all")), (vec![-2, 30], vec![1, -2, 30]));
}
