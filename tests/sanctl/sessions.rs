//! `sanctl session`: several commands on one open file.

use sanctl::Exit;

use crate::computer::Computer;

#[test]
fn session_registers_writes_reads_looks_up_and_releases() {
    let computer = Computer::installed();
    let printed = computer.prints(&[
        "session",
        "-c",
        "register 64K --low --map",
        "-c",
        "write 1 0x10 \"hello there\"",
        "-c",
        "read 1 0x10 11",
        "-c",
        "list",
        "-c",
        "release 1",
        "-c",
        "list",
    ]);
    assert!(
        printed.contains("hello there") && printed.contains("68 65 6c 6c 6f"),
        "{printed}"
    );
    assert!(printed.contains("Released #1."), "{printed}");
    assert!(printed.ends_with("Nothing is registered.\n"), "{printed}");
    computer.finish();
}

#[test]
fn session_copies_between_registrations_inside_the_driver() {
    let computer = Computer::installed();
    let printed = computer.prints(&[
        "session",
        "-c",
        "register 4K --map",
        "-c",
        "register 4K --map",
        "-c",
        "write 1 0 abc",
        "-c",
        "copy 1 0 2 100 3",
        "-c",
        "read 2 100 3",
    ]);
    assert!(printed.ends_with("61 62 63\nabc\n"), "{printed}");
    computer.finish();
}

#[test]
fn session_lookup_of_what_an_earlier_session_had_finds_nothing() {
    let computer = Computer::installed();
    let first = computer.json(&["session", "-c", "register 64K"]);
    let address = first["device_address"].as_str().unwrap().to_owned();
    let printed = computer.prints(&[
        "session",
        "-c",
        &format!("lookup {address}"),
        "-c",
        "quit",
        "-c",
        "never",
    ]);
    assert_eq!(printed, "Nothing of this session.\n");
    computer.finish();
}

#[test]
fn session_with_json_prints_a_line_for_each_command() {
    let computer = Computer::installed();
    let printed = computer.prints(&[
        "session",
        "--json",
        "-c",
        "register 64K",
        "-c",
        "stats",
        "-c",
        "release 1",
    ]);
    let lines: Vec<serde_json::Value> = printed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[1]["file_bytes"], 65_536);
    assert_eq!(lines[2]["released"], 1);
    computer.finish();
}

#[test]
fn session_draws_what_it_holds() {
    let computer = Computer::installed();
    let printed = computer.prints(&[
        "session",
        "-c",
        "register 64K",
        "-c",
        "register 64K",
        "-c",
        "map",
    ]);
    assert!(
        printed.contains("A #1") && printed.contains("B #2"),
        "{printed}"
    );
    computer.finish();
}

#[test]
fn session_releases_all_at_its_end() {
    let computer = Computer::installed();
    computer.prints(&["session", "-c", "register 64K --map", "-c", "register 1M"]);
    assert_eq!(computer.live(), 0);
    computer.finish();
}

#[test]
fn session_stops_at_the_first_error_with_its_exit_code() {
    let computer = Computer::installed();
    let words = [
        "session",
        "-c",
        "register 64K",
        "-c",
        "release 9",
        "-c",
        "list",
    ];
    let (printed, outcome) = computer.sanctl(&words);
    assert_eq!(outcome.unwrap_err().exit, Exit::Usage);
    assert!(!printed.contains("Mapped at"), "{printed}");
    assert_eq!(computer.live(), 0);
    computer.finish();
}

#[test]
fn session_that_keeps_going_still_ends_with_the_first_error() {
    let computer = Computer::installed();
    let words = [
        "session",
        "--keep-going",
        "-c",
        "frobnicate",
        "-c",
        "register 64K",
        "-c",
        "list",
    ];
    let (printed, outcome) = computer.sanctl(&words);
    assert!(outcome.unwrap_err().message.contains("frobnicate"));
    assert!(printed.contains("Mapped at"), "{printed}");
    computer.finish();
}

#[test]
fn session_help_lists_the_commands() {
    let computer = Computer::installed();
    let printed = computer.prints(&["session", "-c", "help"]);
    assert!(
        printed.contains("lookup") && printed.contains("Copy inside the driver"),
        "{printed}"
    );
    computer.finish();
}

#[test]
fn session_reads_its_script_from_a_file() {
    let computer = Computer::installed();
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("script.txt");
    std::fs::write(
        &path,
        "# two of them\r\nregister 4K\r\n\r\nregister 4K # another\r\nstats\r\n",
    )
    .unwrap();
    let printed = computer.prints(&["session", path.to_str().unwrap()]);
    assert!(
        printed.contains("of this file    2 with 8 KiB"),
        "{printed}"
    );
    let failure = computer.fails(&["session", "/no/such/script"], Exit::Usage);
    assert!(failure.message.contains("/no/such/script"));
    computer.finish();
}

#[test]
fn session_write_to_memory_that_is_not_mapped_says_so() {
    let computer = Computer::installed();
    let failure = computer.fails(
        &["session", "-c", "register 4K", "-c", "write 1 0 x"],
        Exit::Failed,
    );
    assert!(failure.message.contains("not mapped"), "{failure:?}");
    computer.finish();
}
