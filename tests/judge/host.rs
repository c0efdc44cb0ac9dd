//! The host itself: images that it cannot load, several of it at once, drivers that stop it.

use std::{thread, time::Instant};

use nt_host::{Host, HostError, RegistryValue};
use nt_image::LoadError;
use object::{LittleEndian, Object, ObjectSection, pe, read::pe::PeFile64};
use sanproxy_tests::image::{self, TestImage};

use crate::stage::{Stage, builder, code, fault, input, work};

/// The image with every occurrence of a text replaced by one of equal length.
fn with_text(mut file: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let found: Vec<usize> = (0..file.len() - from.len())
        .filter(|&at| file[at..].starts_with(from))
        .collect();
    assert!(!found.is_empty());
    for at in found {
        file[at..at + to.len()].copy_from_slice(to);
    }
    file
}

#[test]
fn imports_that_the_host_lacks_are_all_listed_in_one_error() {
    let file = image::read(TestImage::Faulty);
    let file = with_text(file, b"IoAllocateMdl\0", b"IoAllocateXdl\0");
    let file = with_text(file, b"KeSetEvent\0", b"KeSetXvent\0");
    let host = builder().build().expect("a host");
    let error = host
        .load("faulty", &file)
        .map(drop)
        .expect_err("no such routines");
    let HostError::Load(LoadError::MissingImports(missing)) = error else {
        panic!("{error}")
    };
    let mut names: Vec<&str> = missing.iter().map(|(_, name)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["IoAllocateXdl", "KeSetXvent"]);
    assert!(missing.iter().all(|(module, _)| module == "ntoskrnl.exe"));
}

/// Where in the file the header of a section holds its flags.
fn flags_of(file: &[u8], section: &str) -> usize {
    let image = PeFile64::parse(file).expect("a PE image");
    let index = image
        .sections()
        .position(|candidate| candidate.name() == Ok(section))
        .expect("the section");
    let headers = image.dos_header().nt_headers_offset() as usize
        + 24
        + usize::from(
            image
                .nt_headers()
                .file_header
                .size_of_optional_header
                .get(LittleEndian),
        );
    headers + 40 * index + 36
}

fn report_with_flags(section: &str, flags: u32) -> nt_host::Report {
    let mut file = image::read(TestImage::Faulty);
    let at = flags_of(&file, section);
    let old = u32::from_le_bytes(file[at..at + 4].try_into().expect("four bytes"));
    file[at..at + 4].copy_from_slice(&(old | flags).to_le_bytes());
    let host = builder().build().expect("a host");
    drop(host.load("faulty", &file));
    host.report()
}

#[test]
fn section_that_is_writable_and_executable_is_v140() {
    let report = report_with_flags(".data", pe::IMAGE_SCN_MEM_EXECUTE);
    assert!(report.has("V140"), "{report}");
}

#[test]
fn section_that_does_not_begin_at_a_page_is_v141() {
    // One more section, without contents, half a page behind the last, in an image that says it may lie there.
    let mut file = image::read(TestImage::Faulty);
    let image = PeFile64::parse(file.as_slice()).expect("a PE image");
    let headers = image.dos_header().nt_headers_offset() as usize;
    let size = image
        .nt_headers()
        .optional_header
        .size_of_image
        .get(LittleEndian);
    let count = image.sections().count();
    let new = flags_of(&file, ".text") - 36 + 40 * count;
    file[headers + 6] += 1;
    let alignment = headers + 24 + 32;
    file[alignment..alignment + 4].copy_from_slice(&0x200_u32.to_le_bytes());
    let image_size = headers + 24 + 56;
    file[image_size..image_size + 4].copy_from_slice(&(size + 0x1000).to_le_bytes());
    file[new..new + 8].copy_from_slice(b".odd\0\0\0\0");
    file[new + 8..new + 12].copy_from_slice(&0x100_u32.to_le_bytes());
    file[new + 12..new + 16].copy_from_slice(&(size + 0x800).to_le_bytes());
    file[new + 16..new + 36].fill(0);
    let flags = pe::IMAGE_SCN_MEM_READ | pe::IMAGE_SCN_CNT_INITIALIZED_DATA;
    file[new + 36..new + 40].copy_from_slice(&flags.to_le_bytes());
    let host = builder().build().expect("a host");
    let loaded = host.load("faulty", &file).map(drop);
    assert!(host.report().has("V141"), "{loaded:?}, {}", host.report());
}

#[test]
fn import_table_in_an_executable_section_is_v142() {
    let report = report_with_flags(".rdata", pe::IMAGE_SCN_MEM_EXECUTE);
    assert!(report.has("V142"), "{report}");
}

#[test]
fn process_callback_of_an_image_without_integrity_check_is_v299() {
    let mut file = image::read(TestImage::Faulty);
    let headers = PeFile64::parse(file.as_slice())
        .expect("a PE image")
        .dos_header()
        .nt_headers_offset();
    // DllCharacteristics, of which this bit is the upper one of the low byte.
    file[headers as usize + 24 + 70] &= 0x7F;
    let fault = RegistryValue::Dword(299);
    let host = builder().parameter("Fault", fault).build().expect("a host");
    let driver = host.load("faulty", &file).expect("the driver loads");
    drop(driver.add_device());
    let report = host.report();
    assert!(report.has("V299"), "{report}");
}

#[test]
fn process_callback_of_an_image_with_integrity_check_is_not_reported() {
    let report = crate::stage::life_of(299, false);
    assert!(report.is_clean(), "{report}");
}

#[test]
fn bug_check_ends_the_run_with_an_error() {
    let stage = Stage::new();
    let begin = Instant::now();
    let error = stage.send(code(work::BUG_CHECK), 0, 0).expect_err("a stop");
    assert!(matches!(error, HostError::Stopped(_)), "{error}");
    assert!(stage.host.is_dead());
    let error = stage.send(code(work::NOTHING), 0, 0).expect_err("refused");
    assert!(matches!(error, HostError::Stopped(_)), "{error}");
    let report = stage.end();
    assert!(report.has("V308"), "{report}");
    assert!(begin.elapsed().as_secs() < 2, "it hung");
}

#[test]
fn exception_without_a_handler_ends_the_run_with_an_error() {
    let stage = Stage::new();
    let error = stage.send(code(work::RAISE), 0, 0).expect_err("a stop");
    assert!(matches!(error, HostError::Stopped(_)), "{error}");
    let report = stage.end();
    assert!(!report.violations.is_empty());
}

#[test]
fn exception_of_a_routine_reaches_the_drivers_handler() {
    let stage = Stage::new();
    let nowhere = 0x10_0000;
    assert_eq!(stage.ask(work::LOCK_GUARDED, 0, nowhere), 0xC000_0005);
    let page = stage.process.allocate(4096).expect("a page");
    assert_eq!(stage.ask(work::LOCK_GUARDED, 0, page), 0);
    let report = stage.end();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn fault_on_one_host_is_not_reported_on_another() {
    let (faulty, clean) = (Stage::new(), Stage::new());
    for _ in 0..8 {
        drop(faulty.send(fault(7), 0, 0));
        clean.work(work::POOL);
    }
    let (faulty, clean) = (faulty.end(), clean.end());
    assert!(faulty.has("V007"), "{faulty}");
    assert!(clean.is_clean(), "{clean}");
}

#[test]
fn hosts_on_several_threads_run_at_once() {
    let threads: Vec<_> = (0..4_u32)
        .map(|number| {
            thread::spawn(move || {
                let stage = Stage::new();
                for _ in 0..50 {
                    stage.work(work::POOL);
                    stage.work(work::MEMORY);
                    stage.work(work::DMA);
                }
                if number == 3 {
                    let request = input(0, 0);
                    drop(stage.file().device_control(fault(10), &request, &mut []));
                }
                stage.end()
            })
        })
        .collect();
    let reports: Vec<_> = threads
        .into_iter()
        .map(|thread| thread.join().expect("no panic"))
        .collect();
    for report in &reports[..3] {
        assert!(report.is_clean(), "{report}");
    }
    assert!(reports[3].has("V010"), "{}", reports[3]);
}

#[test]
fn host_without_a_driver_has_a_clean_report() {
    let host = Host::builder().build().expect("a host");
    assert!(host.report().is_clean());
}
