//! All of it at once, in an order that a seed gives: members come, go, die and freeze, the wire breaks and loses answers,
//! the broker crashes, state files are spoilt, components are swapped. Then the verdict from outside, as ever.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::damage::{self, DAMAGES};
use super::load::Load;
use super::words::{LMDB, TASKS, Words};
use super::{gap, verdict};
use crate::broker::Brokers;
use crate::chance::Chance;
use crate::http::{get, put};
use crate::logs::{self, Kind, TestLog, eventually, kafka_at};
use crate::millstream::Running;
use crate::proxy::{END_TRANSACTION, Lost, Proxy};

/// State directories of members, and so the most there are. An application on the embedded log is one process.
const PLACES: [&str; 3] = ["storm-0", "storm-1", "storm-2"];

/// Between two events at most: some commits, or none.
const APART_MS: u64 = 1_200;

/// A frozen process is sometimes missed by its group and sometimes not.
const FROZEN_MS: u64 = 5_000;

/// No connection can be made after a cut.
const DOWN_MS: u64 = 1_500;

/// The broker is away.
const AWAY_MS: u64 = 1_500;

/// How long a process may take to answer what it was told by HTTP.
const LISTENING: Duration = Duration::from_secs(60);

/// Transactions of the dead end soon, members are missed soon.
const KAFKA: [(&str, &str); 3] =
    [("transaction.timeout.ms", "4000"), ("socket.timeout.ms", "2000"), ("session.timeout.ms", "4000")];

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Kill,
    Stop,
    Freeze,
    Spoil,
    Swap,
    Join,
    Leave,
    Cut,
    LoseAnswer,
    CrashBroker,
}

/// What happens more often stands here more often. A broker takes seconds to come back, and little else happens then.
const EVENTS: [Event; 15] = [
    Event::Kill,
    Event::Kill,
    Event::Stop,
    Event::Freeze,
    Event::Spoil,
    Event::Swap,
    Event::Join,
    Event::Join,
    Event::Join,
    Event::Leave,
    Event::Cut,
    Event::Cut,
    Event::LoseAnswer,
    Event::LoseAnswer,
    Event::CrashBroker,
];

/// A storm of this length on an embedded log of its own.
pub fn on_embedded(length: Duration, chance: &mut Chance) {
    blow(&logs::embedded(), None, length, chance);
}

/// The same on a broker of its own, behind a wire of its own.
pub fn on_kafka(length: Duration, chance: &mut Chance) {
    let proxy = Proxy::bind();
    let broker = Brokers::behind(&proxy);
    blow(&kafka_at(&broker.addresses[0], &[]), Some((&proxy, &broker)), length, chance);
}

type Wire<'a> = (&'a Proxy, &'a Brokers);

fn blow(log: &TestLog, wire: Option<Wire<'_>>, length: Duration, chance: &mut Chance) {
    let kafka: &[(&str, &str)] = if log.kind == Kind::Kafka { &KAFKA } else { &[] };
    let words = Words::with_kafka(log, LMDB, kafka);
    let load = Load::start(&words);
    let mut storm = Storm { words: &words, wire, members: Vec::new(), said: Vec::new(), builds: 0 };
    storm.join();
    storm.members[0].running.ready();
    let begun = Instant::now();
    while begun.elapsed() < length {
        std::thread::sleep(Duration::from_millis(chance.below(APART_MS)));
        let event = storm.draw(chance);
        println!("{:>6} ms {event:?} {} members", begun.elapsed().as_millis(), storm.members.len());
        storm.happen(event, chance);
        storm.look_after();
    }
    storm.calm(load);
}

/// What a process says before its address, once it listens.
const LISTENS: &str = "listening on http://";

struct Member {
    place: &'static str,
    running: Running,
}

struct Storm<'a> {
    words: &'a Words<'a>,
    wire: Option<Wire<'a>>,
    members: Vec<Member>,
    /// What the processes said that have ended.
    said: Vec<String>,
    /// Components swapped in or refused.
    builds: u8,
}

/// What all processes said, where something did not hold: the order of events is the seed's, their instants are not.
impl Drop for Storm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let alive = self.members.iter().map(|member| member.running.said());
            for said in self.said.drain(..).chain(alive) {
                println!("=== a process said\n{said}");
            }
        }
    }
}

impl Storm<'_> {
    fn draw(&self, chance: &mut Chance) -> Event {
        loop {
            let event = EVENTS[chance.below(EVENTS.len() as u64) as usize];
            let can_happen = match event {
                Event::Kill | Event::Stop | Event::Freeze | Event::Spoil | Event::Swap => true,
                Event::Join => self.members.len() < self.places().len(),
                Event::Leave => self.members.len() > 1,
                Event::Cut | Event::LoseAnswer | Event::CrashBroker => self.wire.is_some(),
            };
            if can_happen {
                return event;
            }
        }
    }

    fn places(&self) -> &'static [&'static str] {
        if self.wire.is_some() { &PLACES } else { &PLACES[..1] }
    }

    fn happen(&mut self, event: Event, chance: &mut Chance) {
        let one = chance.below(self.members.len() as u64) as usize;
        match event {
            Event::Kill => self.kill(one),
            Event::Stop => self.stop(one),
            Event::Freeze => self.freeze(one, chance),
            Event::Spoil => self.spoil(one, chance),
            Event::Swap => self.swap(one),
            Event::Join => self.join(),
            Event::Leave => drop(self.leave(one)),
            Event::Cut => self.proxy().cut(Duration::from_millis(chance.below(DOWN_MS))),
            Event::LoseAnswer => {
                let lost = [Lost::Answer, Lost::Request][chance.below(2) as usize];
                self.proxy().lose(END_TRANSACTION, lost, Duration::from_millis(chance.below(DOWN_MS)));
            }
            Event::CrashBroker => {
                let (_, broker) = self.wire.expect("there is a broker");
                broker.kill(0);
                std::thread::sleep(Duration::from_millis(chance.below(AWAY_MS)));
                broker.again(0);
            }
        }
    }

    fn proxy(&self) -> &Proxy {
        self.wire.expect("there is a wire").0
    }

    /// Another member, where a place is free.
    fn join(&mut self) {
        let free = self.places().iter().find(|place| self.members.iter().all(|member| member.place != **place));
        if let Some(place) = free {
            self.members.push(Member { place, running: self.words.start_in(place) });
        }
    }

    /// By `kill -9`, and starts it again.
    fn kill(&mut self, one: usize) {
        let place = self.end(one);
        self.members.push(Member { place, running: self.words.start_in(place) });
    }

    fn end(&mut self, one: usize) -> &'static str {
        let Member { place, mut running } = self.members.remove(one);
        running.kill();
        self.said.push(running.finish().stderr);
        place
    }

    /// As an operator does, and starts it again.
    fn stop(&mut self, one: usize) {
        let place = self.leave(one);
        self.members.push(Member { place, running: self.words.start_in(place) });
    }

    fn leave(&mut self, one: usize) -> &'static str {
        // What is told before it listens ends it as a kill would.
        self.listens(one);
        let Member { place, running } = self.members.remove(one);
        self.said.push(self.words.stop(running));
        place
    }

    fn freeze(&mut self, one: usize, chance: &mut Chance) {
        self.members[one].running.signal(Signal::STOP);
        std::thread::sleep(Duration::from_millis(chance.below(FROZEN_MS)));
        self.members[one].running.signal(Signal::CONT);
    }

    /// Between a kill and the next start.
    fn spoil(&mut self, one: usize, chance: &mut Chance) {
        let place = self.end(one);
        let files = damage::data_files(self.words, place);
        if !files.is_empty() {
            let file = &files[chance.below(files.len() as u64) as usize];
            let (what, damage) = DAMAGES[chance.below(DAMAGES.len() as u64) as usize];
            println!("          {what}: {}", file.display());
            damage(file, chance);
        }
        self.members.push(Member { place, running: self.words.start_in(place) });
    }

    /// Refused where it is not alone, or not ready; then nothing may change.
    fn swap(&mut self, one: usize) {
        self.builds += 1;
        let component = self.words.another_component(self.builds);
        let address = self.listens(one);
        let answer = put(&address, &format!("/v1/apps/{}/component", self.words.id), &component);
        println!("          swap: {} {}", answer.status, answer.body.chars().take(120).collect::<String>());
    }

    /// No fault ends a process but the one that is meant to. A start that does not reach the log is refused; it is
    /// started again, as whoever looks after processes does.
    fn look_after(&mut self) {
        for Member { place, running } in &mut self.members {
            if running.has_ended() {
                let said = running.said();
                let was_refused = said.contains("error[E0401]") && !said.contains(LISTENS);
                assert!(was_refused, "{place} ended by itself: {said}");
                self.said.push(said);
                *running = self.words.start_in(place);
            }
        }
    }

    /// Waits until a member listens: where.
    fn listens(&mut self, one: usize) -> String {
        eventually("a member listens", || {
            self.look_after();
            let said = self.members[one].running.said();
            Some(said.split_once(LISTENS)?.1.split_once('\n')?.0.to_owned())
        })
    }

    /// Ends all but one, lets it finish the work, checks everything, and sees that a clean stop leaves nothing to
    /// restore.
    fn calm(mut self, load: Load) {
        if let Some((proxy, _)) = self.wire {
            proxy.heal();
        }
        while self.members.len() > 1 {
            self.leave(0);
        }
        let fed = load.end();
        let (place, address) = (self.members[0].place, self.listens(0));
        eventually("one has all tasks", || {
            self.look_after();
            (self.words.running_tasks(&address) == TASKS).then_some(())
        });
        self.words.until_caught_up();
        verdict::check_contents(self.words, fed, &[place]);
        let since = Instant::now();
        get(&address, "/livez").is(200);
        assert!(since.elapsed() < LISTENING, "it took {:?} to answer", since.elapsed());
        self.leave(0);
        let mut again = self.words.start_in(place);
        again.ready();
        assert_eq!(gap::read(self.words, &self.words.stop(again)), 0, "a clean stop leaves nothing to restore");
        let restores: usize = self.said.iter().map(|said| gap::restores(said).len()).sum();
        println!("{fed} lines, {} lives, {restores} restores, {} swaps asked for", self.said.len(), self.builds);
    }
}
