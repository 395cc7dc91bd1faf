//! A member that is shut out of its group though perhaps nobody took its place.
//!
//! A static member whose session has ended joins anew. When the coordinator's answer to that is lost, it joins once more,
//! and the coordinator shuts out the first of the two for the second: librdkafka hears that as its own end. The same is
//! heard when another process has come in its place meanwhile. What tells the two apart is time: nobody keeps the first
//! kind alive, so that the group forgets it with its session.

use std::time::{Duration, Instant};

use super::connection::Connection;
use super::properties::{Properties, static_id};
use crate::log::{Error, Subscription};

/// Beyond the session, until the coordinator has noticed its end.
const SLACK: Duration = Duration::from_secs(2);

pub struct Doubt {
    /// The end of its `client.id` in front of the plan, whatever address or build it comes with.
    place: String,
    session: Duration,
    /// When the member's own session ended last.
    lost_at: Option<Instant>,
    /// When it will be clear who holds its place.
    until: Option<Instant>,
}

impl Doubt {
    pub fn new(properties: &Properties, subscription: &Subscription) -> Doubt {
        let (place, session) = (format!("-{}", static_id(subscription)), properties.session_timeout());
        Doubt { place, session, lost_at: None, until: None }
    }

    pub fn session_ended(&mut self) {
        self.lost_at = Some(Instant::now());
    }

    /// The member is shut out: whether that may have been itself, which will be clear when its session is over.
    pub fn begin(&mut self) -> bool {
        let is_recent = self.lost_at.is_some_and(|at| at.elapsed() < 2 * self.session);
        self.until = is_recent.then(|| Instant::now() + self.session + SLACK);
        is_recent
    }

    /// Whether it is still open.
    pub fn is_open(&self) -> bool {
        self.until.is_some()
    }

    fn is_here(&self, client_id: &str) -> bool {
        client_id.rsplit_once('-').is_some_and(|(member, _)| member.ends_with(&self.place))
    }

    /// Once it is clear: why the member has to end. What it was shut out by itself for may pass with another start.
    pub fn settle(&mut self, connection: &Connection, application: &str, shut_out: Error) -> Option<Error> {
        self.until.filter(|until| *until <= Instant::now())?;
        self.until = None;
        Some(match connection.members(application) {
            Ok(members) if members.iter().any(|member| self.is_here(member)) => shut_out,
            Ok(_) => {
                let why = "it had shut this member out for a place that nobody took";
                Error::unreachable(format!("the coordinator of group {application}"), why)
            }
            Err(error) => error,
        })
    }
}
