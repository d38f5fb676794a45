//! Reads the fields of DER sequences.

use pkcs8::der::asn1::AnyRef;
use pkcs8::der::{Decode as _, Error, Reader as _, SliceReader};

/// Returns the fields of a sequence.
pub(super) fn fields(der: &[u8]) -> Option<Vec<AnyRef<'_>>> {
    let sequence = AnyRef::from_der(der).ok()?;
    sequence
        .sequence(|reader| {
            let mut fields = Vec::new();
            while !reader.is_finished() {
                fields.push(AnyRef::decode(reader)?);
            }
            Ok::<_, Error>(fields)
        })
        .ok()
}

/// Returns the first of several values.
pub(super) fn first(der: &[u8]) -> Option<AnyRef<'_>> {
    let mut reader = SliceReader::new(der).ok()?;
    AnyRef::decode(&mut reader).ok()
}
