//! Ways that part and meet again.

use tests::application::Input;

use super::runs::each_run;
use super::shown::{i64, shown, utf8};

pub fn inputs() -> Vec<Input> {
    let sizes = [(10, "a", 5), (11, "b", 50), (12, "c", 500), (60, "d", 10), (61, "e", 100), (62, "f", 9)];
    sizes.map(|(at, key, n): (_, _, i64)| Input::at(at, "sizes").key(key).value(n.to_be_bytes())).to_vec()
}

#[test]
fn a_record_goes_to_the_first_branch_that_takes_it_and_the_rest_to_the_default() {
    each_run(|run| {
        assert_eq!(shown(run.topic("large"), utf8, i64), ["c=500@12", "e=100@61"]);
        assert_eq!(shown(run.topic("medium"), utf8, i64), ["b=50@11", "d=10@60"]);
        assert_eq!(shown(run.topic("small"), utf8, i64), ["a=5@10", "f=9@62"]);
    });
}

#[test]
fn merged_streams_have_the_order_of_the_records_they_come_from() {
    let expected = ["b=50@11", "b=-50@11", "c=500@12", "d=10@60", "d=-10@60", "e=100@61"];
    each_run(|run| assert_eq!(shown(run.topic("merged"), utf8, i64), expected));
}
