//! `/metrics`: OpenMetrics, made of snapshots when it is asked for, so a task that left leaves no series behind.

use std::collections::BTreeMap;
use std::fmt;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::Apps;
use super::problem::{self, Refusal};
use crate::app::status::{AppState, AppStatus, StoreInfo};
use crate::desk::{CacheStatus, Counters};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub async fn metrics(State(apps): State<Apps>) -> Result<impl IntoResponse, Refusal> {
    let snapshots =
        apps.0.iter().map(|app| Snapshot { status: app.status(), counters: app.counters(), stores: app.stores() });
    let mut registry = Registry::with_prefix("millstream");
    registry.register_collector(Box::new(Snapshots(snapshots.collect())));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).map_err(problem::internal)?;
    Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], text))
}

#[derive(Debug)]
struct Snapshots(Vec<Snapshot>);

#[derive(Debug)]
struct Snapshot {
    status: AppStatus,
    counters: Counters,
    stores: Vec<StoreInfo>,
}

/// The series of one family: labels behind `app`, and a number.
type Series = Vec<(Vec<(&'static str, String)>, u64)>;

impl Collector for Snapshots {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        self.counters(&mut encoder)?;
        self.gauges(&mut encoder)
    }
}

impl Snapshots {
    fn counters(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let mut family = |name, help, series: fn(&Counters) -> Series| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for app in &self.0 {
                for (labels, count) in series(&app.counters) {
                    ConstCounter::new(count).encode(family.encode_family(&app.labels(labels))?)?;
                }
            }
            Ok::<_, fmt::Error>(())
        };
        family("records_consumed", "Records taken from a topic", |all| by("topic", &all.records_consumed))?;
        family("records_produced", "Records committed to a topic", |all| by("topic", &all.records_produced))?;
        family("commits", "Commits by their outcome", |all| {
            let outcome = |outcome: &str, count| (vec![("outcome", outcome.to_owned())], count);
            vec![outcome("committed", all.commits_committed), outcome("aborted", all.commits_aborted)]
        })?;
        family("swaps", "Swaps of the component by their outcome, in each thread", |all| {
            let outcome = |outcome: &str, count| (vec![("outcome", outcome.to_owned())], count);
            vec![outcome("kept", all.swaps_kept), outcome("put-back", all.swaps_put_back)]
        })?;
        family("dropped_records", "Records that had no effect", |all| by("reason", &all.dropped_records))?;
        family("dlq_records", "Records sent to a dead-letter topic", |all| vec![(vec![], all.dead_letters)])?;
        family("restore_records", "Changelog records put into stores", |all| vec![(vec![], all.restored_records)])?;
        family("guest_traps", "Failed calls of user code, by what was wrong", |all| by("kind", &all.guest_faults))?;
        self.seconds(encoder, "commit_wait_seconds", "Time stream threads waited for a commit to end", |all| {
            all.commit_waiting.as_secs_f64()
        })
    }

    fn seconds(
        &self,
        encoder: &mut DescriptorEncoder,
        name: &str,
        help: &str,
        seconds: fn(&Counters) -> f64,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for app in &self.0 {
            let labels = app.labels(Vec::new());
            ConstCounter::new(seconds(&app.counters)).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn gauges(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let mut family = |name, help, series: fn(&Snapshot) -> Series| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for app in &self.0 {
                for (labels, value) in series(app) {
                    let value = i64::try_from(value).unwrap_or(i64::MAX);
                    ConstGauge::new(value).encode(family.encode_family(&app.labels(labels))?)?;
                }
            }
            Ok::<_, fmt::Error>(())
        };
        family("consumer_lag_records", "Records behind the committed offset", Snapshot::lag)?;
        family("restore_remaining_records", "Changelog offsets still to restore", Snapshot::restoring)?;
        family("store_keys", "Keys in the committed state", |app| {
            app.stores.iter().map(|store| (vec![("store", store.name.clone())], store.entries)).collect()
        })?;
        family("store_bytes", "Bytes of the committed state: on disk, where it is kept there", |app| {
            app.stores.iter().map(|store| (vec![("store", store.name.clone())], store.bytes)).collect()
        })?;
        family("cache_entries", "Keys whose updates a cache holds back", |app| {
            app.caches(|cache| cache.entries as u64)
        })?;
        family("cache_bytes", "Bytes that a cache holds back", |app| app.caches(|cache| cache.bytes as u64))?;
        family("cache_hits", "Look-ups that a cache answered since its task was taken", |app| {
            app.caches(|cache| cache.hits)
        })?;
        family("tasks", "Tasks that run here", |app| vec![(vec![], app.status.tasks.len() as u64)])?;
        family("running", "1 when the application runs and has restored", |app| {
            vec![(vec![], u64::from(app.status.state == AppState::Running))]
        })
    }
}

impl Snapshot {
    fn labels(&self, more: Vec<(&'static str, String)>) -> Vec<(&'static str, String)> {
        std::iter::once(("app", self.status.id.clone())).chain(more).collect()
    }

    fn lag(&self) -> Series {
        let inputs = self.status.tasks.iter().flat_map(|task| &task.inputs);
        inputs
            .map(|input| {
                let labels = vec![("topic", input.topic.clone()), ("partition", input.partition.to_string())];
                (labels, gap(input.committed.unwrap_or(0), input.end))
            })
            .collect()
    }

    fn caches(&self, of: fn(&CacheStatus) -> u64) -> Series {
        let stores = self.status.tasks.iter().flat_map(|task| task.stores.iter().map(move |store| (task.id, store)));
        stores
            .filter_map(|(task, store)| {
                let labels = vec![("task", task.to_string()), ("store", store.name.clone())];
                Some((labels, of(store.cache.as_ref()?)))
            })
            .collect()
    }

    fn restoring(&self) -> Series {
        let stores = self.status.tasks.iter().flat_map(|task| task.stores.iter().map(move |store| (task.id, store)));
        stores
            .map(|(task, store)| {
                let labels = vec![("task", task.to_string()), ("store", store.name.clone())];
                (labels, gap(store.restored, store.restore_end))
            })
            .collect()
    }
}

fn gap(from: i64, to: i64) -> u64 {
    u64::try_from(to.saturating_sub(from)).unwrap_or(0)
}

fn by(label: &'static str, counts: &BTreeMap<String, u64>) -> Series {
    counts.iter().map(|(name, count)| (vec![(label, name.clone())], *count)).collect()
}
