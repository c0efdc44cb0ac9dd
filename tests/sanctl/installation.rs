//! Installing and removing: the machine is as it was whenever something goes wrong.

use sanctl::Exit;

use crate::computer::{Computer, INSTANCE};

/// Any file will do for an INF: the script does not look into it.
pub(crate) const INF: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");

fn is_as_it_was(computer: &Computer) -> bool {
    !computer.has_device() && !computer.stored_inf.get() && !computer.service.get()
}

#[test]
fn install_on_an_empty_machine_creates_the_device_and_starts_it() {
    let computer = Computer::empty();
    let installed = computer.json(&["install", INF]);
    assert_eq!(installed["device"], INSTANCE);
    assert_eq!(installed["created"], true);
    assert_eq!(computer.live(), 0);
    computer.finish();
}

#[test]
fn install_a_second_time_updates_the_driver_of_the_same_device() {
    let computer = Computer::installed();
    assert_eq!(computer.json(&["install", INF])["created"], false);
    computer.finish();
}

#[test]
fn install_without_rights_changes_nothing() {
    let computer = Computer::empty().without_rights();
    computer.fails(&["install", INF], Exit::NoRights);
    assert!(is_as_it_was(&computer));
}

#[test]
fn install_from_a_path_that_is_not_there_names_it() {
    let computer = Computer::empty();
    let failure = computer.fails(&["install", "/no/such/sanproxy.inf"], Exit::Usage);
    assert!(failure.message.contains("/no/such/sanproxy.inf"));
    assert!(is_as_it_was(&computer));
}

#[test]
fn install_from_a_damaged_inf_changes_nothing() {
    let computer = Computer::empty();
    computer.refused.set(Some(("check_inf", 0xE000_0100)));
    let failure = computer.fails(&["install", INF], Exit::Failed);
    assert!(failure.cure.unwrap().contains("damaged"));
    assert!(is_as_it_was(&computer));
}

#[test]
fn install_of_an_untrusted_driver_is_undone_and_names_test_signing() {
    let computer = Computer::empty();
    computer.refused.set(Some(("update_driver", 0xE000_0247)));
    let failure = computer.fails(&["install", INF], Exit::Failed);
    assert!(
        failure.message.ends_with("the machine is as it was"),
        "{failure:?}"
    );
    assert!(failure.cure.unwrap().contains("testsigning on"));
    assert!(is_as_it_was(&computer));
}

#[test]
fn install_of_a_driver_that_does_not_start_is_undone() {
    let computer = Computer::empty();
    computer.problem.set(Some(10));
    let failure = computer.fails(&["install", INF], Exit::NoDevice);
    assert!(failure.message.contains("code 10"), "{failure:?}");
    assert!(is_as_it_was(&computer));
}

#[test]
fn install_that_cannot_be_undone_says_so() {
    let computer = Computer::empty();
    computer.problem.set(Some(10));
    computer.refused.set(Some(("remove_device", 1)));
    let failure = computer.fails(&["install", INF], Exit::NoDevice);
    assert!(
        failure.message.contains("could not be undone"),
        "{failure:?}"
    );
    computer.refused.set(None);
    computer.prints(&["uninstall"]);
    assert!(is_as_it_was(&computer));
}

#[test]
fn install_interrupted_at_any_step_leaves_nothing() {
    for asked in 0..3 {
        let computer = Computer::empty();
        computer.interrupt_after.set(Some(asked));
        computer.fails(&["install", INF], Exit::Interrupted);
        assert!(is_as_it_was(&computer), "interrupted at step {asked}");
    }
}

#[test]
fn uninstall_leaves_neither_device_nor_driver_nor_service() {
    let computer = Computer::installed();
    let removed = computer.json(&["uninstall"]);
    assert_eq!(removed["devices"][0], INSTANCE);
    assert_eq!(removed["service"], true);
    assert!(is_as_it_was(&computer));
    computer.finish();
}

#[test]
fn uninstall_of_nothing_says_so() {
    let failure = Computer::empty().fails(&["uninstall"], Exit::NoDevice);
    assert!(failure.message.contains("nothing of sanproxy"));
}

#[test]
fn uninstall_with_a_locked_file_does_the_rest_and_reports_it() {
    let computer = Computer::installed();
    computer.refused.set(Some(("uninstall_inf", 32)));
    let failure = computer.fails(&["uninstall"], Exit::Failed);
    assert!(failure.cure.unwrap().contains("close it"));
    assert!(!computer.has_device() && !computer.service.get());
    computer.finish();
}

#[test]
fn uninstall_without_rights_changes_nothing() {
    let computer = Computer::installed().without_rights();
    computer.fails(&["uninstall"], Exit::NoRights);
    assert!(computer.has_device() && computer.service.get());
    computer.finish();
}
