//! Events for people who watch the driver at work: `TraceLogging` over Event Tracing for Windows.
//!
//! An event carries its own description, so whoever records it needs no manifest. A driver declares
//! its provider with [`crate::trace_provider!`] and each event with [`crate::trace_event!`], which
//! makes a safe function of it. While nobody listens, an event costs the reading of one variable.
//!
//! The system keeps a provider's handle as a pointer: so only [`crate::entry`] registers, before
//! the driver can be called, and unregisters, when it cannot be called any more.
//!
//! IRQL: any, but for registering and unregistering; descriptions and values are nonpaged.

// UNSAFETY: hands descriptions and values to the system by address, and is called by it.
#![expect(unsafe_code, reason = "calls the tracing routines of the kernel")]

mod metadata;

use core::{
    marker::PhantomData,
    ptr::{self, NonNull},
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use wdk_sys::{
    EVENT_DATA_DESCRIPTOR, EVENT_DESCRIPTOR, EVENT_FILTER_DESCRIPTOR, GUID, PVOID,
    ntddk::{EtwRegister, EtwUnregister, EtwWriteTransfer},
};

pub use self::metadata::{Field, Value, metadata, metadata_length, traits, traits_length};

/// `WINEVENT_CHANNEL_TRACELOGGING`: how consumers recognise such events.
const CHANNEL: u8 = 11;
/// `EVENT_DATA_DESCRIPTOR_TYPE_EVENT_METADATA`.
const EVENT_METADATA: u32 = 1;
/// `EVENT_DATA_DESCRIPTOR_TYPE_PROVIDER_METADATA`.
const PROVIDER_METADATA: u32 = 2;
/// `EVENT_CONTROL_CODE_DISABLE_PROVIDER`.
const DISABLE: u32 = 0;
/// `EVENT_CONTROL_CODE_ENABLE_PROVIDER`.
const ENABLE: u32 = 1;
/// Above every level.
const ALL_LEVELS: u32 = 256;

/// How much an event matters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Something went wrong.
    Error,
    /// Something unusual happened.
    Warning,
    /// Something happened.
    Information,
    /// Something happened that happens often.
    Verbose,
}

impl Level {
    const fn value(self) -> u8 {
        match self {
            Self::Error => 2,
            Self::Warning => 3,
            Self::Information => 4,
            Self::Verbose => 5,
        }
    }
}

/// Who writes events. Made by [`crate::trace_provider!`].
///
/// # Invariants
///
/// `handle` is zero, or what the system has registered this provider as. `threshold` is one more
/// than the highest level that somebody wants, and zero if nobody listens.
pub struct Provider {
    id: GUID,
    traits: &'static [u8],
    handle: AtomicU64,
    threshold: AtomicU32,
}

impl Provider {
    /// A provider by the digits of its identifier, with what [`traits`] made.
    #[must_use]
    #[expect(clippy::many_single_char_names, reason = "bytes that have no names")]
    pub const fn new(id: u128, traits: &'static [u8]) -> Self {
        let [a, b, c, d, e, f, g, h, rest @ ..] = id.to_be_bytes();
        Self {
            id: GUID {
                Data1: u32::from_be_bytes([a, b, c, d]),
                Data2: u16::from_be_bytes([e, f]),
                Data3: u16::from_be_bytes([g, h]),
                Data4: rest,
            },
            traits,
            handle: AtomicU64::new(0),
            threshold: AtomicU32::new(0),
        }
    }

    /// Whether somebody listens to events of that level.
    #[must_use]
    pub fn is_enabled(&self, event: &Event) -> bool {
        u32::from(event.descriptor.Level) < self.threshold.load(Ordering::Relaxed)
    }

    /// Its description, the first piece of every event.
    #[must_use]
    pub fn datum(&self) -> Datum<'_> {
        Datum::new(self.traits, PROVIDER_METADATA)
    }

    /// Writes an event: both descriptions, then a value for each field.
    ///
    /// An event that cannot be written is lost; nobody who traces can do anything about it.
    #[cold]
    #[inline(never)]
    pub fn write(&self, event: &Event, data: &[Datum<'_>]) {
        let handle = self.handle.load(Ordering::Acquire);
        let Ok(count) = u32::try_from(data.len()) else {
            return;
        };
        if handle == 0 {
            return;
        }
        let data = data.as_ptr().cast_mut().cast::<EVENT_DATA_DESCRIPTOR>();
        // SAFETY: the handle is registered as long as the driver can be called; the descriptors
        // and what they point to outlive the call, which only reads them.
        let _: i32 = unsafe {
            EtwWriteTransfer(
                handle,
                &raw const event.descriptor,
                ptr::null(),
                ptr::null(),
                count,
                data,
            )
        };
    }

    /// Registers it. Without success nobody can listen, which is no reason to stop.
    ///
    /// # Safety
    ///
    /// Called once before `unregister`, from `DriverEntry`.
    pub(crate) unsafe fn register(&'static self) {
        let context = ptr::from_ref(self).cast_mut().cast();
        let mut handle = 0;
        // SAFETY: the provider is static, and only read through the context; the callback stays
        // until it is unregistered, before the image goes.
        let status =
            unsafe { EtwRegister(&raw const self.id, Some(control), context, &raw mut handle) };
        if status >= 0 {
            self.handle.store(handle, Ordering::Release);
        }
    }

    /// Undoes `register`, if that succeeded.
    ///
    /// # Safety
    ///
    /// Nobody writes events, or will.
    pub(crate) unsafe fn unregister(&self) {
        self.threshold.store(0, Ordering::Relaxed);
        let handle = self.handle.swap(0, Ordering::AcqRel);
        if handle != 0 {
            // SAFETY: registered by `register`, and not used any more.
            let _: i32 = unsafe { EtwUnregister(handle) };
        }
    }
}

/// What the system calls when somebody begins or ends to listen.
///
/// # Safety
///
/// Called by the system, with the context that `register` passed.
unsafe extern "C" fn control(
    _source: *const GUID,
    code: u32,
    level: u8,
    _any_keyword: u64,
    _all_keywords: u64,
    _filter: *mut EVENT_FILTER_DESCRIPTOR,
    context: PVOID,
) {
    let Some(provider) = NonNull::new(context.cast::<Provider>()) else {
        return;
    };
    // SAFETY: the context is a static provider.
    let provider = unsafe { provider.as_ref() };
    let threshold = match (code, level) {
        (DISABLE, _) => 0,
        (ENABLE, 0) => ALL_LEVELS,
        (ENABLE, level) => u32::from(level).saturating_add(1),
        _ => return,
    };
    provider.threshold.store(threshold, Ordering::Relaxed);
}

/// An event that a provider writes. Made by [`crate::trace_event!`].
pub struct Event {
    descriptor: EVENT_DESCRIPTOR,
    metadata: &'static [u8],
}

impl Event {
    /// An event with what [`metadata`] made.
    #[must_use]
    pub const fn new(level: Level, metadata: &'static [u8]) -> Self {
        Self {
            descriptor: EVENT_DESCRIPTOR {
                Id: 0,
                Version: 0,
                Channel: CHANNEL,
                Level: level.value(),
                Opcode: 0,
                Task: 0,
                Keyword: 0,
            },
            metadata,
        }
    }

    /// Its description, the second piece of every event.
    #[must_use]
    pub fn datum(&self) -> Datum<'_> {
        Datum::new(self.metadata, EVENT_METADATA)
    }
}

/// A piece of an event.
///
/// An `EVENT_DATA_DESCRIPTOR`, spelled out: in the kit's header the last field lies in a union without a
/// name, for which bindings have one of their own making.
///
/// # Invariants
///
/// It names bytes that are borrowed for `'a`.
#[repr(C)]
pub struct Datum<'a> {
    address: u64,
    length: u32,
    kind: u32,
    bytes: PhantomData<&'a [u8]>,
}

const _: () = assert!(
    size_of::<Datum<'_>>() == size_of::<EVENT_DATA_DESCRIPTOR>()
        && align_of::<Datum<'_>>() == align_of::<EVENT_DATA_DESCRIPTOR>()
);

impl<'a> Datum<'a> {
    /// The value of a field.
    #[must_use]
    pub fn of<T: Value>(value: &'a T) -> Self {
        Self::at(ptr::from_ref(value).addr(), size_of::<T>(), 0)
    }

    fn new(bytes: &'a [u8], kind: u32) -> Self {
        Self::at(bytes.as_ptr().addr(), bytes.len(), kind)
    }

    fn at(address: usize, length: usize, kind: u32) -> Self {
        // Nothing is borrowed that is as long as 4 GiB.
        Self {
            address: u64::try_from(address).unwrap_or(0),
            length: u32::try_from(length).unwrap_or(0),
            kind,
            bytes: PhantomData,
        }
    }
}

/// Declares the provider of a driver, by name and identifier.
#[macro_export]
macro_rules! trace_provider {
    ($(#[$attribute:meta])* $visibility:vis static $provider:ident = $name:literal, $id:literal;) => {
        $(#[$attribute])*
        $visibility static $provider: $crate::trace::Provider = {
            static TRAITS: [u8; $crate::trace::traits_length($name)] =
                $crate::trace::traits($name);
            $crate::trace::Provider::new($id, &TRAITS)
        };
    };
}

/// Declares an event: its function, name, level and fields.
#[macro_export]
macro_rules! trace_event {
    (
        $provider:ident:
        $(#[$attribute:meta])*
        $visibility:vis fn $function:ident = $name:literal, $level:ident,
        { $($field_name:literal $field:ident: $type:ty),* $(,)? }
    ) => {
        $(#[$attribute])*
        $visibility fn $function($($field: $type),*) {
            const FIELDS: &[$crate::trace::Field] =
                &[$($crate::trace::Field::of::<$type>($field_name)),*];
            static METADATA: [u8; $crate::trace::metadata_length($name, FIELDS)] =
                $crate::trace::metadata($name, FIELDS);
            static EVENT: $crate::trace::Event =
                $crate::trace::Event::new($crate::trace::Level::$level, &METADATA);
            if $provider.is_enabled(&EVENT) {
                $provider.write(
                    &EVENT,
                    &[$provider.datum(), EVENT.datum(), $($crate::trace::Datum::of(&$field)),*],
                );
            }
        }
    };
}
