//! The command line, from installing to uninstalling.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    Failure, Outcome,
    programs::program,
    session::{Finished, STAGED, Session},
};

const DONE: Option<i32> = Some(0);
const REFUSED: Option<i32> = Some(1);
const WRONG_COMMAND_LINE: Option<i32> = Some(2);
const NO_DEVICE: Option<i32> = Some(3);
const LIMIT: Duration = Duration::from_secs(20);

fn sanctl(session: &Session, arguments: &[&str]) -> Result<Finished, Failure> {
    session.run(&program("sanctl.exe"), arguments)
}

/// Runs a command that has to succeed, and reads the JSON that it prints.
fn json(session: &Session, arguments: &[&str]) -> Result<Value, Failure> {
    let finished = sanctl(session, &[arguments, &["--json"]].concat())?;
    assert_eq!(finished.code, DONE, "{arguments:?}: {finished:?}");
    Ok(serde_json::from_str(&finished.output)?)
}

fn install(session: &mut Session) -> Result<Value, Failure> {
    let inf = format!(r"{STAGED}\sanproxy.inf");
    let report = json(session, &["install", &inf])?;
    session.set_installed(true);
    Ok(report)
}

/// The registrations of all programs, as soon as there are so many, or at last.
fn live_registrations(session: &Session, wanted: u64) -> Result<Option<u64>, Failure> {
    let begin = Instant::now();
    loop {
        let live = json(session, &["stats"])?["live_registrations"].as_u64();
        if live == Some(wanted) || begin.elapsed() > LIMIT {
            return Ok(live);
        }
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn sanctl_install_creates_a_device_that_runs() -> Outcome {
    let mut session = Session::without_driver()?;
    let report = install(&mut session)?;
    assert_eq!(report["device"], r"ROOT\SANPROXY\0000");
    assert_eq!(report["created"], true);
    let information = json(&session, &["info"])?;
    assert_eq!(information["devices"][0]["started"], true);
    assert_eq!(information["capabilities"]["dma_version"], 3);
    Ok(())
}

#[test]
fn sanctl_install_a_second_time_keeps_the_device() -> Outcome {
    let mut session = Session::without_driver()?;
    install(&mut session)?;
    let report = install(&mut session)?;
    assert_eq!(report["created"], false);
    let information = json(&session, &["info"])?;
    assert_eq!(information["devices"].as_array().map(Vec::len), Some(1));
    assert_eq!(information["devices"][0]["started"], true);
    Ok(())
}

#[test]
fn sanctl_uninstall_leaves_neither_device_nor_service() -> Outcome {
    let mut session = Session::without_driver()?;
    install(&mut session)?;
    let report = json(&session, &["uninstall"])?;
    session.set_installed(false);
    assert_eq!(report["devices"][0], r"ROOT\SANPROXY\0000");
    assert_eq!(report["service"], true);
    let probe = session.probe()?;
    assert_eq!(probe.ask(r"devices Root\SanProxy")?, "0");
    assert!(probe.ask("service SanProxy").is_err());
    assert_eq!(sanctl(&session, &["info"])?.code, NO_DEVICE);
    assert_eq!(sanctl(&session, &["uninstall"])?.code, NO_DEVICE);
    Ok(())
}

#[test]
fn sanctl_install_without_an_inf_changes_nothing() -> Outcome {
    let session = Session::without_driver()?;
    let finished = sanctl(&session, &["install", r"C:\sanproxy\nothing.inf"])?;
    assert_eq!(finished.code, WRONG_COMMAND_LINE, "{finished:?}");
    assert!(finished.errors.contains("there is no file"), "{finished:?}");
    assert_eq!(sanctl(&session, &["info"])?.code, NO_DEVICE);
    Ok(())
}

#[test]
fn sanctl_register_shows_where_device_and_program_find_the_memory() -> Outcome {
    let session = Session::with_driver()?;
    let before = json(&session, &["stats"])?["made"].as_u64();
    let memory = json(&session, &["register", "64K", "--low", "--map"])?;
    assert_eq!(memory["length"], 0x1_0000);
    assert_eq!(memory["address_kind"], "Logical");
    assert_eq!(memory["low"], true);
    assert!(memory["user_address"].is_string(), "{memory}");
    let after = json(&session, &["stats"])?;
    assert_eq!(
        after["made"].as_u64(),
        before.map(|made| made.saturating_add(1))
    );
    assert_eq!(after["live_registrations"], 0);
    Ok(())
}

#[test]
fn sanctl_register_of_nothing_names_the_cause() -> Outcome {
    let session = Session::with_driver()?;
    let finished = sanctl(&session, &["register", "0"])?;
    assert_eq!(finished.code, REFUSED, "{finished:?}");
    assert!(
        finished.errors.contains("The length is zero"),
        "{finished:?}"
    );
    Ok(())
}

#[test]
fn killed_sanctl_loses_nothing() -> Outcome {
    let session = Session::with_driver()?;
    assert_eq!(live_registrations(&session, 0)?, Some(0));
    let arguments = ["register", "1M", "--map", "--hold", "5m"];
    let mut holder = session.start(&program("sanctl.exe"), &arguments)?;
    assert_eq!(live_registrations(&session, 1)?, Some(1));
    holder.kill()?;
    assert_eq!(live_registrations(&session, 0)?, Some(0));
    Ok(())
}

#[test]
fn sanctl_soak_finds_nothing_wrong() -> Outcome {
    let session = Session::with_driver()?;
    let report = json(&session, &["soak", "--for", "3s"])?;
    assert!(report["compared"].as_u64() > Some(0), "{report}");
    let statistics = json(&session, &["stats"])?;
    assert_eq!(statistics["live_registrations"], 0);
    assert_eq!(statistics["live_bytes"], 0);
    Ok(())
}

#[test]
fn sanctl_conformance_suite_passes() -> Outcome {
    let session = Session::with_driver()?;
    let report = json(&session, &["verify", "--suite-only"])?;
    assert_eq!(report["failed"], 0, "{report}");
    assert!(report["passed"].as_u64() > Some(30), "{report}");
    Ok(())
}

#[test]
fn sanctl_list_shows_what_another_program_holds() -> Outcome {
    let session = Session::with_driver()?;
    let arguments = ["register", "1M", "--map", "--dump", "--hold", "5m"];
    let mut holder = session.start(&program("sanctl.exe"), &arguments)?;
    assert_eq!(live_registrations(&session, 1)?, Some(1));
    let all = json(&session, &["list"])?;
    let one = &all["registrations"][0];
    assert_eq!(one["length"], 1 << 20, "{all}");
    assert_eq!(
        one["flags"],
        serde_json::json!(["mapped", "in crash dumps"])
    );
    assert!(one["process"].as_u64() > Some(0), "{all}");
    holder.kill()?;
    assert_eq!(live_registrations(&session, 0)?, Some(0));
    Ok(())
}

/// The lines that a session prints.
fn lines(session: &Session, commands: &[&str]) -> Result<Vec<Value>, Failure> {
    let mut arguments = vec!["session", "--json"];
    for command in commands {
        arguments.extend(["-c", command]);
    }
    let finished = sanctl(session, &arguments)?;
    assert_eq!(finished.code, DONE, "{commands:?}: {finished:?}");
    let lines = finished.output.lines().map(serde_json::from_str);
    Ok(lines.collect::<Result<_, _>>()?)
}

#[test]
fn sanctl_session_polls_the_status_page() -> Outcome {
    let session = Session::with_driver()?;
    let said = lines(
        &session,
        &["status", "register 64K", "status", "release 1", "status"],
    )?;
    assert_eq!(said[0]["state"], "started");
    assert_eq!(
        (&said[0]["live_bytes"], &said[2]["live_bytes"]),
        (&0.into(), &65536.into())
    );
    let released = [&said[0], &said[4]].map(|line| line["released"].as_u64());
    assert_eq!(
        released[1],
        released[0].map(|number| number.saturating_add(1))
    );
    Ok(())
}

#[test]
fn sanctl_session_exchanges_messages_between_two_files() -> Outcome {
    let session = Session::with_driver()?;
    let said = lines(&session, &["endpoint", "file 2", "endpoint"])?;
    // They are counted on, one by one.
    let last = said[2]["endpoint"].as_u64().ok_or("no number")?;
    let (one, other) = (last.saturating_add(1), last.saturating_add(2));
    let said = lines(
        &session,
        &[
            "endpoint",
            "file 2",
            &format!("connect {one}"),
            "file 1",
            &format!("connect {other}"),
            "send hello",
            "file 2",
            "events",
            "receive",
            "events --for 1s",
        ],
    )?;
    assert_eq!(said[4]["state"], "connected");
    assert_eq!(said[7]["events"]["connected"], 1);
    assert_eq!(said[8]["text"], "hello");
    // A wait that is cancelled when its time is over.
    assert_eq!(said[9]["events"], serde_json::json!({}));
    Ok(())
}

#[test]
fn sanctl_register_of_host_memory_takes_what_there_is() -> Outcome {
    let session = Session::with_driver()?;
    let arguments = [
        "register",
        "1M",
        "--host-memory",
        "--minimum",
        "64K",
        "--ranges",
        "8",
    ];
    let memory = json(&session, &arguments)?;
    assert_eq!(memory["kind"], "HostMemoryBuffer");
    assert!(memory["length"].as_u64() >= Some(65536), "{memory}");
    Ok(())
}

#[test]
fn sanctl_quota_now_holds_at_once() -> Outcome {
    let session = Session::with_driver()?;
    let set = json(&session, &["quota", "MaximumCountPerFile=2", "--now"])?;
    assert_eq!(set["MaximumCountPerFile"], 2);
    let mut arguments = vec!["session"];
    for _ in 0..3 {
        arguments.extend(["-c", "register 4K"]);
    }
    let finished = sanctl(&session, &arguments)?;
    json(
        &session,
        &["quota", "--default", "MaximumCountPerFile", "--now"],
    )?;
    assert_eq!(finished.code, REFUSED, "{finished:?}");
    assert!(finished.errors.contains("QUOTA"), "{finished:?}");
    assert_eq!(sanctl(&session, &arguments)?.code, DONE);
    Ok(())
}

#[test]
fn sanctl_watch_ends_when_its_time_is_over() -> Outcome {
    let session = Session::with_driver()?;
    let arguments = ["watch", "--every", "200ms", "--for", "1s", "--json"];
    let finished = sanctl(&session, &arguments)?;
    assert_eq!(finished.code, DONE, "{finished:?}");
    let samples = finished.output.lines().map(serde_json::from_str::<Value>);
    let samples = samples.collect::<Result<Vec<_>, _>>()?;
    assert!(samples.len() >= 3, "{finished:?}");
    assert_eq!(samples[0]["events"], serde_json::json!({}));
    Ok(())
}
