//! A processor that says where its records go, and what it knows of them.

use millstream_sdk::prelude::*;

pub fn topology(app: &mut Topology) {
    let routed = app.stream("trips").process("router", |_| Router);
    routed.child("left").to("left");
    routed.child("right").map_values(|text: String| text.to_uppercase()).to("right");
    // Not named: what is forwarded to all.
    routed.to("everywhere");
}

struct Router;

impl Processor<String, String, String, String> for Router {
    fn process(&mut self, mut trip: Record<String, String>, ctx: &mut Context<String, String>) -> Result<(), Failure> {
        let (source, partition) = (ctx.source().unwrap_or_default(), ctx.partition());
        let way = trip.value.clone();
        trip.value = format!("{way} from {source}-{partition}@{}", ctx.offset().unwrap_or(-1));
        trip.headers.add("routed", None);
        match way.as_str() {
            "left" | "right" => ctx.forward_to(&way, trip),
            "later" => ctx.forward(trip.with_timestamp(ctx.timestamp() + 1)),
            _ => ctx.forward(trip),
        }
        Ok(())
    }
}
