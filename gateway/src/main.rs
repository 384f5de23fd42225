//! The program `sluice`; it has nothing to run yet.
#![forbid(unsafe_code)]

fn main() {}
