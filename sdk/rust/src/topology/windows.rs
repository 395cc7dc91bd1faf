//! What windows there are, in Kafka Streams' words.

use std::time::Duration;

use super::{Cogrouped, Grouped, SessionWindowed, SessionWindowedCogrouped, TimeWindowed, TimeWindowedCogrouped};
use crate::codec::Data;
use crate::description::{Emit, Window};

/// The longest window that the host takes: `wit/topology.schema.json`.
const WINDOW_MS_MAX: u64 = i64::MAX as u64 / 16;

/// Windows of one length, each from a multiple of its advance on: tumbling, or hopping where they advance by less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeWindows {
    size: Duration,
    advance: Duration,
    grace: Duration,
}

/// One window for each key, which never ends: what windows say of when, and keys that go on for ever. A record is never late.
/// Kafka Streams' `UnlimitedWindows`; its end is here the last one that a window can have, 576,460,752,303,423,487.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnlimitedWindows;

/// Windows that end with each record and start behind each record, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlidingWindows {
    difference: Duration,
    grace: Duration,
}

/// Windows of records that follow each other closely, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionWindows {
    gap: Duration,
    grace: Duration,
}

impl TimeWindows {
    /// Tumbling windows. Without grace a record is late as soon as its window has ended.
    pub fn of(size: Duration) -> TimeWindows {
        TimeWindows { size, advance: size, grace: Duration::ZERO }
    }

    /// How far one window starts behind the one before: not more than its size.
    pub fn advance_by(self, advance: Duration) -> TimeWindows {
        TimeWindows { advance, ..self }
    }

    /// How long behind its end a window takes records.
    pub fn grace(self, grace: Duration) -> TimeWindows {
        TimeWindows { grace, ..self }
    }
}

impl UnlimitedWindows {
    /// From 1970 on.
    pub fn of() -> UnlimitedWindows {
        UnlimitedWindows
    }
}

impl SlidingWindows {
    /// Windows of records that are not further apart than this.
    pub fn of(difference: Duration) -> SlidingWindows {
        SlidingWindows { difference, grace: Duration::ZERO }
    }

    /// How long behind its end a window takes records.
    pub fn grace(self, grace: Duration) -> SlidingWindows {
        SlidingWindows { grace, ..self }
    }
}

impl SessionWindows {
    /// Sessions that a pause longer than this ends.
    pub fn with_gap(gap: Duration) -> SessionWindows {
        SessionWindows { gap, grace: Duration::ZERO }
    }

    /// How long behind its end and the gap a session takes records.
    pub fn grace(self, grace: Duration) -> SessionWindows {
        SessionWindows { grace, ..self }
    }
}

/// When the aggregate of a window goes downstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EmitStrategy {
    /// With every update.
    #[default]
    OnWindowUpdate,
    /// Once, as soon as a record comes that is later than the window's end and grace (of a session: its gap too). No record,
    /// no time: on an idle topic nothing closes. A window that has expired by then, since time went on by more than the
    /// retention of its store, does not go downstream: give the store one that is longer than any pause.
    OnWindowClose,
}

impl EmitStrategy {
    pub(super) fn describe(self) -> Option<Emit> {
        (self == EmitStrategy::OnWindowClose).then_some(Emit::OnWindowClose)
    }
}

/// By what a grouped stream can be windowed.
pub trait WindowedBy {
    type Windowed<K: Data, V: Data>;

    type Cogrouped<K: Data, A: Data>;

    fn over<K: Data, V: Data>(self, grouped: &Grouped<K, V>) -> Self::Windowed<K, V>;

    fn over_all<K: Data, A: Data>(self, cogrouped: Cogrouped<K, A>) -> Self::Cogrouped<K, A>;
}

impl TimeWindows {
    fn describe(self) -> (Window, Duration, Duration) {
        let window = Window::Time { size_ms: ms(self.size), advance_ms: ms(self.advance), grace_ms: ms(self.grace) };
        (window, self.size, self.size + self.grace)
    }
}

impl SlidingWindows {
    fn describe(self) -> (Window, Duration, Duration) {
        let window = Window::Sliding { difference_ms: ms(self.difference), grace_ms: ms(self.grace) };
        (window, self.difference, 2 * self.difference + self.grace)
    }
}

impl SessionWindows {
    fn describe(self) -> (Window, Duration) {
        (Window::Session { gap_ms: ms(self.gap), grace_ms: ms(self.grace) }, self.gap + self.grace)
    }
}

impl WindowedBy for TimeWindows {
    type Windowed<K: Data, V: Data> = TimeWindowed<K, V>;
    type Cogrouped<K: Data, A: Data> = TimeWindowedCogrouped<K, A>;

    fn over<K: Data, V: Data>(self, grouped: &Grouped<K, V>) -> TimeWindowed<K, V> {
        let (window, size, retention) = self.describe();
        TimeWindowed::new(grouped, window, size, retention)
    }

    fn over_all<K: Data, A: Data>(self, cogrouped: Cogrouped<K, A>) -> TimeWindowedCogrouped<K, A> {
        let (window, size, retention) = self.describe();
        TimeWindowedCogrouped::new(cogrouped, window, size, retention)
    }
}

impl WindowedBy for UnlimitedWindows {
    type Windowed<K: Data, V: Data> = TimeWindowed<K, V>;
    type Cogrouped<K: Data, A: Data> = TimeWindowedCogrouped<K, A>;

    fn over<K: Data, V: Data>(self, grouped: &Grouped<K, V>) -> TimeWindowed<K, V> {
        TimeWindows::of(Duration::from_millis(WINDOW_MS_MAX)).over(grouped)
    }

    fn over_all<K: Data, A: Data>(self, cogrouped: Cogrouped<K, A>) -> TimeWindowedCogrouped<K, A> {
        TimeWindows::of(Duration::from_millis(WINDOW_MS_MAX)).over_all(cogrouped)
    }
}

impl WindowedBy for SlidingWindows {
    type Windowed<K: Data, V: Data> = TimeWindowed<K, V>;
    type Cogrouped<K: Data, A: Data> = TimeWindowedCogrouped<K, A>;

    fn over<K: Data, V: Data>(self, grouped: &Grouped<K, V>) -> TimeWindowed<K, V> {
        let (window, size, retention) = self.describe();
        TimeWindowed::new(grouped, window, size, retention)
    }

    fn over_all<K: Data, A: Data>(self, cogrouped: Cogrouped<K, A>) -> TimeWindowedCogrouped<K, A> {
        let (window, size, retention) = self.describe();
        TimeWindowedCogrouped::new(cogrouped, window, size, retention)
    }
}

impl WindowedBy for SessionWindows {
    type Windowed<K: Data, V: Data> = SessionWindowed<K, V>;
    type Cogrouped<K: Data, A: Data> = SessionWindowedCogrouped<K, A>;

    fn over<K: Data, V: Data>(self, grouped: &Grouped<K, V>) -> SessionWindowed<K, V> {
        let (window, retention) = self.describe();
        SessionWindowed::new(grouped, window, retention)
    }

    fn over_all<K: Data, A: Data>(self, cogrouped: Cogrouped<K, A>) -> SessionWindowedCogrouped<K, A> {
        let (window, retention) = self.describe();
        SessionWindowedCogrouped::new(cogrouped, window, retention)
    }
}

fn ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
