//! What the driver never lets happen, whoever asks.
//!
//! Cites security.md: C04, C06, C07, C11, C12, C20, C22-C25, C33, C37, C51.

use nt_host::{Control, DmaConfig, File, Mode, NtStatus, RegistryValue};
use sanproxy_abi::{
    CODES, Code, ControlCode, Status,
    wire::{
        CapabilitiesOutput, Handle, Header, LookupInput, LookupOutput, PieceIndex,
        QueryRegistrationInput, QueryRegistrationOutput, RegisterInput, RegisterOutput, Reserved,
        STRUCTS, StatisticsOutput,
    },
};
use sanproxy_provider::RegisterOptions;
use sanproxy_tests::{
    stage::{Setting, Stage},
    wire::{ask, good_register, register, release, send},
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

#[test]
fn device_has_no_name_to_open_it_by() {
    let (stage, file) = started();
    let process = stage.host.create_process("guesser.exe").expect("a process");
    for name in [
        "\\Device\\SanProxy",
        "\\Device\\sanproxy",
        "\\??\\SanProxy",
        "\\DosDevices\\SanProxy",
    ] {
        assert!(process.open_name(name).is_err(), "{name}");
    }
    finish(stage, file);
}

#[test]
fn read_without_a_connection_is_refused() {
    let (stage, file) = started();
    let result = file.read(&mut [0; 64], 0).expect("the driver answers");
    assert_eq!(
        (result.status, result.information),
        (NtStatus(Status::CONNECTION_INVALID.0), 0)
    );
    finish(stage, file);
}

#[test]
fn write_without_a_connection_is_refused() {
    let (stage, file) = started();
    let result = file.write(&[0; 64], 0).expect("the driver answers");
    assert_eq!(
        (result.status, result.information),
        (NtStatus(Status::CONNECTION_INVALID.0), 0)
    );
    finish(stage, file);
}

#[test]
fn read_of_nothing_is_an_ordinary_rejection() {
    let (stage, file) = started();
    let result = file.read(&mut [], 0).expect("the driver answers");
    assert_eq!(result.status, NtStatus(Status::INVALID_PARAMETER.0));
    finish(stage, file);
}

/// The same request as a kernel-mode and as a user-mode caller.
fn in_both_modes(file: &File, code: u32, input: &[u8], output_length: usize) -> [(u32, u64); 2] {
    [Mode::User, Mode::Kernel].map(|mode| {
        let control = Control {
            mode,
            ..Control::new(code, input, output_length)
        };
        let (result, _) = file.control(&control).expect("the driver answers");
        (result.status.0, result.information)
    })
}

#[test]
fn kernel_mode_caller_gets_no_more_than_a_user_mode_caller() {
    let (stage, file) = started();
    // A request that waits has no answer to compare.
    let answered = |code: &&Code| code.code != ControlCode::WaitEvent;
    for code in CODES.iter().filter(answered) {
        let input = code.input.size;
        let output = code.output.map_or(64, |output| output.size);
        // Good ones where a header is all it takes, and wrong ones of each.
        let good = Header {
            size: u32::try_from(input).expect("a small struct"),
            ..Header::of::<Header>()
        };
        let mut bytes = good.as_bytes().to_vec();
        bytes.resize(input, 0);
        let [user, kernel] = in_both_modes(&file, code.code.value(), &bytes, output);
        assert_eq!(user, kernel, "{:?}", code.code);
        let [user, kernel] = in_both_modes(&file, code.code.value(), &bytes, output + 1);
        assert_eq!(user, kernel, "{:?} with a long output", code.code);
    }
    let [user, kernel] = in_both_modes(&file, 0x1234_5678, &[], 0);
    assert_eq!(user, kernel);
    finish(stage, file);
}

/// Where the host puts everything that belongs to the kernel; no process has memory there.
const KERNEL_ADDRESSES: std::ops::Range<u64> = 0x2000_0000_0000..0x8000_0000_0000;

/// Every 8-byte value: all fields of that size lie at multiples of it.
fn values(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes
        .chunks_exact(8)
        .filter_map(|chunk| Some(u64::from_le_bytes(chunk.try_into().ok()?)))
}

fn assert_no_kernel_address(what: &str, bytes: &[u8]) {
    let leaked = values(bytes).find(|value| KERNEL_ADDRESSES.contains(value));
    assert_eq!(leaked.map(|value| format!("{value:#x}")), None, "{what}");
}

#[test]
fn no_reply_carries_a_kernel_address() {
    let (stage, file) = started();
    let mut input = good_register();
    input.flags = sanproxy_abi::wire::Flags(sanproxy_abi::RegisterFlags::MAP.bits());
    let mut made: RegisterOutput = register(&file, &input).expect("a page");
    let query = QueryRegistrationInput {
        header: Header::of::<QueryRegistrationInput>(),
        handle: made.handle,
        first_piece: PieceIndex(0),
        reserved: Reserved(0),
    };
    let pieces: QueryRegistrationOutput =
        ask(&file, ControlCode::QueryRegistration, &query).expect("pieces");
    let lookup = LookupInput {
        header: Header::of::<LookupInput>(),
        device_address: made.device_address,
    };
    let mut found: LookupOutput = ask(&file, ControlCode::Lookup, &lookup).expect("a hit");
    let header = Header::of::<Header>();
    let offered: CapabilitiesOutput =
        ask(&file, ControlCode::QueryCapabilities, &header).expect("capabilities");
    let counted: StatisticsOutput =
        ask(&file, ControlCode::Statistics, &header).expect("statistics");
    // A handle is 64 random-looking bits.
    (made.handle, found.handle) = (Handle(0), Handle(0));
    assert_no_kernel_address("register", made.as_bytes());
    assert_no_kernel_address("query", pieces.as_bytes());
    assert_no_kernel_address("lookup", found.as_bytes());
    assert_no_kernel_address("capabilities", offered.as_bytes());
    assert_no_kernel_address("statistics", counted.as_bytes());
    finish(stage, file);
}

#[test]
fn no_reply_carries_a_physical_address_where_addresses_are_translated() {
    let (stage, file) = started();
    let made = register(&file, &good_register()).expect("a page");
    let nic = stage.device.bus_master();
    let physical = nic
        .domain()
        .translate(made.device_address.0, false)
        .expect("mapped");
    assert_ne!(physical, made.device_address.0);
    let frame = physical / 4096;
    assert!(values(made.as_bytes()).all(|value| value != physical && value != frame));
    finish(stage, file);
}

/// What a page holds when a release makes its `call`-th kernel call, before the routine runs: whether the page is zero, and
/// whether this call frees it. The page was full of 0x77.
fn page_at(call: u64) -> Option<(bool, bool)> {
    let stage = Setting::default().started().expect("the device starts");
    let (_, provider) = stage.provider().expect("a provider");
    let registration = provider
        .register(&RegisterOptions::common_buffer(4096).map())
        .expect("memory");
    registration.write_at(0, &[0x77; 4096]).expect("mapped");
    let domain = stage.device.bus_master().domain().clone();
    let physical = domain
        .translate(registration.device_address(), false)
        .expect("mapped");
    let host = stage.host.clone();
    let frees = host.calls().get("FreeCommonBuffer").copied();
    let (tell, seen) = std::sync::mpsc::channel();
    stage.host.at_call(call, move || {
        let mut bytes = [1; 4096];
        host.machine()
            .read_physical(physical, &mut bytes)
            .expect("memory");
        let is_freed = host.calls().get("FreeCommonBuffer").copied() != frees;
        let _ = tell.send((bytes.iter().all(|byte| *byte == 0), is_freed));
    });
    registration.release().expect("released");
    // The look may take longer than the driver waits for it, on a busy computer.
    let page = seen.recv_timeout(std::time::Duration::from_secs(2)).ok();
    drop(provider);
    let report = stage.finish().expect("the driver unloads");
    assert!(report.is_clean(), "{report}");
    page
}

#[test]
fn memory_is_scrubbed_before_it_is_freed() {
    // At the first call of the release the bytes are still there: the look is a real one.
    assert_eq!(page_at(1), Some((false, false)));
    let at_free = (2..200).map_while(page_at).find(|(_, is_freed)| *is_freed);
    assert_eq!(at_free, Some((true, true)));
}

#[test]
fn wire_structs_have_no_field_of_pointer_size_that_is_acted_on() {
    // C11: the one kind of address that comes in is a bound, or an address to look up.
    let allowed = [
        "lowest",
        "highest",
        "boundary",
        "alignment",
        "device_address",
    ];
    for layout in STRUCTS
        .iter()
        .filter(|layout| layout.name.ends_with("Input"))
    {
        for field in layout.fields {
            let address_like = field.name.contains("address") || field.name.contains("pointer");
            assert!(
                !address_like || allowed.contains(&field.name),
                "{}.{}",
                layout.name,
                field.name
            );
        }
    }
}

#[test]
fn input_struct_is_the_same_for_a_32_bit_process() {
    let stage = Setting::default().started().expect("the device starts");
    let process = stage
        .host
        .create_process_32("provider32.exe")
        .expect("a 32-bit process");
    let file = process
        .open(&sanproxy_tests::stage::INTERFACE)
        .expect("a file");
    let made = register(&file, &good_register()).expect("a page");
    release(&file, made.handle).expect("released");
    finish(stage, file);
}

#[test]
fn nothing_is_logged() {
    let (stage, file) = started();
    let made = register(&file, &good_register()).expect("a page");
    release(&file, made.handle).expect("released");
    let _ = send(&file, 0, &[], 0);
    assert_eq!(stage.host.calls().get("DbgPrint"), None);
    finish(stage, file);
}

#[test]
fn adapter_is_put_back_once_after_the_last_buffer() {
    let (stage, file) = started();
    register(&file, &good_register()).expect("a page");
    drop(file);
    let host = stage.host.clone();
    let report = stage.finish().expect("the driver unloads");
    assert!(report.is_clean(), "{report}");
    assert_eq!(host.calls().get("PutDmaAdapter"), Some(&1));
}

#[test]
fn free_is_told_what_the_allocation_was_told() {
    // C13: the judge compares each free with its allocation, field by field; here over every kind of buffer.
    for table_size in [104, 232, 320] {
        let interface_version = if table_size == 104 { 1 } else { 3 };
        let dma = DmaConfig {
            interface_version,
            table_size,
            ..DmaConfig::default()
        };
        let setting = Setting::default()
            .dma(dma)
            .parameter("ReserveBytes", RegistryValue::Dword(0));
        let stage = setting.started().expect("the device starts");
        let (_, file) = stage.open().expect("a file");
        for length in [1, 4096, 4097, 65536, 1 << 20] {
            let mut input: RegisterInput = good_register();
            input.length = sanproxy_abi::wire::ByteCount(length);
            register(&file, &input).expect("memory");
        }
        finish(stage, file);
    }
}
