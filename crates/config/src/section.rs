//! Declares the sections of the configuration file: a struct each, a line for each field.
//!
//! A struct made by [`section!`] gives code its fields by name, and gives [`crate::walk`] the schema
//! that the file is checked against. Serde's derive could not keep the messages: a derived visitor ends
//! at a repeated field without decoding its second value, whose faults are reported here too, and
//! serde's data model has neither positions nor paths.

use std::ops::Deref;

use crate::cursor::Cursor;
use crate::schema::Schema;
use crate::value::Expansion;

/// A type that code reads a place of the file with.
pub(crate) trait Shape<'a> {
    /// What the file can have there.
    const SCHEMA: &'static Schema;

    /// Makes the value of a place.
    fn at(place: Cursor<'a>) -> Self;
}

/// Declares sections: `field: Shape<'a>`, then perhaps `= "default"` and `[option: value]` of
/// [`crate::schema::Field`]. Fields under `unread` can stand in the file and are not read from there.
macro_rules! section {
    ($(
        $(#[$doc:meta])*
        struct $Section:ident<$a:lifetime> {
            $($(#[$field_doc:meta])* $field:ident: $Shape:ty
                $(= $default:literal)? $([$($option:ident: $value:expr),+])?,)*
        }
        $(unread { $($name:literal: $unread:expr),* $(,)? })?
    )*) => {$(
        $(#[$doc])*
        pub(crate) struct $Section<$a> {
            $($(#[$field_doc])* pub(crate) $field: $Shape,)*
            /// The section as a whole.
            place: $crate::cursor::Cursor<$a>,
        }

        impl<$a> $crate::section::Shape<$a> for $Section<$a> {
            const SCHEMA: &'static $crate::schema::Schema = &$crate::schema::Schema::Struct(&[
                $($crate::schema::Field {
                    name: stringify!($field),
                    default: concat!("" $(, $default)?),
                    $($($option: $value,)+)?
                    ..$crate::schema::Field::of(*<$Shape as $crate::section::Shape<'_>>::SCHEMA)
                },)*
                $($($crate::schema::Field { name: $name, ..$crate::schema::Field::of($unread) },)*)?
            ]);

            fn at(place: $crate::cursor::Cursor<$a>) -> Self {
                Self {
                    $($field: $crate::section::Shape::at(
                        place.declared(Self::SCHEMA, stringify!($field)),
                    ),)*
                    place,
                }
            }
        }

        impl<$a> std::ops::Deref for $Section<$a> {
            type Target = $crate::cursor::Cursor<$a>;

            fn deref(&self) -> &Self::Target {
                &self.place
            }
        }
    )*};
}
pub(crate) use section;

/// Declares the kinds of places that have no places of known names in them.
macro_rules! kinds {
    ($($(#[$doc:meta])* $Kind:ident $(<$Inner:ident>)?: $schema:expr;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $Kind<'a $(, $Inner)?> {
            place: Cursor<'a>,
            $(inner: std::marker::PhantomData<$Inner>,)?
        }

        impl<'a $(, $Inner: Shape<'a>)?> Shape<'a> for $Kind<'a $(, $Inner)?> {
            const SCHEMA: &'static Schema = &$schema;

            fn at(place: Cursor<'a>) -> Self {
                Self { place, $(inner: std::marker::PhantomData::<$Inner>)? }
            }
        }

        impl<'a $(, $Inner)?> Deref for $Kind<'a $(, $Inner)?> {
            type Target = Cursor<'a>;

            fn deref(&self) -> &Cursor<'a> {
                &self.place
            }
        }
    )*};
}

kinds! {
    /// A text that is taken literally.
    Literal: Schema::Text(Expansion::Off);
    /// A text; see [`Expansion::On`].
    Setting: Schema::Text(Expansion::On);
    /// An identity; see [`Expansion::Identity`].
    IdentityText: Schema::Text(Expansion::Identity);
    /// A secret; see [`Expansion::Secret`].
    SecretText: Schema::Text(Expansion::Secret);
    /// Any value; see [`Schema::Opaque`].
    Opaque: Schema::Opaque;
    /// A list.
    List<T>: Schema::List(T::SCHEMA);
    /// A map with names of the author's choice.
    Map<T>: Schema::Map(T::SCHEMA);
}

impl<'a, T: Shape<'a>> List<'a, T> {
    /// Returns the items of the list.
    pub(crate) fn items(&self) -> impl Iterator<Item = T> {
        self.place.items().into_iter().map(T::at)
    }
}

impl<'a, T: Shape<'a>> Map<'a, T> {
    /// Returns the names and values of the map, in the order of the file.
    pub(crate) fn entries(&self) -> Vec<(&'a str, T)> {
        self.place.entries().into_iter().map(|(name, place)| (name, T::at(place))).collect()
    }
}
