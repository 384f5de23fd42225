use plugin_sdk::Loose;

use crate::payload::{Payload, SignedParts};

/// A field under the signature.
pub(super) struct Field {
    /// The provider's name; dotted where it is nested.
    pub(super) name: &'static str,
    /// Where it is in the event's data.
    pub(super) in_data: &'static str,
    /// Whether the standard scheme covers it, too.
    pub(super) is_standard: bool,
    /// Where the first `_` of the name is.
    pub(super) underscore: Option<usize>,
    pub(super) of: for<'p, 'a> fn(&'p Payload<'a>) -> Loose<'a>,
}

const fn standard(
    name: &'static str,
    in_data: &'static str,
    of: for<'p, 'a> fn(&'p Payload<'a>) -> Loose<'a>,
) -> Field {
    Field { name, in_data, is_standard: true, underscore: underscore(name), of }
}

/// Covered by the second scheme alone; the data has it where the provider has it.
const fn further(name: &'static str, of: for<'p, 'a> fn(&'p Payload<'a>) -> Loose<'a>) -> Field {
    Field { name, in_data: name, is_standard: false, underscore: underscore(name), of }
}

const fn underscore(name: &str) -> Option<usize> {
    let mut rest = name.as_bytes();
    while let [first, after @ ..] = rest {
        if *first == b'_' {
            return Some(name.len() - rest.len());
        }
        rest = after;
    }
    None
}

/// Every field that any scheme covers, in the order of their names: that of the messages.
pub(super) static FIELDS: [Field; 26] = [
    further("agreement.id", |payload| parts(payload.agreement).id),
    standard("amount", "amount", |payload| payload.amount),
    standard("currency_code", "currency", |payload| payload.currency_code),
    standard("customer_address_city", "customer.address.city", |payload| {
        payload.customer_address_city
    }),
    standard("customer_address_country", "customer.address.country", |payload| {
        payload.customer_address_country
    }),
    standard("customer_address_line1", "customer.address.line1", |payload| {
        payload.customer_address_line1
    }),
    standard("customer_address_line2", "customer.address.line2", |payload| {
        payload.customer_address_line2
    }),
    standard("customer_address_postal_code", "customer.address.postal_code", |payload| {
        payload.customer_address_postal_code
    }),
    standard("customer_address_state", "customer.address.state", |payload| {
        payload.customer_address_state
    }),
    standard("customer_email", "customer.email", |payload| payload.customer_email),
    standard("customer_first_name", "customer.first_name", |payload| payload.customer_first_name),
    standard("customer_last_name", "customer.last_name", |payload| payload.customer_last_name),
    standard("customer_phone", "customer.phone", |payload| payload.customer_phone),
    further("extra.autopay.subscription_id", |payload| {
        parts(parts(payload.extra).autopay).subscription_id
    }),
    further("extra.merchant_id", |payload| parts(payload.extra).merchant_id),
    standard("gateway_account", "gateway.account", |payload| payload.gateway_account),
    standard("gateway_name", "gateway.name", |payload| payload.gateway_name),
    standard("order_no", "order_no", |payload| payload.order_no),
    further("payment_type", |payload| payload.payment_type),
    standard("reference_number", "reference_number", |payload| payload.reference_number),
    standard("result", "result", |payload| payload.result),
    further("session_id", |payload| payload.session_id),
    standard("state", "state", |payload| payload.state),
    further("token.customer_id", |payload| parts(payload.token).customer_id),
    further("token.pg_code", |payload| parts(payload.token).pg_code),
    further("token.token", |payload| parts(payload.token).token),
];

/// The members of a nested object; none where it is none.
fn parts(of: Loose<'_>) -> SignedParts<'_> {
    of.object().unwrap_or_default()
}
