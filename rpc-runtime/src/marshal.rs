//! Values to bytes and back: serde through postcard, byte strings always as bytes.
//!
//! A decoder accepts a message only whole: bytes left over are an error, as is a length that
//! claims more than is there, a value that nests deeper than 128 levels, and more than 65,536
//! elements that take no bytes.

mod bounded;
mod message;

use std::cell::RefCell;

use bounded::{Bounded, Bounds};
use bytes::Bytes;
use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub(crate) use message::{Draft, Message};

/// Messages from this size up are kept in an allocation of their own, and [`Bytes`] arguments
/// borrow from it. Smaller ones are copied out, so that a stored value of a few bytes does not
/// hold a receive buffer of 64 KiB alive. Byte strings from this size up are sent from where they are.
pub(crate) const BORROW_FROM: usize = 16 * 1024;

/// A message does not have the form its method declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MarshalError {
    /// The value's own `Serialize` refused (a sequence of unknown length, for example).
    #[error("the value cannot be marshalled")]
    Encode,
    /// A wrong variant, a length beyond the end, invalid UTF-8 or too few bytes.
    #[error("the bytes do not have the declared form")]
    Decode,
    /// The value was whole before the message ended.
    #[error("{0} bytes behind the value")]
    TrailingBytes(usize),
}

/// Appends `value` to `out`.
///
/// # Errors
///
/// [`MarshalError::Encode`]; `out` may then hold part of the value.
pub fn encode<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), MarshalError> {
    postcard::serialize_with_flavor(value, Append(out)).map_err(|_| MarshalError::Encode)
}

/// Reads one value that fills `bytes` exactly.
///
/// # Errors
///
/// [`MarshalError::Decode`] or [`MarshalError::TrailingBytes`].
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, MarshalError> {
    let mut postcard = postcard::Deserializer::from_bytes(bytes);
    let bounds = Bounds::of(bytes.len());
    let value = T::deserialize(Bounded { inner: &mut postcard, bounds: &bounds });
    match (value, postcard.finalize()) {
        (Ok(value), Ok([])) => Ok(value),
        (Ok(_), Ok(rest)) => Err(MarshalError::TrailingBytes(rest.len())),
        _ => Err(MarshalError::Decode),
    }
}

/// As [`decode`], from a message in its own allocation: [`Bytes`] fields that the macro marked
/// borrow from it.
///
/// # Errors
///
/// As [`decode`].
pub fn decode_shared<T: DeserializeOwned>(message: &Bytes) -> Result<T, MarshalError> {
    let _lent = Lent::lend(message);
    decode(message)
}

struct Append<'a>(&'a mut Vec<u8>);

impl Flavor for Append<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

thread_local! {
    /// The message being decoded on this thread. serde has no way to hand it to a visitor.
    static SOURCE: RefCell<Option<Bytes>> = const { RefCell::new(None) };
}

/// Takes the message back when decoding ends, also by a panic of the user's `Deserialize`.
struct Lent(Option<Bytes>);

impl Lent {
    fn lend(message: &Bytes) -> Self {
        Self(SOURCE.replace(Some(message.clone())))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        SOURCE.set(self.0.take());
    }
}

/// Finds `part` inside the message being decoded; copies it if it lies elsewhere.
fn borrow_or_copy(part: &[u8]) -> Bytes {
    SOURCE.with_borrow(|source| match source {
        Some(message) if message.as_ptr_range().contains(&part.as_ptr()) => message.slice_ref(part),
        _ => Bytes::copy_from_slice(part),
    })
}

/// `#[serde(with)]` for [`Bytes`]: neither copied out of a large message nor, when they are long, into the
/// request that they are sent with.
pub mod shared_bytes {
    use bytes::Bytes;
    use serde::{Deserializer, Serializer, de};

    /// Writes a length and the bytes.
    ///
    /// # Errors
    ///
    /// The serializer's.
    #[inline]
    pub fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        if bytes.len() >= super::BORROW_FROM {
            return serialize_long(bytes, serializer);
        }
        serializer.serialize_bytes(bytes)
    }

    #[cold]
    fn serialize_long<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        let _offer = super::message::Offer::of(bytes);
        serializer.serialize_bytes(bytes)
    }

    /// Reads a length and that many bytes.
    ///
    /// # Errors
    ///
    /// The deserializer's, if the bytes are not there.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Bytes;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_borrowed_bytes<E>(self, part: &'de [u8]) -> Result<Bytes, E> {
                Ok(super::borrow_or_copy(part))
            }

            fn visit_bytes<E>(self, part: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes::copy_from_slice(part))
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}

/// `#[serde(with)]` for `Vec<u8>`: the same bytes as serde's sequence of `u8`, at memcpy's speed.
pub mod byte_vec {
    use serde::{Deserializer, Serializer, de};

    /// Writes a length and the bytes.
    ///
    /// # Errors
    ///
    /// The serializer's.
    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    /// Reads a length and that many bytes.
    ///
    /// # Errors
    ///
    /// The deserializer's, if the bytes are not there.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}

/// A result of type `Vec<u8>`, marshalled as bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByteVec(#[serde(with = "byte_vec")] pub Vec<u8>);

/// A result of type [`Bytes`], which is not copied out of a large message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedBytes(#[serde(with = "shared_bytes")] pub Bytes);

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Put {
        key: String,
        #[serde(with = "shared_bytes")]
        value: Bytes,
    }

    fn encoded<T: Serialize>(value: &T) -> Vec<u8> {
        let mut out = Vec::new();
        encode(value, &mut out).unwrap();
        out
    }

    #[test]
    fn a_value_survives_the_round_trip() {
        let put = Put { key: "k".into(), value: Bytes::from_static(b"value") };
        assert_eq!(decode::<Put>(&encoded(&put)), Ok(put));
    }

    #[test]
    fn bytes_of_a_shared_message_are_borrowed_and_others_are_copied() {
        let put = Put { key: "k".into(), value: Bytes::from(vec![7; 100]) };
        let message = Bytes::from(encoded(&put));
        let inside = |value: &Bytes| message.as_ptr_range().contains(&value.as_ptr());
        assert!(inside(&decode_shared::<Put>(&message).unwrap().value));
        assert!(!inside(&decode::<Put>(&message).unwrap().value));
        let message = Bytes::from(encoded(&SharedBytes(put.value)));
        let result = decode_shared::<SharedBytes>(&message).unwrap().0;
        assert!(message.as_ptr_range().contains(&result.as_ptr()));
    }

    #[test]
    fn a_result_of_bytes_has_the_same_form_as_bytes() {
        let bytes = Bytes::from_static(b"\0\xc8\x07");
        assert_eq!(encoded(&SharedBytes(bytes.clone())), encoded(&bytes));
        assert_eq!(decode::<SharedBytes>(&encoded(&bytes)), Ok(SharedBytes(bytes)));
    }

    #[test]
    fn an_empty_value_at_the_end_of_a_message_is_not_out_of_range() {
        let put = Put { key: "k".into(), value: Bytes::new() };
        let message = Bytes::from(encoded(&put));
        assert_eq!(decode_shared::<Put>(&message), Ok(put));
    }

    #[test]
    fn byte_vectors_have_the_same_form_as_sequences() {
        let bytes = vec![0_u8, 200, 7];
        assert_eq!(encoded(&ByteVec(bytes.clone())), encoded(&bytes));
        assert_eq!(decode::<ByteVec>(&encoded(&bytes)), Ok(ByteVec(bytes)));
    }

    #[test]
    fn a_message_with_bytes_behind_it_is_refused() {
        let mut message = encoded(&7_u32);
        message.push(0);
        assert_eq!(decode::<u32>(&message), Err(MarshalError::TrailingBytes(1)));
    }

    #[test]
    fn a_length_that_claims_more_than_is_there_is_refused() {
        assert_eq!(decode::<ByteVec>(&[0xff, 0xff, 0xff, 0x7f, 1]), Err(MarshalError::Decode));
        assert_eq!(decode::<Vec<u64>>(&[0xff, 0xff, 0xff, 0x7f, 1]), Err(MarshalError::Decode));
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum List {
        End,
        Item(Box<List>),
    }

    fn nested(depth: usize) -> Vec<u8> {
        [vec![1; depth], vec![0]].concat()
    }

    #[test]
    fn a_value_that_contains_itself_nests_within_bounds() {
        assert!(decode::<List>(&nested(50)).is_ok());
        assert_eq!(decode::<List>(&nested(1_000_000)), Err(MarshalError::Decode));
    }

    #[test]
    fn values_side_by_side_are_not_deep() {
        let lists: Vec<Vec<Option<u8>>> = vec![vec![Some(1); 100]; 100];
        assert_eq!(decode(&encoded(&lists)), Ok(lists));
    }

    #[test]
    fn elements_that_take_no_bytes_are_bounded() {
        assert_eq!(decode(&encoded(&vec![(); 1000])), Ok(vec![(); 1000]));
        let claimed = encoded(&(1_u64 << 60));
        assert_eq!(decode::<Vec<()>>(&claimed), Err(MarshalError::Decode));
    }

    #[test]
    fn maps_strings_and_enums_survive_the_bounds() {
        type All = (std::collections::BTreeMap<String, (char, f64)>, Option<Result<i64, bool>>);
        let map = [("a".to_owned(), ('x', 0.5)), ("b".to_owned(), ('y', -1.0))];
        let all: All = (map.into(), Some(Err(true)));
        assert_eq!(decode::<All>(&encoded(&all)), Ok(all));
    }

    #[test]
    fn a_wrong_variant_is_refused() {
        assert_eq!(decode::<Option<u8>>(&[2, 0]), Err(MarshalError::Decode));
    }
}
