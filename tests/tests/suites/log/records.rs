//! Records: what a writer writes is what a reader reads, in order, and the reader knows where it ends.

use std::time::{Duration, Instant};

use millstream::log::{Fetched, Isolation, Offsets};
use millstream_engine::record::{Headers, Record};
use tests::logs::{Owned, STEP, THEN, each_log, headers, pair, read_to, text};

#[test]
fn a_record_comes_back_with_all_its_parts() {
    each_log(|log| {
        let topic = log.topic("parts", 1);
        let carried = headers(&[("a", Some(b"1")), ("b", None), ("a", Some(b"")), ("ü", Some(&[0, 255]))]);
        let record =
            Record { key: Some(b"k\0\xff"), value: Some(b"v"), headers: Headers(&carried), timestamp: THEN + 7 };
        let mut writer = log.log.writer().unwrap();
        writer.send(&topic, Some(0), record).unwrap();
        writer.flush().unwrap();
        let some = |bytes: &[u8]| Some(bytes.to_vec());
        let expected = Owned {
            offset: 0,
            key: some(b"k\0\xff"),
            value: some(b"v"),
            headers: vec![
                ("a".into(), some(b"1")),
                ("b".into(), None),
                ("a".into(), some(b"")),
                ("ü".into(), some(&[0, 255])),
            ],
            timestamp: THEN + 7,
        };
        assert_eq!(log.read(&topic, 0), [expected]);
    });
}

#[test]
fn null_and_empty_stay_apart() {
    each_log(|log| {
        let topic = log.topic("nulls", 1);
        let parts: [Option<&[u8]>; 2] = [None, Some(b"")];
        let mut writer = log.log.writer().unwrap();
        for (key, value) in parts.iter().flat_map(|key| parts.iter().map(move |value| (*key, *value))) {
            writer.send(&topic, Some(0), Record { key, value, ..text("") }).unwrap();
        }
        writer.flush().unwrap();
        let found: Vec<_> = log.read(&topic, 0).into_iter().map(|r| (r.key, r.value)).collect();
        let empty = || Some(Vec::new());
        assert_eq!(found, [(None, None), (None, empty()), (empty(), None), (empty(), empty())]);
    });
}

#[test]
fn timestamps_need_no_order() {
    each_log(|log| {
        let topic = log.topic("times", 1);
        let times = [THEN, 1, THEN + 1_000, THEN - 1_000];
        let mut writer = log.log.writer().unwrap();
        for timestamp in times {
            writer.send(&topic, Some(0), Record { timestamp, ..text("t") }).unwrap();
        }
        writer.flush().unwrap();
        let found: Vec<i64> = log.read(&topic, 0).iter().map(|r| r.timestamp).collect();
        assert_eq!(found, times);
    });
}

#[test]
fn many_records_keep_their_order_and_their_offsets() {
    const N: usize = 20_000;
    each_log(|log| {
        let topic = log.topic("many", 2);
        let mut writer = log.log.writer().unwrap();
        for i in 0..N {
            writer.send(&topic, Some((i % 2) as i32), text(&i.to_string())).unwrap();
        }
        writer.flush().unwrap();
        for partition in 0..2 {
            let found = log.read(&topic, partition);
            assert_eq!(found.len(), N / 2);
            for (place, record) in found.iter().enumerate() {
                assert_eq!(record.offset, place as i64);
                assert_eq!(record.text(), (place * 2 + partition as usize).to_string());
            }
        }
    });
}

#[test]
fn a_large_record_comes_back_whole() {
    each_log(|log| {
        let topic = log.topic("large", 1);
        let large: String = (0..900_000).map(|i| char::from(b'a' + (i % 26) as u8)).collect();
        log.produce(&topic, 0, &["before", &large, "after"]);
        assert_eq!(log.values(&topic, 0), ["before", &large, "after"]);
    });
}

#[test]
fn records_of_several_writers_all_stay() {
    each_log(|log| {
        let topic = log.topic("writers", 1);
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let topic = &topic;
                scope.spawn(move || {
                    let mut open = log.log.writer().unwrap();
                    for i in 0..50 {
                        open.send(topic, Some(0), text(&format!("{writer}:{i}"))).unwrap();
                        if i % 10 == 9 {
                            open.flush().unwrap();
                        }
                    }
                });
            }
        });
        let found = log.values(&topic, 0);
        assert_eq!(found.len(), 200);
        for writer in 0..4 {
            let own = found.iter().filter_map(|value| value.strip_prefix(&format!("{writer}:")));
            assert!(own.eq((0..50).map(|i| i.to_string()).collect::<Vec<_>>()), "order of writer {writer}");
        }
    });
}

// === partitions ===

#[test]
fn a_key_goes_to_the_partition_that_java_chooses() {
    each_log(|log| {
        let topic = log.topic("murmur", 16);
        let mut writer = log.log.writer().unwrap();
        let expected = [("a", 12), ("b", 4), ("ab", 10), ("abc", 11), ("abcde", 13), ("key-1", 8), ("key-2", 6)];
        for (key, _) in expected {
            writer.send(&topic, None, pair(key, key)).unwrap();
        }
        writer.flush().unwrap();
        for (key, partition) in expected {
            assert_eq!(log.values(&topic, partition), [key], "partition of {key}");
        }
    });
}

#[test]
fn a_fixed_partition_wins_over_the_key() {
    each_log(|log| {
        let topic = log.topic("fixed", 16);
        let mut writer = log.log.writer().unwrap();
        writer.send(&topic, Some(3), pair("a", "here")).unwrap();
        writer.flush().unwrap();
        assert_eq!(log.values(&topic, 3), ["here"]);
    });
}

#[test]
fn records_without_a_key_land_somewhere_once() {
    each_log(|log| {
        let topic = log.topic("keyless", 3);
        let mut writer = log.log.writer().unwrap();
        let values: Vec<String> = (0..100).map(|i| format!("{i:03}")).collect();
        for value in &values {
            writer.send(&topic, None, text(value)).unwrap();
        }
        writer.flush().unwrap();
        let mut found: Vec<String> = (0..3).flat_map(|partition| log.values(&topic, partition)).collect();
        found.sort();
        assert_eq!(found, values);
    });
}

// === readers ===

#[test]
fn a_reader_says_end_after_each_stretch_of_records() {
    each_log(|log| {
        let topic = log.topic("stretches", 1);
        log.produce(&topic, 0, &["a", "b"]);
        let mut reader = log.log.reader(Isolation::Committed).unwrap();
        reader.assign(&[(topic.clone(), 0, 0)]).unwrap();
        let (found, end) = read_to(&mut *reader, 2);
        assert_eq!((found.len(), end), (2, 2));
        log.produce(&topic, 0, &["c"]);
        let (found, end) = read_to(&mut *reader, 3);
        assert_eq!((found[0].text().as_str(), found.len(), end), ("c", 1, 3));
    });
}

#[test]
fn an_empty_partition_ends_where_it_begins() {
    each_log(|log| {
        let topic = log.topic("empty", 1);
        let mut reader = log.log.reader(Isolation::Committed).unwrap();
        reader.assign(&[(topic, 0, 0)]).unwrap();
        assert_eq!(read_to(&mut *reader, 0), (Vec::new(), 0));
    });
}

#[test]
fn a_reader_starts_at_its_offset() {
    each_log(|log| {
        let topic = log.topic("middle", 1);
        log.produce(&topic, 0, &["0", "1", "2", "3", "4"]);
        for start in 0..=5 {
            let mut reader = log.log.reader(Isolation::Committed).unwrap();
            reader.assign(&[(topic.clone(), 0, start)]).unwrap();
            let (found, end) = read_to(&mut *reader, 5);
            let offsets: Vec<i64> = found.iter().map(|record| record.offset).collect();
            assert_eq!((offsets, end), ((start..5).collect(), 5), "from {start}");
        }
    });
}

#[test]
fn a_partition_taken_away_is_silent() {
    each_log(|log| {
        let topic = log.topic("taken", 2);
        let mut reader = log.log.reader(Isolation::Committed).unwrap();
        reader.assign(&[(topic.clone(), 0, 0), (topic.clone(), 1, 0)]).unwrap();
        reader.unassign(&[(topic.clone(), 0)]).unwrap();
        log.produce(&topic, 0, &["unheard"]);
        log.produce(&topic, 1, &["heard"]);
        let mut out = Vec::new();
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(2) {
            reader.poll(STEP, &mut out).unwrap();
        }
        let partitions = out.iter().map(|fetched| match fetched {
            Fetched::Records { partition, .. }
            | Fetched::End { partition, .. }
            | Fetched::Truncated { partition, .. } => *partition,
        });
        assert!(partitions.clone().all(|partition| partition == 1));
        assert!(partitions.count() >= 2, "the other partition is read on");
    });
}

#[test]
fn a_waiting_reader_hears_of_new_records_soon() {
    each_log(|log| {
        let topic = log.topic("waiting", 1);
        let mut reader = log.log.reader(Isolation::Committed).unwrap();
        reader.assign(&[(topic.clone(), 0, 0)]).unwrap();
        read_to(&mut *reader, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(300));
                log.produce(&topic, 0, &["now"]);
            });
            let (start, mut out) = (Instant::now(), Vec::new());
            while out.is_empty() {
                reader.poll(Duration::from_secs(30), &mut out).unwrap();
                assert!(start.elapsed() < Duration::from_secs(10), "a poll slept over new records");
            }
            assert!(matches!(&out[0], Fetched::Records { records, .. } if records.len() == 1));
        });
    });
}

#[test]
fn a_poll_returns_when_its_wait_is_over() {
    each_log(|log| {
        let topic = log.topic("quiet", 1);
        let mut reader = log.log.reader(Isolation::Committed).unwrap();
        reader.assign(&[(topic, 0, 0)]).unwrap();
        read_to(&mut *reader, 0);
        let start = Instant::now();
        let mut out = Vec::new();
        reader.poll(Duration::from_millis(300), &mut out).unwrap();
        assert!(out.is_empty() && start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    });
}

#[test]
fn both_isolations_see_what_a_writer_wrote() {
    each_log(|log| {
        let topic = log.topic("isolation", 1);
        log.produce(&topic, 0, &["a", "b"]);
        assert_eq!(log.read_isolated(&topic, 0, Isolation::Uncommitted), log.read(&topic, 0));
        assert_eq!(log.log.offsets(&topic, 0).unwrap(), Offsets { begin: 0, end: 2 });
    });
}
