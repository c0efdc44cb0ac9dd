//! Registrations belong to one open file, and go with it.

use sanproxy_abi::ControlCode;
use sanproxy_abi::wire::{
    Handle, Header, PieceIndex, QueryRegistrationInput, QueryRegistrationOutput, ReleaseInput,
    Reserved,
};
use sanproxy_provider::{Channel, Provider, RegisterOptions, Status};
use zerocopy::IntoBytes;

use super::{Check, Finding, Ground, Named, ensure, words};
use crate::system::System;

/// All of them.
pub(super) fn checks<S: System>() -> Vec<Check<S>> {
    let checks: [Named<S>; 6] = [
        ("other_file_cannot_release", |ground| {
            foreign(ground, release)
        }),
        ("other_file_cannot_query", |ground| foreign(ground, query)),
        ("other_file_does_not_find_the_address", foreign_lookup),
        ("released_handle_is_spent", spent),
        ("closing_a_file_releases_what_it_held", closing),
        ("counters_of_a_file_are_its_own", counters),
    ];
    let checks = checks.into_iter();
    checks.map(|(name, run)| Check { name, run }).collect()
}

fn page() -> RegisterOptions {
    RegisterOptions::common_buffer(4096)
}

fn release<C: Channel>(provider: &Provider<C>, handle: Handle) -> Result<usize, Status> {
    let input = ReleaseInput {
        header: Header::of::<ReleaseInput>(),
        handle,
    };
    let code = ControlCode::Release.value();
    provider
        .channel()
        .control(code, input.as_bytes(), &mut [0; 8])
}

fn query<C: Channel>(provider: &Provider<C>, handle: Handle) -> Result<usize, Status> {
    let input = QueryRegistrationInput {
        header: Header::of::<QueryRegistrationInput>(),
        handle,
        first_piece: PieceIndex(0),
        reserved: Reserved(0),
    };
    let code = ControlCode::QueryRegistration.value();
    let mut output = [0; size_of::<QueryRegistrationOutput>()];
    provider
        .channel()
        .control(code, input.as_bytes(), &mut output)
}

type Request<C> = fn(&Provider<C>, Handle) -> Result<usize, Status>;

/// A request with the handle of another file is refused, and the registration stays.
fn foreign<S: System>(ground: &Ground<'_, S>, request: Request<S::Channel>) -> Finding {
    let (owner, other) = (ground.open()?, ground.open()?);
    let memory = owner.register(&page()).map_err(words)?;
    let status = request(&other, memory.handle()).err();
    ensure(status == Some(Status::INVALID_HANDLE), || {
        format!("got {status:?}")
    })?;
    memory.query().map(drop).map_err(words)
}

fn foreign_lookup<S: System>(ground: &Ground<'_, S>) -> Finding {
    let (owner, other) = (ground.open()?, ground.open()?);
    let memory = owner.register(&page()).map_err(words)?;
    let found = other.lookup(memory.device_address()).map_err(words)?;
    ensure(found.is_none(), || format!("found {found:?}"))
}

fn spent<S: System>(ground: &Ground<'_, S>) -> Finding {
    let provider = ground.open()?;
    let memory = provider.register(&page()).map_err(words)?;
    let handle = memory.handle();
    memory.release().map_err(words)?;
    // Also when its place is taken by another one.
    let _next = provider.register(&page()).map_err(words)?;
    let status = release(&provider, handle).err();
    ensure(status == Some(Status::INVALID_HANDLE), || {
        format!("got {status:?}")
    })
}

fn closing<S: System>(ground: &Ground<'_, S>) -> Finding {
    let witness = ground.open()?;
    let before = witness.statistics().map_err(words)?;
    let provider = ground.open()?;
    for _ in 0..8 {
        let memory = provider.register(&page().map()).map_err(words)?;
        let _ = memory.into_handle();
    }
    let during = witness.statistics().map_err(words)?;
    drop(provider);
    let after = witness.statistics().map_err(words)?;
    let released = after.released.saturating_sub(during.released);
    let made = during.made.saturating_sub(before.made);
    ensure(made >= 8, || format!("{made} were made instead of 8"))?;
    ensure(released >= 8, || format!("{released} of 8 were released"))
}

fn counters<S: System>(ground: &Ground<'_, S>) -> Finding {
    let (one, other) = (ground.open()?, ground.open()?);
    let _memory = one.register(&page()).map_err(words)?;
    let mine = one.statistics().map_err(words)?;
    let theirs = other.statistics().map_err(words)?;
    let right = (mine.file_registrations, mine.file_bytes) == (1, 4096);
    ensure(right, || {
        format!("{} with {} bytes", mine.file_registrations, mine.file_bytes)
    })?;
    ensure(theirs.file_registrations == 0, || {
        "the other file sees it as its own".to_owned()
    })
}
