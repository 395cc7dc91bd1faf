//! A JavaScript component without an SDK of ours, from topic to topic, on each log and each kind of store.

use tests::application::{Application, Input, entries};
use tests::logs::{Owned, THEN, each_log};

/// One above what a JavaScript number can tell apart.
const BEYOND_2_53: i64 = (1 << 53) + 1;
const MINUTE_MS: i64 = 60_000;

fn order(at_ms: i64, customer: &str, amount: i64) -> Input {
    Input::at(at_ms, "orders").key(customer).value(amount.to_be_bytes())
}

/// Key and i64 value of each record.
fn pairs(records: &[Owned]) -> Vec<(String, i64)> {
    let pair = |record: &Owned| {
        let key = String::from_utf8(record.key.clone().expect("it has a key")).expect("keys are text");
        let value = record.value.clone().expect("it has a value").try_into().expect("eight bytes");
        (key, i64::from_be_bytes(value))
    };
    records.iter().map(pair).collect()
}

fn owned(pairs: &[(&str, i64)]) -> Vec<(String, i64)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect()
}

#[test]
fn orders_are_summed_in_javascript() {
    each_log(|log| {
        for provider in ["memory", "lmdb"] {
            let manifest = format!("on_error = \"dead-letter:refused\"\n[state]\nprovider = \"{provider}\"\n");
            let orders = Application::new(log, "tests/guests/js-orders", &manifest, &[]);
            let nobodys = Input::at(3, "orders").value(1i64.to_be_bytes());
            orders.produce(&[
                order(0, "ann", 5),
                order(1, "ben", BEYOND_2_53),
                order(2, "ann", -7),
                nobodys,
                Input::at(4, "orders").key("ann").value("no i64"),
                order(5, "ann", 1_000),
                order(2 * MINUTE_MS, "ben", 1),
            ]);
            let sums = orders.run_to_end_and(|app| entries(&orders, app, "sums"));

            let all = 1_005 + BEYOND_2_53;
            let totals = pairs(&orders.read("totals"));
            // Stream time begins at the first record: the summary fires with it and again two minutes later.
            let expected =
                [("ann", 5), ("*", 5), ("ben", BEYOND_2_53), ("ann", 1_005), ("ben", BEYOND_2_53 + 1), ("*", all + 1)];
            assert_eq!(totals, owned(&expected), "{provider}");
            assert_eq!(pairs(&orders.read("big-orders")), owned(&[("ben", BEYOND_2_53), ("ann", 1_000)]));
            assert_eq!(sums[&b"ben".to_vec()], ((BEYOND_2_53 + 1).to_be_bytes().to_vec(), THEN + 2 * MINUTE_MS));

            let refused = orders.read("refused");
            let why = |record: &Owned| {
                let message = record.headers.iter().find(|(name, _)| name == "__streams.errors.message");
                message.and_then(|(_, value)| value.clone()).map(|value| String::from_utf8_lossy(&value).into_owned())
            };
            let reasons: Vec<_> = refused.iter().map(why).collect();
            assert_eq!(
                reasons,
                [Some("negative amount -7".to_owned()), Some("an amount is eight bytes".to_owned())],
                "{provider}"
            );

            orders.produce(&[order(2 * MINUTE_MS + 1, "ann", 1)]);
            orders.run_to_end();
            assert_eq!(pairs(&orders.read("totals")).last(), Some(&("ann".to_owned(), 1_006)), "after a restart");
        }
    });
}
