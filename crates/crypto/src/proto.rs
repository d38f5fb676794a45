//! Encodes and decodes the four protobuf messages of a stored key.
//!
//! ```text
//! message SecretKey  { bytes key = 1; uint32 type = 2; }
//! message HmacKey    { bytes key = 1; uint32 hash = 2; }
//! message KeyVersion { SecretKey key = 1; HmacKey hmac_key = 2;
//!                      google.protobuf.Timestamp created_at = 3; string created_by = 4; }
//! message Timestamp  { int64 seconds = 1; int32 nanos = 2; }
//! ```
//!
//! Wire format: <https://protobuf.dev/programming-guides/encoding/>. Decoding is as lenient as that page
//! demands: unknown fields, and known ones of another wire type, are skipped; of several values the last
//! one counts, and messages are merged. Fields are written in their order; fields with their default
//! value are left out.

use zeroize::Zeroizing;

/// The length of the longest varint, in bytes.
const VARINT_LEN_MAX: usize = 10;

const VARINT: u8 = 0;
const FIXED_64: u8 = 1;
const LENGTH_DELIMITED: u8 = 2;
const GROUP_START: u8 = 3;
const GROUP_END: u8 = 4;
const FIXED_32: u8 = 5;

/// The message `KeyVersion`.
#[derive(Default)]
pub(crate) struct KeyVersion<'a> {
    pub(crate) key: Option<TypedKey<'a>>,
    pub(crate) hmac_key: Option<TypedKey<'a>>,
    pub(crate) created_at: Option<Time>,
    pub(crate) created_by: &'a str,
}

/// The messages `SecretKey` and `HmacKey`: a key and the number of its algorithm or hash.
#[derive(Clone, Copy, Default)]
pub(crate) struct TypedKey<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) kind: u32,
}

/// The message `google.protobuf.Timestamp`.
#[derive(Clone, Copy, Default)]
pub(crate) struct Time {
    pub(crate) seconds: i64,
    pub(crate) nanos: i32,
}

/// The reasons why bytes are not a protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtoError {
    /// A field is longer than the rest of the message.
    #[error("the message is cut off")]
    Truncated,
    /// A number has more than 64 bits.
    #[error("a number is longer than 64 bits")]
    Varint,
    /// A field number is zero or has more than 29 bits.
    #[error("a field number is out of range")]
    FieldNumber,
    /// A wire type does not exist.
    #[error("wire type {0} does not exist")]
    WireType(u8),
    /// A group ends that did not begin.
    #[error("a group ends that did not begin")]
    Group,
    /// A string is not UTF-8.
    #[error("a string is not UTF-8")]
    Utf8,
}

impl<'a> KeyVersion<'a> {
    pub(crate) fn decode(message: &'a [u8]) -> Result<Self, ProtoError> {
        let mut version = Self::default();
        let mut reader = Reader(message);
        while let Some((number, value)) = reader.field()? {
            match (number, value) {
                (1, Value::Bytes(key)) => version.key.get_or_insert_default().merge(key)?,
                (2, Value::Bytes(key)) => version.hmac_key.get_or_insert_default().merge(key)?,
                (3, Value::Bytes(time)) => {
                    version.created_at.get_or_insert_default().merge(time)?;
                }
                (4, Value::Bytes(text)) => {
                    version.created_by = std::str::from_utf8(text).map_err(|_| ProtoError::Utf8)?;
                }
                _ => {}
            }
        }
        Ok(version)
    }

    /// Appends the message to `out`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        if let Some(key) = &self.key {
            key.encode(1, out);
        }
        if let Some(key) = &self.hmac_key {
            key.encode(2, out);
        }
        if let Some(time) = &self.created_at {
            time.encode(3, out);
        }
        if !self.created_by.is_empty() {
            put_bytes(4, self.created_by.as_bytes(), out);
        }
    }
}

impl<'a> TypedKey<'a> {
    fn merge(&mut self, message: &'a [u8]) -> Result<(), ProtoError> {
        let mut reader = Reader(message);
        while let Some((number, value)) = reader.field()? {
            match (number, value) {
                (1, Value::Bytes(bytes)) => self.bytes = bytes,
                (2, Value::Varint(kind)) => self.kind = low_32(kind),
                _ => {}
            }
        }
        Ok(())
    }

    fn encode(&self, number: u32, out: &mut Vec<u8>) {
        // With enough capacity it is not moved, which would leave a copy of the key in memory.
        let mut message = Zeroizing::new(Vec::with_capacity(self.bytes.len() + 16));
        put_bytes(1, self.bytes, &mut message);
        put_number(2, self.kind.into(), &mut message);
        put_message(number, &message, out);
    }
}

impl Time {
    fn merge(&mut self, message: &[u8]) -> Result<(), ProtoError> {
        let mut reader = Reader(message);
        while let Some((number, value)) = reader.field()? {
            match (number, value) {
                (1, Value::Varint(seconds)) => self.seconds = seconds.cast_signed(),
                (2, Value::Varint(nanos)) => self.nanos = low_32(nanos).cast_signed(),
                _ => {}
            }
        }
        Ok(())
    }

    fn encode(self, number: u32, out: &mut Vec<u8>) {
        let mut message = Vec::new();
        put_number(1, self.seconds.cast_unsigned(), &mut message);
        put_number(2, i64::from(self.nanos).cast_unsigned(), &mut message);
        put_message(number, &message, out);
    }
}

/// The value of a field.
enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// A value of a wire type that none of these messages uses.
    Foreign,
}

/// The rest of a message that is not read yet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads the next field; `None` at the end.
    fn field(&mut self) -> Result<Option<(u32, Value<'a>)>, ProtoError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let (number, wire_type) = self.tag()?;
        let value = match wire_type {
            GROUP_START => self.group(number)?,
            GROUP_END => return Err(ProtoError::Group),
            _ => self.value(wire_type)?,
        };
        Ok(Some((number, value)))
    }

    fn tag(&mut self) -> Result<(u32, u8), ProtoError> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| ProtoError::FieldNumber)?;
        if !(1..1 << 29).contains(&number) {
            return Err(ProtoError::FieldNumber);
        }
        Ok((number, (tag & 0b111) as u8))
    }

    /// Reads a value that is not a group.
    fn value(&mut self, wire_type: u8) -> Result<Value<'a>, ProtoError> {
        match wire_type {
            VARINT => self.varint().map(Value::Varint),
            LENGTH_DELIMITED => {
                let len = usize::try_from(self.varint()?).map_err(|_| ProtoError::Truncated)?;
                self.take(len).map(Value::Bytes)
            }
            FIXED_32 => self.take(4).map(|_| Value::Foreign),
            FIXED_64 => self.take(8).map(|_| Value::Foreign),
            _ => Err(ProtoError::WireType(wire_type)),
        }
    }

    /// Skips a group whose start was read.
    ///
    /// Groups nest; a list is used instead of recursion, so that no input can exhaust the stack.
    fn group(&mut self, number: u32) -> Result<Value<'a>, ProtoError> {
        let mut open = vec![number];
        while let Some(innermost) = open.last().copied() {
            match self.tag()? {
                (number, GROUP_START) => open.push(number),
                (number, GROUP_END) if number == innermost => drop(open.pop()),
                (_, GROUP_END) => return Err(ProtoError::Group),
                (_, wire_type) => {
                    self.value(wire_type)?;
                }
            }
        }
        Ok(Value::Foreign)
    }

    fn varint(&mut self) -> Result<u64, ProtoError> {
        let mut number = 0_u64;
        for position in 0..VARINT_LEN_MAX {
            let (byte, rest) = self.0.split_first().ok_or(ProtoError::Truncated)?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte holds one bit only.
            if position == VARINT_LEN_MAX - 1 && *byte > 1 {
                return Err(ProtoError::Varint);
            }
            number |= bits << (7 * position);
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(ProtoError::Varint)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], ProtoError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(ProtoError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }
}

/// Truncates a number to 32 bits, as protobuf decodes fields of 32 bits.
fn low_32(number: u64) -> u32 {
    let [first, second, third, fourth, ..] = number.to_le_bytes();
    u32::from_le_bytes([first, second, third, fourth])
}

fn put_tag(number: u32, wire_type: u8, out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3 | u64::from(wire_type), out);
}

fn put_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push((number & 0x7f) as u8);
}

fn put_number(number: u32, value: u64, out: &mut Vec<u8>) {
    if value != 0 {
        put_tag(number, VARINT, out);
        put_varint(value, out);
    }
}

fn put_bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    if !bytes.is_empty() {
        put_message(number, bytes, out);
    }
}

/// Writes a message, also an empty one: unlike an empty byte string it differs from an absent one.
fn put_message(number: u32, message: &[u8], out: &mut Vec<u8>) {
    put_tag(number, LENGTH_DELIMITED, out);
    put_varint(message.len() as u64, out);
    out.extend_from_slice(message);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(message: &[u8]) -> Result<(u32, String), ProtoError> {
        let version = KeyVersion::decode(message)?;
        Ok((version.key.unwrap_or_default().kind, version.created_by.to_owned()))
    }

    #[test]
    fn unknown_fields_of_every_wire_type_are_passed_over() {
        let by = b"\x22\x02me";
        let unknown: [&[u8]; 6] = [
            b"\x50\xff\x01",                       // field 10, varint
            b"\x51\0\0\0\0\0\0\0\0",               // 64 bits
            b"\x52\x03abc",                        // bytes
            b"\x55\0\0\0\0",                       // 32 bits
            b"\x53\x5b\x50\x01\x5c\x22\x02xx\x54", // a group with a group in it
            b"\x20\x01",                           // field 4 as a number
        ];
        for field in unknown {
            assert_eq!(decode(&[field, by].concat()), Ok((0, "me".to_owned())), "{field:?}");
            assert_eq!(decode(&[by, field].concat()), Ok((0, "me".to_owned())), "{field:?}");
        }
    }

    #[test]
    fn the_last_value_counts_and_messages_are_merged() {
        assert_eq!(decode(b"\x22\x01a\x22\x01b"), Ok((0, "b".to_owned())));
        let version = KeyVersion::decode(b"\x0a\x03\x0a\x01k\x0a\x02\x10\x02").unwrap();
        let key = version.key.unwrap();
        assert_eq!((key.bytes, key.kind), (&b"k"[..], 2));
    }

    #[test]
    fn malformed_messages_are_errors() {
        for (message, error) in [
            (&b"\x22\x05me"[..], ProtoError::Truncated),
            (b"\x22\xff\xff\xff\xff\xff\xff\xff\xff\x7f", ProtoError::Truncated),
            (b"\x51\0\0\0", ProtoError::Truncated),
            (b"\x80", ProtoError::Truncated),
            (b"\x50\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02", ProtoError::Varint),
            (b"\x50\xff\xff\xff\xff\xff\xff\xff\xff\xff\x80\x01", ProtoError::Varint),
            (b"\x02\x00", ProtoError::FieldNumber),
            (b"\x82\x80\x80\x80\x10\x00", ProtoError::FieldNumber),
            (b"\x56\x00", ProtoError::WireType(6)),
            (b"\x54", ProtoError::Group),
            (b"\x53\x5c", ProtoError::Group),
            (b"\x53", ProtoError::Truncated),
            (b"\x22\x01\xff", ProtoError::Utf8),
        ] {
            assert_eq!(decode(message), Err(error), "{message:?}");
        }
    }

    #[test]
    fn deeply_nested_groups_do_not_exhaust_the_stack() {
        assert_eq!(decode(&vec![0x53; 1 << 20]), Err(ProtoError::Truncated));
    }

    #[test]
    fn numbers_are_cut_and_signed_as_protobuf_does() {
        let minus_one = b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        let time = [b"\x1a\x16\x08", &minus_one[..], b"\x10", minus_one].concat();
        let time = KeyVersion::decode(&time).unwrap().created_at.unwrap();
        assert_eq!((time.seconds, time.nanos), (-1, -1));
        assert_eq!(decode(b"\x0a\x06\x10\x81\x80\x80\x80\x10"), Ok((1, String::new())));
    }

    #[test]
    fn fields_with_default_values_are_not_written_but_empty_messages_are() {
        let version = KeyVersion {
            key: Some(TypedKey { bytes: b"", kind: 0 }),
            hmac_key: None,
            created_at: Some(Time { seconds: 0, nanos: 5 }),
            created_by: "",
        };
        let mut out = Vec::new();
        version.encode(&mut out);
        assert_eq!(out, b"\x0a\x00\x1a\x02\x10\x05");
    }
}
