//! Each rejection starts from a request that is otherwise good.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "a test may stop at an overflow"
)]

use proptest::prelude::*;
use sanproxy_abi::wire::{
    AddressBound, ByteCount, Choice, Flags, Handle, Header, Message, MoveInput, NodeNumber,
    QueryRegistrationInput, RegisterInput, RegisterOutput, Reserved,
};
use sanproxy_abi::{
    ANY_NODE, Bounds, CODES, CacheType, ControlCode, Error, Kind, PAGE_SIZE, Pages, RegisterFlags,
    RegisterRequest, Request,
};
use zerocopy::IntoBytes;

const REGISTER: u32 = ControlCode::Register.value();
const REGISTER_REPLY: usize = size_of::<RegisterOutput>();

fn good() -> RegisterInput {
    RegisterInput {
        header: Header::of::<RegisterInput>(),
        kind: Choice(Kind::CommonBuffer.value()),
        flags: Flags(0),
        length: ByteCount(5000),
        lowest: AddressBound(0),
        highest: AddressBound(u64::MAX),
        boundary: AddressBound(0),
        alignment: AddressBound(0),
        cache: Choice(CacheType::Cached.value()),
        node: NodeNumber(ANY_NODE),
    }
}

fn register(input: RegisterInput) -> Result<RegisterRequest, Error> {
    let request = Request::parse(REGISTER, input.as_bytes(), REGISTER_REPLY)?;
    let Request::Register(request) = request else {
        unreachable!("{request:?}")
    };
    Ok(request)
}

#[test]
fn good_register_request_is_rounded_to_whole_pages() {
    let request = register(good()).unwrap();
    assert_eq!(request.length.bytes(), 8192);
    assert_eq!(request.bounds, Bounds::NONE);
    assert_eq!((request.boundary, request.node), (None, None));
    assert_eq!(request.alignment.bytes(), PAGE_SIZE);
}

#[test]
fn unknown_code_is_refused_before_its_lengths() {
    assert_eq!(
        Request::parse(REGISTER + 0x400, &[], 0),
        Err(Error::UnknownCode)
    );
    assert_eq!(
        Request::parse(REGISTER | 1, good().as_bytes(), 64),
        Err(Error::UnknownCode)
    );
}

#[test]
fn input_of_any_other_length_is_refused() {
    let bytes = [0_u8; 4097];
    for length in (0..=4097).filter(|length| *length != size_of::<RegisterInput>()) {
        let result = Request::parse(REGISTER, &bytes[..length], REGISTER_REPLY);
        assert_eq!(result, Err(Error::InputLength));
    }
}

#[test]
fn output_of_any_other_length_is_refused() {
    for length in [
        0,
        1,
        REGISTER_REPLY - 1,
        REGISTER_REPLY + 1,
        4096,
        0xFFFF_FFFF,
        usize::MAX,
    ] {
        let result = Request::parse(REGISTER, good().as_bytes(), length);
        assert_eq!(result, Err(Error::OutputLength));
    }
}

#[test]
fn header_with_another_size_version_or_reserved_bit_is_refused() {
    let mut input = good();
    input.header.size += 1;
    assert_eq!(register(input), Err(Error::HeaderSize));
    input = good();
    input.header.version = 2;
    assert_eq!(register(input), Err(Error::HeaderVersion));
    for bit in 0..16 {
        input = good();
        input.header.reserved = 1 << bit;
        assert_eq!(register(input), Err(Error::ReservedBits));
    }
}

#[test]
fn reserved_field_with_any_one_bit_is_refused() {
    for bit in 0..32 {
        let input = QueryRegistrationInput {
            header: Header::of::<QueryRegistrationInput>(),
            handle: Handle(1),
            first_piece: sanproxy_abi::wire::PieceIndex(0),
            reserved: Reserved(1 << bit),
        };
        let code = ControlCode::QueryRegistration.value();
        let result = Request::parse(code, input.as_bytes(), 800);
        assert_eq!(result, Err(Error::ReservedBits));
    }
}

#[test]
fn undefined_flag_is_refused_each_alone() {
    for bit in 5..32 {
        let input = RegisterInput {
            flags: Flags(1 << bit),
            ..good()
        };
        assert_eq!(register(input), Err(Error::ReservedBits));
    }
    let all = RegisterInput {
        flags: Flags(RegisterFlags::ALL.bits() & !RegisterFlags::COPY.bits()),
        ..good()
    };
    assert!(register(all).is_ok());
}

#[test]
fn kind_that_is_unknown_or_not_offered_is_refused() {
    for kind in [0, 5, u32::MAX] {
        let input = RegisterInput {
            kind: Choice(kind),
            ..good()
        };
        assert_eq!(register(input), Err(Error::UnknownKind));
    }
    for kind in [Kind::HostMemoryBuffer, Kind::UserBuffer] {
        let input = RegisterInput {
            kind: Choice(kind.value()),
            ..good()
        };
        assert_eq!(register(input), Err(Error::KindNotOffered));
    }
}

#[test]
fn length_of_zero_or_beyond_64_bits_is_refused() {
    for length in [0, u64::MAX, u64::MAX - 4094] {
        let input = RegisterInput {
            length: ByteCount(length),
            ..good()
        };
        assert_eq!(register(input), Err(Error::Length));
    }
    assert_eq!(
        Pages::for_bytes(4097).and_then(|pages| pages.at_most(4096)),
        Err(Error::Length)
    );
    assert_eq!(
        Pages::for_bytes(4096)
            .and_then(|pages| pages.at_most(4096))
            .unwrap()
            .count(),
        1
    );
}

#[test]
fn boundary_that_is_no_power_of_two_or_below_the_length_is_refused() {
    for boundary in [1, 2048, 4096, 4097, 12_288, u64::MAX] {
        let input = RegisterInput {
            boundary: AddressBound(boundary),
            ..good()
        };
        assert_eq!(register(input), Err(Error::Boundary));
    }
    for boundary in [8192, 1 << 32, 1 << 63] {
        let input = RegisterInput {
            boundary: AddressBound(boundary),
            ..good()
        };
        assert_eq!(register(input).unwrap().boundary.unwrap().bytes(), boundary);
    }
}

#[test]
fn alignment_that_is_no_power_of_two_or_beyond_1_gib_is_refused() {
    for alignment in [3, 4097, 1 << 31, u64::MAX] {
        let input = RegisterInput {
            alignment: AddressBound(alignment),
            ..good()
        };
        assert_eq!(register(input), Err(Error::Alignment));
    }
    let input = RegisterInput {
        alignment: AddressBound(64),
        ..good()
    };
    assert_eq!(register(input).unwrap().alignment.bytes(), PAGE_SIZE);
    let input = RegisterInput {
        alignment: AddressBound(1 << 30),
        ..good()
    };
    assert_eq!(register(input).unwrap().alignment.bytes(), 1 << 30);
}

#[test]
fn bounds_without_room_for_the_length_are_refused() {
    let bounds = [
        (1, 0),
        (0, 0),
        (0, 8190),
        (4096, 12_286),
        (1, 8192),
        (u64::MAX, u64::MAX),
        (u64::MAX - 8191, u64::MAX - 1),
    ];
    for (lowest, highest) in bounds {
        let (lowest, highest) = (AddressBound(lowest), AddressBound(highest));
        assert_eq!(
            register(RegisterInput {
                lowest,
                highest,
                ..good()
            }),
            Err(Error::Bounds)
        );
    }
}

#[test]
fn bounds_with_room_for_exactly_the_length_are_taken() {
    for (lowest, highest) in [
        (0, 8191),
        (4096, 12_287),
        (1, 12_287),
        (u64::MAX - 8191, u64::MAX),
    ] {
        let (lowest, highest) = (AddressBound(lowest), AddressBound(highest));
        assert!(
            register(RegisterInput {
                lowest,
                highest,
                ..good()
            })
            .is_ok()
        );
    }
}

#[test]
fn bounds_with_room_only_off_the_alignment_are_refused() {
    let input = RegisterInput {
        lowest: AddressBound(4096),
        highest: AddressBound(0xF_FFFF),
        alignment: AddressBound(1 << 20),
        ..good()
    };
    assert_eq!(register(input), Err(Error::Bounds));
}

#[test]
fn low_memory_lowers_the_highest_address() {
    let flags = Flags(RegisterFlags::LOW_MEMORY.bits());
    let request = register(RegisterInput { flags, ..good() }).unwrap();
    assert_eq!(request.bounds.highest(), 0xFFFF_FFFF);
    let high = RegisterInput {
        flags,
        lowest: AddressBound(1 << 32),
        ..good()
    };
    assert_eq!(register(high), Err(Error::Bounds));
}

#[test]
fn cache_type_that_is_unknown_is_refused() {
    for cache in [3, u32::MAX] {
        let input = RegisterInput {
            cache: Choice(cache),
            ..good()
        };
        assert_eq!(register(input), Err(Error::UnknownCacheType));
    }
}

#[test]
fn node_beyond_the_highest_is_refused_by_the_device() {
    let node = register(RegisterInput {
        node: NodeNumber(2),
        ..good()
    })
    .unwrap()
    .node
    .unwrap();
    assert_eq!(node.at_most(1), Err(Error::UnknownNode));
    assert_eq!(node.at_most(2).unwrap().number(), 2);
}

#[test]
fn move_of_nothing_or_beyond_64_bits_is_refused() {
    let input = MoveInput {
        header: Header::of::<MoveInput>(),
        source: Handle(1),
        source_offset: ByteCount(8),
        destination: Handle(2),
        destination_offset: ByteCount(16),
        length: ByteCount(32),
    };
    let parse = |input: MoveInput| {
        Request::parse(
            ControlCode::Move.value(),
            input.as_bytes(),
            size_of::<Header>(),
        )
    };
    let Ok(Request::Move(request)) = parse(input) else {
        panic!("a good request is refused")
    };
    assert_eq!(request.source.within(40), Ok(request.source));
    assert_eq!(request.source.within(39), Err(Error::OutOfRange));
    assert_eq!(
        parse(MoveInput {
            length: ByteCount(0),
            ..input
        }),
        Err(Error::Length)
    );
    let beyond = ByteCount(u64::MAX - 31);
    assert_eq!(
        parse(MoveInput {
            source_offset: beyond,
            ..input
        }),
        Err(Error::OutOfRange)
    );
    assert_eq!(
        parse(MoveInput {
            destination_offset: beyond,
            ..input
        }),
        Err(Error::OutOfRange)
    );
}

fn edge() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        (0_u32..64).prop_map(|bit| 1_u64 << bit),
        (0_u32..64, -2_i64..=2).prop_map(|(bit, off)| (1_u64 << bit).wrapping_add_signed(off)),
        any::<u64>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn any_bytes_are_parsed_or_refused(
        code in prop_oneof![any::<u32>(), (0_u32..10).prop_map(|n| 0x8A5A_E000 + 4 * n)],
        input in proptest::collection::vec(any::<u8>(), 0..900),
        output in 0_usize..900,
    ) {
        let known = CODES.iter().find(|known| known.code.value() == code);
        let result = Request::parse(code, &input, output);
        prop_assert_eq!(known.is_none(), result == Err(Error::UnknownCode));
        if let (Some(known), Ok(_)) = (known, result) {
            let size = known.output.map_or(output, |output| output.size);
            let message = known.output.is_none();
            prop_assert!(input.len() == known.input.size || message && input.len() > known.input.size);
            prop_assert_eq!(output, size);
        }
    }

    #[test]
    fn register_request_that_is_taken_keeps_every_promise_of_its_types(
        kind in 0_u32..6, flags in 0_u32..20, length in edge(), lowest in edge(), highest in edge(),
        boundary in edge(), alignment in edge(), cache in 0_u32..4, node in any::<u32>(),
    ) {
        let input = RegisterInput {
            kind: Choice(kind), flags: Flags(flags), length: ByteCount(length),
            lowest: AddressBound(lowest), highest: AddressBound(highest),
            boundary: AddressBound(boundary), alignment: AddressBound(alignment),
            cache: Choice(cache), node: NodeNumber(node), ..good()
        };
        if let Ok(request) = register(input) {
            let bytes = request.length.bytes();
            prop_assert!(bytes >= length && bytes % PAGE_SIZE == 0 && bytes - length < PAGE_SIZE);
            prop_assert!(request.alignment.bytes().is_power_of_two());
            prop_assert!(request.boundary.is_none_or(|b| b.bytes() >= bytes));
            prop_assert!(request.bounds.highest() - request.bounds.lowest() >= bytes - 1);
            prop_assert!(flags & 2 == 0 || request.bounds.highest() <= 0xFFFF_FFFF);
        }
    }

    #[test]
    fn bounds_contain_exactly_the_blocks_within_them(
        start in edge(), length in edge(), lowest in 0_u64..1 << 20,
    ) {
        let input = RegisterInput {
            lowest: AddressBound(lowest), highest: AddressBound(1 << 40), ..good()
        };
        let bounds = register(input).unwrap().bounds;
        let (first, end) = (u128::from(start), u128::from(start) + u128::from(length));
        let within = length > 0 && first >= u128::from(lowest) && end <= (1 << 40) + 1;
        prop_assert_eq!(bounds.contain(start, length), within);
    }

    #[test]
    fn header_of_a_reply_is_read_back(bytes in any::<[u8; 8]>()) {
        let good = u64::from_le_bytes(bytes) == 0x0001_0000_0008;
        prop_assert_eq!(Header::parse(&bytes).is_ok(), good);
    }
}
