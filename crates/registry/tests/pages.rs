//! The page allocator against a model: a list of pages, each free or not.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    reason = "a test may stop"
)]

use proptest::prelude::*;
use sanproxy_abi::PAGE_SIZE;
use sanproxy_registry::{Block, PageAllocator};

#[test]
fn all_pages_can_be_handed_out_one_by_one_and_grow_together_again() {
    let mut allocator = PageAllocator::new(0x1234_5000, 256).unwrap();
    let blocks: Vec<Block> = (0..256)
        .map(|_| allocator.allocate(1, PAGE_SIZE, None).unwrap())
        .collect();
    assert_eq!(allocator.free_pages(), 0);
    assert!(allocator.allocate(1, PAGE_SIZE, None).is_none());
    for block in blocks {
        allocator.free(block).unwrap();
    }
    assert_eq!((allocator.free_pages(), allocator.pages()), (256, 256));
    assert!(allocator.allocate(128, PAGE_SIZE, None).is_some());
}

#[test]
fn block_that_is_no_power_of_two_leaves_its_rest_free() {
    let mut allocator = PageAllocator::new(0, 4).unwrap();
    let three = allocator.allocate(3, PAGE_SIZE, None).unwrap();
    assert_eq!((three.offset(), three.length()), (0, 3 * PAGE_SIZE));
    assert_eq!(
        allocator.allocate(1, PAGE_SIZE, None).unwrap().offset(),
        3 * PAGE_SIZE
    );
    assert!(allocator.allocate(1, PAGE_SIZE, None).is_none());
    allocator.free(three).unwrap();
    assert_eq!(allocator.allocate(2, PAGE_SIZE, None).unwrap().offset(), 0);
}

#[test]
fn alignment_counts_from_address_zero_and_not_from_the_start_of_the_memory() {
    let address = 0x7000;
    let mut allocator = PageAllocator::new(address, 16).unwrap();
    let block = allocator.allocate(1, 0x8000, None).unwrap();
    assert_eq!((address + block.offset()) % 0x8000, 0);
    assert!(allocator.allocate(1, 1 << 30, None).is_none());
}

#[test]
fn request_for_nothing_or_more_than_all_is_refused() {
    let mut allocator = PageAllocator::new(0, 8).unwrap();
    for pages in [0, 9, 1 << 31, 1 << 32, u64::MAX] {
        assert!(allocator.allocate(pages, PAGE_SIZE, None).is_none());
    }
    assert!(allocator.allocate(1, u64::MAX, None).is_none());
    assert_eq!(allocator.free_pages(), 8);
}

#[test]
fn boundary_below_the_block_is_refused() {
    let mut allocator = PageAllocator::new(0, 8).unwrap();
    assert!(
        allocator
            .allocate(3, PAGE_SIZE, Some(2 * PAGE_SIZE))
            .is_none()
    );
    assert!(
        allocator
            .allocate(3, PAGE_SIZE, Some(4 * PAGE_SIZE))
            .is_some()
    );
}

#[test]
fn block_of_another_allocator_is_handed_back() {
    let mut first = PageAllocator::new(0, 8).unwrap();
    let mut second = PageAllocator::new(0, 8).unwrap();
    let block = first.allocate(2, PAGE_SIZE, None).unwrap();
    let block = second.free(block).unwrap_err();
    assert_eq!(second.free_pages(), 8);
    first.free(block).unwrap();
}

#[test]
fn allocator_of_no_pages_has_none_to_give() {
    let mut allocator = PageAllocator::new(0, 0).unwrap();
    assert!(allocator.allocate(1, PAGE_SIZE, None).is_none());
    assert!(PageAllocator::new(0, u32::MAX).is_err());
}

proptest! {
    #[test]
    fn blocks_never_overlap_and_keep_alignment_and_boundary(
        first_page in 0_u64..1 << 40, pages in 1_u32..200,
        steps in prop::collection::vec((0_u64..40, 0_u32..6, 0_u32..8, any::<usize>()), 0..120),
    ) {
        let address = first_page * PAGE_SIZE;
        let mut allocator = PageAllocator::new(address, pages).unwrap();
        let mut used = vec![false; usize::try_from(pages).unwrap()];
        let mut held: Vec<Block> = Vec::new();
        for (count, align, boundary, pick) in steps {
            if count < 10 && !held.is_empty() {
                let block = held.swap_remove(pick % held.len());
                used[range(&block)].fill(false);
                prop_assert!(allocator.free(block).is_ok());
            } else {
                let (count, align) = (count.saturating_sub(9), PAGE_SIZE << align);
                let boundary = PAGE_SIZE << boundary;
                if let Some(block) = allocator.allocate(count, align, Some(boundary)) {
                    let (start, last) =
                        (address + block.offset(), address + block.offset() + block.length() - 1);
                    prop_assert_eq!(block.length(), count * PAGE_SIZE);
                    prop_assert_eq!(start % align, 0);
                    prop_assert_eq!(start / boundary, last / boundary);
                    prop_assert!(used[range(&block)].iter().all(|page| !page));
                    used[range(&block)].fill(true);
                    held.push(block);
                } else if count == 1 && align == PAGE_SIZE {
                    prop_assert!(used.iter().all(|page| *page));
                }
            }
            let free = used.iter().filter(|page| !**page).count();
            prop_assert_eq!(usize::try_from(allocator.free_pages()).unwrap(), free);
        }
        for block in held {
            prop_assert!(allocator.free(block).is_ok());
        }
        // Whole again: an aligned block of more than a quarter is somewhere in any run of pages.
        let half = u64::from(pages).next_power_of_two() / 4;
        prop_assert!(half == 0 || allocator.allocate(half, half * PAGE_SIZE, None).is_some());
    }
}

fn range(block: &Block) -> std::ops::Range<usize> {
    let first = usize::try_from(block.offset() / PAGE_SIZE).unwrap();
    first..first + usize::try_from(block.length() / PAGE_SIZE).unwrap()
}
