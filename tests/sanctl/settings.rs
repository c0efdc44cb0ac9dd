//! `sanctl quota`: the administrator's parameters.

use sanctl::{Exit, system::Setting};

use crate::computer::Computer;

fn shown(computer: &Computer, name: &str) -> serde_json::Value {
    let quotas = computer.json(&["quota"]);
    let lines = quotas["parameters"].as_array().unwrap();
    lines
        .iter()
        .find(|line| line["name"] == name)
        .unwrap()
        .clone()
}

#[test]
fn quota_that_is_set_takes_effect_when_the_device_is_restarted() {
    let computer = Computer::installed();
    let quotas = computer.json(&["quota", "MaximumBytesPerFile=8M", "maximumcountperfile=10"]);
    assert_eq!(quotas["restart_needed"], true);
    assert_ne!(
        computer.json(&["info"])["capabilities"]["bytes_per_file"],
        8 << 20
    );
    computer.prints(&["quota", "--restart"]);
    let offered = &computer.json(&["info"])["capabilities"];
    assert_eq!(
        (&offered["bytes_per_file"], &offered["count_per_file"]),
        (&(8 << 20).into(), &10.into())
    );
    computer.finish();
}

#[test]
fn quota_that_is_removed_is_the_default_again() {
    let computer = Computer::installed();
    computer.prints(&["quota", "ReserveBytes=2M"]);
    assert_eq!(shown(&computer, "ReserveBytes")["effective"], 2 << 20);
    computer.prints(&["quota", "--default", "ReserveBytes"]);
    let line = shown(&computer, "ReserveBytes");
    assert_eq!(
        (&line["set"], &line["effective"]),
        (&serde_json::Value::Null, &line["default"])
    );
    computer.finish();
}

#[test]
fn quota_beyond_its_limits_is_refused_with_the_limits() {
    let computer = Computer::installed();
    let failure = computer.fails(&["quota", "DmaAddressWidth=65"], Exit::Usage);
    assert_eq!(failure.message, "DmaAddressWidth takes 1 to 64, not 65");
    assert!(computer.settings.borrow().is_empty());
    computer.finish();
}

#[test]
fn quota_of_an_unknown_name_lists_the_known_ones() {
    let computer = Computer::installed();
    let failure = computer.fails(&["quota", "Speed=9"], Exit::Usage);
    assert!(failure.cure.unwrap().contains("MaximumBytesPerFile"));
    computer.fails(&["quota", "ReserveBytes"], Exit::Usage);
    computer.finish();
}

#[test]
fn quota_that_cannot_be_written_puts_the_others_back() {
    let computer = Computer::installed();
    computer
        .settings
        .borrow_mut()
        .insert("ReserveBytes".to_owned(), Setting::Number(4096));
    computer.refused.set(Some(("MaximumCountPerFile", 5)));
    computer.fails(
        &[
            "quota",
            "ReserveBytes=1M",
            "MaximumBytesPerFile=1M",
            "MaximumCountPerFile=5",
        ],
        Exit::NoRights,
    );
    let settings = computer.settings.borrow().clone();
    assert_eq!(settings.get("ReserveBytes"), Some(&Setting::Number(4096)));
    assert_eq!(settings.len(), 1);
    computer.finish();
}

#[test]
fn quota_of_a_device_that_does_not_restart_says_that_it_is_set() {
    let computer = Computer::installed();
    computer.refused.set(Some(("restart_device", 31)));
    let failure = computer.fails(&["quota", "ReserveBytes=2M", "--restart"], Exit::Failed);
    assert!(
        failure.message.contains("the parameters are set"),
        "{failure:?}"
    );
    assert_eq!(shown(&computer, "ReserveBytes")["set"], 2 << 20);
    computer.finish();
}

#[test]
fn quota_without_rights_is_shown_but_not_set() {
    let computer = Computer::installed().without_rights();
    computer.prints(&["quota"]);
    computer.fails(&["quota", "ReserveBytes=1M"], Exit::NoRights);
    assert!(computer.settings.borrow().is_empty());
    computer.finish();
}

#[test]
fn quota_of_another_type_is_told_apart() {
    let computer = Computer::installed();
    computer
        .settings
        .borrow_mut()
        .insert("ReserveBytes".to_owned(), Setting::OtherType(1));
    assert_eq!(shown(&computer, "ReserveBytes")["set_to_another_type"], 1);
    assert!(computer.prints(&["quota"]).contains("type 1?"));
    computer.finish();
}

#[test]
fn quota_set_now_holds_without_a_restart_and_refuses_what_is_beyond() {
    let computer = Computer::installed();
    let now = computer.json(&["quota", "MaximumCountPerFile=3", "--now"]);
    assert_eq!(now["MaximumCountPerFile"], 3);
    assert_eq!(now["MaximumCountPerDevice"], 65536);
    let mut words = vec!["session"];
    for _ in 0..4 {
        words.extend(["-c", "register 4K"]);
    }
    let refused = computer.fails(&words, Exit::Failed);
    assert!(refused.message.contains("QUOTA_EXCEEDED"), "{refused:?}");
    let info = computer.json(&["info"]);
    assert_eq!(info["capabilities"]["count_per_file"], 3);
    computer.prints(&["quota", "--default", "MaximumCountPerFile", "--now"]);
    computer.prints(&words);
    computer.finish();
}

#[test]
fn quota_that_only_a_start_can_set_is_refused_now() {
    let computer = Computer::installed();
    let refused = computer.fails(&["quota", "ReserveBytes=1M", "--now"], Exit::Usage);
    assert!(refused.cure.expect("a cure").contains("--restart"));
    computer.finish();
}
