//! Joins of tables of windows: each looks into the other's store of windows or sessions.
#![allow(clippy::unwrap_used)]

use millstream_sdk::prelude::*;
use millstream_sdk::testing::Driver;

type Counts<W, C> = Table<Windowed<String, W>, i64, C>;
type Pairs<W> = Table<Windowed<String, W>, String, Deletes>;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn of(app: &mut Topology, topic: &str) -> Grouped<String, i64> {
    app.stream::<String, i64>(topic).group_by_key()
}

/// Windows of ten ms, half of each the next one's, that are never late here.
fn hopping(app: &mut Topology, topic: &str) -> Counts<millstream_sdk::Time, Upserts> {
    of(app, topic).windowed_by(TimeWindows::of(ms(10)).advance_by(ms(5)).grace(ms(100))).count(topic)
}

fn sessions(app: &mut Topology, topic: &str) -> Counts<Session, Deletes> {
    of(app, topic).windowed_by(SessionWindows::with_gap(ms(5)).grace(ms(100))).count(topic)
}

fn pair(left: Option<i64>, right: Option<i64>) -> String {
    let side = |side: Option<i64>| side.map_or("?".to_owned(), |n| n.to_string());
    format!("{}/{}", side(left), side(right))
}

fn joined<W: 'static, C: Changes>(how: Join, left: &Counts<W, C>, right: &Counts<W, C>) -> Pairs<W>
where
    Windowed<String, W>: Data,
{
    match how {
        Join::Inner => left.join(right, |left, right| pair(Some(left), Some(right))),
        Join::Left => left.left_join(right, |left, right| pair(Some(left), right)),
        Join::Outer => left.outer_join(right, pair),
    }
}

#[derive(Clone, Copy)]
enum Join {
    Inner,
    Left,
    Outer,
}

/// Changes as text, key and window in the key.
fn write<W: 'static>(pairs: &Stream<Windowed<String, W>, Option<String>>)
where
    Windowed<String, W>: Data,
{
    let text = |Windowed { key, start, end, .. }, pair: Option<String>| {
        (format!("{key}@{start}-{end}"), pair.unwrap_or("-".to_owned()))
    };
    pairs.map(text).to("out");
}

/// Pipes a record for each of these, topic, key and time, each committed before the next; reads `out`.
fn run(topology: impl Fn(&mut Topology) + Send + Sync + 'static, records: &[(&str, &str, i64)]) -> Vec<String> {
    let mut driver = Driver::new(topology).unwrap();
    for (topic, key, time) in records {
        driver.pipe(topic, Record::new(key.to_string(), 1i64, *time)).unwrap();
    }
    let found: Vec<Record<String, String>> = driver.read("out").unwrap();
    found.into_iter().map(|found| format!("{}={}@{}", found.key, found.value, found.timestamp)).collect()
}

#[test]
fn windows_meet_the_same_window_of_the_other_table() {
    let records = [
        ("left", "k", 7),
        ("right", "k", 8),
        ("left", "k", 12),
        ("right", "j", 3),
        ("left", "k", 1),
        ("right", "k", 1),
    ];
    let run = |how: Join| {
        let topology = move |app: &mut Topology| {
            let (left, right) = (hopping(app, "left"), hopping(app, "right"));
            write(&joined(how, &left, &right).to_stream());
        };
        run(topology, &records)
    };
    let inner = ["k@0-10=1/1@8", "k@5-15=1/1@8", "k@5-15=2/1@12", "k@0-10=2/1@8", "k@0-10=2/2@8"];
    assert_eq!(run(Join::Inner), inner);
    let (before, alone) = (["k@0-10=1/?@7", "k@5-15=1/?@7"], ["k@10-20=1/?@12"]);
    let left = [&before[..], &inner[..3], &alone, &inner[3..]].concat();
    assert_eq!(run(Join::Left), left);
    let outer = [&before[..], &inner[..3], &alone, &["j@0-10=?/1@3"], &inner[3..]].concat();
    assert_eq!(run(Join::Outer), outer);
}

#[test]
fn a_session_that_becomes_part_of_another_leaves_the_join() {
    let records =
        [("left", "k", 0), ("left", "k", 8), ("right", "k", 0), ("right", "k", 8), ("left", "k", 4), ("right", "k", 4)];
    let run = |how: Join| {
        let topology = move |app: &mut Topology| {
            let (left, right) = (sessions(app, "left"), sessions(app, "right"));
            write(&joined(how, &left, &right).to_stream());
        };
        run(topology, &records)
    };
    let (alone, both) = (["k@0-0=1/?@0", "k@8-8=1/?@8"], ["k@0-0=1/1@0", "k@8-8=1/1@8"]);
    let (gone, merged) = (["k@0-0=-@0", "k@8-8=-@8"], ["k@0-8=3/3@8"]);
    assert_eq!(run(Join::Inner), [&both[..], &gone, &merged].concat());
    // The right side's own sessions are still there when the left one's go.
    let left_goes = [&gone[..], &["k@0-8=3/?@8"]].concat();
    let left_goes_outer = ["k@0-0=?/1@0", "k@8-8=?/1@8", "k@0-8=3/?@8"];
    assert_eq!(run(Join::Left), [&alone[..], &both, &left_goes, &merged].concat());
    assert_eq!(run(Join::Outer), [&alone[..], &both, &left_goes_outer, &gone, &merged].concat());
}

#[test]
fn a_window_that_has_expired_on_the_other_side_is_not_met() {
    let run = |how: Join| {
        let topology = move |app: &mut Topology| {
            let left = hopping(app, "left");
            let short = TimeWindows::of(ms(10)).advance_by(ms(5));
            let right = of(app, "right").windowed_by(short).count(Materialized::named("right").retention(ms(10)));
            write(&joined(how, &left, &right).to_stream());
        };
        run(topology, &[("right", "k", 2), ("left", "k", 1), ("right", "z", 40), ("left", "k", 3)])
    };
    assert_eq!(run(Join::Inner), ["k@0-10=1/1@2"]);
    let alone = ["z@35-45=?/1@40", "z@40-50=?/1@40", "k@0-10=2/?@3"];
    assert_eq!(run(Join::Outer), [&["k@0-10=?/1@2", "k@0-10=1/1@2"], &alone[..]].concat());
}

/// What has not closed is in the store all the same, and so it is in Kafka Streams.
#[test]
fn windows_that_go_as_they_close_are_met_before() {
    let topology = |app: &mut Topology| {
        let windows = TimeWindows::of(ms(10));
        let left = of(app, "left").windowed_by(windows).emit_strategy(EmitStrategy::OnWindowClose).count("left");
        let right = of(app, "right").windowed_by(windows).count("right");
        write(&joined(Join::Inner, &left, &right).to_stream());
    };
    let records = [("left", "k", 1), ("right", "k", 2), ("left", "k", 3), ("left", "k", 12)];
    assert_eq!(run(topology, &records), ["k@0-10=1/1@2", "k@0-10=2/1@3"]);
}

#[test]
fn a_join_of_windows_has_one_final_result_when_both_sides_have_closed() {
    let topology = |app: &mut Topology| {
        // Kept for as long as the other side may still change.
        let kept = Materialized::named("left").retention(ms(15));
        let left = of(app, "left").windowed_by(TimeWindows::of(ms(10))).count(kept);
        let right = of(app, "right").windowed_by(TimeWindows::of(ms(10)).grace(ms(5))).count("right");
        let last = Suppressed::until_window_closes(BufferConfig::unbounded()).with_name("final");
        write(&joined(Join::Outer, &left, &right).suppress(last).to_stream());
    };
    let mut records =
        vec![("left", "k", 1), ("right", "k", 2), ("left", "z", 12), ("right", "k", 9), ("left", "z", 14)];
    assert!(run(topology, &records).is_empty());
    records.push(("left", "z", 15));
    assert_eq!(run(topology, &records), ["k@0-10=1/2@9"]);
}

#[test]
fn what_is_made_of_windows_is_joined_and_grouped_again() {
    let sums = |app: &mut Topology, topic: &str| {
        let windows = TimeWindows::of(ms(10)).advance_by(ms(5)).grace(ms(100));
        of(app, topic).windowed_by(windows).reduce(|all, one| all + one, topic)
    };
    let topology = move |app: &mut Topology| {
        let left = sums(app, "left").filter(|_, n| *n > 1);
        let right = sums(app, "right").map_values(|n| n * 10);
        let sums = left.join(&right, |left, right| left + right).join(&sums(app, "more"), |sum, more| sum + more);
        let of_keys = sums.group_by(|window, sum| (window.key.clone(), sum));
        let total = of_keys.reduce(|all, one| all + one, |all, one| all - one, "totals");
        total.to_stream().map(|key, total| (key, total.to_string())).to("out");
    };
    let records = [("left", "k", 7), ("left", "k", 8), ("right", "k", 7), ("more", "k", 9), ("left", "k", 2)];
    // In both windows 2 + 10 + 1; then one more in the first.
    assert_eq!(run(topology, &records), ["k=13@9", "k=26@9", "k=27@9"]);
}

#[test]
fn a_stream_of_windows_meets_a_table_of_them() {
    let topology = |app: &mut Topology| {
        let (left, right) = (hopping(app, "left"), hopping(app, "right"));
        let changes = left.to_stream().filter(|_, n| *n < 9);
        write(&changes.left_join(&right, |left, right| Some(pair(Some(left), right))));
    };
    let records = [("left", "k", 1), ("right", "k", 2), ("left", "k", 7)];
    assert_eq!(run(topology, &records), ["k@0-10=1/?@1", "k@0-10=2/1@7", "k@5-15=1/?@7"]);
}

#[test]
fn a_suppressed_table_of_windows_shows_what_it_has_shown() {
    let topology = |app: &mut Topology| {
        let (left, right) = (hopping(app, "left"), hopping(app, "right"));
        let calm = right.suppress(Suppressed::until_time_limit(ms(10), BufferConfig::unbounded()).with_name("calm"));
        let pairs = left.join(&calm, |left, right| pair(Some(left), Some(right)));
        write(&pairs.to_stream());
    };
    let records = [("right", "k", 1), ("right", "k", 2), ("left", "k", 3), ("right", "z", 11), ("left", "k", 4)];
    // A count begins with 0, and that is the old value of its first update.
    let expected = ["k@0-10=1/0@3", "k@0-10=1/2@3", "k@0-10=2/2@4"];
    assert_eq!(run(topology, &records), expected);
}

#[test]
fn keys_that_cannot_be_equal_are_refused() {
    let refused = |topology: fn(&mut Topology)| Driver::new(topology).err().unwrap().to_string();
    let other_length = refused(|app| {
        let short = of(app, "right").windowed_by(TimeWindows::of(ms(5))).count("right").named("short");
        joined(Join::Inner, &hopping(app, "left").named("long"), &short).to_stream().to("out");
    });
    let expected = "looks up the table `short` by keys of windows of 5 ms, and those of `long` are of windows of 10 ms";
    assert!(other_length.contains(expected), "{other_length}");
    // Its rows are where the hash of the whole key says.
    let elsewhere = refused(|app| {
        let counts = hopping(app, "left").named("counts");
        let moved = counts.to_stream().map(|window, n| (window, n)).to_table("moved").named("moved");
        counts.join(&moved, |left, right| left + right).to_stream().to("out");
    });
    let expected =
        "`counts` by keys of windows of 10 ms, and those of `moved` are of no windows, or in other partitions";
    assert!(elsewhere.contains(expected), "{elsewhere}");
    let foreign = refused(|app| {
        let counts = hopping(app, "left");
        let names = app.table::<String, String>("names", "names");
        let joined =
            counts.foreign_key_join(&names, |window, _| Some(window.key.clone()), |n, name| format!("{n}{name}"));
        joined.to_stream().to("out");
    });
    assert!(foreign.contains("which has no store of keys and values"), "{foreign}");
}
