//! Counts words: the lines of `lines` in, every new count of a word out to `counts`.

use millstream_sdk::prelude::*;

fn topology(app: &mut Topology) {
    app.stream::<(), String>("lines")
        .flat_map_values(words)
        .group_by(|_, word| word.clone())
        .count("word-counts")
        .to_stream()
        .to("counts");
}

/// The runs of letters and digits of a line, in lower case.
fn words(line: String) -> Vec<String> {
    let runs = line.split(|c: char| !c.is_alphanumeric());
    runs.filter(|run| !run.is_empty()).map(str::to_lowercase).collect()
}

millstream_sdk::plugin!(topology);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use millstream_sdk::testing::Driver;

    #[test]
    fn words_are_runs_of_letters_and_digits_in_lower_case() {
        assert_eq!(words("The mill-wheel turns; 2 Mühlen".into()), ["the", "mill", "wheel", "turns", "2", "mühlen"]);
        assert!(words(" -- ".into()).is_empty());
    }

    #[test]
    fn every_word_updates_its_count() {
        let mut driver = Driver::new(topology).unwrap();
        let line = |line: &str| Record::new((), line.to_string(), 0);
        driver.pipe_all("lines", [line("the wheel turns"), line("The stone")]).unwrap();
        let counts = driver.read_pairs::<String, i64>("counts").unwrap();
        let expected = [("the", 1), ("wheel", 1), ("turns", 1), ("the", 2), ("stone", 1)];
        assert_eq!(counts, expected.map(|(word, count)| (word.to_string(), count)));
        assert_eq!(driver.get::<String, i64>("word-counts", &"the".to_string()).unwrap(), Some(2));
    }
}
