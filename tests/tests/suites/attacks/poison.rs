//! One record in a thousand that its application cannot bear, beside the neighbour: exactly those become dead letters
//! that say why, and of the others each has its one effect, in order.

use tests::chaos::outside::{Row, Values};
use tests::guests;

use super::neighbour::{Street, half_rate};

const RECORDS: usize = 10_000;
const EVERY: usize = 1_000;

struct Poison {
    value: &'static str,
    exception: &'static str,
    message: &'static str,
    /// A function of the backtrace.
    function: &'static str,
    call: &'static str,
}

#[test]
fn t25_one_record_in_a_thousand_traps() {
    let (exception, message) = ("trap", "did not expect bang");
    Poison { value: "bang", exception, message, function: "panics::judge", call: "5s" }.run();
}

#[test]
fn t25_one_record_in_a_thousand_does_not_end() {
    let (exception, message) = ("deadline", "ran longer than 50ms");
    Poison { value: "spin", exception, message, function: "panics::spin", call: "50ms" }.run();
}

#[test]
fn t25_one_record_in_a_thousand_takes_all_memory() {
    let (exception, message) = ("memory", "may have 32.0 MiB");
    Poison { value: "hoard", exception, message, function: "panics::hoard", call: "5s" }.run();
}

impl Poison {
    fn run(&self) {
        let rate = half_rate();
        let mut street = self.street();
        street.start(&["neighbour", "poisoned"]);
        let fared = street.feed(rate);
        println!("T25  {:16} the neighbour: {fared:?}", self.value);
        let digest = street.status("poisoned")["component"]["digest"].as_str().unwrap_or_default().to_owned();
        let letters = street.outside_once("letters", RECORDS / EVERY, Values::Text);
        let offsets: Vec<usize> =
            letters.iter().map(|letter| header(letter, "offset").parse().expect("a number")).collect();
        assert_eq!(offsets, (0..RECORDS).filter(|number| is_poison(*number)).collect::<Vec<_>>());
        for letter in &letters {
            assert_eq!(letter.text(), self.value);
            assert_eq!((header(letter, "exception"), header(letter, "component")), (self.exception, &*digest));
            assert!(header(letter, "message").contains(self.message), "{}", header(letter, "message"));
            assert!(header(letter, "stacktrace").contains(self.function), "{}", header(letter, "stacktrace"));
        }
        let others = street.outside_once("out", RECORDS - letters.len(), Values::Text);
        let expected = (0..RECORDS).filter(|number| !is_poison(*number)).map(|number| number.to_string());
        assert!(others.iter().map(Row::text).eq(expected), "{} records came out", others.len());
        street.stop().ok();
    }

    fn street(&self) -> Street {
        let street = Street::new();
        ["in", "out", "letters"].into_iter().for_each(|topic| street.topic(topic, 1));
        std::fs::create_dir(street.mill.dir().join("poisoned")).expect("a directory can be made");
        let component = guests::plugin(&tests::application::ENGINE, "tests/guests/panics").expect("the guest builds");
        let manifest = format!(
            "id = \"poisoned\"\ncomponent = \"{}\"\non_error = \"dead-letter:letters\"\n[limits]\ncall = \"{}\"\n\
             memory = \"32MiB\"\n[sources.lines]\ntopic = \"in\"\n[sinks.judged]\ntopic = \"out\"\n",
            component.display(),
            self.call
        );
        street.mill.write("poisoned/app.toml", &manifest);
        let value = |number| if is_poison(number) { self.value.to_owned() } else { number.to_string() };
        street.produce("in", 1, (0..RECORDS).map(value));
        street
    }
}

fn is_poison(number: usize) -> bool {
    number % EVERY == EVERY / 2
}

/// What the host wrote into a dead letter under this name.
pub fn header<'a>(letter: &'a Row, name: &str) -> &'a str {
    letter.header(&format!("__streams.errors.{name}")).unwrap_or_else(|| panic!("no header {name}"))
}
