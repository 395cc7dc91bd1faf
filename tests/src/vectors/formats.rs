//! Rows of formats: bytes that Kafka and Kafka Streams write.

use std::time::Duration;

use anyhow::{Context, Result};
use millstream::text;
use millstream_engine::changelog::foreign_key::store_prefix;
use millstream_engine::changelog::{
    Change, hash128, push_session_key, push_window_key, split_session_key, split_window_key,
};
use millstream_engine::partitioner;
use millstream_engine::store::{split_timestamp, with_timestamp};
use millstream_engine::task::Metadata;
use millstream_sdk::{Codec, Data, Windowed};
use serde_json::{Value, json};

use super::{Verdict, compare, hex};

pub(super) fn check(kind: &str, row: &Value) -> Result<Verdict> {
    let mut differences = Vec::new();
    let mut same = |place: &str, got: Value| compare(&mut differences, place, &row[place], got);
    match kind {
        "partition" => same("partition_of", partitions(row)?),
        "serde-long" => same("bytes_hex", number::<i64>(row, text::Codec::I64)?.into()),
        "serde-int" => same("bytes_hex", number::<i32>(row, text::Codec::I32)?.into()),
        "serde-double" => same("bytes_hex", number::<f64>(row, text::Codec::F64)?.into()),
        "commit-metadata" => {
            let (time, values) = (row["partition_time"].as_i64(), &row["processor_metadata"]);
            let metadata = Metadata {
                partition_time: time.context("partition_time")?,
                values: serde_json::from_value(values.clone())?,
            };
            same("offset_metadata", metadata.encode().into());
            let read = Metadata::decode(row["offset_metadata"].as_str().context("offset_metadata")?);
            same("partition_time", read.as_ref().map(|read| read.partition_time).into());
            same("processor_metadata", json!(read.map(|read| read.values)));
        }
        "window-store-key" => {
            let (key, start) = (row["key"].as_str().context("key")?, row["start"].as_i64().context("start")?);
            let number = u32::try_from(row["seqnum"].as_u64().context("seqnum")?)?;
            let mut made = Vec::new();
            push_window_key(key.as_bytes(), start, number, &mut made);
            same("bytes_hex", hex(&made).into());
            let bytes = bytes(&row["bytes_hex"])?;
            let (key, start, number) = split_window_key(&bytes).context("too short")?;
            same("key", String::from_utf8_lossy(key).into());
            same("start", start.into());
            same("seqnum", number.into());
        }
        "windowed-topic-key" => {
            let (key, start) = (row["key"].as_str().context("key")?, row["start"].as_i64().context("start")?);
            let end = row["end"].as_i64().context("end")?;
            let mut made = Vec::new();
            <Windowed<String> as Data>::Codec::encode(&Windowed::new(key.to_owned(), start, end), &mut made);
            // Which a sink leaves out.
            made.truncate(made.len() - size_of_val(&end));
            same("bytes_hex", hex(&made).into());
            let size = Duration::from_millis(u64::try_from(end - start)?);
            let read = Windowed::<String>::from_topic(&bytes(&row["bytes_hex"])?, size).map_err(anyhow::Error::new)?;
            same("key", read.key.into());
            same("start", read.start.into());
            same("end", read.end.into());
        }
        "session-store-key" | "session-topic-key" => {
            let (key, start) = (row["key"].as_str().context("key")?, row["start"].as_i64().context("start")?);
            let mut made = Vec::new();
            push_session_key(key.as_bytes(), start, row["end"].as_i64().context("end")?, &mut made);
            same("bytes_hex", hex(&made).into());
            let bytes = bytes(&row["bytes_hex"])?;
            let (key, start, end) = split_session_key(&bytes).context("too short")?;
            same("key", String::from_utf8_lossy(key).into());
            same("start", start.into());
            same("end", end.into());
        }
        "timestamped-store-value" => {
            let value = bytes(&row["value_hex"])?;
            let stored = with_timestamp(row["ts"].as_i64().context("ts")?, &value);
            same("bytes_hex", hex(&stored).into());
            let stored = bytes(&row["bytes_hex"])?;
            let (timestamp, value) = split_timestamp(&stored).context("shorter than a timestamp")?;
            same("ts", timestamp.into());
            same("value_hex", hex(value).into());
        }
        "fk-hash" => same("hash_hex", hex(&hash128(&bytes(&row["value_hex"])?)).into()),
        "fk-subscription-store-key" => {
            let mut key = Vec::new();
            store_prefix(row["fk"].as_str().context("fk")?.as_bytes(), &mut key);
            key.extend_from_slice(row["pk"].as_str().context("pk")?.as_bytes());
            same("bytes_hex", hex(&key).into());
        }
        "changed-value" => {
            let value = |field: &str| row[field].as_str().map(str::as_bytes);
            let mut bytes = Vec::new();
            Change { old: value("old"), new: value("new") }.encode(&mut bytes);
            same("bytes_hex", hex(&bytes).into());
        }
        later => return Ok(Verdict::NotInThisVersion(later.to_owned())),
    }
    Ok(Verdict::of(differences))
}

fn partitions(row: &Value) -> Result<Value> {
    let key = bytes(&row["key_hex"])?;
    let counts = row["partition_of"].as_object().context("partition_of")?.keys();
    let partition = |count: &String| Ok((count.clone(), partitioner::partition(&key, count.parse()?).into()));
    Ok(Value::Object(counts.map(partition).collect::<Result<_>>()?))
}

/// The bytes of a number in hex, by the SDK's codec; the host's, for showing and for typing in, must agree.
fn number<T: Data + std::str::FromStr>(row: &Value, shown: text::Codec) -> Result<String>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let typed = row["value"].as_str().map_or_else(|| row["value"].to_string(), str::to_owned);
    let mut bytes = Vec::new();
    T::Codec::encode(&typed.parse()?, &mut bytes);
    let by_host = shown.read_text(typed.as_bytes()).map_err(anyhow::Error::msg)?;
    anyhow::ensure!(by_host == bytes, "the host writes {typed} as {}, the SDK as {}", hex(&by_host), hex(&bytes));
    Ok(hex(&bytes))
}

fn bytes(hex: &Value) -> Result<Vec<u8>> {
    let hex = hex.as_str().context("no hex")?;
    let byte = |at: usize| Ok(u8::from_str_radix(hex.get(2 * at..2 * at + 2).context("half a byte")?, 16)?);
    (0..hex.len() / 2).map(byte).collect()
}
