//! What comes in. Times only grow in each partition of the lines, and all that is said of one row of a table is in one
//! partition; beside that, who clicks or asks is anywhere, and times are often equal.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::chance::Chance;
use crate::chaos::load::Line;

/// Of the lines.
pub const PARTITIONS: i32 = 4;

/// Some hundred lines a second: each click becomes twenty records.
pub const LINES_AT_ONCE: u64 = 8;
pub const TAPS_AT_ONCE: u64 = 3;

/// The time between two lines, and how many have the same.
const LINE_MS: i64 = 10;
const OF_ONE_TIME: u64 = 4;

const USERS: u64 = 24;
const ORDERS: u64 = 40;
const TAPPERS: u64 = 16;

/// How far an answer may be from its question, counted in questions.
const APART: u64 = 16;

const TAP_MS: i64 = 20;
/// So many taps of one hundred are late, and by how much at most.
const LATE: u64 = 10;
const LATE_MS: u64 = 3_000;

const TARIFFS_OF_EACH: u64 = 40;
const TARIFF_MS: i64 = 3_000;
/// All of them.
pub const TARIFFS: u64 = USERS * TARIFFS_OF_EACH;

const HOUR_MS: i64 = 3_600_000;

/// What comes in begins so long ago. A broker forgets the changelogs of windows by their records' time, two days behind it.
const AGO_MS: i64 = 30 * HOUR_MS;

/// From the beginning to the records that close everything: more than the day that a question waits, and not ahead of the
/// clock, which a broker would not take.
const CLOSING_MS: i64 = 29 * HOUR_MS;

/// Keys of those: so many that each of eight partitions has one of them.
const CLOSERS: u64 = 64;

/// When it all begins, on an hour.
pub fn begin() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_millis() as i64;
    (now - AGO_MS) / HOUR_MS * HOUR_MS
}

/// The time of what closes everything that began then.
pub fn closing(begin: i64) -> i64 {
    begin + CLOSING_MS
}

/// Clicks and views of users, who come and go; orders with their parcels; questions and answers.
pub fn lines(begin: i64, mut chance: Chance) -> impl FnMut(u64) -> Line + Send + 'static {
    let (mut user, mut asked) = (0, 0);
    let (mut ordered, mut sent) = ([false; ORDERS as usize], [false; ORDERS as usize]);
    move |number| {
        // Now and then the same user does the next thing, at the same time.
        if chance.below(3) > 0 {
            user = chance.below(USERS);
        }
        let order = chance.below(ORDERS);
        let somewhere = chance.below(PARTITIONS as u64);
        let (partition, value) = match chance.below(10) {
            0..3 => (somewhere, format!("click u{user} {number}")),
            3..5 => (somewhere, format!("view u{user} {number}")),
            5 if chance.below(5) == 0 => (user, format!("user u{user}")),
            5 => (user, format!("user u{user} {number}")),
            6 => (order, row("order", order, &mut ordered, &mut chance, order_of(number, user))),
            7 => (order + 1, row("parcel", order, &mut sent, &mut chance, number.to_string())),
            8 => {
                // Some ask twice.
                asked += u64::from(chance.below(4) > 0);
                (somewhere, format!("ask q{asked} {number}"))
            }
            _ => (somewhere, format!("answer q{} {number}", asked + chance.below(APART) - (APART / 2).min(asked))),
        };
        let time = begin + (number - number % OF_ONE_TIME) as i64 * LINE_MS;
        Line { partition: (partition % PARTITIONS as u64) as i32, value, timestamp: Some(time) }
    }
}

/// Every third order is nobody's.
fn order_of(number: u64, user: u64) -> String {
    if number.is_multiple_of(3) { number.to_string() } else { format!("{number} u{user}") }
}

/// A row that is there may be deleted. One that is not there never is: of that nothing would be said.
fn row(kind: &str, order: u64, there: &mut [bool], chance: &mut Chance, value: String) -> String {
    let there = &mut there[order as usize];
    *there = !*there || chance.below(4) > 0;
    if *there { format!("{kind} o{order} {value}") } else { format!("{kind} o{order}") }
}

/// In one partition; some of them late.
pub fn taps(begin: i64, mut chance: Chance) -> impl FnMut(u64) -> Line + Send + 'static {
    move |number| {
        let late = if chance.below(100) < LATE { chance.below(LATE_MS) as i64 } else { 0 };
        let time = begin + number as i64 * TAP_MS - late;
        Line { partition: 0, value: format!("t{} {number}", chance.below(TAPPERS)), timestamp: Some(time) }
    }
}

/// As `produce` reads them: each user has one after the other.
pub fn tariffs(begin: i64) -> String {
    let tariff = |number: u64| {
        let (user, time) = (number % USERS, begin + (number / USERS) as i64 * TARIFF_MS + (number % USERS) as i64);
        format!("{{\"key\":\"u{user}\",\"value\":\"{number}\",\"timestamp\":{time}}}\n")
    };
    (0..TARIFFS).map(tariff).collect()
}

/// Where a click may be, by its last digit: the others are nowhere.
pub const PLACES: u64 = 7;

/// As `produce` reads them.
pub fn places(begin: i64) -> String {
    let place = |number| format!("{{\"key\":\"p{number}\",\"value\":\"at{number}\",\"timestamp\":{begin}}}\n");
    (0..PLACES).map(place).collect()
}

pub fn line_closers(begin: i64) -> String {
    let closers =
        (0..CLOSERS).flat_map(|number| ["click", "ask"].map(|kind| (number, format!("{kind} end{number} 0"))));
    closers.map(|(number, value)| closer(begin, (number % PARTITIONS as u64) as i32, value)).collect()
}

pub fn tap_closers(begin: i64) -> String {
    (0..CLOSERS).map(|number| closer(begin, 0, format!("end{number} 0"))).collect()
}

fn closer(begin: i64, partition: i32, value: String) -> String {
    Line { partition, value, timestamp: Some(closing(begin)) }.json()
}

/// How many closers of lines and of taps there are.
pub const CLOSING_LINES: [u64; 2] = [2 * CLOSERS, CLOSERS];
