//! Written with the SDK, and not ready for every value: panics when a value is "bang", never ends when it is "spin",
//! takes all the memory there is when it is "hoard".

use millstream_sdk::prelude::*;

fn topology(app: &mut Topology) {
    app.stream::<(), String>("lines").map_values(judge).to("judged");
}

#[inline(never)]
fn judge(line: String) -> String {
    assert!(line != "bang", "did not expect {line}");
    match &*line {
        "spin" => spin(),
        "hoard" => hoard(),
        _ => line,
    }
}

#[inline(never)]
fn spin() -> String {
    loop {
        std::hint::spin_loop();
    }
}

#[inline(never)]
fn hoard() -> String {
    let mut all = Vec::new();
    loop {
        all.push(vec![1u8; 1 << 20]);
        std::hint::black_box(&all);
    }
}

millstream_sdk::plugin!(topology);
