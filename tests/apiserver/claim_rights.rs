//! Who may write what of a claim: the shipped roles and the shipped policy, tried with the tokens of three nodes and of everybody
//! else who could. What is denied is denied with words that say why.
//!
//! Rows are tried without being done (`--dry-run=server` runs every check), so that each finds the claim as it is described.

mod change;
mod fenced;
mod make;
mod pool;
mod world;

const NO_FENCE: &str = "may not set, change or remove the mark fenced";
const NO_RELEASE: &str = "may not set, change or remove the mark release";
const MARKS_ONLY: &str = "may only set or remove the marks fenced and release of a claim";
const ONLY_ASK: &str =
    "may only ask for it in its own name (handover.to), or take it over as it is once it is fenced";
const NOT_FENCED: &str =
    "is node n1's and not fenced; node n2 may ask for it (handover.to), not take it";
const FINALIZER: &str = "is removed by the address daemon of node n1, which lets the address go, or by the controllers once that node is fenced";
