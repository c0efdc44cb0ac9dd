//! Random histories, each made from a seed; one that fails is shortened to the operations that it takes.

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use super::{Difference, chance, operation, play};

/// As often, at most, a failing history is played again to shorten it.
const SHORTENINGS: u32 = 400;

/// Plays the history of a seed; how many steps it was.
///
/// # Errors
///
/// The shortest history found that differs, starting from this one.
pub fn seed(seed: u64) -> Result<usize, Difference> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let tree = chance::history().new_tree(&mut runner);
    let mut tree = tree.map_err(|reason| Difference {
        steps: Vec::new(),
        what: reason.to_string(),
    })?;
    let first = match play(&tree.current()) {
        Ok(steps) => return Ok(steps),
        Err(difference) => difference,
    };
    Err(shorten(&mut tree, first))
}

/// Leaves out and simplifies what is not needed for a difference.
fn shorten(
    tree: &mut impl ValueTree<Value = Vec<operation::Operation>>,
    first: Difference,
) -> Difference {
    let mut shortest = first;
    let mut more = tree.simplify();
    for _ in 0..SHORTENINGS {
        if !more {
            break;
        }
        more = match play(&tree.current()) {
            Ok(_) => tree.complicate(),
            Err(difference) => {
                shortest = difference;
                tree.simplify()
            }
        };
    }
    shortest
}
