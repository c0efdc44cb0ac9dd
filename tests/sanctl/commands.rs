//! One-shot commands.

use sanctl::Exit;
use sanproxy_provider::{Access, RegisterOptions};

use crate::{
    computer::{Computer, INSTANCE},
    installation::INF,
};

#[test]
fn info_of_a_started_device_shows_what_it_offers() {
    let computer = Computer::installed();
    let info = computer.json(&["info"]);
    assert_eq!(info["devices"][0]["instance"], INSTANCE);
    assert_eq!(info["interface"], "1.0");
    assert_eq!(info["capabilities"]["page_size"], 4096);
    assert!(computer.prints(&["info"]).contains("kinds of memory"));
    computer.finish();
}

#[test]
fn info_without_a_driver_shows_what_is_known_and_says_what_to_do() {
    let computer = Computer::empty();
    let (printed, outcome) = computer.sanctl(&["info"]);
    let failure = outcome.unwrap_err();
    assert_eq!(failure.exit, Exit::NoDevice);
    assert!(failure.cure.unwrap().contains("sanctl install"));
    assert!(printed.contains("test signing"));
}

#[test]
fn install_of_a_driver_that_windows_does_not_trust_names_test_signing() {
    let untrusted = Computer::empty();
    untrusted.problem.set(Some(52));
    let failure = untrusted.fails(&["install", INF], Exit::NoDevice);
    assert!(failure.message.contains("signature"), "{failure:?}");
    assert!(failure.cure.unwrap().contains("testsigning on"));
}

#[test]
fn any_command_without_rights_asks_for_an_administrator() {
    let computer = Computer::installed();
    computer.refused.set(Some(("open", 5)));
    let failure = computer.fails(&["stats"], Exit::NoRights);
    assert!(failure.cure.unwrap().contains("administrator"));
    assert_eq!(failure.win32, Some(5));
    computer.refused.set(None);
    computer.finish();
}

#[test]
fn register_without_hold_shows_the_memory_and_releases_it() {
    let computer = Computer::installed();
    let shown = computer.json(&["register", "64K", "--low", "--map"]);
    assert_eq!(shown["length"], 65_536);
    assert_eq!(shown["low"], true);
    assert!(shown["user_address"].as_str().unwrap().starts_with("0x"));
    assert_eq!(computer.live(), 0);
    computer.finish();
}

#[test]
fn register_held_for_a_while_is_released_at_its_end() {
    let computer = Computer::installed();
    let printed = computer.prints(&["register", "64K", "--hold", "2s"]);
    assert!(printed.contains("Released."), "{printed}");
    assert_eq!(computer.live(), 0);
    computer.finish();
}

#[test]
fn register_while_a_program_runs_ends_with_it() {
    let computer = Computer::installed();
    computer.prints(&["register", "64K", "--", "true"]);
    let failure = computer.fails(&["register", "64K", "--", "false"], Exit::Failed);
    assert!(failure.message.contains("false failed"), "{failure:?}");
    let failure = computer.fails(&["register", "64K", "--", "no-such-program"], Exit::Usage);
    assert!(failure.message.contains("no-such-program"));
    assert_eq!(computer.live(), 0);
    computer.finish();
}

#[test]
fn register_beyond_the_quota_names_the_command_that_raises_it() {
    let computer = Computer::installed();
    computer.prints(&["quota", "MaximumBytesPerFile=64K", "--restart"]);
    let failure = computer.fails(&["register", "128K"], Exit::Failed);
    assert_eq!(
        failure.status,
        Some(sanproxy_provider::Status::QUOTA_EXCEEDED)
    );
    assert!(failure.cure.unwrap().contains("sanctl quota"));
    computer.finish();
}

#[test]
fn register_of_what_makes_no_sense_says_what_would() {
    let computer = Computer::installed();
    let failure = computer.fails(&["register", "4K", "--alignment", "3"], Exit::Failed);
    assert!(failure.message.contains("power of two"), "{failure:?}");
    computer.finish();
}

#[test]
fn refused_registration_names_what_was_asked_and_what_would_be_accepted() {
    let computer = Computer::installed();
    for (words, told) in [
        ("0", "0 B were asked for; 1 byte to 1 GiB"),
        ("2G", "2 GiB were asked for; 1 byte to 1 GiB"),
        (
            "4K --alignment 3",
            "an alignment of 3 B was asked for; a power of two up to 1 GiB",
        ),
        (
            "8K --boundary 4K",
            "a boundary of 4 KiB was asked for; a power of two of at least 8 KiB",
        ),
        ("4K --node 7", "node 7 was asked for; the nodes are 0 to 1"),
        ("8K --low --lowest 4G", "8 KiB were asked for between"),
        (
            "64K --host-memory --ranges 0",
            "4 KiB to 64 KiB in at most 0 ranges",
        ),
    ] {
        let words: Vec<_> = ["register"].into_iter().chain(words.split(' ')).collect();
        let cure = computer.fails(&words, Exit::Failed).cure.expect("advice");
        assert!(cure.starts_with(told), "{words:?}: {cure}");
    }
    computer.prints(&["quota", "MaximumCountPerFile=1", "--now"]);
    let words = ["session", "-c", "register 64K", "-c", "register 4K"];
    let cure = computer.fails(&words, Exit::Failed).cure.expect("advice");
    let told = "4 KiB were asked for; this file has 64 KiB of 1 GiB and 1 of 1 registrations";
    assert!(cure.starts_with(told), "{cure}");
    computer.finish();
}

#[test]
fn stats_count_failures_by_cause() {
    let computer = Computer::installed();
    computer.fails(&["register", "0"], Exit::Failed);
    assert_eq!(computer.json(&["stats"])["failures"]["Length"], 1);
    computer.finish();
}

#[test]
fn release_outside_a_session_says_where_it_works() {
    let computer = Computer::installed();
    let failure = computer.fails(&["release", "1"], Exit::Usage);
    assert!(failure.cure.expect("a cure").contains("sanctl session"));
    computer.finish();
}

#[test]
fn list_shows_the_registrations_of_all_programs() {
    let computer = Computer::installed();
    assert_eq!(computer.prints(&["list"]), "Nothing is registered.\n");
    let (process, provider) = computer.other_program();
    let one = provider
        .register(&RegisterOptions::common_buffer(65536).map().dump())
        .expect("memory");
    let other = provider
        .register(&RegisterOptions::contiguous(4096).low_memory())
        .expect("memory");
    let all = computer.json(&["list"]);
    let all = all["registrations"].as_array().expect("a list");
    assert_eq!(all.len(), 2);
    assert_eq!(all[0]["process"], process.id());
    assert_eq!(all[0]["kind"], one.kind().name());
    assert_eq!(
        (&all[0]["length"], &all[0]["pieces"]),
        (&65536.into(), &1.into())
    );
    assert_eq!(
        all[0]["flags"],
        serde_json::json!(["mapped", "in crash dumps"])
    );
    assert_eq!(all[1]["flags"], serde_json::json!(["low memory"]));
    let address = format!("{:#x}", other.device_address());
    let told = all[1]["device_address"].as_str().expect("an address");
    assert_eq!(told.replace('_', ""), address);
    let printed = computer.prints(&["list"]);
    assert!(printed.contains("mapped, in crash dumps"), "{printed}");
    let start = process.allocate(4096).expect("a page");
    let secured = provider.secure(start, 100, Access::Read).expect("secured");
    let last = &computer.json(&["list"])["registrations"][2];
    assert_eq!(
        (&last["kind"], &last["length"]),
        (&"SecuredRange".into(), &100.into())
    );
    assert_eq!(last["device_address"], serde_json::Value::Null);
    drop((secured, one, other, provider));
    computer.finish();
}

#[test]
fn list_without_rights_asks_for_an_administrator() {
    let computer = Computer::installed();
    computer.opens_without_rights();
    let failure = computer.fails(&["list"], Exit::NoRights);
    assert!(failure.cure.expect("a cure").contains("administrator"));
    let failure = computer.fails(&["quota", "MaximumCountPerFile=9", "--now"], Exit::NoRights);
    assert!(failure.message.contains("administrator"), "{failure:?}");
    let failure = computer.fails(&["register", "4K", "--dump"], Exit::NoRights);
    assert!(failure.message.contains("crash dumps"), "{failure:?}");
    computer.finish();
}

#[test]
fn stats_show_how_long_registrations_took() {
    let computer = Computer::installed();
    assert_eq!(
        computer.json(&["stats"])["latencies"],
        serde_json::json!([])
    );
    computer.prints(&["register", "64K"]);
    let told = &computer.json(&["stats"])["latencies"];
    assert_eq!(told[0]["count"], 1);
    assert!(told[0]["below_nanoseconds"].as_u64() > Some(0), "{told}");
    let printed = computer.prints(&["stats"]);
    assert!(
        printed.contains("by how long they took\nbelow"),
        "{printed}"
    );
    computer.finish();
}

#[test]
fn register_host_memory_takes_what_there_is_and_says_in_how_many_pieces() {
    let computer = Computer::installed();
    let memory = computer.json(&[
        "register",
        "1M",
        "--host-memory",
        "--minimum",
        "64K",
        "--ranges",
        "8",
        "--dump",
        "--low",
    ]);
    assert_eq!(memory["kind"], "HostMemoryBuffer");
    assert_eq!(
        (&memory["length"], &memory["low"]),
        (&(1 << 20).into(), &true.into())
    );
    let failure = computer.fails(
        &["register", "64K", "--host-memory", "--minimum", "1M"],
        Exit::Failed,
    );
    assert!(
        failure
            .message
            .contains("minimum is more than the preferred"),
        "{failure:?}"
    );
    let failure = computer.fails(
        &["register", "64K", "--host-memory", "--ranges", "5000"],
        Exit::Failed,
    );
    assert!(failure.message.contains("1 to 4096"), "{failure:?}");
    computer.finish();
}

#[test]
fn status_page_is_read_in_a_session_and_follows_it() {
    let computer = Computer::installed();
    let printed = computer.prints(&[
        "session",
        "--json",
        "-c",
        "status",
        "-c",
        "register 64K",
        "-c",
        "status",
    ]);
    let lines: Vec<serde_json::Value> = printed
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines[0]["state"], "started");
    assert_eq!(
        (&lines[0]["live_bytes"], &lines[0]["generation"]),
        (&0.into(), &1.into())
    );
    assert_eq!(
        (&lines[2]["live_bytes"], &lines[2]["made"]),
        (&65536.into(), &1.into())
    );
    let printed = computer.prints(&["session", "-c", "status"]);
    assert!(
        printed.starts_with("device             started, start 1\n"),
        "{printed}"
    );
    computer.finish();
}

#[test]
fn map_draws_every_registration_and_writes_the_picture() {
    let computer = Computer::installed();
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("sanctl-map.svg");
    let name = path.to_str().unwrap();
    let words = [
        "map", "64K", "256K", "1M", "--count", "2", "--low", "--svg", name,
    ];
    let printed = computer.prints(&words);
    assert!(
        printed.contains("registered") && printed.contains("#6"),
        "{printed}"
    );
    let svg = std::fs::read_to_string(&path).unwrap();
    assert!(svg.matches("<title>#").count() >= 6, "{svg}");
    assert_eq!(computer.live(), 0);
    computer.finish();
}

#[test]
fn map_to_a_path_that_cannot_be_written_names_it() {
    let computer = Computer::installed();
    let failure = computer.fails(
        &["map", "64K", "--svg", "/no/such/folder/x.svg"],
        Exit::Usage,
    );
    assert!(failure.message.contains("/no/such/folder/x.svg"));
    computer.finish();
}

#[test]
fn watch_prints_a_line_of_json_for_each_sample() {
    let computer = Computer::installed();
    let printed = computer.prints(&["watch", "--every", "1s", "--for", "3s", "--json"]);
    let samples: Vec<serde_json::Value> = printed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!((3..=5).contains(&samples.len()), "{printed}");
    assert!(
        samples
            .iter()
            .all(|sample| sample["live_registrations"] == 0)
    );
    computer.finish();
}

#[test]
fn watch_ends_well_at_ctrl_c() {
    let computer = Computer::installed();
    computer.interrupt_after.set(Some(25));
    assert!(computer.prints(&["watch"]).lines().count() >= 2);
    computer.interrupt_after.set(None);
    computer.finish();
}

#[test]
fn bench_measures_every_line_and_leaves_nothing() {
    let computer = Computer::installed();
    let bench = computer.json(&["bench", "--for", "5ms", "--live", "100"]);
    let lines = bench["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 13);
    assert!(lines.iter().all(|line| line["count"].as_u64() > Some(0)));
    assert_eq!(computer.live(), 0);
    computer.finish();
}

#[test]
fn soak_of_thousands_of_operations_finds_no_fault_and_leaves_nothing() {
    let computer = Computer::installed();
    let counts = computer.json(&[
        "soak",
        "--for",
        "1h",
        "--operations",
        "3000",
        "--memory",
        "2M",
        "--seed",
        "7",
    ]);
    assert_eq!(counts["operations"], 3000);
    for kind in [
        "registered",
        "released",
        "compared",
        "looked_up",
        "moved",
        "opened_again",
    ] {
        assert!(counts[kind].as_u64() > Some(0), "{kind}: {counts}");
    }
    assert_eq!(computer.live(), 0);
    computer.finish();
}

#[test]
fn soak_interrupted_ends_with_its_own_exit_code() {
    let computer = Computer::installed();
    computer.interrupt_after.set(Some(50));
    computer.fails(&["soak"], Exit::Interrupted);
    computer.interrupt_after.set(None);
    assert_eq!(computer.live(), 0);
    computer.finish();
}
