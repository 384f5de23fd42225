//! What the WIT package becomes in Rust: generated, and the only unsafe code of an adapter.
//!
//! Authors never see it: what they use has types of its own in the modules beside this one.

#![expect(clippy::mem_forget, reason = "generated code hands its memory to the gateway")]

wit_bindgen::generate!({
    world: "adapter",
    path: "wit/v1.0",
    pub_export_macro: true,
    export_macro_name: "export_adapter",
    default_bindings_module: "plugin_sdk::bindings",
});
