//! Each codec as key, value and in a store.

use millstream_sdk::prelude::*;
use serde::{Deserialize, Serialize};

pub fn topology(app: &mut Topology) {
    summed(app, "utf8", |a: String, b: String| a + &b);
    summed(app, "json", |a: Point, b: Point| Point { x: a.x + b.x, name: b.name });
    summed(app, "i64", |a: i64, b: i64| a + b);
    summed(app, "i32", |a: i32, b: i32| a + b);
    summed(app, "f64", |a: f64, b: f64| a + b);
    summed(app, "bytes", |a: Vec<u8>, b: Vec<u8>| [a, b].concat());
    summed(app, "temperature", |a: Celsius, b: Celsius| Celsius(a.0 + b.0));
}

/// Sums up `NAME-in` by key: what comes in and what the store holds is decoded, the sum is encoded.
fn summed<T: Data>(app: &mut Topology, name: &str, sum: fn(T, T) -> T) {
    let store = Materialized::named(format!("{name}-sums"));
    let sums = app.stream::<T, T>(&format!("{name}-in")).group_by_key().reduce(sum, store);
    sums.to_stream().to(format!("{name}-out"));
}

#[derive(Serialize, Deserialize)]
struct Point {
    x: i64,
    name: Option<String>,
}

impl Json for Point {}

/// Written as `20.5C`.
struct Celsius(f64);

struct CelsiusText;

impl Codec for CelsiusText {
    type Data = Celsius;
    const NAME: &'static str = "celsius";

    fn encode(data: &Celsius, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{}C", data.0).as_bytes());
    }

    fn decode(bytes: &[u8]) -> Result<Celsius, DecodeError> {
        let text = std::str::from_utf8(bytes).map_err(|error| DecodeError::new(error.to_string()))?;
        let degrees = text.strip_suffix('C').ok_or_else(|| DecodeError::new("it does not end in C"))?;
        degrees.parse().map(Celsius).map_err(|_| DecodeError::new(format!("{degrees} is no number")))
    }
}

impl Data for Celsius {
    type Codec = CelsiusText;
}
