//! The one switch between the two hosts: the gateway, through the bindings, in a component; the
//! scripted host of [`crate::testing`] natively.

#[cfg(target_arch = "wasm32")]
#[path = "host/component.rs"]
mod imp;
#[cfg(not(target_arch = "wasm32"))]
#[path = "host/native.rs"]
mod imp;

pub(crate) use imp::*;
