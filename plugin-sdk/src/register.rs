//! What `register_adapter!` puts into a component.

use std::sync::OnceLock;

use crate::bindings::sluice::adapter::types as wit;
use crate::{Adapter, Configured, Rejection, description, glue};

/// Heap that `configure` makes ready, in bytes. The snapshot keeps it, so that an ordinary call
/// never has to grow the memory.
const HEAP_READY_BYTES: usize = 96 * 1024;

/// The adapter that a component holds.
#[derive(Debug)]
pub struct Slot<A: Adapter>(OnceLock<Configured<A>>);

impl<A: Adapter> Slot<A> {
    #[expect(clippy::new_without_default, reason = "only ever made by the macro, as a constant")]
    #[must_use]
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }

    #[must_use]
    pub fn describe(&self) -> String {
        tell_panics();
        description::<A>().to_json()
    }

    /// Takes up the settings.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub fn configure(
        &self,
        settings: &str,
        routes: &[(String, String)],
    ) -> Result<(), Vec<wit::Problem>> {
        tell_panics();
        let configured = Configured::new(settings, routes)
            .map_err(|found| found.into_iter().map(glue::problem).collect::<Vec<_>>())?;
        drop(std::hint::black_box(Vec::<u8>::with_capacity(HEAP_READY_BYTES)));
        self.0
            .set(configured)
            .map_err(|_| vec![glue::problem(crate::settings::Problem::new("", "configured twice"))])
    }

    fn with<T>(
        &self,
        call: impl FnOnce(&Configured<A>) -> Result<T, Rejection>,
    ) -> Result<T, wit::Rejection> {
        self.0
            .get()
            .ok_or_else(|| Rejection::new(500, "not_configured", "called before `configure`"))
            .and_then(call)
            .map_err(glue::rejection)
    }

    /// One inbound request.
    ///
    /// # Errors
    ///
    /// The adapter's rejection.
    pub fn receive(&self) -> Result<wit::Outcome, wit::Rejection> {
        self.with(|adapter| adapter.receive().map(glue::outcome))
    }

    /// One event of another adapter.
    ///
    /// # Errors
    ///
    /// The adapter's rejection.
    pub fn consume(&self, event: wit::DeliveredEvent) -> Result<wit::Outcome, wit::Rejection> {
        let event = glue::delivered(event);
        self.with(|adapter| adapter.consume(&event).map(glue::outcome))
    }

    /// A question of an operator.
    ///
    /// # Errors
    ///
    /// The adapter's rejection.
    pub fn view(&self, name: &str, parameters: &str) -> Result<String, wit::Rejection> {
        self.with(|adapter| adapter.view(name, parameters))
    }
}

/// Lets a panic say where it was before it becomes a trap. The hook stays in the snapshot.
#[cfg(target_arch = "wasm32")]
fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let literal = panic.payload().downcast_ref::<&'static str>();
        crate::log::error(&told(panic.location(), literal.copied()));
    }));
}

#[cfg(not(target_arch = "wasm32"))]
const fn tell_panics() {}

/// Where a panic was; what it says only where that is a `literal` of the code: a message that was
/// put together may hold what the provider sent.
#[cfg(any(target_arch = "wasm32", test))]
fn told(place: Option<&std::panic::Location<'_>>, literal: Option<&'static str>) -> String {
    let place = place.map(ToString::to_string).unwrap_or_default();
    match literal {
        Some(text) => format!("panicked at {place}: {text}"),
        None => format!("panicked at {place}"),
    }
}

/// Makes a type that implements [`Adapter`] the adapter of this component.
///
/// Once in a plugin, at the top level of its `lib.rs`. Natively it makes nothing, so that the
/// plugin can be tested as an ordinary crate.
#[macro_export]
macro_rules! register_adapter {
    ($adapter:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Component;

            static ADAPTER: $crate::register::Slot<$adapter> = $crate::register::Slot::new();

            impl $crate::bindings::Guest for Component {
                fn describe() -> String {
                    ADAPTER.describe()
                }

                fn configure(
                    settings: String,
                    routes: Vec<(String, String)>,
                ) -> Result<(), Vec<$crate::bindings::sluice::adapter::types::Problem>> {
                    ADAPTER.configure(&settings, &routes)
                }

                fn receive() -> Result<
                    $crate::bindings::sluice::adapter::types::Outcome,
                    $crate::bindings::sluice::adapter::types::Rejection,
                > {
                    ADAPTER.receive()
                }

                fn consume(
                    event: $crate::bindings::sluice::adapter::types::DeliveredEvent,
                ) -> Result<
                    $crate::bindings::sluice::adapter::types::Outcome,
                    $crate::bindings::sluice::adapter::types::Rejection,
                > {
                    ADAPTER.consume(event)
                }

                fn view(
                    name: String,
                    parameters: String,
                ) -> Result<String, $crate::bindings::sluice::adapter::types::Rejection> {
                    ADAPTER.view(&name, &parameters)
                }
            }

    $crate::bindings::export_adapter!(Component with_types_in $crate::bindings);
        };
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_by_its_place_and_by_words_of_the_code_alone() {
        let place = std::panic::Location::caller();
        let at = format!("panicked at {}:{}:", file!(), place.line());
        let (with, without) = (told(Some(place), Some("no time")), told(Some(place), None));
        assert!(without.starts_with(&at), "{without}");
        assert_eq!(with, format!("{without}: no time"));
    }
}
