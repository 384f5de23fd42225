//! From the provider's payload to the data of an event.

use std::borrow::Cow;
use std::collections::BTreeMap;

use plugin_sdk::{Country, Loose, Money, Object, Reader, Zone, some_if_any};

use crate::event::{
    Address, AmountDetails, Customer, Data, Delivery, Gateway, Initiator, Totals, Transaction,
    Verification,
};
use crate::kind::{self, Kind};
use crate::payload::{self, Labelled, Payload};
use crate::signature::Proof;

/// Most child transactions that are read. A payment has a few; the list is not signed, so anybody who
/// saw a webhook can make it longer.
const TRANSACTIONS_MAX: usize = 256;

/// `home` is the country of telephone numbers that name none.
pub(crate) fn data_of<'a>(
    mut from: Payload<'a>,
    proof: &Proof<'_>,
    home: Option<Country>,
    read: &mut Reader,
) -> Data<'a> {
    let kind = if from.is_payment() { Kind::Payment } else { Kind::Operation };
    let currency = read.text("currency_code", from.currency_code);
    let amount = read.money("amount", from.amount, currency.as_deref());
    let transaction = read
        .object("txn", std::mem::take(&mut from.txn))
        .and_then(|child| transaction(&CHILD, &child, read));
    let operation = operation(kind, &from, transaction.as_ref(), read);
    Data {
        kind,
        reference_number: read.text("reference_number", from.reference_number),
        order_no: read.text("order_no", from.order_no),
        session_id: read.text("session_id", from.session_id),
        state: read.text("state", from.state),
        result: read.text("result", from.result),
        operation,
        amount,
        totals: totals(&from, currency.as_deref(), read),
        currency,
        amount_details: amount_details(std::mem::take(&mut from.amount_details), read),
        gateway: gateway(&from, read),
        customer: customer(&from, home, read),
        message: read.text("message", from.message),
        detail: read.text("detail", from.detail),
        sandbox: read.boolean("is_sandbox", from.is_sandbox),
        payment_type: read.text("payment_type", from.payment_type),
        source: read.text("source", from.source),
        success: read.boolean("success", from.success),
        occurred_at: read.time("timestamp_utc", from.timestamp_utc, Some(Zone::UTC)),
        transaction,
        transactions: transactions(from.transactions, read),
        initiator: initiator(std::mem::take(&mut from.initiator), home, read),
        extra: from.extra.opaque(),
        agreement: from.agreement.opaque(),
        token: from.token.opaque(),
        card_acceptance_criteria: from.card_acceptance_criteria.opaque(),
        wallet_transactions: from.customer_wallet_transactions.opaque(),
        delivery: some_if_any!(
            Delivery {
                address: from.capture_delivery_address.opaque(),
                location: from.capture_delivery_location.opaque(),
            },
            address,
            location
        ),
        transaction_log_id: read.text("transaction_log_id", from.transaction_log_id),
        verification: Verification {
            scheme: proof.scheme().into(),
            verified_fields: proof.verified_fields(),
            signature: read.text("signature", from.signature),
        },
    }
}

/// What was done: as the provider says, else by the state of the child transaction that it made.
fn operation<'a>(
    kind: Kind,
    from: &Payload<'a>,
    transaction: Option<&Transaction<'a>>,
    read: &mut Reader,
) -> Option<Cow<'a, str>> {
    let said = read.text("operation", from.operation);
    if said.is_some() || kind == Kind::Payment {
        return said;
    }
    let state = transaction.and_then(|child| child.state.as_deref());
    state.and_then(kind::of_child_state).map(Cow::Borrowed)
}

fn totals<'a>(from: &Payload<'a>, currency: Option<&str>, read: &mut Reader) -> Option<Totals<'a>> {
    let mut total = |field, value| read.money(field, value, currency);
    let newer_or_older = Totals {
        authorized: total("total_authorized_amount", from.total_authorized_amount),
        paid: total("paid_amount", from.paid_amount)
            .or_else(|| total("total_paid_amount", from.total_paid_amount)),
        refunded: total("refunded_amount", from.refunded_amount)
            .or_else(|| total("total_refunded_amount", from.total_refunded_amount)),
        voided: total("voided_amount", from.voided_amount)
            .or_else(|| total("total_voided_amount", from.total_voided_amount)),
        settled: total("settled_amount", from.settled_amount),
        remaining: total("remaining_amount", from.remaining_amount),
        fee: None,
    };
    let fee = fee(from.fee, currency, read);
    some_if_any!(
        Totals { fee, ..newer_or_older },
        authorized,
        paid,
        refunded,
        voided,
        settled,
        remaining,
        fee
    )
}

/// The fee, which names a currency of its own: the gateway's need not be that of the order.
fn fee<'a>(value: Loose<'a>, currency: Option<&str>, read: &mut Reader) -> Option<Money<'a>> {
    let names_currency =
        value.money(None).is_ok_and(|fee| fee.is_some_and(|fee| fee.currency.is_some()));
    read.money("fee", value, currency.filter(|_| !names_currency))
}

fn amount_details<'a>(
    from: Object<payload::AmountDetails<'a>>,
    read: &mut Reader,
) -> Option<AmountDetails<'a>> {
    let from = read.object("amount_details", from)?;
    let currency = read.text("amount_details.currency_code", from.currency_code);
    let own = currency.as_deref();
    some_if_any!(
        AmountDetails {
            amount: read.money("amount_details.amount", from.amount, own),
            fee: read.money("amount_details.fee", from.fee, own),
            total: read.money("amount_details.total", from.total, own),
            exchange_rate: read.text("amount_details.exchange_rate", from.exchange_rate),
            currency,
        },
        amount,
        fee,
        total,
        exchange_rate,
        currency
    )
}

fn gateway<'a>(from: &Payload<'a>, read: &mut Reader) -> Option<Gateway<'a>> {
    some_if_any!(
        Gateway {
            name: read.text("gateway_name", from.gateway_name),
            account: read.text("gateway_account", from.gateway_account),
            code: read.text("pg_code", from.pg_code),
            response: from.gateway_response.opaque().or_else(|| from.pg_response.opaque()),
            parameters: parameters(from.pg_params, read),
        },
        name,
        account,
        code,
        response,
        parameters
    )
}

/// `pg_params`, each as a value or, in older webhooks, as an object with the value and its names.
fn parameters<'a>(value: Loose<'a>, read: &mut Reader) -> Option<BTreeMap<String, Loose<'a>>> {
    let value = value.opaque()?;
    let Some(mut named) = value.object::<BTreeMap<String, Loose<'a>>>() else {
        read.warn("unexpected_type", "pg_params", "not an object");
        return None;
    };
    for each in named.values_mut() {
        if let Some(labelled) = each.object::<Labelled<'a>>().filter(Labelled::is_one) {
            *each = labelled.value;
        }
    }
    named.retain(|_, each| each.opaque().is_some());
    (!named.is_empty()).then_some(named)
}

fn customer<'a>(
    from: &Payload<'a>,
    home: Option<Country>,
    read: &mut Reader,
) -> Option<Customer<'a>> {
    let mut text = |field, value| read.text(field, value);
    let address = some_if_any!(
        Address {
            line1: text("customer_address_line1", from.customer_address_line1),
            line2: text("customer_address_line2", from.customer_address_line2),
            city: text("customer_address_city", from.customer_address_city),
            state: text("customer_address_state", from.customer_address_state),
            postal_code: text("customer_address_postal_code", from.customer_address_postal_code),
            country: text("customer_address_country", from.customer_address_country),
        },
        line1,
        line2,
        city,
        state,
        postal_code,
        country
    );
    some_if_any!(
        Customer {
            id: text("customer_id", from.customer_id),
            first_name: text("customer_first_name", from.customer_first_name),
            last_name: text("customer_last_name", from.customer_last_name),
            email: text("customer_email", from.customer_email),
            birthdate: text("customer_birthdate", from.customer_birthdate),
            phone: read.telephone("customer_phone", from.customer_phone, home),
            address,
        },
        id,
        first_name,
        last_name,
        email,
        phone,
        birthdate,
        address
    )
}

/// The provider's names of a child transaction's fields, for warnings.
struct ChildNames {
    amount: &'static str,
    currency_code: &'static str,
    customer_email: &'static str,
    order_no: &'static str,
    reference_number: &'static str,
    session_id: &'static str,
    state: &'static str,
}

const CHILD: ChildNames = ChildNames {
    amount: "txn.amount",
    currency_code: "txn.currency_code",
    customer_email: "txn.customer_email",
    order_no: "txn.order_no",
    reference_number: "txn.reference_number",
    session_id: "txn.session_id",
    state: "txn.state",
};

const ITEM: ChildNames = ChildNames {
    amount: "transactions.amount",
    currency_code: "transactions.currency_code",
    customer_email: "transactions.customer_email",
    order_no: "transactions.order_no",
    reference_number: "transactions.reference_number",
    session_id: "transactions.session_id",
    state: "transactions.state",
};

fn transaction<'a>(
    names: &ChildNames,
    from: &payload::Transaction<'a>,
    read: &mut Reader,
) -> Option<Transaction<'a>> {
    let currency = read.text(names.currency_code, from.currency_code);
    some_if_any!(
        Transaction {
            amount: read.money(names.amount, from.amount, currency.as_deref()),
            order_no: read.text(names.order_no, from.order_no),
            reference_number: read.text(names.reference_number, from.reference_number),
            session_id: read.text(names.session_id, from.session_id),
            state: read.text(names.state, from.state),
            customer_email: read.text(names.customer_email, from.customer_email),
            extra: from.extra.opaque(),
            currency,
        },
        amount,
        order_no,
        reference_number,
        session_id,
        state,
        customer_email,
        extra,
        currency
    )
}

fn transactions<'a>(value: Loose<'a>, read: &mut Reader) -> Option<Vec<Transaction<'a>>> {
    let value = value.opaque()?;
    // One by one: an item read takes a hundred times the room that it has in the body.
    let Some(items) = value.list::<Loose<'a>>() else {
        read.warn("unexpected_type", "transactions", "not a list");
        return None;
    };
    if items.len() > TRANSACTIONS_MAX {
        read.warn("too_many_items", "transactions", "only the first 256 were read");
    }
    let mut children = Vec::new();
    for item in items.into_iter().take(TRANSACTIONS_MAX) {
        match item.object::<payload::Transaction<'a>>() {
            Some(item) => children.extend(transaction(&ITEM, &item, read)),
            None if item.opaque().is_none() => {}
            None => read.warn("unexpected_type", "transactions", "not an object"),
        }
    }
    (!children.is_empty()).then_some(children)
}

fn initiator<'a>(
    from: Object<payload::Initiator<'a>>,
    home: Option<Country>,
    read: &mut Reader,
) -> Option<Initiator<'a>> {
    let from = read.object("initiator", from)?;
    some_if_any!(
        Initiator {
            id: read.text("initiator.id", from.id),
            first_name: read.text("initiator.first_name", from.first_name),
            last_name: read.text("initiator.last_name", from.last_name),
            username: read.text("initiator.username", from.username),
            email: read.text("initiator.email", from.email),
            phone: read.telephone("initiator.phone", from.phone, home),
        },
        id,
        first_name,
        last_name,
        username,
        email,
        phone
    )
}
