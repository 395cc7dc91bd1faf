//! Well-formed inputs with a few things wrong in them. bolero draws what is done to which of them, so that a failure has a
//! seed and becomes smaller; what there is to be done is ours: at random it would only draw bytes that mean nothing.

use std::fmt;
use std::ops::Bound;

use bolero::{Driver, ValueGenerator};

/// Inputs never grow beyond this.
pub const BYTES_MAX: usize = 64 << 10;

/// Draws mutations of these.
pub struct Mutated {
    pub seeds: Vec<Vec<u8>>,
}

/// What a decoder gets.
pub struct Input(pub Vec<u8>);

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes: {}", self.0.len(), self.0.escape_ascii())
    }
}

impl ValueGenerator for Mutated {
    type Output = Input;

    fn generate<D: Driver>(&self, driver: &mut D) -> Option<Input> {
        let mut bytes = self.seeds[pick(driver, self.seeds.len())?].clone();
        // Many mutations of one input reach further, and end earlier.
        let most = [6, 6, 6, 64][pick(driver, 4)?];
        for _ in 0..=pick(driver, most)? {
            self.mutate_once(&mut bytes, driver)?;
        }
        bytes.truncate(BYTES_MAX);
        Some(Input(bytes))
    }
}

/// From `0` to `end - 1`; `0` of nothing.
fn pick<D: Driver>(driver: &mut D, end: usize) -> Option<usize> {
    driver.gen_usize(Bound::Included(&0), Bound::Excluded(&end.max(1)))
}

impl Mutated {
    fn mutate_once<D: Driver>(&self, bytes: &mut Vec<u8>, driver: &mut D) -> Option<()> {
        let mut pick = |end: usize| pick(driver, end);
        let at = pick(bytes.len())?;
        match pick(9)? {
            0 => bytes.truncate(at),
            1 if !bytes.is_empty() => bytes[at] ^= 1 << pick(8)?,
            2 if !bytes.is_empty() => bytes[at] = pick(256)? as u8,
            3 if bytes.len() >= at + 4 => {
                let odd = [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, bytes.len() as u32, pick(1 << 20)? as u32];
                bytes[at..at + 4].copy_from_slice(&odd[pick(odd.len())?].to_le_bytes());
            }
            4 if bytes.len() >= at + 8 => {
                let odd = [i64::MIN, -1, i64::MAX];
                bytes[at..at + 8].copy_from_slice(&odd[pick(odd.len())?].to_le_bytes());
            }
            5 => {
                let end = (at + pick(64)?).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                let to = pick(bytes.len() + 1)?;
                bytes.splice(to..to, piece);
            }
            6 => {
                let end = (at + pick(16)?).min(bytes.len());
                bytes.drain(at..end);
            }
            7 => {
                // A piece of another input.
                let other = &self.seeds[pick(self.seeds.len())?];
                let from = pick(other.len())?;
                let piece = &other[from..(from + pick(64)?).min(other.len())];
                bytes.splice(at..at, piece.iter().copied());
            }
            _ => {
                let words: [&[u8]; 6] =
                    [b"\"", b"-1", b"99999999999999999999", b"\\u0000", b"null", "\u{202e}é".as_bytes()];
                let word = words[pick(words.len())?];
                bytes.splice(at..at, word.iter().copied());
            }
        }
        Some(())
    }
}
