//! Telephone numbers beside Google's library (`phonenumber`), which is too large for a component:
//! the SDK's table is made from its metadata, and what the SDK reads is judged by it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "in tests a panic is the way to tell, and figures and seeds are printed"
)]

mod oracle;
mod table;
