//! Several threads use the device at once while processes die and the device goes: whatever comes of each request, nothing is
//! lost, no rule is broken, and the sums are right at the end.
//!
//! Cites san.md: R53, R55, R59; security.md: C31, C35, C38.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use nt_host::{Control, Device, File, HostError, Pending, Process};
use nt_machine::BusMaster;
use sanproxy_abi::{
    Access, CacheType, ControlCode, Kind, RegisterFlags,
    wire::{
        AddressBound, ByteCount, Choice, ConnectInput, ConnectOutput, DeviceAddress, EndpointId,
        EventsOutput, Flags, Handle, Header, LookupInput, LookupOutput, MoveInput, RangeStart,
        RegisterInput, RegisterOutput, RegisterUserBufferInput, Reserved, SecureInput,
        SecureOutput, UnsecureInput, UserRange,
    },
};
use sanproxy_tests::{
    stage::{INTERFACE, Setting, Stage, accepted},
    wire::{ask, good_register, register, release, statistics},
};
use zerocopy::IntoBytes;

const THREADS: u64 = 4;
const REQUESTS: u64 = 120;
const ROUNDS: u64 = 6;

/// A small generator: the same numbers from the same seed (`SplitMix64`).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (number ^ (number >> 31)) % limit
    }
}

/// What all threads have been told.
#[derive(Default)]
struct Sums {
    made: AtomicU64,
    released: AtomicU64,
}

fn wish(numbers: &mut Numbers) -> RegisterInput {
    let kind = [Kind::CommonBuffer, Kind::Contiguous][usize::from(numbers.below(2) == 1)];
    let mut flags = RegisterFlags::NONE;
    for flag in [RegisterFlags::MAP, RegisterFlags::ALLOW_PIECES] {
        if numbers.below(2) == 1 {
            flags = flags.with(flag);
        }
    }
    RegisterInput {
        kind: Choice(kind.value()),
        flags: Flags(flags.bits()),
        length: ByteCount(1 + numbers.below(5 * 4096)),
        cache: Choice(CacheType::Cached.value()),
        ..good_register()
    }
}

/// Memory of the process's own that all threads register and secure.
const OWN: u64 = 3 * 4096;

fn own_range(memory: u64, numbers: &mut Numbers) -> UserRange {
    let start = numbers.below(OWN - 1);
    UserRange {
        start: RangeStart(memory + start),
        length: ByteCount(1 + numbers.below(OWN - start)),
    }
}

fn own_buffer(range: UserRange, numbers: &mut Numbers) -> RegisterUserBufferInput {
    let accesses = [Access::Read, Access::Write, Access::ReadWrite];
    let access = accesses[usize::try_from(numbers.below(3)).unwrap_or(0)];
    RegisterUserBufferInput {
        header: Header::of::<RegisterUserBufferInput>(),
        range,
        access: Choice(access.value()),
        flags: Flags(RegisterFlags::ALLOW_PIECES.bits()),
        lowest: AddressBound(0),
        highest: AddressBound(u64::MAX),
        reserved: Reserved(0),
        reserved_end: Reserved(0),
    }
}

/// Secures a range and unsecures it; the end of the process or of the device may come between.
fn secure(file: &File, range: UserRange, sums: &Sums) {
    let input = SecureInput {
        header: Header::of::<SecureInput>(),
        range,
        access: Choice(Access::ReadWrite.value()),
        reserved: Reserved(0),
    };
    let secured = attempt(|| ask::<_, SecureOutput>(file, ControlCode::Secure, &input));
    let Ok(Ok(secured)) = secured else {
        return;
    };
    sums.made.fetch_add(1, Relaxed);
    let input = UnsecureInput {
        header: Header::of::<UnsecureInput>(),
        handle: secured.handle,
    };
    if let Ok(Ok(_)) = attempt(|| ask::<_, Header>(file, ControlCode::Unsecure, &input)) {
        sums.released.fetch_add(1, Relaxed);
    }
}

/// A request that may wait is cancelled at once; however that ends, it ends.
fn begin_and_cancel(begun: Result<Pending, HostError>) {
    let Ok(pending) = begun else {
        return;
    };
    if pending.cancel().is_ok() {
        let _ = pending.finish(&mut [0; 100]);
    }
}

/// A request for events, or one that sends or receives.
fn wait(file: &File, choice: u64) {
    let header = Header::of::<Header>();
    let size = size_of::<EventsOutput>();
    let code = ControlCode::WaitEvent.value();
    begin_and_cancel(match choice {
        0 => file.begin(&Control::new(code, header.as_bytes(), size)),
        1 => file.begin_write(&[9; 60], 0),
        _ => file.begin_read(100, 0),
    });
}

/// Two files that are connected.
fn connect(files: [&File; 2]) {
    let name = |file: &File, endpoint| {
        let header = Header::of::<ConnectInput>();
        let input = ConnectInput { header, endpoint };
        let told = ask::<_, ConnectOutput>(file, ControlCode::Connect, &input);
        told.expect("an answer").own
    };
    let endpoints = files.map(|file| name(file, EndpointId(0)));
    name(files[0], endpoints[1]);
    name(files[1], endpoints[0]);
}

/// One thread's requests, over handles and registrations that all threads share.
fn use_device(files: &[File], memory: u64, shared: &[AtomicU64], sums: &Sums, seed: u64) {
    let mut numbers = Numbers(seed);
    for _ in 0..REQUESTS {
        let file = &files[usize::try_from(numbers.below(files.len() as u64)).unwrap_or(0)];
        let place = &shared[usize::try_from(numbers.below(shared.len() as u64)).unwrap_or(0)];
        match numbers.below(12) {
            0..=2 => {
                if let Ok(Ok(made)) = attempt(|| register(file, &wish(&mut numbers))) {
                    sums.made.fetch_add(1, Relaxed);
                    place.store(made.handle.0, Relaxed);
                }
            }
            3 | 4 => {
                // Another thread may release the same at the same time: one of them does.
                if let Ok(Ok(())) = attempt(|| release(file, Handle(place.load(Relaxed)))) {
                    sums.released.fetch_add(1, Relaxed);
                }
            }
            5 => {
                let range = own_range(memory, &mut numbers);
                let input = own_buffer(range, &mut numbers);
                let code = ControlCode::RegisterUserBuffer;
                if let Ok(Ok(made)) = attempt(|| ask::<_, RegisterOutput>(file, code, &input)) {
                    sums.made.fetch_add(1, Relaxed);
                    place.store(made.handle.0, Relaxed);
                }
            }
            6 => secure(file, own_range(memory, &mut numbers), sums),
            7 | 8 => wait(file, numbers.below(3)),
            9 => {
                let input = LookupInput {
                    header: Header::of::<LookupInput>(),
                    device_address: DeviceAddress(numbers.below(1 << 32)),
                };
                let _ = attempt(|| ask::<_, LookupOutput>(file, ControlCode::Lookup, &input));
            }
            _ => {
                let handle = Handle(place.load(Relaxed));
                let input = MoveInput {
                    header: Header::of::<MoveInput>(),
                    source: handle,
                    source_offset: ByteCount(0),
                    destination: handle,
                    destination_offset: ByteCount(numbers.below(4096)),
                    length: ByteCount(1 + numbers.below(4096)),
                };
                let _ = attempt(|| ask::<_, Header>(file, ControlCode::Move, &input));
            }
        }
    }
}

/// A request through a handle that may be closed meanwhile: then there is no answer. What else a check says is passed on.
fn attempt<T>(request: impl FnOnce() -> T) -> Result<T, ()> {
    catch_unwind(AssertUnwindSafe(request)).map_err(|panic| {
        let closed = panic
            .downcast_ref::<String>()
            .is_some_and(|text| text.starts_with("the driver did not survive"));
        if !closed {
            resume_unwind(panic);
        }
    })
}

fn open_all(stage: &Stage) -> (Vec<Process>, Vec<File>) {
    let mut processes = Vec::new();
    let mut files = Vec::new();
    for _ in 0..2 {
        let (process, file) = stage.open().expect("a file");
        files.push(file);
        processes.push(process);
    }
    let duplicate = files[0].duplicate(&processes[1]).expect("a duplicate");
    files.push(duplicate);
    connect([&files[0], &files[1]]);
    (processes, files)
}

fn run_threads(processes: &[Process], files: &[File], sums: &Sums, round: u64) {
    // Of the process that opened the first file; to the others it is not theirs.
    let memory = processes[0]
        .allocate(usize::try_from(OWN).unwrap_or(0))
        .expect("memory");
    let shared: Vec<AtomicU64> = (0..16).map(|_| AtomicU64::new(0)).collect();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (shared, seed) = (&shared, round * 1000 + thread);
            scope.spawn(move || use_device(files, memory, shared, sums, seed));
        }
    });
}

/// Everything is closed, removed and unloaded; the judge has found nothing.
fn assert_clean(stage: Stage, round: u64) {
    let Stage {
        host,
        driver,
        device,
    } = stage;
    accepted(device.remove()).expect("removed");
    drop(device);
    driver.unload().expect("unloaded");
    let report = host.report();
    assert!(report.is_clean(), "round {round}: {report}");
}

#[test]
fn sums_match_what_all_threads_were_told() {
    for round in 0..ROUNDS {
        let stage = Setting::default().started().expect("the device starts");
        let (processes, files) = open_all(&stage);
        let sums = Sums::default();
        run_threads(&processes, &files, &sums, round);
        let (made, released) = (sums.made.load(Relaxed), sums.released.load(Relaxed));
        assert!(
            made > 20 && released > 5,
            "{made} made, {released} released"
        );
        let seen = statistics(&files[0]);
        assert_eq!((seen.made.0, seen.released.0), (made, released));
        assert_eq!(seen.live_registrations.0, made - released);
        let other = statistics(&files[1]);
        assert_eq!(
            seen.file_registrations.0 + other.file_registrations.0,
            seen.live_registrations.0
        );
        assert_eq!(seen.file_bytes.0 + other.file_bytes.0, seen.live_bytes.0);
        assert!(seen.peak_registrations.0 >= seen.live_registrations.0);
        drop(files);
        for process in processes {
            assert!(process.mappings().is_empty(), "round {round}");
        }
        assert_clean(stage, round);
    }
}

#[test]
fn process_dies_while_all_threads_use_its_file() {
    for round in 0..ROUNDS {
        let stage = Setting::default().started().expect("the device starts");
        let (processes, files) = open_all(&stage);
        let victim = processes[0].clone();
        let call = Numbers(round).below(600) + 1;
        stage.host.at_call(call, move || {
            let _ = victim.exit();
        });
        run_threads(&processes, &files, &Sums::default(), round);
        // Waits for an end that is under way.
        processes[0].exit().expect("ended");
        assert!(processes[0].mappings().is_empty(), "round {round}");
        drop(files);
        assert_clean(stage, round);
    }
}

/// It is gone afterwards, whoever was first.
fn tear_out(device: &Mutex<Device>) {
    let device = device.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = device.surprise_removal();
}

/// The NIC goes on as long as it can, and nothing that it is refused stops the machine.
fn keep_writing(nic: &BusMaster, address: u64, end: &AtomicBool) -> bool {
    let mut refused = false;
    while !end.load(Relaxed) && !refused {
        refused = nic.write(address, &[7; 64]).is_err();
    }
    // That the device was late is not the driver's fault.
    nic.domain().take_faults();
    refused
}

#[test]
fn device_is_torn_out_with_requests_and_dma_in_flight() {
    for round in 0..ROUNDS {
        let stage = Setting::default().started().expect("the device starts");
        let (processes, files) = open_all(&stage);
        let made = register(&files[0], &good_register()).expect("a page");
        let nic = stage.device.bus_master();
        // The PnP manager sends one request at a time.
        let device: Arc<Mutex<Device>> = Arc::new(Mutex::new(stage.device.clone()));
        let torn = Arc::clone(&device);
        let call = Numbers(round).below(400) + 1;
        stage.host.at_call(call, move || tear_out(&torn));
        let end = AtomicBool::new(false);
        let refused = std::thread::scope(|scope| {
            let dma = scope.spawn(|| keep_writing(&nic, made.device_address.0, &end));
            run_threads(&processes, &files, &Sums::default(), round);
            // If the call was not made, or its interruption is not over.
            tear_out(&device);
            let late = nic.write(made.device_address.0, &[1]).is_err();
            end.store(true, Relaxed);
            late | dma.join().expect("the NIC")
        });
        nic.domain().take_faults();
        assert!(refused, "round {round}: the NIC still reaches the memory");
        for process in &processes {
            assert!(process.mappings().is_empty(), "round {round}");
        }
        assert!(process_cannot_open(&processes[0]), "round {round}");
        drop(files);
        assert_clean(stage, round);
    }
}

fn process_cannot_open(process: &Process) -> bool {
    process.open(&INTERFACE).is_err()
}
