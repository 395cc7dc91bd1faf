//! Two lists side by side: what is the same in both, and what is in one of them alone.

/// A step through two lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pair {
    Same(usize, usize),
    /// In the first list alone.
    Expected(usize),
    /// In the second list alone.
    Got(usize),
}

/// Comparisons of one alignment: lists of two thousand that have nothing in common, some megabytes. Longer ones are held
/// against each other place by place.
const CELLS_MAX: usize = 4 << 20;

/// The shortest way from the first list to the second; in a run of differences the first list's come first.
pub fn align(expected: usize, got: usize, same: &dyn Fn(usize, usize) -> bool) -> Vec<Pair> {
    let shorter = expected.min(got);
    let head = (0..shorter).take_while(|at| same(*at, *at)).count();
    let tail = (0..shorter - head).take_while(|back| same(expected - 1 - back, got - 1 - back)).count();
    let mut pairs: Vec<Pair> = (0..head).map(|at| Pair::Same(at, at)).collect();
    middle((head, expected - tail), (head, got - tail), same, &mut pairs);
    pairs.extend((0..tail).rev().map(|back| Pair::Same(expected - 1 - back, got - 1 - back)));
    pairs
}

fn middle(
    (from, to): (usize, usize),
    (other_from, other_to): (usize, usize),
    same: &dyn Fn(usize, usize) -> bool,
    pairs: &mut Vec<Pair>,
) {
    let (rows, columns) = (to - from, other_to - other_from);
    if (rows + 1).saturating_mul(columns + 1) > CELLS_MAX {
        place_by_place((from, to), (other_from, other_to), same, pairs);
        return;
    }
    // How much is the same from here on: by row and column, the last of each empty.
    let mut common = vec![0u32; (rows + 1) * (columns + 1)];
    let cell = |row: usize, column: usize| row * (columns + 1) + column;
    for row in (0..rows).rev() {
        for column in (0..columns).rev() {
            common[cell(row, column)] = match same(from + row, other_from + column) {
                true => common[cell(row + 1, column + 1)] + 1,
                false => common[cell(row + 1, column)].max(common[cell(row, column + 1)]),
            };
        }
    }
    let (mut row, mut column) = (0, 0);
    while row < rows && column < columns {
        if same(from + row, other_from + column) {
            pairs.push(Pair::Same(from + row, other_from + column));
            (row, column) = (row + 1, column + 1);
        } else if common[cell(row + 1, column)] >= common[cell(row, column + 1)] {
            pairs.push(Pair::Expected(from + row));
            row += 1;
        } else {
            pairs.push(Pair::Got(other_from + column));
            column += 1;
        }
    }
    pairs.extend((row..rows).map(|row| Pair::Expected(from + row)));
    pairs.extend((column..columns).map(|column| Pair::Got(other_from + column)));
}

fn place_by_place(
    (from, to): (usize, usize),
    (other_from, other_to): (usize, usize),
    same: &dyn Fn(usize, usize) -> bool,
    pairs: &mut Vec<Pair>,
) {
    let (mut at, mut other) = (from, other_from);
    while at < to && other < other_to {
        match same(at, other) {
            true => pairs.push(Pair::Same(at, other)),
            false => pairs.extend([Pair::Expected(at), Pair::Got(other)]),
        }
        (at, other) = (at + 1, other + 1);
    }
    pairs.extend((at..to).map(Pair::Expected));
    pairs.extend((other..other_to).map(Pair::Got));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aligned(expected: &str, got: &str) -> String {
        let (a, b) = (expected.as_bytes(), got.as_bytes());
        let pairs = align(a.len(), b.len(), &|i, j| a[i] == b[j]);
        let shown = |pair: &Pair| match *pair {
            Pair::Same(i, _) => (a[i] as char).to_string(),
            Pair::Expected(i) => format!("-{}", a[i] as char),
            Pair::Got(j) => format!("+{}", b[j] as char),
        };
        pairs.iter().map(shown).collect()
    }

    #[test]
    fn what_was_inserted_moves_nothing_else() {
        assert_eq!(aligned("abc", "abc"), "abc");
        assert_eq!(aligned("abc", "axbc"), "a+xbc");
        assert_eq!(aligned("abc", "ac"), "a-bc");
        assert_eq!(aligned("abc", "axc"), "a-b+xc");
        assert_eq!(aligned("", "ab"), "+a+b");
        assert_eq!(aligned("ab", ""), "-a-b");
        assert_eq!(aligned("abcd", "bxcd"), "-ab+xcd");
        assert_eq!(aligned("aa", "a"), "a-a");
    }

    #[test]
    fn lists_too_long_for_that_are_compared_place_by_place() {
        let pairs = align(3_000, 3_001, &|i, j| i != 0 && j != 3_000 && i == j && i % 2 == 0);
        assert_eq!(pairs[..3], [Pair::Expected(0), Pair::Got(0), Pair::Expected(1)]);
        assert_eq!(pairs.iter().filter(|pair| matches!(pair, Pair::Same(..))).count(), 1_499);
        assert_eq!(pairs.last(), Some(&Pair::Got(3_000)));
    }
}
