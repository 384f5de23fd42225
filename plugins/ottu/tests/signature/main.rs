//! Ottu's signatures: known answers, every changed bit, any order, moved boundaries.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "in tests a panic is the way to tell, and figures are printed"
)]

mod bits;
mod boundaries;
mod order;
mod repeats;
mod sign;
mod vectors;
