//! Records that go where a function says.

use tests::application::Input;

use super::runs::each_run;
use super::shown::{i64, shown, utf8};

pub fn inputs() -> Vec<Input> {
    let parcel = |at, key: &str, weight: i64| Input::at(at, "parcels").key(key).value(weight.to_be_bytes());
    vec![parcel(10, "a", 5), parcel(20, "f", 12), parcel(30, "c", 21), parcel(60, "a", 9), parcel(61, "b", 22)]
}

#[test]
fn a_record_goes_to_the_topic_that_a_function_chooses_and_by_its_key_or_to_the_chosen_partition_there() {
    each_run(|run| {
        assert_eq!(shown(run.topic("light"), utf8, i64), ["a=5@10", "a=9@60"]);
        let heavy = run.partitions("heavy");
        assert_eq!(heavy.len(), 3);
        // 12 goes by its key, as Java's partitioner has it; what is heavier is last.
        assert_eq!(millstream_engine::partitioner::partition(b"f", 3), 0);
        assert_eq!(shown(&heavy[0], utf8, i64), ["f=12@20"]);
        assert_eq!(shown(&heavy[2], utf8, i64), ["c=21@30", "b=22@61"]);
    });
}

#[test]
fn a_record_goes_to_the_partition_that_a_function_chooses() {
    each_run(|run| {
        let shown: Vec<_> = run.partitions("dealt-out").iter().map(|records| shown(records, utf8, i64)).collect();
        assert_eq!(shown, [&["f=12@20", "c=21@30", "a=9@60"][..], &["b=22@61"], &["a=5@10"]]);
    });
}

#[test]
fn print_writes_each_record_to_the_log() {
    each_run(|run| assert_eq!(run.printed, 5));
}
