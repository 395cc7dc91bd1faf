//! What `tests/oracle/Interop.java` is in Kafka Streams: counts by key, by window and by session.

use std::time::Duration;

use millstream_sdk::prelude::{SessionWindows, TimeWindows, Topology as App};

use crate::Text;

const SIZE: Duration = Duration::from_secs(10);
const GAP: Duration = Duration::from_secs(5);
const GRACE: Duration = Duration::from_secs(86_400);

pub fn counts(app: &mut App) -> Result<(), String> {
    let grouped = app.stream::<Text, Text>("in").group_by_key();
    grouped.count("counts");
    grouped.windowed_by(TimeWindows::of(SIZE).grace(GRACE)).count("windows");
    grouped.windowed_by(SessionWindows::with_gap(GAP).grace(GRACE)).count("sessions");
    Ok(())
}
