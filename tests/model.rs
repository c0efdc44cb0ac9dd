//! The driver and a model of it do the same, whatever happens in whatever order.
//!
//! `SANPROXY_MODEL_SECONDS` says how long histories are tried, `SANPROXY_MODEL_SEED` from which seed on.
//!
//! Cites san.md: R52, R53, R54, R58, R59, R60, R61; security.md: C30, C31, C35, C36, C38.

use std::{
    env,
    time::{Duration, Instant},
};

use sanproxy_abi::{CacheType, Kind};
use sanproxy_tests::model::{
    operation::{Operation, Own, OwnWish, Peer, Reach, Wish},
    play, search,
};

/// At least so many histories are played, however slow the machine.
const AT_LEAST: u64 = 40;
/// At most so many, unless it is said how long.
const AT_MOST: u64 = 500;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn random_histories_agree_with_the_model() {
    let first = number("SANPROXY_MODEL_SEED").unwrap_or(0);
    let seconds = number("SANPROXY_MODEL_SECONDS");
    let limit = Duration::from_secs(seconds.unwrap_or(30));
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
            Err(difference) => panic!("seed {seed}, after {steps} steps:\n{difference}"),
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
    agree(&history);
}

fn agree(history: &[Operation]) {
    play(history).unwrap_or_else(|difference| panic!("{difference}"));
}

/// One that lies anywhere.
fn pages(pages: u64) -> Operation {
    let wish = Wish {
        kind: Kind::CommonBuffer,
        length: pages * 4096,
        map: false,
        pieces: false,
        reach: Reach::Anywhere,
        alignment: 0,
        boundary: false,
        cache: CacheType::Cached,
        node: None,
        dump: false,
        flaw: None,
    };
    Operation::Register(0, wish)
}

/// The sixth of six registrations would come near the limit, and has too many bytes for another one.
#[test]
fn registration_that_is_refused_warns_of_no_quota() {
    let five = [1; 5].map(pages);
    agree(&[&five[..], &[pages(26), Operation::Wait(0, None)]].concat());
}

/// Nine tenths of the bytes are reached by the rest of the page that the buffer does not fill.
#[test]
fn warning_comes_with_the_registration_whose_padding_comes_near_the_quota() {
    let wish = OwnWish {
        own: Own {
            allocation: 0,
            offset: 0,
            length: 4000,
            access: 3,
            flaw: None,
        },
        pieces: true,
        reach: Reach::Anywhere,
        flag: false,
    };
    agree(&[
        Operation::Wait(0, None),
        Operation::Allocate(0, 1),
        pages(26),
        Operation::RegisterOwn(0, wish),
    ]);
}

#[test]
fn stop_tells_both_sides_of_a_connection_that_it_is_gone() {
    agree(&[
        Operation::ConnectBoth(0, 1),
        Operation::QueryStop,
        Operation::Stop,
    ]);
}

#[test]
fn stop_tells_a_file_that_waits_for_another_that_it_waits_no_more() {
    for waits in 0..2 {
        agree(&[
            Operation::Connect(waits, Peer::File(1 - waits)),
            Operation::QueryStop,
            Operation::Stop,
        ]);
    }
}

#[test]
fn status_page_counts_no_message_that_is_refused_received_or_gone() {
    let page = Operation::MapPage(0);
    agree(&[page, Operation::Send(0, None, 100, 1)]);
    let both = [
        page,
        Operation::ConnectBoth(0, 1),
        Operation::Send(0, None, 100, 3),
    ];
    for end in [
        Operation::Receive(1, None, 500, 2),
        Operation::Disconnect(0),
        Operation::Disconnect(1),
        Operation::Close(1),
    ] {
        agree(&[&both[..], &[end]].concat());
    }
}
