//! The contract as tables: every struct with its fields, every named number.
//!
//! The macros here write a definition and its table entry from the same text, so the table cannot
//! tell anything but the truth. The tests and the C header live on these tables.

/// One field of a wire struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name, the same in Rust and C.
    pub name: &'static str,
    /// Where it begins, in bytes from the start of the struct.
    pub offset: usize,
    /// How many bytes it takes, all elements together.
    pub size: usize,
    /// The C type of one element.
    pub c_type: &'static str,
    /// The name of its Rust type: what kind of number it is.
    pub meaning: &'static str,
    /// The number of elements if it is an array.
    pub elements: Option<usize>,
    /// Its documentation, line by line.
    pub documentation: &'static [&'static str],
}

/// One wire struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Struct {
    /// Its name in Rust.
    pub name: &'static str,
    /// Its name in C.
    pub c_name: &'static str,
    /// Its size in bytes.
    pub size: usize,
    /// Its fields, in order and without a gap.
    pub fields: &'static [Field],
    /// Its documentation, line by line.
    pub documentation: &'static [&'static str],
}

/// One named number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Constant {
    /// Its name in C.
    pub c_name: &'static str,
    /// Its value.
    pub value: u32,
    /// Its documentation, line by line.
    pub documentation: &'static [&'static str],
}

/// A group of named numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enumeration {
    /// Its name in Rust.
    pub name: &'static str,
    /// Its numbers.
    pub constants: &'static [Constant],
    /// Its documentation, line by line.
    pub documentation: &'static [&'static str],
}

/// A type that a field of a wire struct can have.
pub trait FieldType {
    /// The C type of one element.
    const C_TYPE: &'static str;
    /// The name of the type: what kind of number it is.
    const MEANING: &'static str;
    /// The number of elements if it is an array.
    const ELEMENTS: Option<usize> = None;
}

impl FieldType for u16 {
    const C_TYPE: &'static str = "uint16_t";
    const MEANING: &'static str = "u16";
}

impl FieldType for u32 {
    const C_TYPE: &'static str = "uint32_t";
    const MEANING: &'static str = "u32";
}

impl FieldType for u64 {
    const C_TYPE: &'static str = "uint64_t";
    const MEANING: &'static str = "u64";
}

impl<T: FieldType, const N: usize> FieldType for [T; N] {
    const C_TYPE: &'static str = T::C_TYPE;
    const MEANING: &'static str = T::MEANING;
    const ELEMENTS: Option<usize> = Some(N);
}

/// Defines a number with a meaning of its own.
macro_rules! number {
    ($(#[doc = $doc:literal])* pub struct $name:ident($inner:ty);) => {
        $(#[doc = $doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash,
            zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::KnownLayout, zerocopy::Immutable,
        )]
        #[repr(transparent)]
        pub struct $name(pub $inner);

        impl $crate::layout::FieldType for $name {
            const C_TYPE: &'static str = <$inner as $crate::layout::FieldType>::C_TYPE;
            const MEANING: &'static str = stringify!($name);
        }
    };
}
pub(crate) use number;

/// Defines a wire struct together with its [`Struct`] entry; sizes and offsets are written out and
/// asserted, so that no change of a type moves a field unnoticed.
macro_rules! wire {
    (
        $(#[doc = $doc:literal])*
        pub struct $name:ident as $c_name:literal, $size:literal bytes {
            $($(#[doc = $field_doc:literal])* $offset:literal: pub $field:ident: $type:ty,)*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq,
            zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::KnownLayout, zerocopy::Immutable,
        )]
        #[repr(C)]
        pub struct $name { $($(#[doc = $field_doc])* pub $field: $type,)* }

        const _: () = {
            assert!(size_of::<$name>() == $size);
            assert!(u32::is_multiple_of($size, 8));
            $(
                assert!(core::mem::offset_of!($name, $field) == $offset);
                // A 32-bit compiler that aligns 64-bit integers to 4 sees the same struct.
                assert!(usize::is_multiple_of($offset, align_of::<$type>()));
            )*
        };

        impl $crate::layout::FieldType for $name {
            const C_TYPE: &'static str = $c_name;
            const MEANING: &'static str = stringify!($name);
        }

        impl $name {
            /// The size in bytes, as the header carries it.
            pub const WIRE_SIZE: u32 = $size;
            /// The struct as a table.
            pub const LAYOUT: $crate::layout::Struct = $crate::layout::Struct {
                name: stringify!($name),
                c_name: $c_name,
                size: size_of::<$name>(),
                fields: &[$($crate::layout::Field {
                    name: stringify!($field),
                    offset: core::mem::offset_of!($name, $field),
                    size: size_of::<$type>(),
                    c_type: <$type as $crate::layout::FieldType>::C_TYPE,
                    meaning: <$type as $crate::layout::FieldType>::MEANING,
                    elements: <$type as $crate::layout::FieldType>::ELEMENTS,
                    documentation: &[$($field_doc),*],
                },)*],
                documentation: &[$($doc),*],
            };
        }
    };
}
pub(crate) use wire;

/// Defines an enum whose values have a number on the wire, together with its [`Enumeration`].
macro_rules! choice {
    (
        $(#[doc = $doc:literal])*
        pub enum $name:ident {
            $($(#[doc = $value_doc:literal])* $variant:ident = $value:literal as $c_name:literal,)*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[doc = $value_doc])* $variant,)* }

        impl $name {
            /// All values, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// The enum as a table.
            pub const ENUMERATION: $crate::layout::Enumeration = $crate::layout::Enumeration {
                name: stringify!($name),
                constants: &[$($crate::layout::Constant {
                    c_name: $c_name,
                    value: $value,
                    documentation: &[$($value_doc),*],
                },)*],
                documentation: &[$($doc),*],
            };

            /// The number on the wire.
            #[must_use]
            pub const fn value(self) -> u32 {
                match self { $(Self::$variant => $value,)* }
            }

            /// The value with this number, if there is one.
            #[must_use]
            pub const fn from_value(value: u32) -> Option<Self> {
                match value { $($value => Some(Self::$variant),)* _ => None }
            }

            /// The name as it stands in the code.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)* }
            }
        }
    };
}
pub(crate) use choice;
