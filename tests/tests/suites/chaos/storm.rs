//! Everything at once (F38). `tests/chaos --storm SECONDS` is the long form.

use std::time::Duration;

use tests::chance::{Chance, times};
use tests::chaos::storm;
use tests::logs::kafka;

/// Both together are no longer than a test of this suite may be.
const ON_KAFKA: Duration = Duration::from_secs(30);
const ON_EMBEDDED: Duration = Duration::from_secs(15);

#[test]
fn on_the_embedded_log_all_faults_at_once_lose_nothing_and_repeat_nothing() {
    storm::on_embedded(ON_EMBEDDED * times(1) as u32, &mut Chance::new());
}

#[test]
fn on_kafka_all_faults_at_once_lose_nothing_and_repeat_nothing() {
    if kafka().is_some() {
        storm::on_kafka(ON_KAFKA * times(1) as u32, &mut Chance::new());
    }
}
