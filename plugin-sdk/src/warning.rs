use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Serialize;

/// A doubt about one field: it was read as absent, or reads oddly. Never a reason to refuse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Warning {
    /// What kind of doubt, as `unreadable_time`.
    code: Cow<'static, str>,
    /// The provider's name for the field, as `parameters.price`.
    field: Cow<'static, str>,
    /// A sentence; never the field's value.
    detail: Cow<'static, str>,
}

impl Warning {
    /// `detail` must not repeat what the provider sent: warnings are shown to operators.
    #[must_use]
    pub fn new(
        code: impl Into<Cow<'static, str>>,
        field: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { code: code.into(), field: field.into(), detail: detail.into() }
    }

    pub(crate) const fn code(&self) -> &Cow<'static, str> {
        &self.code
    }

    /// Field and detail, for an operator.
    pub(crate) fn told(&self) -> String {
        format!("{}: {}", self.field, self.detail)
    }
}
