//! Joins of tables, by their keys and by a foreign one, and a table in groups.

use crate::{Rows, or_none, say};

pub fn topology(orders: &Rows, parcels: &Rows, users: &Rows) {
    let either = orders
        .outer_join(parcels, |order, parcel| both(order.flatten(), parcel.flatten()))
        .materialized("either")
        .to_stream();
    say(&either.map_values(or_none), "shipped");
    let all = orders.join(parcels, both).to_stream();
    say(&all.map_values(or_none), "packed");
    let sent = orders.left_join(parcels, |order, parcel| both(order, parcel.flatten())).to_stream();
    say(&sent.map_values(or_none), "sent");

    // An order is `NUMBER USER`, or of nobody `NUMBER`.
    let homes = orders.foreign_key_left_join(users, user_of, |order, user| both(order, user.flatten()));
    let homes = homes.named("homes").materialized("homes").to_stream();
    say(&homes.map_values(or_none), "addressed");
    let owned = orders.foreign_key_join(users, user_of, both);
    let owned = owned.named("owners").materialized("owned").to_stream();
    say(&owned.map_values(or_none), "owned");

    let of_user = |key: &String, order| (user_of(key, order).unwrap_or_else(|| "nobody".to_owned()), key.clone());
    let counted = orders.group_by(of_user).count("per-user").to_stream();
    say(&counted.map_values(|count| count.to_string()), "counted");
}

fn user_of(_: &String, order: Option<String>) -> Option<String> {
    Some(order?.split_once(' ')?.1.to_owned())
}

fn both(order: Option<String>, other: Option<String>) -> String {
    format!("{}/{}", or_none(order), or_none(other))
}
