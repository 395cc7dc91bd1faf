//! Written with the SDK, and not ready for every value: panics when a value is "bang".

use millstream_sdk::prelude::*;

fn topology(app: &mut Topology) {
    app.stream::<(), String>("lines").map_values(judge).to("judged");
}

#[inline(never)]
fn judge(line: String) -> String {
    assert!(line != "bang", "did not expect {line}");
    line
}

millstream_sdk::plugin!(topology);
