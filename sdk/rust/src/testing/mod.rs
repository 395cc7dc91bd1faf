//! Running a topology in a test: in process, on the host's own engine, without a log and without WebAssembly.
//!
//! ```
//! use millstream_sdk::prelude::*;
//! use millstream_sdk::testing::Driver;
//!
//! fn topology(app: &mut Topology) {
//!     app.stream::<String, i64>("amounts").group_by_key().reduce(|a, b| a + b, "sums").to_stream().to("totals");
//! }
//!
//! # fn main() -> Result<(), millstream_sdk::testing::Error> {
//! let mut driver = Driver::new(topology)?;
//! driver.pipe("amounts", Record::new("a".to_string(), 2i64, 0))?;
//! driver.pipe("amounts", Record::new("a".to_string(), 3i64, 1))?;
//! assert_eq!(driver.read_pairs::<String, i64>("totals")?, [("a".to_string(), 2), ("a".to_string(), 5)]);
//! assert_eq!(driver.get::<String, i64>("sums", &"a".to_string())?, Some(5));
//! # Ok(())
//! # }
//! ```

mod driver;
mod stores;

pub use driver::Driver;

/// Why a test cannot go on: a topology that is refused, a record that stopped its application, bytes that are not
/// what the test says they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(String);

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl Error {
    fn new(message: impl std::fmt::Display) -> Error {
        Error(message.to_string())
    }
}
