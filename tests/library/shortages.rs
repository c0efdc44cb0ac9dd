//! Every call of every case fails once, the others succeed: whatever the case then answers, nothing is lost and no rule is
//! broken, and the same case works afterwards.

use nt_host::DmaConfig;

use crate::stage::{FROM_DEVICE, PAGE, Stage, TO_DEVICE, call, interface, pattern};
use crate::system::channel;

/// Requests, one after the other, that make something and give it back.
type Steps<'a> = &'a [(u32, &'a [u64])];

/// Sends them until one is refused; whatever they have made is given back when the file is closed.
fn run(stage: &Stage, steps: Steps<'_>) -> Result<(), u32> {
    for (call, numbers) in steps {
        let bytes = if *call == call::IN_POOL {
            pattern(numbers[0])
        } else {
            Vec::new()
        };
        stage.bytes(*call, numbers, &bytes)?;
    }
    Ok(())
}

/// Fails the first call that can fail, then the second, until the steps succeed without one. After each failure the file is
/// closed, and in a new one the same steps succeed: nothing is left in the way.
fn sweep(dma: DmaConfig, steps: Steps<'_>) {
    let mut failed = 0;
    for nth in 1.. {
        let mut stage = Stage::new(dma.clone());
        let before = stage.host.faults().injected().len();
        stage.host.faults().fail_nth(nth);
        let result = run(&stage, steps);
        stage.host.faults().clear();
        let injected = stage.host.faults().injected().split_off(before);
        if injected.is_empty() {
            assert_eq!(result, Ok(()));
            stage.finish();
            break;
        }
        failed += 1;
        stage.reopen();
        assert_eq!(run(&stage, steps), Ok(()), "after {injected:?}");
        let report = stage.end();
        assert!(report.is_clean(), "after {injected:?}: {report}");
    }
    assert!(failed > 0, "nothing could fail");
}

macro_rules! sweeps {
    ($($name:ident: $dma:expr, $steps:expr;)*) => {
        $(
            #[test]
            fn $name() {
                sweep($dma, $steps);
            }
        )*
    };
}

const BUFFER: (u32, &[u64]) = (call::IN_POOL, &[3 * PAGE]);
const MAP: (u32, &[u64]) = (call::MAP, &[7, 2 * PAGE, FROM_DEVICE]);
const FLUSH: (u32, &[u64]) = (call::FLUSH, &[]);
const GIVE_BACK: (u32, &[u64]) = (call::GIVE_BACK, &[]);

/// A list by a member, put back.
const fn list(member: &'static [u64]) -> [(u32, &'static [u64]); 3] {
    [BUFFER, (call::LIST, member), (call::PUT, &[])]
}

sweeps! {
    list_by_get: interface(1, false), &list(&[7, 2 * PAGE, TO_DEVICE, 0]);
    list_by_build: interface(2, false), &list(&[7, 2 * PAGE, TO_DEVICE, 1]);
    list_by_get_ex: interface(3, false), &list(&[7, 2 * PAGE, TO_DEVICE, 2]);
    list_by_build_ex: interface(3, false), &list(&[7, 2 * PAGE, TO_DEVICE, 3]);
    list_seen_as_an_mdl: interface(3, false), &[
        BUFFER, (call::LIST, &[7, 2 * PAGE, TO_DEVICE, 2]), (call::VIEW, &[]), (call::PUT, &[]),
    ];
    channel_waited_for: channel(3, false), &[BUFFER, (call::WAIT_FOR, &[3]), MAP, FLUSH, GIVE_BACK];
    channel_taken: channel(3, true), &[BUFFER, (call::TAKE, &[3]), MAP, FLUSH, GIVE_BACK];
    registers_waited_for: interface(1, false), &[BUFFER, (call::WAIT_FOR, &[3]), MAP, FLUSH, GIVE_BACK];
    registers_taken: interface(3, false), &[BUFFER, (call::TAKE, &[3]), MAP, FLUSH, GIVE_BACK];
    registers_taken_with_an_iommu: interface(3, true), &[BUFFER, (call::TAKE, &[3]), MAP, FLUSH, GIVE_BACK];
    registers_requested: interface(3, false), &[
        BUFFER, (call::REQUEST, &[3]), (call::AWAIT_REQUEST, &[]), MAP, FLUSH, GIVE_BACK,
    ];
    request_cancelled: interface(3, false), &[
        (call::REQUEST, &[3]), (call::CANCEL_REQUEST, &[]), GIVE_BACK,
    ];
    registers_without_the_object: interface(3, false), &[
        (call::TAKE, &[3]), (call::WITHOUT_OBJECT, &[]), GIVE_BACK,
    ];
    transfer_cancelled: interface(3, true), &[BUFFER, (call::TAKE, &[3]), MAP, (call::CANCEL, &[]), FLUSH];
    mapping_dropped: interface(3, false), &[BUFFER, (call::TAKE, &[3]), MAP, (call::DROP_MAPPING, &[])];
    common_buffer: interface(3, true), &[
        (call::COMMON, &[PAGE, 0, u64::MAX]), (call::FREE_COMMON, &[]),
    ];
    vector_shrunk: interface(3, true), &[
        (call::VECTOR, &[PAGE, 0, u64::MAX, 3]), (call::SHRINK, &[1]), (call::FREE_VECTOR, &[]),
    ];
    vector_located: interface(3, true), &[
        (call::VECTOR, &[PAGE, 0, u64::MAX, 3]), (call::LOCATE_VECTOR, &[]),
    ];
    block_shared: interface(3, true), &[(call::SHARE, &[PAGE, 0, u64::MAX]), (call::UNSHARE, &[])];
    domain_buffer: interface(3, true), &[
        (call::DOMAIN, &[]), (call::DOMAIN_BUFFER, &[PAGE, 0, u64::MAX]), (call::FREE_COMMON, &[]),
    ];
    domain_joined: interface(3, true), &[
        (call::DOMAIN, &[]), (call::PUBLISH, &[]), (call::JOIN, &[]), (call::LEAVE, &[]),
        (call::WITHDRAW, &[]),
    ];
    information: interface(3, true), &[
        BUFFER, (call::ALIGNMENT, &[]), (call::INFO, &[]), (call::TRANSFER_INFO, &[0, PAGE, TO_DEVICE]),
        (call::LIST_SIZE, &[0, PAGE]),
    ];
}
