//! Groups by the record's own key and by new ones, and the repartition topics in front of the latter.

use millstream_sdk::prelude::*;

pub fn topology(app: &mut Topology) {
    let visits = app.stream::<Option<String>, String>("visits");
    visits.group_by_key().count("by-visitor").to_stream().to("visitors");

    // A page without a name has no key, and no count.
    let page = |_: &Option<String>, page: &String| Some(page.clone()).filter(|page| !page.is_empty());
    visits.group_by(page).count("by-page").to_stream().to("pages");

    let spread = visits.select_key(page).repartition(Repartitioned::named("spread").partitions(8));
    spread.to("spread-out");
    // It has the key it was sent by: no second repartition topic.
    spread.group_by_key().count("by-page-spread").to_stream().to("pages-spread");
}
