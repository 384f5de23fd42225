//! Lines for the operator's log: few, short, and without payload or personal data.

use crate::host;

pub fn error(message: &str) {
    host::log("error", message);
}

pub fn warn(message: &str) {
    host::log("warn", message);
}

pub fn info(message: &str) {
    host::log("info", message);
}

pub fn debug(message: &str) {
    host::log("debug", message);
}
