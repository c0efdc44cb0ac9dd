//! `sanctl verify`: the conformance suite, alone and under Driver Verifier.

use sanctl::Exit;

use crate::computer::{Computer, Verifier};

#[test]
fn suite_on_the_shipped_driver_passes_every_check() {
    let computer = Computer::installed();
    let suite = computer.json(&["verify", "--suite-only"]);
    assert_eq!(suite["failed"], 0, "{suite:#}");
    assert!(suite["passed"].as_u64() >= Some(51));
    assert_eq!(suite["skipped"], 0);
    assert_eq!(computer.live(), 0);
    computer.finish();
}

#[test]
fn verify_first_sets_the_verifier_and_asks_for_a_restart() {
    let computer = Computer::installed();
    let failure = computer.fails(&["verify"], Exit::Restart);
    assert!(failure.cure.unwrap().contains("sanctl verify again"));
    assert!(computer.verifier.get() == Verifier::Set);
    // Asked again before the restart, it says the same and changes nothing.
    computer.fails(&["verify"], Exit::Restart);
    computer.finish();
}

#[test]
fn verify_after_the_restart_runs_the_suite_and_switches_the_verifier_off() {
    let computer = Computer::installed();
    computer.verifier.set(Verifier::On);
    let verified = computer.json(&["verify"]);
    assert_eq!(verified["suite"]["failed"], 0);
    assert_eq!(
        (&verified["verifier_active"], &verified["switched_off"]),
        (&true.into(), &true.into())
    );
    assert!(computer.verifier.get() == Verifier::Off);
    computer.finish();
}

#[test]
fn verify_interrupted_does_not_leave_the_verifier_on() {
    let computer = Computer::installed();
    computer.verifier.set(Verifier::On);
    computer.interrupt_after.set(Some(5));
    computer.fails(&["verify"], Exit::Interrupted);
    assert!(computer.verifier.get() == Verifier::Off);
    computer.interrupt_after.set(None);
    computer.finish();
}

#[test]
fn verify_with_settings_of_others_leaves_them_unless_told() {
    let computer = Computer::installed();
    computer.verifier.set(Verifier::Others);
    let failure = computer.fails(&["verify"], Exit::Failed);
    assert!(failure.message.contains("other.sys"));
    assert!(computer.verifier.get() == Verifier::Others);
    computer.fails(&["verify", "--replace", "--low-resources"], Exit::Restart);
    assert!(computer.verifier.get() == Verifier::Set);
    computer.finish();
}

#[test]
fn verify_without_a_driver_changes_nothing() {
    let computer = Computer::empty();
    computer.fails(&["verify"], Exit::NoDevice);
    assert!(computer.verifier.get() == Verifier::Off);
}

#[test]
fn verify_without_the_program_says_where_it_belongs() {
    let computer = Computer::installed();
    computer.refused.set(Some(("verifier", 2)));
    let failure = computer.fails(&["verify"], Exit::Failed);
    assert!(failure.cure.unwrap().contains("System32"));
    computer.refused.set(None);
    computer.finish();
}

#[test]
fn verify_off_switches_it_off_and_says_so() {
    let computer = Computer::installed();
    computer.verifier.set(Verifier::Set);
    assert!(
        computer
            .prints(&["verify", "--off"])
            .contains("switched off")
    );
    assert!(
        computer
            .prints(&["verify", "--off"])
            .contains("nothing to do")
    );
    computer.finish();
}

#[test]
fn suite_where_memory_of_programs_cannot_be_locked_says_what_it_skips() {
    let computer = Computer::installed();
    computer.is_wine.set(true);
    let suite = computer.json(&["verify", "--suite-only"]);
    assert_eq!(
        (&suite["failed"], &suite["skipped"]),
        (&0.into(), &7.into())
    );
    let printed = computer.prints(&["verify", "--suite-only"]);
    assert!(
        printed.ends_with(" passed, 0 failed, 7 skipped\n"),
        "{printed}"
    );
    assert!(
        printed.contains("skipped own_memory_goes_with_its_file:"),
        "{printed}"
    );
    computer.finish();
}
