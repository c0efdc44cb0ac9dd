//! The test driver: built once, loaded with the routines below.

use std::cell::RefCell;
use std::path::PathBuf;
use std::process::Command;
use std::ptr::NonNull;
use std::sync::OnceLock;

use nt_image::{C_SPECIFIC_HANDLER, Image, Import, Routine, Trap, call, raise, stop};

thread_local! {
    static NOTES: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// What the driver has noted on this thread since the last time.
pub(crate) fn notes() -> Vec<u64> {
    NOTES.take()
}

/// The driver's file, built if need be.
pub(crate) fn file() -> &'static [u8] {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(|| build("test-image", &[]))
}

/// Builds the driver in its own directory `name`, with more linker options.
pub(crate) fn build(name: &str, options: &[&str]) -> Vec<u8> {
    let package = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/image");
    let output = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(package)
        .args(["rustc", "--quiet", "--locked", "--offline"]);
    cargo
        .args(["--target", "x86_64-pc-windows-msvc", "--target-dir"])
        .arg(&output);
    cargo
        .args(["--", "-C", "linker=rust-lld"])
        .env_remove("RUSTFLAGS");
    let basic = [
        "/NODEFAULTLIB",
        "/ENTRY:DriverEntry",
        "/SUBSYSTEM:NATIVE",
        "/DRIVER",
    ];
    for option in basic.iter().chain(options) {
        cargo.arg("-C").arg(format!("link-arg={option}"));
    }
    let status = cargo.status().expect("cargo can be run");
    assert!(status.success(), "the test driver does not build: {status}");
    let file = output.join("x86_64-pc-windows-msvc/debug/test_image.dll");
    std::fs::read(file).expect("the test driver has been built")
}

/// Maps a fresh copy of the driver.
pub(crate) fn load() -> Driver {
    let image = Image::load("test.sys", file(), &mut |_, name| resolve(name));
    Driver(image.expect("the test driver loads"))
}

/// A copy of the test driver.
pub(crate) struct Driver(pub(crate) Image);

impl Driver {
    /// Address of an export.
    pub(crate) fn address(&self, name: &str) -> u64 {
        self.0.export(name).expect("the driver exports it").addr() as u64
    }

    /// Runs an export.
    pub(crate) fn run(&self, name: &str, arguments: &[u64]) -> Result<u64, Trap> {
        let function = self.0.export(name).expect("the driver exports it");
        // SAFETY: the exports take integers, and what they do to memory is caught.
        unsafe { call(function, arguments) }
    }

    /// Runs the export `name` under a guard that takes every exception; gives its code.
    pub(crate) fn guarded(&self, name: &str, argument: u64) -> u64 {
        let result = self.run("guarded", &[self.address(name), argument]);
        let result = result.expect("the guard takes every exception");
        assert!(result >> 63 == 1, "no exception, but {result:#x}");
        result & u64::from(u32::MAX)
    }

    /// What the last filter saw.
    pub(crate) fn seen(&self) -> [u64; 6] {
        [0, 1, 2, 3, 4, 5].map(|index| self.run("seen", &[index]).expect("it only reads"))
    }
}

pub(crate) fn resolve(name: &str) -> Option<Import> {
    static BUILD_NUMBER: u32 = 26100;
    if name == "NtBuildNumber" {
        return Some(Import::Data(NonNull::from(&BUILD_NUMBER).cast()));
    }
    ROUTINES
        .iter()
        .find(|routine| routine.name == name)
        .map(Import::Routine)
}

const fn routine(name: &'static str, function: *const ()) -> Routine {
    Routine {
        name,
        function,
        tag: 0,
    }
}

static ROUTINES: [Routine; 7] = [
    routine("Sum13", sum13 as *const ()),
    routine("Raise", raise_status as *const ()),
    routine("Note", note as *const ()),
    routine("Stop", stop_driver as *const ()),
    routine("CallBack", call_back as *const ()),
    routine("ReadAt", read_at as *const ()),
    routine("__C_specific_handler", C_SPECIFIC_HANDLER),
];

extern "win64" fn sum13(
    p1: u64,
    p2: u64,
    p3: u64,
    p4: u64,
    p5: u64,
    p6: u64,
    p7: u64,
    p8: u64,
    p9: u64,
    p10: u64,
    p11: u64,
    p12: u64,
    p13: u64,
) -> u64 {
    let all = [p1, p2, p3, p4, p5, p6, p7, p8, p9, p10, p11, p12, p13];
    all.into_iter().fold(0, |sum, value| sum * 16 + value)
}

extern "win64" fn raise_status(status: u64, parameter: u64) -> u64 {
    raise(
        u32::try_from(status).expect("a status has 32 bits"),
        &[parameter],
    );
}

extern "win64" fn note(value: u64) -> u64 {
    NOTES.with_borrow_mut(|notes| notes.push(value));
    value
}

extern "win64" fn stop_driver(value: u64) -> u64 {
    stop(Box::new(value));
}

extern "win64" fn call_back(function: *const (), context: u64) -> u64 {
    // SAFETY: the driver passes a function with one argument.
    match unsafe { call(function, &[context]) } {
        Ok(result) => result,
        Err(Trap::Exception { code, .. }) => note(u64::from(code)),
        Err(Trap::Stopped(payload)) => stop(payload),
    }
}

extern "win64" fn read_at(address: u64) -> u64 {
    let place = std::ptr::with_exposed_provenance::<u64>(address as usize);
    // SAFETY: it is the driver's address; a fault is the driver's exception.
    unsafe { place.read_volatile() }
}
