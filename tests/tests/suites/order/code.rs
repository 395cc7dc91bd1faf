//! What user functions do: numbers drawn from what they see, so that any difference in order, time, state or context
//! becomes a difference in what comes out.

/// One node's function.
#[derive(Clone, Copy, Debug)]
pub struct Code {
    pub salt: u32,
    /// 0: never rejects; up to 3: often.
    pub trouble: u8,
}

/// What a function sees of a record.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub timestamp: i64,
    pub headers: &'a [u8],
    pub input: u16,
    pub source: u32,
    pub offset: i64,
    pub stream_time: i64,
    /// Whether it comes from a punctuation, here or further up.
    pub is_punctuation: bool,
}

/// What it makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<u8>,
    pub timestamp: i64,
    /// `None`: all children.
    pub child: Option<u16>,
}

/// What it says of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    Kept,
    Drop,
    DeadLetter,
    Retry,
    Fail,
    Trap,
}

/// The stores connected to the node, by place among them.
pub trait Stores {
    fn count(&self) -> usize;
    fn may_write(&self, store: usize) -> bool;
    fn get(&mut self, store: usize, key: &[u8]) -> Option<(i64, Vec<u8>)>;
    fn put(&mut self, store: usize, key: &[u8], value: Option<&[u8]>);
    fn scan(&mut self, store: usize, reverse: bool) -> Vec<(Vec<u8>, i64, Vec<u8>)>;
}

/// A hash that takes everything in.
pub struct Mix(u64);

impl Mix {
    fn new(code: &Code, what: u8) -> Mix {
        Mix(0xcbf2_9ce4_8422_2325).with(&code.salt.to_le_bytes()).with(&[what])
    }

    fn with(self, bytes: &[u8]) -> Mix {
        // FNV-1a, with the length so that parts do not run together.
        let bytes = bytes.iter().chain(std::slice::from_ref(&0xFF));
        Mix(bytes.fold(self.0, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)))
    }

    fn with_nullable(self, bytes: Option<&[u8]>) -> Mix {
        self.with(&[u8::from(bytes.is_some())]).with(bytes.unwrap_or_default())
    }

    fn of(code: &Code, what: u8, seen: &Seen<'_>) -> Mix {
        Mix::new(code, what).with_nullable(seen.key).with_nullable(seen.value)
    }

    fn all(code: &Code, what: u8, seen: &Seen<'_>) -> Mix {
        let Seen { timestamp, headers, input, source, offset, stream_time, .. } = *seen;
        let numbers = [timestamp, i64::from(input), i64::from(source), offset, stream_time];
        numbers.iter().fold(Mix::of(code, what, seen).with(headers), |mix, number| mix.with(&number.to_le_bytes()))
    }

    /// A number below `n`.
    fn pick(&self, n: u64) -> u64 {
        let mixed = (self.0 ^ (self.0 >> 29)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed >> 32) % n
    }

    fn key(&self) -> Option<Vec<u8>> {
        [None, Some("a"), Some("b"), Some("c"), Some("d"), Some("")][self.pick(6) as usize].map(|key| key.into())
    }

    fn value(&self) -> Vec<u8> {
        let letter = |n: u64| b'a' + (n % 26) as u8;
        let n = self.pick(26 * 26);
        vec![letter(n), letter(n / 26)]
    }
}

/// The rank of an element that asks what an aggregate begins with (`wit/README.md`).
pub const INITIAL: u16 = u16::MAX - 1;

impl Code {
    /// What it says of this record, before anything else.
    pub fn said(&self, seen: &Seen<'_>) -> Said {
        let rate = match self.trouble {
            0 => return Said::Kept,
            1 => 400,
            2 => 150,
            _ => 50,
        };
        let mix = Mix::of(self, 1, seen).with(&seen.timestamp.to_le_bytes());
        match mix.pick(rate) {
            0 => Said::Fail,
            1 => Said::Retry,
            2 => Said::Trap,
            3 if seen.offset % 3 == 0 => Said::DeadLetter,
            4 | 5 => Said::Drop,
            _ => Said::Kept,
        }
    }

    pub fn matches(&self, seen: &Seen<'_>) -> bool {
        Mix::of(self, 2, seen).pick(3) > 0
    }

    /// One of two branches, or none.
    pub fn branch(&self, seen: &Seen<'_>) -> Option<u16> {
        Some(Mix::of(self, 3, seen).pick(3) as u16).filter(|branch| *branch < 2)
    }

    /// A mapped value: knows all that may not depend on batches.
    pub fn mapped(&self, seen: &Seen<'_>) -> Vec<u8> {
        Mix::all(self, 4, seen).value()
    }

    /// A mapped value of a table: the same for the same row, whenever it is asked.
    pub fn table_mapped(&self, seen: &Seen<'_>) -> Vec<u8> {
        Mix::of(self, 5, seen).value()
    }

    pub fn selected(&self, seen: &Seen<'_>) -> Option<Vec<u8>> {
        Mix::of(self, 6, seen).key()
    }

    /// What a flat-map makes: nothing to three.
    pub fn exploded(&self, seen: &Seen<'_>) -> Vec<(Option<Vec<u8>>, Option<Vec<u8>>)> {
        let one = |n: u64| {
            let mix = Mix::all(self, 7, seen).with(&n.to_le_bytes());
            (mix.key(), Some(mix.value()).filter(|_| mix.pick(9) > 0))
        };
        (0..Mix::of(self, 8, seen).pick(4)).map(one).collect()
    }

    /// A row under another key: the same for the same row.
    pub fn grouped(&self, seen: &Seen<'_>) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        let mix = Mix::of(self, 12, seen);
        (mix.key(), Some(mix.value()).filter(|_| mix.pick(9) > 0))
    }

    /// What both sides of a join make.
    pub fn joined(&self, key: Option<&[u8]>, left: Option<&[u8]>, right: Option<&[u8]>) -> Option<Vec<u8>> {
        let mix = Mix::new(self, 13).with_nullable(key).with_nullable(left).with_nullable(right);
        Some(mix.value()).filter(|_| mix.pick(9) > 0)
    }

    /// The next aggregate of several streams, or of what comes (0) and goes (1).
    pub fn folded_from(
        &self,
        input: u16,
        key: &[u8],
        value: Option<&[u8]>,
        aggregate: Option<&[u8]>,
    ) -> Option<Vec<u8>> {
        let mix = Mix::new(self, 14).with(&input.to_le_bytes()).with(key);
        let mix = mix.with_nullable(value).with_nullable(aggregate);
        Some(mix.value()).filter(|_| mix.pick(7) > 0)
    }

    /// What an aggregate begins with, to those who are told its first old value: the same for all keys.
    pub fn initial(&self) -> Option<Vec<u8>> {
        self.folded_from(INITIAL, b"", None, None)
    }

    /// The next aggregate; `None` deletes.
    pub fn folded(&self, key: &[u8], value: Option<&[u8]>, aggregate: Option<&[u8]>) -> Option<Vec<u8>> {
        let mix = Mix::new(self, 9).with(key).with_nullable(value).with_nullable(aggregate);
        Some(mix.value()).filter(|_| mix.pick(7) > 0)
    }

    /// A processor: reads, writes and walks its stores, forwards to all or to one child. `children`: how many.
    pub fn process(&self, seen: &Seen<'_>, stores: &mut dyn Stores, children: u16, out: &mut Vec<Made>) {
        let mut mix = Mix::all(self, if seen.is_punctuation { 10 } else { 11 }, seen);
        for step in 0..mix.pick(5) {
            let at = mix.pick(97) as usize;
            mix = mix.with(&step.to_le_bytes());
            let count = stores.count();
            if count > 0 {
                mix = store_step(mix, stores, at % count);
            }
            if mix.pick(3) == 0 {
                let child = (mix.pick(4) == 0 && children > 0).then(|| mix.pick(u64::from(children)) as u16);
                let headers = if mix.pick(2) == 0 { seen.headers.to_vec() } else { Vec::new() };
                let value = Some(mix.value()).filter(|_| mix.pick(11) > 0);
                let timestamp = seen.timestamp + mix.pick(4) as i64;
                out.push(Made { key: mix.key(), value, headers, timestamp, child });
            }
        }
    }
}

/// One thing done to one store.
fn store_step(mix: Mix, stores: &mut dyn Stores, store: usize) -> Mix {
    let key = mix.key().unwrap_or_default();
    match mix.pick(5) {
        0 | 1 if stores.may_write(store) => {
            let value = mix.value();
            stores.put(store, &key, Some(&value));
            mix
        }
        2 if stores.may_write(store) => {
            stores.put(store, &key, None);
            mix
        }
        3 => stores
            .scan(store, mix.pick(2) == 0)
            .iter()
            .fold(mix, |mix, (key, timestamp, value)| mix.with(key).with(&timestamp.to_le_bytes()).with(value)),
        _ => match stores.get(store, &key) {
            None => mix.with(b"absent"),
            Some((timestamp, value)) => mix.with(&timestamp.to_le_bytes()).with(&value),
        },
    }
}
