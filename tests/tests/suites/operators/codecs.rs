//! Each codec through the wasm boundary: in keys, in values, in stores.

use tests::application::Input;

use super::runs::each_run;

/// Name, key, two values, and their sum.
type Case = (&'static str, Vec<u8>, [Vec<u8>; 2], Vec<u8>);

fn cases() -> Vec<Case> {
    let big: i64 = (1 << 53) + 1;
    vec![
        ("utf8", "né".into(), ["ab".into(), "ç".into()], "abç".into()),
        (
            "json",
            br#"{"x":1,"name":null}"#.to_vec(),
            [br#"{"x":1,"name":"p"}"#.to_vec(), br#"{ "name": null, "x": 41 }"#.to_vec()],
            br#"{"x":42,"name":null}"#.to_vec(),
        ),
        ("i64", (-1i64).to_be_bytes().into(), [big, 2].map(|n| n.to_be_bytes().into()), (big + 2).to_be_bytes().into()),
        ("i32", 7i32.to_be_bytes().into(), [-1, 259].map(|n: i32| n.to_be_bytes().into()), 258i32.to_be_bytes().into()),
        (
            "f64",
            0f64.to_be_bytes().into(),
            [1.5, -0.25].map(|n: f64| n.to_be_bytes().into()),
            1.25f64.to_be_bytes().into(),
        ),
        ("bytes", vec![255, 0], [vec![0, 255], vec![]], vec![0, 255]),
        ("temperature", "0C".into(), ["20.5C".into(), "-0.5C".into()], "20C".into()),
    ]
}

fn source(name: &str) -> &'static str {
    const SOURCES: [&str; 7] = ["utf8-in", "json-in", "i64-in", "i32-in", "f64-in", "bytes-in", "temperature-in"];
    SOURCES.into_iter().find(|source| source.strip_suffix("-in") == Some(name)).expect("each codec has a source")
}

pub fn inputs() -> Vec<Input> {
    let input =
        |at, (name, key, values, _): &Case| Input::at(at, source(name)).key(key).value(&values[usize::from(at > 50)]);
    [10, 60].into_iter().flat_map(|at| cases().iter().map(|case| input(at, case)).collect::<Vec<_>>()).collect()
}

#[test]
fn each_codec_reads_and_writes_its_bytes() {
    each_run(|run| {
        for (name, key, [first, _], sum) in cases() {
            let out = run.topic(&format!("{name}-out"));
            let values: Vec<_> = out.iter().filter_map(|record| record.value.clone()).collect();
            assert!(out.iter().all(|record| record.key.as_ref() == Some(&key)), "{name}");
            assert_eq!(values, [first, sum.clone()], "{name}");
            assert_eq!(run.store(&format!("{name}-sums"))[&key].0, sum, "{name}");
        }
    });
}

#[test]
fn the_names_of_codecs_travel_in_the_description() {
    each_run(|run| {
        for (name, ..) in cases() {
            // The plugin's own codec has the name it gave itself.
            let codec = if name == "temperature" { "celsius" } else { name };
            assert_eq!(run.codecs[&format!("{name}-sums")], (codec.to_owned(), codec.to_owned()));
        }
        assert_eq!(run.codecs["by-visitor"], ("utf8".to_owned(), "i64".to_owned()));
    });
}
