//! The driver and a model of it do the same, whatever happens in whatever order.
//!
//! `SANPROXY_MODEL_SECONDS` says how long histories are tried, `SANPROXY_MODEL_SEED` from which seed on.
//!
//! Cites san.md: R52, R53, R54, R58, R59, R60, R61; security.md: C30, C31, C35, C36, C38.

use std::{
    env,
    time::{Duration, Instant},
};

use sanproxy_tests::model::{operation::Operation, play, search};

/// At least so many histories are played, however slow the machine.
const AT_LEAST: u64 = 40;
/// At most so many, unless it is said how long.
const AT_MOST: u64 = 400;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn random_histories_agree_with_the_model() {
    let first = number("SANPROXY_MODEL_SEED").unwrap_or(0);
    let seconds = number("SANPROXY_MODEL_SECONDS");
    let limit = Duration::from_secs(seconds.unwrap_or(20));
    let begun = Instant::now();
    let mut steps = 0;
    let mut played = 0;
    while played < AT_LEAST || begun.elapsed() < limit {
        if seconds.is_none() && played >= AT_MOST {
            break;
        }
        let seed = first + played;
        match search::seed(seed) {
            Ok(count) => steps += count,
            Err(difference) => panic!("seed {seed}:\n{difference}"),
        }
        played += 1;
    }
    println!("{played} histories, {steps} steps");
    assert!(steps > 400, "only {steps} steps");
}

#[test]
fn stop_stays_pending_when_a_removal_is_asked_for_and_cancelled() {
    let history = [
        Operation::QueryStop,
        Operation::QueryRemove,
        Operation::CancelRemove,
        Operation::Capabilities(0),
        Operation::CancelStop,
        Operation::Capabilities(0),
    ];
    play(&history).unwrap_or_else(|difference| panic!("{difference}"));
}
