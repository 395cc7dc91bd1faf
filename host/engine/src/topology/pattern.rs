//! Sources whose topics are those of which the names match a regular expression.

use regex_lite::{Regex, RegexBuilder};

/// Longest expression: a description is a guest's, and a person reads it.
const PATTERN_BYTES_MAX: usize = 1_000;

/// Bytes that a compiled expression may take: a hundred times what one over topics' names needs.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// A regular expression over whole names of topics. Matching takes time in the length of both, whatever they are.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// Or why it is none.
    pub fn new(text: &str) -> Result<Pattern, String> {
        if text.is_empty() || text.len() > PATTERN_BYTES_MAX {
            return Err(format!("a pattern has 1 to {PATTERN_BYTES_MAX} bytes"));
        }
        let compile = |text: &str| RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).build();
        // By itself first: parentheses that do not pair would come to terms with those put around it.
        compile(text).and_then(|_| compile(&format!("^(?:{text})$"))).map(Pattern).map_err(|why| why.to_string())
    }

    pub fn matches(&self, topic: &str) -> bool {
        self.0.is_match(topic)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_pattern_is_of_the_whole_name() {
        let pattern = Pattern::new("orders-(eu|us)|payments").unwrap();
        for (topic, matches) in [
            ("orders-eu", true),
            ("payments", true),
            ("my-orders-eu", false),
            ("orders-eu-old", false),
            ("payments-2", false),
        ] {
            assert_eq!(pattern.matches(topic), matches, "{topic}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", "a)|(b", "[", "(?:a{1000}){1000}", &"a".repeat(1_001)] {
            assert!(Pattern::new(text).is_err(), "{text}");
        }
    }
}
