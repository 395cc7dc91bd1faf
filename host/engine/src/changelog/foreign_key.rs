//! What the two sides of a foreign-key join tell each other: Kafka Streams' SubscriptionWrapper,
//! SubscriptionResponseWrapper and CombinedKeySchema.

/// Set in the version's byte where there is no hash.
const NO_HASH: u8 = 0x80;
const SUBSCRIPTION_VERSION: u8 = 1;
const RESPONSE_VERSION: u8 = 0;
const PARTITION_LEN: usize = 4;

pub type Hash = [u8; 16];

/// What the left side wants of the partition of a foreign key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// The row has another key now.
    DeleteKeyNoPropagate = 0,
    /// The row is gone.
    DeleteKeyAndPropagate = 1,
    /// An answer in any case.
    PropagateNullIfNoForeignValue = 2,
    /// An answer if there is something to join with.
    PropagateOnlyIfForeignValue = 3,
}

impl Instruction {
    fn of(byte: u8) -> Option<Instruction> {
        use Instruction::*;
        let all =
            [DeleteKeyNoPropagate, DeleteKeyAndPropagate, PropagateNullIfNoForeignValue, PropagateOnlyIfForeignValue];
        all.get(usize::from(byte)).copied()
    }
}

/// A left row's word to its foreign key: `version u8, instruction u8, hash (16), key, partition i32be`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription<'a> {
    pub instruction: Instruction,
    /// Of the left value; `None`: it was deleted.
    pub hash: Option<Hash>,
    pub primary_key: &'a [u8],
    /// Of the left row.
    pub partition: [u8; PARTITION_LEN],
}

impl<'a> Subscription<'a> {
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(SUBSCRIPTION_VERSION | if self.hash.is_none() { NO_HASH } else { 0 });
        out.push(self.instruction as u8);
        out.extend_from_slice(self.hash.as_ref().map_or(&[], |hash| &hash[..]));
        out.extend_from_slice(self.primary_key);
        out.extend_from_slice(&self.partition);
    }

    /// `None`: these bytes are no subscription of this version.
    pub fn decode(bytes: &'a [u8]) -> Option<Subscription<'a>> {
        let (&[version, instruction], rest) = bytes.split_first_chunk()?;
        if version & !NO_HASH != SUBSCRIPTION_VERSION {
            return None;
        }
        let (hash, rest) = take_hash(version, rest)?;
        let (primary_key, partition) = rest.split_last_chunk()?;
        let instruction = Instruction::of(instruction)?;
        Some(Subscription { instruction, hash, primary_key, partition: *partition })
    }
}

/// What a left row is told: `version u8, hash (16), the right value`. An empty right value is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response<'a> {
    pub hash: Option<Hash>,
    pub foreign: Option<&'a [u8]>,
}

impl<'a> Response<'a> {
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(RESPONSE_VERSION | if self.hash.is_none() { NO_HASH } else { 0 });
        out.extend_from_slice(self.hash.as_ref().map_or(&[], |hash| &hash[..]));
        out.extend_from_slice(self.foreign.unwrap_or_default());
    }

    /// `None`: these bytes are no answer of this version.
    pub fn decode(bytes: &'a [u8]) -> Option<Response<'a>> {
        let (version, rest) = bytes.split_first()?;
        if version & !NO_HASH != RESPONSE_VERSION {
            return None;
        }
        let (hash, rest) = take_hash(*version, rest)?;
        Some(Response { hash, foreign: Some(rest).filter(|rest| !rest.is_empty()) })
    }
}

fn take_hash(version: u8, bytes: &[u8]) -> Option<(Option<Hash>, &[u8])> {
    if version & NO_HASH != 0 {
        return Some((None, bytes));
    }
    let (hash, rest) = bytes.split_first_chunk()?;
    Some((Some(*hash), rest))
}

/// What all subscriptions of a foreign key begin with in their store: `its length i32be, it`. The primary key follows.
pub fn store_prefix(foreign_key: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(foreign_key.len() as u32).to_be_bytes());
    out.extend_from_slice(foreign_key);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn both_ways_are_read_as_they_are_written() {
        for hash in [None, Some([7; 16])] {
            let subscription = Subscription {
                instruction: Instruction::PropagateNullIfNoForeignValue,
                hash,
                primary_key: b"pk",
                partition: [0, 0, 0, 3],
            };
            let mut bytes = Vec::new();
            subscription.encode(&mut bytes);
            assert_eq!(bytes[..2], [if hash.is_none() { 0x81 } else { 1 }, 2]);
            assert_eq!(Subscription::decode(&bytes), Some(subscription));
            assert_eq!(Subscription::decode(&bytes[..5]), None);
            let mut bytes = Vec::new();
            Response { hash, foreign: Some(b"v") }.encode(&mut bytes);
            assert_eq!(Response::decode(&bytes), Some(Response { hash, foreign: Some(b"v") }));
        }
        assert_eq!(Subscription::decode(&[0x81, 4, 0, 0, 0, 0]), None);
        assert_eq!(Response::decode(&[0x81]), None);
    }

    #[test]
    fn an_empty_right_value_is_none_as_in_kafka_streams() {
        let mut bytes = Vec::new();
        Response { hash: None, foreign: Some(b"") }.encode(&mut bytes);
        assert_eq!(bytes, [0x80]);
        assert_eq!(Response::decode(&bytes), Some(Response { hash: None, foreign: None }));
    }
}
