//! Reads what a component imports and exports, before anything of it is compiled or run.

use wasmparser::{ComponentExternalKind, ComponentTypeRef, Encoding, Parser, Payload};

use super::text::tame;

/// The adapter API that this gateway speaks: one major version and its minors.
pub(super) const API_MAJOR: u64 = 1;
pub(super) const API_MINOR_MAX: u64 = 0;

const PACKAGE: &str = "sluice:adapter/";
const INTERFACES: [&str; 6] = ["types", "call", "inbound", "verification", "state", "log"];
const EXPORTS: [&str; 5] = ["describe", "configure", "receive", "consume", "view"];

/// Longest name that is shown, in bytes: names are the guest's text.
const NAME_BYTES_MAX: usize = 128;

/// Custom sections in which `wit-bindgen` leaves the WIT of a core module.
const WIT_SECTION_PREFIX: &str = "component-type";

/// A plugin file as a component: as it is, or made of a core module that carries its WIT.
///
/// # Errors
///
/// A sentence that says what the file is instead.
pub(super) fn component(bytes: &[u8]) -> Result<Vec<u8>, String> {
    if Parser::is_component(bytes) {
        return Ok(bytes.to_vec());
    }
    if !Parser::is_core_wasm(bytes) {
        return Err(
            "it is not WebAssembly; a Rust plugin is built for wasm32-unknown-unknown".to_owned()
        );
    }
    if !carries_wit(bytes)? {
        return Err("it is a core module without its WIT: a Rust plugin that uses the plugin SDK \
                    gets it from `register_adapter!`, which may be missing; any other becomes a \
                    component"
            .to_owned());
    }
    if imports_wasi(bytes)? {
        return Err(
            "it was built for a system (WASI), and an adapter has none to call; build Rust \
                    for wasm32-unknown-unknown"
                .to_owned(),
        );
    }
    wit_component::ComponentEncoder::default()
        .validate(true)
        .module(bytes)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| {
            let cause = tame(&format!("{error:#}"), 512);
            format!("it is a core module of which no adapter can be made: {cause}")
        })
}

/// Whether a core module imports functions of the first WASI, as one built for `wasm32-wasip1` does.
fn imports_wasi(bytes: &[u8]) -> Result<bool, String> {
    for payload in Parser::new(0).parse_all(bytes) {
        if let Payload::ImportSection(imports) = payload.map_err(malformed)? {
            for import in imports.into_imports() {
                if import.map_err(malformed)?.module == "wasi_snapshot_preview1" {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

fn carries_wit(bytes: &[u8]) -> Result<bool, String> {
    for payload in Parser::new(0).parse_all(bytes) {
        if let Payload::CustomSection(section) = payload.map_err(malformed)?
            && section.name().starts_with(WIT_SECTION_PREFIX)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
fn malformed(error: wasmparser::BinaryReaderError) -> String {
    format!("it is not valid WebAssembly: {}", tame(&error.to_string(), 256))
}

/// What a component asks for and offers, outermost level only.
#[derive(Debug, Default, PartialEq, Eq)]
struct Surface {
    imports: Vec<String>,
    /// Functions only.
    exports: Vec<String>,
}

/// Checks imports, version and exports.
///
/// # Errors
///
/// A sentence that names what is at fault and what to do. The version comes first, since a wrong
/// one explains everything else; then what it imports, then what it lacks.
pub(super) fn check(component: &[u8]) -> Result<(), String> {
    let surface = surface(component)?;
    check_version(&surface.imports)?;
    for import in &surface.imports {
        check_import(import)?;
    }
    for export in EXPORTS {
        if !surface.exports.iter().any(|each| each == export) {
            return Err(format!(
                "it does not export the function `{export}`; an adapter exports {}",
                EXPORTS.map(|name| format!("`{name}`")).join(", ")
            ));
        }
    }
    // `consume` cannot be typed without `types`, so this is reached only by what is no adapter.
    if !surface.imports.iter().any(|import| import.starts_with(PACKAGE)) {
        return Err("it does not say which adapter API it was built for".to_owned());
    }
    Ok(())
}

#[expect(clippy::wildcard_enum_match_arm, reason = "all other sections are of no interest here")]
fn surface(component: &[u8]) -> Result<Surface, String> {
    let mut surface = Surface::default();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(malformed)? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                return Err("it is a core module".to_owned());
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(imports) if depth == 0 => {
                for import in imports {
                    let import = import.map_err(malformed)?;
                    // A type asks for nothing.
                    if !matches!(import.ty, ComponentTypeRef::Type(_)) {
                        surface.imports.push(import.name.name.to_owned());
                    }
                }
            }
            Payload::ComponentExportSection(exports) if depth == 0 => {
                for export in exports {
                    let export = export.map_err(malformed)?;
                    if export.kind == ComponentExternalKind::Func {
                        surface.exports.push(export.name.name.to_owned());
                    }
                }
            }
            _ => {}
        }
    }
    Ok(surface)
}

fn check_version(imports: &[String]) -> Result<(), String> {
    for import in imports {
        let Some((_, version)) =
            import.strip_prefix(PACKAGE).and_then(|interface| interface.split_once('@'))
        else {
            continue;
        };
        let mut numbers = version.split('.').map(|number| number.parse::<u64>().ok());
        let (Some(Some(major)), Some(Some(minor))) = (numbers.next(), numbers.next()) else {
            let version = tame(version, NAME_BYTES_MAX);
            return Err(format!("it was built for adapter API `{version}`, which is no version"));
        };
        if major != API_MAJOR || minor > API_MINOR_MAX {
            return Err(format!(
                "built for adapter API {major}.{minor}; this gateway supports {API_MAJOR}.0 to \
                 {API_MAJOR}.{API_MINOR_MAX}"
            ));
        }
    }
    Ok(())
}

fn check_import(import: &str) -> Result<(), String> {
    let shown = tame(import, NAME_BYTES_MAX);
    if let Some(interface) = import.strip_prefix(PACKAGE) {
        let name = interface.split('@').next().unwrap_or_default();
        return if INTERFACES.contains(&name) {
            Ok(())
        } else {
            Err(format!(
                "it imports `{shown}`, which adapter API {API_MAJOR}.{API_MINOR_MAX} does not have"
            ))
        };
    }
    if import.starts_with("wasi:") {
        return Err(format!(
            "it imports `{shown}`, and an adapter has no system to call; build Rust for \
             wasm32-unknown-unknown, Python with `componentize-py … --stub-wasi`, JavaScript with \
             `componentize-qjs --stub-wasi` or `componentize-js --disable stdio random clocks http \
             fetch-event`"
        ));
    }
    Err(format!(
        "it imports `{shown}`; an adapter imports nothing but the interfaces of `sluice:adapter` \
         ({})",
        INTERFACES.join(", ")
    ))
}
