//! The C header: generated, complete, and the same contract for every compiler.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sanproxy_abi::choice::ENUMERATIONS;
use sanproxy_abi::wire::STRUCTS;
use sanproxy_abi::{CODES, ControlCode, INTERFACE_CLASS};

type Outcome = Result<(), Box<dyn Error>>;

const GCC: (&str, &str) = ("gcc", "gcc");
const GXX: (&str, &str) = ("g++", "g++");
const CLANG: (&str, &str) = ("clang", "clang");
const CLANGXX: (&str, &str) = ("clang++", "clang");
const MINGW_GCC: (&str, &str) = ("x86_64-w64-mingw32-gcc", "gcc-mingw-w64-x86-64");
const MINGW_GXX: (&str, &str) = ("x86_64-w64-mingw32-g++", "g++-mingw-w64-x86-64");

const C11: &[&str] = &["-std=c11", "-x", "c"];
const C89: &[&str] = &["-std=c89", "-x", "c"];
const CXX17: &[&str] = &["-std=c++17", "-x", "c++"];
const STRICT: &[&str] = &["-Wall", "-Wextra", "-Werror", "-pedantic"];

/// What a program that uses Windows includes first.
const WINDOWS: &str = "#include <windows.h>\n#include <winioctl.h>\n#include <initguid.h>\n";

fn include_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../include")
}

/// Runs a compiler strictly on a source; where it is missing the error says what to install.
fn compile(
    (compiler, package): (&str, &str),
    name: &str,
    options: &[&str],
    source: &str,
) -> Result<PathBuf, Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let input = folder.join(format!("{name}.source"));
    let output = folder.join(name);
    fs::write(&input, source)?;
    let include = include_folder();
    let result = Command::new(compiler)
        .args(options)
        .args(STRICT)
        .arg("-I")
        .arg(&include)
        .arg("-o")
        .arg(&output)
        .arg(&input)
        .output()
        .map_err(|error| {
            format!("{compiler} does not start ({error}): apt-get install {package}")
        })?;
    let messages = String::from_utf8_lossy(&result.stderr);
    if result.status.success() {
        Ok(output)
    } else {
        Err(format!("{compiler} {options:?} refuses the header:\n{messages}").into())
    }
}

/// Compiles the header alone, without linking.
fn compile_alone(compiler: (&str, &str), name: &str, options: &[&str]) -> Outcome {
    let options = [options, &["-c"]].concat();
    compile(compiler, name, &options, "#include <sanproxy.h>\n").map(drop)
}

#[test]
fn checked_in_header_is_the_generated_one() -> Outcome {
    let checked_in = fs::read_to_string(include_folder().join("sanproxy.h"))?;
    assert!(
        checked_in == sanproxy_header::render(),
        "include/sanproxy.h is stale: cargo run -p sanproxy-header > include/sanproxy.h"
    );
    Ok(())
}

#[test]
fn header_with_gcc_compiles_as_c() -> Outcome {
    compile_alone(GCC, "gcc-c11", C11)?;
    compile_alone(GCC, "gcc-c89", C89)
}

#[test]
fn header_with_gxx_compiles_as_cxx() -> Outcome {
    compile_alone(GXX, "gxx-cxx17", CXX17)
}

#[test]
fn header_with_clang_compiles_as_c() -> Outcome {
    compile_alone(CLANG, "clang-c11", C11)?;
    compile_alone(CLANG, "clang-c89", C89)
}

#[test]
fn header_with_clangxx_compiles_as_cxx() -> Outcome {
    compile_alone(CLANGXX, "clangxx-cxx17", CXX17)
}

#[test]
fn header_with_mingw_gcc_compiles_as_c() -> Outcome {
    compile_alone(MINGW_GCC, "mingw-gcc-c11", C11)
}

#[test]
fn header_with_mingw_gxx_compiles_as_cxx() -> Outcome {
    compile_alone(MINGW_GXX, "mingw-gxx-cxx17", CXX17)
}

#[test]
fn header_for_a_32_bit_program_keeps_every_size_and_offset() -> Outcome {
    // Two rules of alignment: this one aligns 64-bit integers to 4 bytes.
    let narrow = [C11, &["-m32", "-ffreestanding"]].concat();
    compile_alone(GCC, "gcc-32", &narrow)?;
    // And that of 32-bit Windows aligns them to 8.
    let windows = [C11, &["--target=i686-pc-windows-msvc", "-ffreestanding"]].concat();
    compile_alone(CLANG, "clang-32-windows", &windows)
}

#[test]
fn header_after_windows_headers_agrees_with_ctl_code_and_declares_the_guid() -> Outcome {
    let source = format!(
        "{WINDOWS}#include <sanproxy.h>\n\
         #if !defined(CTL_CODE) || !defined(DEFINE_GUID)\n#error nothing was checked\n#endif\n\
         const GUID *sanproxy_class(void);\n\
         const GUID *sanproxy_class(void) {{ return &GUID_DEVINTERFACE_SANPROXY; }}\n"
    );
    let as_c = [C11, &["-c"]].concat();
    compile(MINGW_GCC, "mingw-windows-c11", &as_c, &source)?;
    let as_cxx = [CXX17, &["-c"]].concat();
    compile(MINGW_GXX, "mingw-windows-cxx17", &as_cxx, &source)?;
    Ok(())
}

#[test]
fn header_with_a_moved_field_does_not_compile() -> Outcome {
    let text = fs::read_to_string(include_folder().join("sanproxy.h"))?;
    let moved = text.replacen("uint64_t lowest;", "uint64_t extra; uint64_t lowest;", 1);
    assert_ne!(moved, text);
    let options = [C11, &["-c"]].concat();
    let Err(error) = compile(GCC, "gcc-moved", &options, &moved) else {
        panic!("a field moved and nothing noticed");
    };
    assert!(
        error
            .to_string()
            .contains("offset_of_SANPROXY_REGISTER_INPUT_lowest")
    );
    Ok(())
}

/// A C program that prints what its compiler makes of the header, a line each.
fn layout_program() -> Result<String, std::fmt::Error> {
    let mut source =
        String::from("#include <sanproxy.h>\n#include <stdio.h>\n\nint main(void) {\n");
    source
        .push_str("    static const struct { uint32_t a; uint16_t b, c; uint8_t d[8]; } guid =\n");
    source.push_str("        SANPROXY_INTERFACE_CLASS;\n");
    source.push_str(
        "    static const SANPROXY_HEADER header = SANPROXY_HEADER_OF(SANPROXY_PIECE);\n",
    );
    for layout in STRUCTS {
        let name = layout.c_name;
        writeln!(source, "    printf(\"{name} %zu\\n\", sizeof({name}));")?;
        for field in layout.fields {
            writeln!(
                source,
                "    printf(\"{name}.{0} %zu %zu\\n\", offsetof({name}, {0}),\n        \
                 sizeof((({name} *)0)->{0}));",
                field.name
            )?;
        }
    }
    for constant in constants() {
        writeln!(
            source,
            "    printf(\"{0} %lu\\n\", (unsigned long){0});",
            constant.0
        )?;
    }
    source.push_str("    printf(\"%lX %X %X %X %X\\n\", (unsigned long)guid.a, guid.b, guid.c,\n");
    source.push_str("        guid.d[0], guid.d[7]);\n");
    source.push_str("    printf(\"%lu %u\\n\", (unsigned long)header.size, header.version);\n");
    source.push_str("    return 0;\n}\n");
    Ok(source)
}

fn constants() -> impl Iterator<Item = (&'static str, u64)> {
    let named = ENUMERATIONS
        .iter()
        .flat_map(|enumeration| enumeration.constants);
    let codes = ControlCode::ENUMERATION.constants;
    let numbers = named
        .chain(codes)
        .map(|number| (number.c_name, u64::from(number.value)));
    let failures = sanproxy_abi::Error::ALL
        .iter()
        .filter_map(|error| Some((error.c_name(), u64::try_from(error.index()).ok()?)));
    let limits = [
        (
            "SANPROXY_WIRE_VERSION",
            u64::from(sanproxy_abi::WIRE_VERSION),
        ),
        (
            "SANPROXY_INTERFACE_MAJOR",
            u64::from(sanproxy_abi::INTERFACE_MAJOR),
        ),
        (
            "SANPROXY_INTERFACE_MINOR",
            u64::from(sanproxy_abi::INTERFACE_MINOR),
        ),
        ("SANPROXY_PAGE_SIZE", sanproxy_abi::PAGE_SIZE),
        ("SANPROXY_ANY_NODE", u64::from(sanproxy_abi::ANY_NODE)),
        (
            "SANPROXY_LARGEST_ALIGNMENT",
            sanproxy_abi::LARGEST_ALIGNMENT,
        ),
        (
            "SANPROXY_LOW_MEMORY_HIGHEST",
            sanproxy_abi::LOW_MEMORY_HIGHEST,
        ),
    ];
    numbers.chain(failures).chain(limits)
}

/// What the program has to print: the contract as Rust sees it.
fn expected_layout() -> Result<String, std::fmt::Error> {
    let mut expected = String::new();
    for layout in STRUCTS {
        writeln!(expected, "{} {}", layout.c_name, layout.size)?;
        for field in layout.fields {
            let (name, offset, size) = (field.name, field.offset, field.size);
            writeln!(expected, "{}.{name} {offset} {size}", layout.c_name)?;
        }
    }
    for (name, value) in constants() {
        writeln!(expected, "{name} {value}")?;
    }
    let guid = INTERFACE_CLASS;
    let [first, .., last] = guid.data4;
    writeln!(
        expected,
        "{:X} {:X} {:X} {first:X} {last:X}",
        guid.data1, guid.data2, guid.data3
    )?;
    writeln!(expected, "24 1")?;
    Ok(expected)
}

#[test]
fn c_and_rust_see_the_same_sizes_offsets_and_numbers() -> Outcome {
    let program = layout_program()?;
    for (compiler, name, options) in [
        (GCC, "layout-gcc", C11),
        (CLANG, "layout-clang", C11),
        (GXX, "layout-gxx", CXX17),
    ] {
        let path = compile(compiler, name, options, &program)?;
        let printed = Command::new(path).output()?;
        assert_eq!(String::from_utf8(printed.stdout)?, expected_layout()?);
    }
    Ok(())
}

#[test]
fn header_names_the_structs_of_every_code() {
    let text = sanproxy_header::render();
    for (code, constant) in CODES.iter().zip(ControlCode::ENUMERATION.constants) {
        let input = code.input.c_name;
        let structs = match code.output {
            Some(output) => format!(" * Input: {input}.\n * Output: {}.\n", output.c_name),
            None => format!(
                " * Input: {input}, then the message to send.\n * Output: the message received.\n"
            ),
        };
        let expected = format!(
            "{structs} */\n#define {} {:#X}u\n",
            constant.c_name, constant.value
        );
        assert!(text.contains(&expected), "{expected}");
    }
}
