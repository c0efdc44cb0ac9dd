//! Bad requests get the documented status, change nothing, and are counted.

use sanproxy_abi::wire::{
    AddressBound, ByteCount, CapabilitiesOutput, Choice, Flags, Handle, Header, LookupInput,
    LookupOutput, Message, MoveInput, NodeNumber, RegisterInput, RegisterOutput, ReleaseInput,
};
use sanproxy_abi::{ControlCode, Error};
use sanproxy_provider::{Channel, Kind, RegisterOptions};
use zerocopy::{FromZeros, IntoBytes};

use super::{Check, Finding, Ground, Named, ensure, words};
use crate::system::System;

/// All of them.
pub(super) fn checks<S: System>() -> Vec<Check<S>> {
    let others: [Named<S>; 2] = [
        ("made_up_handle_is_refused", made_up_handle),
        ("address_that_nobody_registered_is_not_found", |ground| {
            let found = ground.open()?.lookup(0xFFFF_FFFF_F000).map_err(words)?;
            ensure(found.is_none(), || format!("found {found:?}"))
        }),
    ];
    let checks = shapes().into_iter().chain(values()).chain(others);
    checks.map(|(name, run)| Check { name, run }).collect()
}

/// Requests whose length, header or bits are not those of the contract.
fn shapes<S: System>() -> [Named<S>; 9] {
    [
        ("unknown_control_code_is_refused", |ground| {
            let header = Header::of::<Header>();
            refused(
                ground,
                0x8A5A_EFFC,
                header.as_bytes(),
                8,
                Error::UnknownCode,
            )
        }),
        ("short_input_is_refused", |ground| {
            let input = sound();
            let short = input
                .as_bytes()
                .split_last()
                .map_or(&[][..], |(_, rest)| rest);
            refused(ground, REGISTER, short, OUTPUT, Error::InputLength)
        }),
        ("long_input_is_refused", |ground| {
            let long = [sound().as_bytes(), &[0]].concat();
            refused(ground, REGISTER, &long, OUTPUT, Error::InputLength)
        }),
        ("empty_input_is_refused", |ground| {
            refused(ground, REGISTER, &[], OUTPUT, Error::InputLength)
        }),
        ("short_output_is_refused", |ground| {
            refused(
                ground,
                REGISTER,
                sound().as_bytes(),
                OUTPUT - 1,
                Error::OutputLength,
            )
        }),
        ("other_version_is_refused", |ground| {
            register(ground, Error::HeaderVersion, |input| {
                input.header.version = 2;
            })
        }),
        ("wrong_size_in_the_header_is_refused", |ground| {
            register(ground, Error::HeaderSize, |input| input.header.size = 8)
        }),
        ("reserved_bits_are_refused", |ground| {
            register(ground, Error::ReservedBits, |input| {
                input.header.reserved = 1;
            })
        }),
        ("undefined_flag_is_refused", |ground| {
            register(ground, Error::ReservedBits, |input| {
                input.flags = Flags(0x8000_0000);
            })
        }),
    ]
}

/// Requests with a value that cannot be.
fn values<S: System>() -> [Named<S>; 8] {
    [
        ("unknown_kind_is_refused", |ground| {
            register(ground, Error::UnknownKind, |input| input.kind = Choice(99))
        }),
        ("kind_not_offered_is_refused", kind_not_offered),
        ("zero_length_is_refused", |ground| {
            register(ground, Error::Length, |input| input.length = ByteCount(0))
        }),
        ("length_that_overflows_is_refused", |ground| {
            register(ground, Error::Length, |input| {
                input.length = ByteCount(u64::MAX);
            })
        }),
        ("odd_alignment_is_refused", |ground| {
            register(ground, Error::Alignment, |input| {
                input.alignment = AddressBound(3);
            })
        }),
        ("odd_boundary_is_refused", |ground| {
            register(ground, Error::Boundary, |input| {
                input.boundary = AddressBound(5000);
            })
        }),
        ("bounds_without_room_are_refused", |ground| {
            register(ground, Error::Bounds, |input| {
                input.highest = AddressBound(100);
            })
        }),
        ("unknown_cache_type_and_node_are_refused", |ground| {
            register(ground, Error::UnknownCacheType, |input| {
                input.cache = Choice(7);
            })?;
            register(ground, Error::UnknownNode, |input| {
                input.node = NodeNumber(0xFFFF);
            })
        }),
    ]
}

const REGISTER: u32 = ControlCode::Register.value();
const OUTPUT: usize = size_of::<RegisterOutput>();

/// A request that would succeed.
fn sound() -> RegisterInput {
    *RegisterOptions::common_buffer(4096).wire()
}

/// A request that differs from a sound one in one thing.
fn register<S: System>(
    ground: &Ground<'_, S>,
    expected: Error,
    change: impl Fn(&mut RegisterInput),
) -> Finding {
    let mut input = sound();
    change(&mut input);
    refused(ground, REGISTER, input.as_bytes(), OUTPUT, expected)
}

fn kind_not_offered<S: System>(ground: &Ground<'_, S>) -> Finding {
    let offered = ground.open()?.capabilities().map_err(words)?.kinds;
    let mut others = Kind::ALL.iter().filter(|kind| !offered.contains(**kind));
    // A device that offers every kind has nothing to refuse.
    let Some(other) = others.next() else {
        return Ok(());
    };
    register(ground, Error::KindNotOffered, |input| {
        input.kind = Choice(other.value());
    })
}

fn made_up_handle<S: System>(ground: &Ground<'_, S>) -> Finding {
    for handle in [0, 1, 0x1234_5678_9ABC_DEF0, u64::MAX] {
        let release = ReleaseInput {
            header: Header::of::<ReleaseInput>(),
            handle: Handle(handle),
        };
        let code = ControlCode::Release.value();
        refused(ground, code, release.as_bytes(), 8, Error::UnknownHandle)?;
        let copy = MoveInput {
            header: Header::of::<MoveInput>(),
            source: Handle(handle),
            length: ByteCount(1),
            ..MoveInput::new_zeroed()
        };
        let code = ControlCode::Move.value();
        refused(ground, code, copy.as_bytes(), 8, Error::UnknownHandle)?;
    }
    Ok(())
}

/// The request is refused with the status of its cause, changes nothing, writes nothing, is counted.
pub(super) fn refused<S: System>(
    ground: &Ground<'_, S>,
    code: u32,
    input: &[u8],
    output_length: usize,
    cause: Error,
) -> Finding {
    let provider = ground.open()?;
    let before = provider.statistics().map_err(words)?;
    let mut output = vec![0xA5; output_length];
    let Err(status) = provider.channel().control(code, input, &mut output) else {
        let expected = cause.status();
        return Err(format!("was carried out, not refused with {expected}"));
    };
    let expected = cause.status();
    ensure(status == expected, || {
        format!("got {status} instead of {expected}")
    })?;
    ensure(output.iter().all(|byte| *byte == 0xA5), || {
        "wrote to the output".to_owned()
    })?;
    let after = provider.statistics().map_err(words)?;
    let registered = after.file_registrations;
    ensure(registered == 0, || {
        format!("left {registered} registrations")
    })?;
    let more = after
        .failures_of(cause)
        .saturating_sub(before.failures_of(cause));
    ensure(more >= 1, || format!("was not counted as {cause:?}"))
}

// What the requests above must not be mistaken for: these sizes are the contract's.
const _: () = assert!(size_of::<CapabilitiesOutput>() == 96 && size_of::<LookupOutput>() == 32);
const _: () = assert!(size_of::<LookupInput>() == 16 && <Header as Message>::SIZE == 8);
