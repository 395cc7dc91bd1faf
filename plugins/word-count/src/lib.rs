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
    use super::*;

    #[test]
    fn words_are_runs_of_letters_and_digits_in_lower_case() {
        assert_eq!(
            words("The mill-wheel turns; 2 Mühlen, İt".into()),
            ["the", "mill", "wheel", "turns", "2", "mühlen", "i\u{307}t"]
        );
        assert!(words(" -- ".into()).is_empty());
    }
}
