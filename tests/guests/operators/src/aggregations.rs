//! Folds by key.

use millstream_sdk::prelude::*;

pub fn topology(app: &mut Topology) {
    let amounts = app.stream::<String, Option<i64>>("amounts").group_by_key();
    amounts.count("amount-counts").to_stream().to("counted");
    amounts.reduce(|so_far, amount| so_far.max(amount), "maxima").to_stream().to("reduced");
    amounts.aggregate(Vec::new, append, "histories").to_stream().to("aggregated");
    amounts.aggregate(|| None, settle, "balances").to_stream().to("settled");
}

fn append(_: &String, amount: Option<i64>, mut history: Vec<String>) -> Vec<String> {
    history.extend(amount.map(|amount| amount.to_string()));
    history
}

/// An account that is even is closed: its balance is deleted.
fn settle(_: &String, amount: Option<i64>, balance: Option<i64>) -> Option<i64> {
    Some(balance.unwrap_or(0) + amount.unwrap_or(0)).filter(|balance| *balance != 0)
}
