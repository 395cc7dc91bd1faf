//! A processor that says where its records go, and what it knows of them.

use millstream_sdk::prelude::*;

pub fn topology(app: &mut Topology) {
    let trips = app.stream::<String, String>("trips");
    let routed = trips.process("router", |_| Router);
    routed.child("left").to("left");
    routed.child("right").map_values(|text: String| text.to_uppercase()).to("right");
    // Not named: what is forwarded to all.
    routed.to("everywhere");
    // Under the record's own key, whatever it does.
    trips.process_values("stamper", |_| Stamper).to("stamped");
}

struct Stamper;

impl FixedKeyProcessor<String, String, String> for Stamper {
    fn process(&mut self, trip: Record<String, String>, ctx: &mut FixedKeyContext<String>) -> Result<(), Failure> {
        ctx.set_timestamp(trip.timestamp + 1);
        ctx.forward(format!("{} of {}", trip.value, ctx.offset().unwrap_or(-1)));
        Ok(())
    }
}

struct Router;

impl Processor<String, String, String, String> for Router {
    fn process(&mut self, mut trip: Record<String, String>, ctx: &mut Context<String, String>) -> Result<(), Failure> {
        // A test puts something of its own behind the topic's name.
        let topic = ctx.topic().unwrap_or_default();
        let (topic, partition) = (topic.split('-').next().unwrap_or_default(), ctx.partition());
        let way = trip.value.clone();
        trip.value = format!("{way} from {topic}-{partition}@{}", ctx.offset().unwrap_or(-1));
        trip.headers.add("routed", None);
        match way.as_str() {
            "left" | "right" => ctx.forward_to(&way, trip),
            "later" => ctx.forward(trip.with_timestamp(ctx.timestamp() + 1)),
            _ => ctx.forward(trip),
        }
        Ok(())
    }
}
