//! A registration belongs to the file that made it and goes with it, whatever the way.
//!
//! Cites san.md: R07, R19, R52, R53; security.md: C26, C29-C31, C37-C39; verifier-rules.md: V122, V125, V126.

use sanproxy_abi::{Error, RegisterFlags, wire::Flags};
use sanproxy_provider::RegisterOptions;
use sanproxy_tests::{
    stage::{Setting, Stage},
    wire::{good_register, register, release, statistics},
};

fn started() -> Stage {
    Setting::default().started().expect("the device starts")
}

fn assert_clean(stage: Stage) {
    let report = stage.finish().expect("the driver unloads");
    assert!(report.is_clean(), "{report}");
}

/// Registrations of the whole device.
fn live(stage: &Stage) -> u64 {
    let (_, file) = stage.open().expect("a witness");
    statistics(&file).live_registrations.0
}

fn mapped_page() -> sanproxy_abi::wire::RegisterInput {
    let mut input = good_register();
    input.flags = Flags(RegisterFlags::MAP.bits());
    input
}

#[test]
fn closing_the_file_releases_everything() {
    let stage = started();
    let (process, file) = stage.open().expect("a file");
    let made = register(&file, &mapped_page()).expect("a page");
    register(&file, &good_register()).expect("another");
    drop(file);
    assert_eq!(live(&stage), 0);
    assert!(
        process.read(made.user_address.0, &mut [0]).is_err(),
        "the mapping is gone"
    );
    assert_clean(stage);
}

#[test]
fn killed_process_releases_everything() {
    let stage = started();
    let (process, file) = stage.open().expect("a file");
    register(&file, &mapped_page()).expect("a page");
    process.exit().expect("killed");
    assert_eq!(live(&stage), 0);
    drop(file);
    assert_clean(stage);
}

#[test]
fn mapping_goes_with_its_process_while_a_duplicate_handle_keeps_the_file_open() {
    let stage = started();
    let (process, file) = stage.open().expect("a file");
    let made = register(&file, &mapped_page()).expect("a page");
    let other = stage.host.create_process("other.exe").expect("a process");
    let duplicate = file.duplicate(&other).expect("a duplicate");
    process.exit().expect("killed");
    // The registration lives on with the file; only its mapping is gone.
    assert_eq!(statistics(&duplicate).file_registrations.0, 1);
    release(&duplicate, made.handle).expect("released in the other process");
    drop((file, duplicate));
    assert_clean(stage);
}

#[test]
fn cleanup_in_another_process_takes_the_mapping_out_of_the_owner() {
    let stage = started();
    let (process, file) = stage.open().expect("a file");
    let made = register(&file, &mapped_page()).expect("a page");
    let other = stage.host.create_process("other.exe").expect("a process");
    let duplicate = file.duplicate(&other).expect("a duplicate");
    drop(file);
    process
        .read(made.user_address.0, &mut [0])
        .expect("still mapped: the duplicate keeps the file open");
    drop(duplicate);
    assert!(
        process.read(made.user_address.0, &mut [0]).is_err(),
        "the mapping is gone"
    );
    assert_eq!(live(&stage), 0);
    assert_clean(stage);
}

#[test]
fn mapping_is_refused_to_a_process_that_did_not_open_the_file() {
    let stage = started();
    let (_, file) = stage.open().expect("a file");
    let other = stage.host.create_process("other.exe").expect("a process");
    let duplicate = file.duplicate(&other).expect("a duplicate");
    assert_eq!(
        register(&duplicate, &mapped_page()),
        Err(Error::WrongProcess.status())
    );
    register(&duplicate, &good_register()).expect("without a mapping it is fine");
    drop((file, duplicate));
    assert_clean(stage);
}

#[test]
fn release_from_another_process_takes_the_mapping_out_of_the_owner() {
    let stage = started();
    let (process, file) = stage.open().expect("a file");
    let made = register(&file, &mapped_page()).expect("a page");
    let other = stage.host.create_process("other.exe").expect("a process");
    let duplicate = file.duplicate(&other).expect("a duplicate");
    release(&duplicate, made.handle).expect("released over there");
    assert!(
        process.read(made.user_address.0, &mut [0]).is_err(),
        "the mapping is gone"
    );
    drop((file, duplicate));
    assert_clean(stage);
}

#[test]
fn process_that_ends_before_it_registers_leaves_nothing() {
    let stage = started();
    let (process, file) = stage.open().expect("a file");
    process.exit().expect("killed");
    drop(file);
    assert_clean(stage);
}

#[test]
fn mappings_of_two_files_of_one_process_are_apart() {
    let stage = started();
    let (process, first) = stage.provider().expect("a provider");
    let second = process
        .open(&sanproxy_tests::stage::INTERFACE)
        .expect("another file");
    let kept = first
        .register(&RegisterOptions::common_buffer(8192).map())
        .expect("memory");
    register(&second, &mapped_page()).expect("a page");
    drop(second);
    kept.write_at(0, &[1])
        .expect("the first file's mapping is untouched");
    drop(kept);
    drop(first);
    assert_clean(stage);
}

#[test]
fn racing_threads_lose_nothing() {
    let stage = started();
    let (_, file) = stage.open().expect("a file");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let made = register(&file, &mapped_page()).expect("a page");
                    release(&file, made.handle).expect("released");
                }
            });
        }
    });
    assert_eq!(statistics(&file).live_registrations.0, 0);
    drop(file);
    assert_clean(stage);
}
