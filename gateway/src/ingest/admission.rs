//! Who is let in: what stands between a request's route and its adapter.
//!
//! Nothing here knows an adapter, and only the switches know storage. What is set or counted here
//! belongs to no snapshot, so a reload loses none of it.

mod pause;

pub use pause::PauseSwitches;
