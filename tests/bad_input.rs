//! Every wrong request gets the status of the contract, changes nothing, loses nothing, and is counted.
//!
//! Cites security.md: C15, C16, C18, C20, C22, C26, C27, C49; san.md: R04, R05, R13, R14, R52.

use nt_host::File;
use sanproxy_abi::{
    CODES, ControlCode, Error, FAILURE_COUNTERS, Kind, PAGE_SIZE, Status,
    wire::{
        AddressBound, ByteCount, Choice, DeviceAddress, Flags, Handle, Header, LookupInput,
        LookupOutput, Message, MoveInput, NodeNumber, PieceIndex, QueryRegistrationInput,
        QueryRegistrationOutput, RegisterInput, RegisterOutput, ReleaseInput, Reserved,
        StatisticsOutput,
    },
};
use sanproxy_tests::{
    stage::{Setting, Stage},
    wire::{ask, failures, good_register, register, release, send, statistics},
};
use zerocopy::IntoBytes;

fn started() -> (Stage, File) {
    let stage = Setting::default().started().expect("the device starts");
    let (_, file) = stage.open().expect("the device opens");
    (stage, file)
}

fn finish(stage: Stage, file: File) {
    drop(file);
    let report = stage.finish().expect("the driver unloads");
    assert!(report.is_clean(), "{report}");
}

/// The counters without those of failures.
fn state(statistics: &StatisticsOutput) -> StatisticsOutput {
    StatisticsOutput {
        failures: [sanproxy_abi::wire::Count(0); FAILURE_COUNTERS],
        ..*statistics
    }
}

/// Asserts that `attempt` is refused for `cause`, changes nothing else, and that `cause` is counted once.
fn refused<O: std::fmt::Debug>(cause: Error, attempt: impl FnOnce(&File) -> Result<O, Status>) {
    let (stage, file) = started();
    let kept = register(&file, &good_register()).expect("a page");
    let before = statistics(&file);
    assert_eq!(attempt(&file).expect_err("it is refused"), cause.status());
    let after = statistics(&file);
    assert_eq!(
        state(&after),
        state(&before),
        "a refused request changes nothing"
    );
    assert_eq!(
        failures(&after, cause),
        failures(&before, cause) + 1,
        "{cause:?} is counted"
    );
    let others = |statistics: &StatisticsOutput| -> u64 {
        statistics.failures.iter().map(|count| count.0).sum()
    };
    assert_eq!(
        others(&after),
        others(&before) + 1,
        "only {cause:?} is counted"
    );
    release(&file, kept.handle).expect("what was registered before is still there");
    finish(stage, file);
}

/// A register request that would succeed but for `change`.
macro_rules! register_refused {
    ($($name:ident: $cause:ident, $input:ident => $change:expr;)*) => {
        $(#[test]
        fn $name() {
            refused(Error::$cause, |file| {
                let mut $input = good_register();
                $change;
                register(file, &$input)
            });
        })*
    };
}

register_refused! {
    register_of_kind_zero_is_unknown_kind: UnknownKind, input => input.kind = Choice(0);
    register_of_kind_five_is_unknown_kind: UnknownKind, input => input.kind = Choice(5);
    register_of_kind_that_comes_later_is_not_offered: KindNotOffered, input => input.kind = Choice(Kind::UserBuffer.value());
    register_with_undefined_flag_is_reserved_bits: ReservedBits, input => input.flags = Flags(0x20);
    register_with_highest_flag_is_reserved_bits: ReservedBits, input => input.flags = Flags(0x8000_0000);
    register_of_zero_bytes_is_length: Length, input => input.length = ByteCount(0);
    register_of_all_bytes_is_length: Length, input => input.length = ByteCount(u64::MAX);
    register_that_rounds_past_the_end_is_length: Length, input => input.length = ByteCount(u64::MAX - 4094);
    register_of_4_gib_is_length: Length, input => input.length = ByteCount(1 << 32);
    register_of_8_eib_is_length: Length, input => input.length = ByteCount(1 << 63);
    register_one_byte_longer_than_the_longest_is_length: Length, input => input.length = ByteCount((1 << 30) + 1);
    register_with_boundary_three_is_boundary: Boundary, input => input.boundary = AddressBound(3);
    register_with_boundary_below_a_page_is_boundary: Boundary, input => input.boundary = AddressBound(2048);
    register_with_boundary_of_all_bits_is_boundary: Boundary, input => input.boundary = AddressBound(u64::MAX);
    register_longer_than_its_boundary_is_boundary: Boundary, input => {
        input.length = ByteCount(2 * PAGE_SIZE);
        input.boundary = AddressBound(PAGE_SIZE);
    };
    register_with_alignment_three_is_alignment: Alignment, input => input.alignment = AddressBound(3);
    register_with_alignment_over_a_gib_is_alignment: Alignment, input => input.alignment = AddressBound(1 << 31);
    register_with_bounds_upside_down_is_bounds: Bounds, input => {
        input.lowest = AddressBound(0x2000_0000);
        input.highest = AddressBound(0x1000_0000);
    };
    register_with_bounds_too_narrow_is_bounds: Bounds, input => {
        input.lowest = AddressBound(0x1000_0000);
        input.highest = AddressBound(0x1000_0FFE);
    };
    register_of_low_memory_above_4_gib_is_bounds: Bounds, input => {
        input.flags = Flags(sanproxy_abi::RegisterFlags::LOW_MEMORY.bits());
        input.lowest = AddressBound(1 << 32);
    };
    register_with_cache_type_three_is_unknown_cache_type: UnknownCacheType, input => input.cache = Choice(3);
    register_on_node_two_of_two_is_unknown_node: UnknownNode, input => input.node = NodeNumber(2);
    register_on_the_last_node_but_one_is_unknown_node: UnknownNode, input => input.node = NodeNumber(u32::MAX - 1);
    register_with_header_size_off_by_one_is_header_size: HeaderSize, input => input.header.size += 1;
    register_with_header_size_zero_is_header_size: HeaderSize, input => input.header.size = 0;
    register_with_version_two_is_header_version: HeaderVersion, input => input.header.version = 2;
    register_with_version_zero_is_header_version: HeaderVersion, input => input.header.version = 0;
    register_with_reserved_header_bit_is_reserved_bits: ReservedBits, input => input.header.reserved = 1;
}

fn release_input(handle: u64) -> ReleaseInput {
    ReleaseInput {
        header: Header::of::<ReleaseInput>(),
        handle: Handle(handle),
    }
}

#[test]
fn release_of_zero_is_unknown_handle() {
    refused(Error::UnknownHandle, |file| release(file, Handle(0)));
}

#[test]
fn release_of_all_bits_is_unknown_handle() {
    refused(Error::UnknownHandle, |file| release(file, Handle(u64::MAX)));
}

#[test]
fn release_twice_is_unknown_handle() {
    let (stage, file) = started();
    let made = register(&file, &good_register()).expect("a page");
    release(&file, made.handle).expect("the first release");
    assert_eq!(
        release(&file, made.handle),
        Err(Error::UnknownHandle.status())
    );
    finish(stage, file);
}

#[test]
fn stale_handle_stays_dead_when_its_slot_is_used_again() {
    let (stage, file) = started();
    let old = register(&file, &good_register()).expect("a page").handle;
    release(&file, old).expect("released");
    let new = register(&file, &good_register()).expect("a page").handle;
    assert_ne!(old, new);
    assert_eq!(release(&file, old), Err(Error::UnknownHandle.status()));
    release(&file, new).expect("the new one is untouched");
    finish(stage, file);
}

#[test]
fn foreign_handle_is_unknown_handle() {
    let (stage, file) = started();
    let (_, other) = stage.open().expect("a second process");
    let made = register(&other, &good_register()).expect("a page");
    assert_eq!(
        release(&file, made.handle),
        Err(Error::UnknownHandle.status())
    );
    release(&other, made.handle).expect("the owner can");
    drop(other);
    finish(stage, file);
}

#[test]
fn handle_of_another_file_of_the_same_process_is_unknown_handle() {
    let stage = Setting::default().started().expect("the device starts");
    let (process, first) = stage.open().expect("a file");
    let second = process
        .open(&sanproxy_tests::stage::INTERFACE)
        .expect("another file");
    let made = register(&first, &good_register()).expect("a page");
    assert_eq!(
        release(&second, made.handle),
        Err(Error::UnknownHandle.status())
    );
    drop(second);
    finish(stage, first);
}

#[test]
fn guessed_handles_are_never_accepted() {
    let (stage, file) = started();
    let made = register(&file, &good_register()).expect("a page");
    let mut guess = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..20_000 {
        guess ^= guess << 13;
        guess ^= guess >> 7;
        guess ^= guess << 17;
        let reply = send(
            &file,
            ControlCode::Release.value(),
            release_input(guess).as_bytes(),
            size_of::<Header>(),
        );
        assert_eq!(reply.status, Error::UnknownHandle.status(), "{guess:#x}");
    }
    // Neighbours of a real one: each single bit changed.
    for bit in 0..64 {
        let near = Handle(made.handle.0 ^ (1 << bit));
        assert_eq!(
            release(&file, near),
            Err(Error::UnknownHandle.status()),
            "bit {bit}"
        );
    }
    release(&file, made.handle).expect("the real one");
    finish(stage, file);
}

#[test]
fn query_of_unknown_handle_is_unknown_handle() {
    refused(Error::UnknownHandle, |file| {
        let input = QueryRegistrationInput {
            header: Header::of::<QueryRegistrationInput>(),
            handle: Handle(1),
            first_piece: PieceIndex(0),
            reserved: Reserved(0),
        };
        ask::<_, QueryRegistrationOutput>(file, ControlCode::QueryRegistration, &input)
    });
}

#[test]
fn query_of_a_piece_past_the_last_is_out_of_range() {
    let (stage, file) = started();
    let made = register(&file, &good_register()).expect("a page");
    let input = QueryRegistrationInput {
        header: Header::of::<QueryRegistrationInput>(),
        handle: made.handle,
        first_piece: PieceIndex(1),
        reserved: Reserved(0),
    };
    let reply = ask::<_, QueryRegistrationOutput>(&file, ControlCode::QueryRegistration, &input);
    assert_eq!(reply, Err(Error::OutOfRange.status()));
    finish(stage, file);
}

#[test]
fn query_with_reserved_field_is_reserved_bits() {
    let (stage, file) = started();
    let made = register(&file, &good_register()).expect("a page");
    let input = QueryRegistrationInput {
        header: Header::of::<QueryRegistrationInput>(),
        handle: made.handle,
        first_piece: PieceIndex(0),
        reserved: Reserved(1),
    };
    let reply = ask::<_, QueryRegistrationOutput>(&file, ControlCode::QueryRegistration, &input);
    assert_eq!(reply, Err(Error::ReservedBits.status()));
    finish(stage, file);
}

#[test]
fn lookup_of_an_address_nobody_has_is_address_not_found() {
    refused(Error::AddressNotFound, |file| {
        let input = LookupInput {
            header: Header::of::<LookupInput>(),
            device_address: DeviceAddress(0),
        };
        ask::<_, LookupOutput>(file, ControlCode::Lookup, &input)
    });
}

#[test]
fn lookup_of_another_files_address_is_address_not_found() {
    let (stage, file) = started();
    let (_, other) = stage.open().expect("a second process");
    let made = register(&other, &good_register()).expect("a page");
    let input = LookupInput {
        header: Header::of::<LookupInput>(),
        device_address: made.device_address,
    };
    assert_eq!(
        ask::<_, LookupOutput>(&file, ControlCode::Lookup, &input),
        Err(Error::AddressNotFound.status())
    );
    drop(other);
    finish(stage, file);
}

fn move_within_a_page(handle: Handle) -> MoveInput {
    MoveInput {
        header: Header::of::<MoveInput>(),
        source: handle,
        source_offset: ByteCount(0),
        destination: handle,
        destination_offset: ByteCount(2048),
        length: ByteCount(2048),
    }
}

/// A move request that would succeed but for `change`.
fn move_refused(cause: Error, change: impl FnOnce(&mut MoveInput)) {
    let (stage, file) = started();
    let made = register(&file, &good_register()).expect("a page");
    let mut input = move_within_a_page(made.handle);
    assert!(ask::<_, Header>(&file, ControlCode::Move, &input).is_ok());
    change(&mut input);
    assert_eq!(
        ask::<_, Header>(&file, ControlCode::Move, &input),
        Err(cause.status())
    );
    finish(stage, file);
}

#[test]
fn move_past_the_end_of_the_source_is_out_of_range() {
    move_refused(Error::OutOfRange, |input| {
        input.source_offset = ByteCount(2049)
    });
}

#[test]
fn move_past_the_end_of_the_destination_is_out_of_range() {
    move_refused(Error::OutOfRange, |input| {
        input.destination_offset = ByteCount(2049)
    });
}

#[test]
fn move_whose_end_wraps_is_out_of_range() {
    move_refused(Error::OutOfRange, |input| {
        input.source_offset = ByteCount(u64::MAX - 1)
    });
}

#[test]
fn move_of_nothing_is_out_of_range() {
    move_refused(Error::OutOfRange, |input| input.length = ByteCount(0));
}

#[test]
fn move_from_an_unknown_handle_is_unknown_handle() {
    move_refused(Error::UnknownHandle, |input| input.source = Handle(7));
}

#[test]
fn move_to_an_unknown_handle_is_unknown_handle() {
    move_refused(Error::UnknownHandle, |input| input.destination = Handle(7));
}

/// Each code with every wrong length of input or output, the other being right.
#[test]
fn every_wrong_length_is_refused() {
    let (stage, file) = started();
    let lengths = (0..=96).chain([455, 457, 799, 801, 4095, 4096, 4097, 65536]);
    for length in lengths {
        for code in CODES {
            // A message has no one length: tests/messages.rs.
            let Some(output) = code.output else { continue };
            let (input, output) = (code.input.size, output.size);
            if length != input {
                let reply = send(&file, code.code.value(), &vec![0; length], output);
                assert_eq!(
                    reply.status,
                    Status::INFO_LENGTH_MISMATCH,
                    "{:?} with input of {length}",
                    code.code
                );
                assert_eq!(reply.information, 0);
            }
            if length != output {
                let reply = send(&file, code.code.value(), &vec![0; input], length);
                assert_eq!(
                    reply.status,
                    Status::INFO_LENGTH_MISMATCH,
                    "{:?} with output of {length}",
                    code.code
                );
                assert_eq!(reply.information, 0);
            }
        }
    }
    finish(stage, file);
}

/// C06: the whole 32-bit code decides. All 65,536 codes of our device type.
#[test]
fn every_other_control_code_is_invalid_device_request() {
    let (stage, file) = started();
    let known: Vec<u32> = CODES.iter().map(|code| code.code.value()).collect();
    let mut unknown = 0_u64;
    for code in
        (0..=u32::from(u16::MAX)).map(|low| (ControlCode::Register.value() & 0xFFFF_0000) | low)
    {
        if !known.contains(&code) {
            let reply = send(&file, code, &[0; 16], 16);
            assert_eq!(
                (reply.status, reply.information),
                (Status::INVALID_DEVICE_REQUEST, 0),
                "{code:#x}"
            );
            unknown += 1;
        }
    }
    assert_eq!(failures(&statistics(&file), Error::UnknownCode), unknown);
    finish(stage, file);
}

#[test]
fn known_function_of_another_device_type_is_invalid_device_request() {
    let (stage, file) = started();
    let code = ControlCode::Register.value() ^ 0x0001_0000;
    let reply = send(
        &file,
        code,
        good_register().as_bytes(),
        size_of::<RegisterOutput>(),
    );
    assert_eq!(reply.status, Status::INVALID_DEVICE_REQUEST);
    finish(stage, file);
}

/// C16: each bit of the request's header and flags alone, from a request that is otherwise good.
#[test]
fn every_single_bit_of_header_and_flags_is_checked() {
    let (stage, file) = started();
    let good = good_register();
    let flags_at = 12 * 8..16 * 8;
    for bit in (0..64).chain(flags_at) {
        let mut bytes = good.as_bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let input = RegisterInput::parse(&bytes);
        let reply = send(
            &file,
            ControlCode::Register.value(),
            &bytes,
            size_of::<RegisterOutput>(),
        );
        let defined_flag = (96..101).contains(&bit);
        assert_eq!(
            reply.status.is_success(),
            defined_flag,
            "bit {bit}: {input:?}"
        );
        if defined_flag {
            let made = RegisterOutput::parse(&reply.output).expect("a reply");
            release(&file, made.handle).expect("released");
        }
    }
    finish(stage, file);
}
