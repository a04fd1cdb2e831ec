//! A message as it is marshalled: short ones in one buffer, long byte strings where the caller has them.

use std::cell::RefCell;

use bytes::Bytes;
use postcard::ser_flavors::Flavor;
use serde::Serialize;

use super::{BORROW_FROM, MarshalError};

/// A message that is being written.
pub(crate) struct Draft {
    bytes: Vec<u8>,
    /// Long byte strings, and how much of `bytes` comes before each.
    shared: Vec<(usize, Bytes)>,
}

/// A message that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Short(Vec<u8>),
    /// One behind the other. The short ones are copied all the same when they are sent.
    Parts(Vec<Bytes>),
}

impl Draft {
    /// A draft that uses this buffer, which is empty.
    pub(crate) fn new(buffer: Vec<u8>) -> Self {
        Self { bytes: buffer, shared: Vec::new() }
    }

    /// Where the next bytes are appended.
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Appends `value` as [`encode`](super::encode) does, but for [`Bytes`] that the macro marked: those
    /// that are long are shared and not copied.
    ///
    /// # Errors
    ///
    /// [`MarshalError::Encode`]; the draft may then hold part of the value.
    pub(crate) fn encode<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), MarshalError> {
        postcard::serialize_with_flavor(value, Gather(self)).map_err(|_| MarshalError::Encode)
    }

    /// The message. A long one keeps its buffer to itself, and is sent from there.
    #[inline]
    pub(crate) fn finish(self) -> Message {
        if self.shared.is_empty() && self.bytes.len() < BORROW_FROM {
            return Message::Short(self.bytes);
        }
        self.into_parts()
    }

    #[cold]
    fn into_parts(self) -> Message {
        let Self { bytes, shared } = self;
        let own = Bytes::from(bytes);
        let mut parts = Vec::with_capacity(2 * shared.len() + 1);
        let mut begin = 0;
        for (at, part) in shared {
            parts.extend([own.slice(begin..at), part]);
            begin = at;
        }
        parts.push(own.slice(begin..));
        parts.retain(|part| !part.is_empty());
        Message::Parts(parts)
    }

    /// The buffer, when there is to be no message.
    pub(crate) fn discard(self) -> Vec<u8> {
        self.bytes
    }
}

impl Default for Message {
    fn default() -> Self {
        Self::Short(Vec::new())
    }
}

impl Message {
    /// In bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Short(bytes) => bytes.len(),
            Self::Parts(parts) => parts.iter().map(Bytes::len).sum(),
        }
    }

    /// Appends all of it to `out`.
    pub(crate) fn copy_to(&self, out: &mut Vec<u8>) {
        match self {
            Self::Short(bytes) => out.extend_from_slice(bytes),
            Self::Parts(parts) => parts.iter().for_each(|part| out.extend_from_slice(part)),
        }
    }
}

struct Gather<'a>(&'a mut Draft);

impl Flavor for Gather<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.bytes.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        if bytes.len() >= BORROW_FROM
            && let Some(shared) = take_offered(bytes)
        {
            self.0.shared.push((self.0.bytes.len(), shared));
            return Ok(());
        }
        self.0.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

thread_local! {
    /// The byte string that is being serialized on this thread. serde has no way to hand it to a serializer.
    static OFFERED: RefCell<Option<Bytes>> = const { RefCell::new(None) };
}

/// While it lives, a draft may share these bytes, should the serializer write to one.
pub(super) struct Offer(Option<Bytes>);

impl Offer {
    pub(super) fn of(bytes: &Bytes) -> Self {
        Self(OFFERED.replace(Some(bytes.clone())))
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        OFFERED.set(self.0.take());
    }
}

/// What was offered, if it is these very bytes.
#[cold]
fn take_offered(bytes: &[u8]) -> Option<Bytes> {
    OFFERED.with_borrow_mut(|offered| offered.take_if(|offered| std::ptr::eq(&**offered, bytes)))
}

#[cfg(test)]
mod tests {
    use serde::Serializer;

    use super::*;
    use crate::marshal::{self, ByteVec, SharedBytes, shared_bytes};

    #[derive(Serialize)]
    struct Put {
        key: String,
        #[serde(with = "shared_bytes")]
        first: Bytes,
        flag: bool,
        #[serde(with = "shared_bytes")]
        second: Bytes,
    }

    fn put(first: usize, second: usize) -> Put {
        let bytes = |length| Bytes::from(vec![7; length]);
        Put { key: "k".into(), first: bytes(first), flag: true, second: bytes(second) }
    }

    fn drafted<T: Serialize>(value: &T) -> Message {
        let mut draft = Draft::new(Vec::new());
        draft.encode(value).unwrap();
        draft.finish()
    }

    fn flat(message: &Message) -> Vec<u8> {
        let mut out = Vec::new();
        message.copy_to(&mut out);
        assert_eq!(out.len(), message.len());
        out
    }

    fn encoded<T: Serialize>(value: &T) -> Vec<u8> {
        let mut out = Vec::new();
        marshal::encode(value, &mut out).unwrap();
        out
    }

    #[test]
    fn a_draft_has_the_bytes_that_encode_writes() {
        let sizes = [0, 5, BORROW_FROM - 1, BORROW_FROM, 100_000];
        for first in sizes {
            for second in sizes {
                let put = put(first, second);
                assert_eq!(flat(&drafted(&put)), encoded(&put), "{first} and {second} bytes");
            }
        }
    }

    #[test]
    fn long_bytes_are_shared_and_short_ones_are_copied() {
        let put = put(BORROW_FROM, BORROW_FROM - 1);
        let Message::Parts(parts) = drafted(&put) else { panic!("a long message is in parts") };
        let at = |bytes: &Bytes| bytes.as_ptr();
        assert!(parts.iter().any(|part| at(part) == at(&put.first)));
        assert!(parts.iter().all(|part| at(part) != at(&put.second)));
        assert!(matches!(drafted(&self::put(5, 5)), Message::Short(_)));
    }

    #[test]
    fn a_long_message_without_shared_bytes_keeps_its_buffer() {
        let value = ByteVec(vec![1; 2 * BORROW_FROM]);
        let Message::Parts(parts) = drafted(&value) else { panic!("a long message is in parts") };
        assert_eq!(parts, [Bytes::from(encoded(&value))]);
    }

    #[test]
    fn nothing_is_kept_of_an_offer_that_nobody_takes() {
        let bytes = Bytes::from(vec![7; BORROW_FROM]);
        encoded(&SharedBytes(bytes.clone()));
        assert!(bytes.is_unique());
    }

    #[test]
    fn bytes_that_are_not_those_offered_are_copied() {
        /// Offers one byte string and writes another of its length.
        struct Sly(Bytes);
        impl Serialize for Sly {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let _offer = Offer::of(&self.0);
                serializer.serialize_bytes(&vec![8; self.0.len()])
            }
        }
        let sly = Sly(Bytes::from(vec![7; BORROW_FROM]));
        assert_eq!(flat(&drafted(&sly)), encoded(&ByteVec(vec![8; BORROW_FROM])));
    }

    #[test]
    fn a_draft_within_a_draft_leaves_the_outer_one_its_own() {
        struct Nested(Bytes);
        impl Serialize for Nested {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                assert_eq!(flat(&drafted(&7_u8)), [7]);
                SharedBytes(self.0.clone()).serialize(serializer)
            }
        }
        let bytes = Bytes::from(vec![7; BORROW_FROM]);
        let Message::Parts(parts) = drafted(&Nested(bytes.clone())) else { panic!("in parts") };
        assert!(parts.iter().any(|part| part.as_ptr() == bytes.as_ptr()));
    }
}
