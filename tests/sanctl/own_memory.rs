//! What a session does with memory of the program's own, with events, and with messages between two of its files.

use sanctl::Exit;
use sanproxy_tests::stage::accepted;
use serde_json::Value;

use crate::computer::Computer;

/// The lines of a session, as JSON.
fn session(computer: &Computer, commands: &[&str]) -> Vec<Value> {
    let mut words = vec!["session", "--json"];
    for command in commands {
        words.extend(["-c", command]);
    }
    let printed = computer.prints(&words);
    let lines = printed.lines().map(serde_json::from_str);
    lines
        .collect::<Result<_, _>>()
        .expect("a line of JSON each")
}

/// Runs a session that fails; gives the message and the cure.
fn refused(computer: &Computer, commands: &[&str], exit: Exit) -> (String, String) {
    let mut words = vec!["session"];
    for command in commands {
        words.extend(["-c", command]);
    }
    let failure = computer.fails(&words, exit);
    (failure.message, failure.cure.unwrap_or_default())
}

#[test]
fn memory_of_the_program_is_registered_where_it_lies_and_read_and_written_there() {
    let computer = Computer::installed();
    let said = session(
        &computer,
        &[
            "allocate 10000",
            "buffer 1 --offset 100 --length 5000 --pieces",
            "write 2 0 hello",
            "read 2 0 5",
            "list",
            "release 2",
            "free 1",
        ],
    );
    assert_eq!(said[0]["length"], 12288);
    let (memory, buffer) = (address(&said[0], "address"), &said[1]);
    assert_eq!(buffer["kind"], "UserBuffer");
    assert_eq!(address(buffer, "user_address"), memory + 100);
    assert_eq!(buffer["length"], 5000);
    assert_eq!(said[3]["text"], "hello");
    assert_eq!(said[4]["registrations"][0]["number"], 2);
    assert_eq!(said[6]["freed"], 1);
    computer.finish();
}

fn address(value: &Value, field: &str) -> u64 {
    let text = value[field].as_str().expect("an address");
    u64::from_str_radix(text.trim_start_matches("0x"), 16).expect("hexadecimal")
}

#[test]
fn secured_memory_is_not_freed_until_it_is_unsecured() {
    let computer = Computer::installed();
    let said = session(
        &computer,
        &[
            "allocate 4K",
            "secure 1 --access read",
            "unsecure 2",
            "free 1",
        ],
    );
    assert_eq!(
        (&said[1]["range"], &said[1]["length"]),
        (&2.into(), &4096.into())
    );
    assert_eq!(said[2]["unsecured"], 2);
    let (message, cure) = refused(
        &computer,
        &["allocate 4K", "secure 1", "free 1"],
        Exit::Failed,
    );
    assert!(message.contains("cannot free the memory"), "{message}");
    assert!(cure.contains("unsecure it first"), "{cure}");
    assert_eq!(computer.live(), 0);
    computer.finish();
}

#[test]
fn range_that_is_not_the_programs_own_is_refused_with_what_would_be_accepted() {
    let computer = Computer::installed();
    for (command, asked) in [
        ("buffer 1 --offset 1M", "0 bytes at"),
        ("buffer 1 --offset 4000 --length 97", "97 bytes at"),
        ("secure 1 --length 8K", "8192 bytes at"),
    ] {
        let (message, cure) = refused(&computer, &["allocate 4K", command], Exit::Failed);
        assert!(message.contains("0xC0000005"), "{command}: {message}");
        assert!(message.contains("The range is"), "{command}: {message}");
        assert!(cure.starts_with(asked), "{command}: {cure}");
        assert!(cure.contains("memory 1 has 4096 bytes"), "{cure}");
    }
    computer.finish();
}

#[test]
fn number_that_was_never_given_is_a_mistake_in_the_command() {
    let computer = Computer::installed();
    for (command, cure) in [
        ("free 7", "allocate SIZE"),
        ("buffer 7", "allocate SIZE"),
        ("unsecure 7", "secure says the number"),
    ] {
        let (message, told) = refused(&computer, &[command], Exit::Usage);
        assert!(
            message.contains('7') && told.contains(cure),
            "{message}: {told}"
        );
    }
    let (message, _) = refused(&computer, &["secure 1 --access execute"], Exit::Usage);
    assert!(message.contains("execute"), "{message}");
    computer.finish();
}

/// The endpoints of a session's first two files.
fn endpoints(computer: &Computer) -> (u64, u64) {
    let said = session(computer, &["endpoint", "file 2", "endpoint"]);
    let number = |line: &Value| line["endpoint"].as_u64().expect("a number");
    // They are counted on, one by one.
    let (one, other) = (number(&said[0]), number(&said[2]));
    (other + 1, other + 1 + (other - one))
}

#[test]
fn two_files_of_a_session_name_each_other_and_exchange_messages() {
    let computer = Computer::installed();
    let (one, other) = endpoints(&computer);
    let said = session(
        &computer,
        &[
            "endpoint",
            "file 2",
            "endpoint",
            &format!("connect {one}"),
            "file 1",
            &format!("connect {other}"),
            "send \"hello there\"",
            "file 2",
            "events",
            "receive",
            "send answer",
            "file 1",
            "exchange question --no-wait",
            "file 2",
            "receive",
            "disconnect",
            "file 1",
            "events",
        ],
    );
    assert_eq!(said[3]["state"], "waiting for the other side");
    assert_eq!(said[5]["state"], "connected");
    assert_eq!(said[8]["events"]["connected"], 1);
    assert_eq!(said[9]["text"], "hello there");
    assert_eq!(said[12]["text"], "answer");
    assert_eq!(said[14]["text"], "question");
    assert_eq!(said[17]["events"]["disconnected"], 1);
    computer.finish();
}

#[test]
fn message_that_does_not_come_in_time_is_an_error_with_advice() {
    let computer = Computer::installed();
    let (one, other) = endpoints(&computer);
    let (message, cure) = refused(
        &computer,
        &[
            "endpoint",
            "file 2",
            &format!("connect {one}"),
            "file 1",
            &format!("connect {other}"),
            "receive --for 1s",
        ],
        Exit::Failed,
    );
    assert!(message.contains("nobody sent a message"), "{message}");
    assert!(cure.contains("--for"), "{cure}");
    computer.finish();
}

#[test]
fn message_without_a_connection_is_refused_with_its_status() {
    let computer = Computer::installed();
    for command in ["send x", "receive", "exchange x", "disconnect"] {
        let (message, _) = refused(&computer, &[command], Exit::Failed);
        assert!(
            message.contains("no connection with another file"),
            "{command}: {message}"
        );
    }
    let (message, _) = refused(&computer, &["connect 999999"], Exit::Failed);
    assert!(message.contains("0xC0000225"), "{message}");
    computer.finish();
}

#[test]
fn registrations_of_one_file_are_nothing_to_another() {
    let computer = Computer::installed();
    let first = session(
        &computer,
        &["register 64K", "file 2", "list", "file 1", "list"],
    );
    assert_eq!(first[2]["registrations"], Value::Array(Vec::new()));
    assert_eq!(first[4]["registrations"][0]["number"], 1);
    computer.finish();
}

#[test]
fn quota_that_is_nearly_used_up_is_an_event() {
    let computer = Computer::installed();
    computer.prints(&["quota", "MaximumBytesPerFile=64K", "--restart"]);
    let said = session(&computer, &["register 60K", "events"]);
    assert_eq!(said[1]["events"]["file near its quota"], 1);
    let printed = computer.prints(&["session", "-c", "register 60K", "-c", "events"]);
    assert!(printed.ends_with("file near its quota  1\n"), "{printed}");
    computer.finish();
}

#[test]
fn nothing_has_happened_is_an_answer() {
    let computer = Computer::installed();
    let said = session(&computer, &["events --for 1s"]);
    assert_eq!(said[0]["events"], Value::Object(serde_json::Map::new()));
    let printed = computer.prints(&["session", "-c", "events --for 1s"]);
    assert_eq!(printed, "Nothing has happened.\n");
    computer.finish();
}

#[test]
fn watch_shows_what_happens_to_the_device_meanwhile() {
    let computer = Computer::installed();
    computer.meanwhile(|stage| {
        accepted(stage.device.query_stop()).expect("nothing is registered");
        accepted(stage.device.stop()).expect("a stop");
        accepted(stage.device.start()).expect("a start");
        // The thread that listens has been told by then.
        std::thread::sleep(std::time::Duration::from_secs(1));
    });
    let words = ["watch", "--every", "1s", "--for", "3s"];
    let printed = computer.prints(&words);
    let last = printed.lines().last().expect("a line");
    assert!(
        last.ends_with("device started, device stopped"),
        "{printed}"
    );
    let first = printed.lines().next().expect("a line");
    assert!(first.ends_with("failed 0/s"), "{printed}");
    computer.finish();
}

#[test]
fn copy_will_do_where_the_memory_itself_cannot_be_had_in_one_piece() {
    let computer = Computer::installed();
    let (message, _) = refused(&computer, &["allocate 1M", "buffer 1"], Exit::Failed);
    assert!(message.contains("CONFLICTING_ADDRESSES"), "{message}");
    let said = session(
        &computer,
        &[
            "allocate 1M",
            "buffer 1 --copy",
            "write 2 0 hello",
            "synchronize 2 device",
            "synchronize 2 processor --offset 2 --length 100",
            "read 2 0 5",
        ],
    );
    assert_eq!(
        (&said[1]["copy"], &said[1]["kind"]),
        (&true.into(), &"UserBuffer".into())
    );
    assert_eq!(said[3]["synchronized"], 1 << 20);
    assert_eq!(said[4]["synchronized"], 100);
    assert_eq!(said[5]["text"], "hello");
    let (message, _) = refused(
        &computer,
        &[
            "allocate 4K",
            "buffer 1 --access read",
            "synchronize 2 processor",
        ],
        Exit::Failed,
    );
    assert!(message.contains("INVALID_PARAMETER"), "{message}");
    computer.finish();
}
