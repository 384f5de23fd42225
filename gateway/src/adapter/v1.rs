//! Bindings of adapter API 1.0, generated from `plugin-sdk/wit/v1.0`.
//!
//! The only place that knows this version's types; the rest speaks the gateway's own.

wasmtime::component::bindgen!({
    path: "../plugin-sdk/wit/v1.0",
    world: "adapter",
    imports: { default: trappable },
});
