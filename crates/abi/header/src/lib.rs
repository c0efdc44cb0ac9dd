//! Writes the C header of the contract from the tables of [`sanproxy_abi`].
//!
//! The header stands alone: C or C++, with nothing but the compiler's own `<stddef.h>` and
//! `<stdint.h>`. Where Windows headers came first it also checks itself against `CTL_CODE` and
//! declares the interface class as a GUID.
#![forbid(unsafe_code)]

use std::fmt::Write;

use sanproxy_abi::choice::ENUMERATIONS;
use sanproxy_abi::layout::{Enumeration, Field, Struct};
use sanproxy_abi::wire::STRUCTS;
use sanproxy_abi::{
    ANY_NODE, CODES, ControlCode, Error, FAILURE_COUNTERS, INTERFACE_CLASS, INTERFACE_MAJOR,
    INTERFACE_MINOR, LARGEST_ALIGNMENT, LATENCY_BUCKETS, LONGEST_MESSAGE, LOW_MEMORY_HIGHEST,
    MESSAGES_PER_QUEUE, MOST_RANGES, PAGE_SIZE, PARAMETERS, PIECES_PER_REPLY,
    REGISTRATIONS_PER_REPLY, SECURED_RANGE, Status, WAITING_REQUESTS, WIRE_VERSION,
};

const OPENING: &str = r"/*
 * sanproxy.h: the contract between the sanproxy driver and the programs that use it.
 *
 * Generated from crates/abi: cargo run -p sanproxy-header > include/sanproxy.h
 * Do not edit.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * How to use it: find the device by its interface class, open it for reading and writing, and send
 * the control codes below with DeviceIoControl. The input and output buffers are exactly the structs
 * named with each code: no longer, no shorter. Every struct begins with a SANPROXY_HEADER; fill that
 * of the input with SANPROXY_HEADER_OF, and zero all reserved fields. What a program registers
 * belongs to the file it opened, and goes when that is closed.
 *
 * The structs have the same layout in 32-bit and 64-bit programs.
 */
#ifndef SANPROXY_H
#define SANPROXY_H

#include <stddef.h>
#include <stdint.h>

#if defined(__cplusplus)
#define SANPROXY_ASSERT(name, condition) static_assert(condition, #name)
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define SANPROXY_ASSERT(name, condition) _Static_assert(condition, #name)
#else
#define SANPROXY_ASSERT(name, condition) typedef char sanproxy_assert_##name[(condition) ? 1 : -1]
#endif
";

const CLOSING: &str = "\n#endif /* SANPROXY_H */\n";

/// The whole header.
#[must_use]
pub fn render() -> String {
    let mut text = String::from(OPENING);
    limits(&mut text);
    interface_class(&mut text);
    for enumeration in ENUMERATIONS {
        numbers(&mut text, enumeration);
    }
    for layout in STRUCTS {
        structure(&mut text, layout);
    }
    codes(&mut text);
    statuses(&mut text);
    failures(&mut text);
    parameters(&mut text);
    text.push_str(CLOSING);
    text
}

/// Adds a line; writing to a string cannot fail.
fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(content);
    text.push('\n');
}

macro_rules! line {
    ($text:expr, $($content:tt)*) => { line($text, format_args!($($content)*)) };
}

/// Adds a section's heading.
fn heading(text: &mut String, title: &str) {
    line!(text, "\n/* ---- {title} ---- */\n");
}

/// Adds documentation as a comment: what Rust marks as code is plain text in C.
fn comment(text: &mut String, indent: &str, documentation: &[&str]) {
    let plain = |line: &&str| line.trim().replace(['`', '[', ']'], "");
    let mut lines = documentation.iter().map(plain);
    match (lines.next(), documentation.len()) {
        (None, _) => {}
        (Some(only), 1) => line!(text, "{indent}/* {only} */"),
        (Some(first), _) => {
            line!(text, "{indent}/* {first}");
            for next in lines {
                let content = format!("{indent} * {next}");
                line!(text, "{}", content.trim_end());
            }
            line!(text, "{indent} */");
        }
    }
}

fn limits(text: &mut String) {
    heading(text, "Versions and limits");
    let constants = [
        (
            "The version of the structs, in every header.",
            "WIRE_VERSION",
            u64::from(WIRE_VERSION),
        ),
        (
            "The major version of the interface: another one means that old programs do not work.",
            "INTERFACE_MAJOR",
            u64::from(INTERFACE_MAJOR),
        ),
        (
            "The minor version of the interface: a higher one only adds.",
            "INTERFACE_MINOR",
            u64::from(INTERFACE_MINOR),
        ),
        (
            "The size of a page, the unit in which memory is registered.",
            "PAGE_SIZE",
            PAGE_SIZE,
        ),
        (
            "How many pieces one SANPROXY_QUERY_REGISTRATION_OUTPUT can hold.",
            "PIECES_PER_REPLY",
            u64::try_from(PIECES_PER_REPLY).unwrap_or(0),
        ),
        (
            "How many failure counters a SANPROXY_STATISTICS_OUTPUT holds.",
            "FAILURE_COUNTERS",
            u64::try_from(FAILURE_COUNTERS).unwrap_or(0),
        ),
        (
            "How many buckets the latency histogram of a SANPROXY_STATISTICS_OUTPUT has.",
            "LATENCY_BUCKETS",
            u64::try_from(LATENCY_BUCKETS).unwrap_or(0),
        ),
        (
            "How many registrations one SANPROXY_ENUMERATE_OUTPUT can hold.",
            "REGISTRATIONS_PER_REPLY",
            u64::try_from(REGISTRATIONS_PER_REPLY).unwrap_or(0),
        ),
        (
            "The most ranges that a registration is made of.",
            "MOST_RANGES",
            u64::from(MOST_RANGES),
        ),
        (
            "The kind under which a secured range is listed: it is no memory of the device.",
            "SECURED_RANGE",
            u64::from(SECURED_RANGE),
        ),
        (
            "The node number that stands for any node.",
            "ANY_NODE",
            u64::from(ANY_NODE),
        ),
        (
            "The largest alignment that can be asked for.",
            "LARGEST_ALIGNMENT",
            LARGEST_ALIGNMENT,
        ),
        (
            "The highest device address of low memory.",
            "LOW_MEMORY_HIGHEST",
            LOW_MEMORY_HIGHEST,
        ),
        (
            "The longest message between two files in bytes.",
            "LONGEST_MESSAGE",
            u64::try_from(LONGEST_MESSAGE).unwrap_or(0),
        ),
        (
            "How many messages are kept for a receiver that has not asked for them yet.",
            "MESSAGES_PER_QUEUE",
            u64::from(MESSAGES_PER_QUEUE),
        ),
        (
            "How many send requests, and how many receive requests, one file can have waiting.",
            "WAITING_REQUESTS",
            u64::from(WAITING_REQUESTS),
        ),
    ];
    for (documentation, name, value) in constants {
        comment(text, "", &[documentation]);
        line!(text, "#define SANPROXY_{name} {value:#X}u");
    }
}

fn interface_class(text: &mut String) {
    heading(text, "The device interface class");
    let guid = INTERFACE_CLASS;
    let last = guid.data4.map(|byte| format!("{byte:#04X}")).join(", ");
    comment(
        text,
        "",
        &["An initialiser of a GUID: how programs find the device."],
    );
    line!(
        text,
        "#define SANPROXY_INTERFACE_CLASS \\\n    {{ {:#010X}u, {:#06X}, {:#06X}, {{ {last} }} }}",
        guid.data1,
        guid.data2,
        guid.data3
    );
    line!(text, "\n#if defined(DEFINE_GUID)");
    comment(
        text,
        "",
        &["Include <initguid.h> before this file in one source file, so that it is defined there."],
    );
    line!(
        text,
        "DEFINE_GUID(GUID_DEVINTERFACE_SANPROXY, {:#010X}, {:#06X}, {:#06X},\n    {last});",
        guid.data1,
        guid.data2,
        guid.data3
    );
    line!(text, "#endif");
}

fn numbers(text: &mut String, enumeration: &Enumeration) {
    heading(text, enumeration.name);
    comment(text, "", enumeration.documentation);
    text.push('\n');
    for constant in enumeration.constants {
        comment(text, "", constant.documentation);
        line!(text, "#define {} {}u", constant.c_name, constant.value);
    }
}

fn structure(text: &mut String, layout: &Struct) {
    line!(text, "");
    comment(text, "", layout.documentation);
    line!(text, "typedef struct {} {{", layout.c_name);
    for field in layout.fields {
        comment(text, "    ", field.documentation);
        line!(
            text,
            "    {} {}{};",
            field.c_type,
            field.name,
            elements(field)
        );
    }
    line!(text, "}} {};\n", layout.c_name);
    let name = layout.c_name;
    line!(
        text,
        "SANPROXY_ASSERT(size_of_{name}, sizeof({name}) == {});",
        layout.size
    );
    for Field {
        name: field,
        offset,
        ..
    } in layout.fields
    {
        line!(
            text,
            "SANPROXY_ASSERT(offset_of_{name}_{field}, offsetof({name}, {field}) == {offset});"
        );
    }
    if name == "SANPROXY_HEADER" {
        line!(text, "");
        comment(
            text,
            "",
            &["An initialiser of the header of a struct of this type."],
        );
        line!(text, "#define SANPROXY_HEADER_OF(type) \\");
        line!(
            text,
            "    {{ (uint32_t)sizeof(type), SANPROXY_WIRE_VERSION, 0 }}"
        );
    }
}

fn elements(field: &Field) -> String {
    field
        .elements
        .map(|count| format!("[{count}]"))
        .unwrap_or_default()
}

fn codes(text: &mut String) {
    heading(text, "Control codes");
    comment(
        text,
        "",
        &[
            "All need read and write access to the device, and all but one are METHOD_BUFFERED.",
            "That one, and read and write requests, move messages between two connected files: a",
            "message of 1 to SANPROXY_LONGEST_MESSAGE bytes is sent with a write request and received",
            "with a read request, or both with IOCTL_SANPROXY_EXCHANGE. Messages arrive whole, once",
            "and in order. SANPROXY_MESSAGES_PER_QUEUE are kept for a receiver, charged to the quota",
            "of the sender; a sender that finds them all taken waits, and can be cancelled.",
        ],
    );
    for (code, constant) in CODES.iter().zip(ControlCode::ENUMERATION.constants) {
        line!(text, "");
        let input = code.input.c_name;
        let structs = match code.output {
            Some(output) => [
                format!("Input: {input}."),
                format!("Output: {}.", output.c_name),
            ],
            None => [
                format!("Input: {input}, then the message to send."),
                "Output: the message received.".to_owned(),
            ],
        };
        let mut documentation = constant.documentation.to_vec();
        documentation.extend(structs.iter().map(String::as_str));
        comment(text, "", &documentation);
        line!(text, "#define {} {:#X}u", constant.c_name, constant.value);
    }
    line!(text, "\n#if defined(CTL_CODE) && defined(METHOD_BUFFERED)");
    for (code, constant) in CODES.iter().zip(ControlCode::ENUMERATION.constants) {
        line!(
            text,
            "SANPROXY_ASSERT(code_of_{0}, {0} ==\n    (uint32_t)CTL_CODE(0x8A5Au, {1:#X}, \
             {2}, FILE_READ_ACCESS | FILE_WRITE_ACCESS));",
            constant.c_name,
            code.function,
            code.transfer.c_name()
        );
    }
    line!(text, "#endif");
}

fn statuses(text: &mut String) {
    heading(text, "How the driver answers");
    line!(
        text,
        "/* The NTSTATUS of a request; DeviceIoControl turns it into a Windows error."
    );
    line!(text, " *");
    for (status, name, _) in Status::ALL {
        line!(text, " * {name} ({:#010X})", status.0);
        line!(text, " *     {}", status.meaning().unwrap_or_default());
        for cause in Error::ALL.iter().filter(|cause| cause.status() == *status) {
            line!(text, " *     - {}", cause.sentence());
        }
    }
    line!(
        text,
        " *\n * A request that fails changes nothing, writes no output, and is counted.\n */"
    );
}

fn failures(text: &mut String) {
    heading(
        text,
        "Places among the failures of SANPROXY_STATISTICS_OUTPUT",
    );
    for cause in Error::ALL {
        comment(text, "", cause.documentation());
        line!(text, "#define {} {}u", cause.c_name(), cause.index());
    }
}

fn parameters(text: &mut String) {
    heading(text, "What an administrator can set");
    line!(
        text,
        "/* Values of the device's hardware key, REG_DWORD or REG_QWORD. One that is out of"
    );
    line!(
        text,
        " * its range is taken as the nearest that is in it.\n *"
    );
    for parameter in PARAMETERS {
        line!(
            text,
            " * {}: {} to {}, default {}\n *     {}",
            parameter.name,
            parameter.lowest,
            parameter.highest,
            parameter.default,
            parameter.documentation
        );
    }
    line!(text, " */");
}
