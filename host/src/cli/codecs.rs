//! `--key` and `--value`.

use clap::Args;
use millstream_engine::error::{Problem, exit};

use crate::text::{Codec, Codecs};

#[derive(Clone, Copy, Debug, Default, Args)]
pub struct CodecFlags {
    /// How keys are written: bytes, utf8, json, i64, i32 or f64; default: a string, or {"base64":…}
    #[arg(long, value_name = "CODEC")]
    key: Option<Codec>,
    /// How values are written, as for --key
    #[arg(long, value_name = "CODEC")]
    value: Option<Codec>,
}

impl CodecFlags {
    /// The flags' codecs; where there is none, the other's.
    pub fn or(self, others: Codecs) -> Codecs {
        Codecs { key: self.key.unwrap_or(others.key), value: self.value.unwrap_or(others.value) }
    }
}

/// How a verb ends that has shown something as base64 because it had to.
pub fn check_decoded(undecodable: u64) -> Result<(), Problem> {
    if undecodable == 0 {
        return Ok(());
    }
    let message = format!("{undecodable} keys or values did not decode and are shown as base64");
    Err(Problem::new("RecordDeserialization", "E0502", exit::FAILED, message)
        .field("undecodable", undecodable)
        .why("their bytes are not what the codec writes")
        .fix("name the codec they were written in: --key and --value, or none"))
}
