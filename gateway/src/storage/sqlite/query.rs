//! Questions about stored requests.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Result, Row, ToSql, params};
use smol_str::format_smolstr;

use super::columns::{array, disposition_from, sql, unsql};
use super::encode::{RecordRow, RequestColumns, event_from_row, sha256};
use super::reads;
use super::times::Moment;
use crate::model::{
    AdapterName, AttemptOutcome, DeliveryId, DeliveryState, DestinationName, Disposition, Event,
    EventId, RequestId, RequestRecord, RouteName, UnixMillis,
};
use crate::storage::{
    RequestFilter, RequestSummary, StoredAttempt, StoredDelivery, StoredEvent, StoredRequest,
};

/// Longest page of requests.
const PAGE_MAX: usize = 500;

/// What stands where bit rot has left no name.
const UNREADABLE: &str = "unreadable";

pub(super) fn requests(
    connection: &Connection,
    filter: &RequestFilter,
) -> Result<Vec<RequestSummary>> {
    let (text, values) = page(filter);
    let mut statement = connection.prepare_cached(&text)?;
    statement.query_map(rusqlite::params_from_iter(values), summary)?.collect()
}

/// The statement for one page, and its values. Pages go by id, like those of refused requests that
/// the admin side merges with them, and whatever the order of commits was.
fn page(filter: &RequestFilter) -> (String, Vec<Box<dyn ToSql>>) {
    let mut conditions = vec!["1"];
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    if let Some(route) = &filter.route {
        conditions.push("r.route = (SELECT id FROM names WHERE kind = 1 AND name = ?)");
        values.push(Box::new(route.as_str().to_owned()));
    }
    if let Some(before) = &filter.before {
        conditions.push("r.id < ?");
        values.push(Box::new(*before.as_bytes()));
    }
    if let Some(disposition) = filter.disposition {
        conditions.push(disposition_condition(disposition));
    }
    values.push(Box::new(sql(filter.limit.min(PAGE_MAX) as u64)));
    let text = format!(
        "SELECT r.id, n.name, r.received_at, r.disposition, r.status, length(r.body), r.events, \
         r.record FROM requests r JOIN names n ON n.id = r.route WHERE {} ORDER BY r.id DESC \
         LIMIT ?",
        conditions.join(" AND ")
    );
    (text, values)
}

/// Written out, and with the condition of the partial index beside it: only then it is used.
const fn disposition_condition(disposition: Disposition) -> &'static str {
    match disposition {
        Disposition::Accepted => "r.disposition = 0",
        Disposition::Ignored => "r.disposition <> 0 AND r.disposition = 1",
        Disposition::Duplicate => "r.disposition <> 0 AND r.disposition = 2",
        Disposition::Rejected => "r.disposition <> 0 AND r.disposition = 3",
        Disposition::Quarantined => "r.disposition <> 0 AND r.disposition = 4",
        Disposition::Superseded => "r.disposition <> 0 AND r.disposition = 5",
    }
}

fn summary(row: &Row<'_>) -> Result<RequestSummary> {
    let record: String = text(row, 7)?;
    let record: Option<RecordRow<'_>> = serde_json::from_str(&record).ok();
    let (adapter, facts) = match record {
        Some(record) => (record.adapter.into_owned(), record.facts.into_owned()),
        None => (name(UNREADABLE, AdapterName::new)?, Vec::new()),
    };
    Ok(RequestSummary {
        id: RequestId::from_bytes(array(row.get_ref(0)?.as_blob()?)),
        route: name(&row.get::<_, String>(1)?, RouteName::new)?,
        adapter,
        received_at: UnixMillis(unsql(row.get(2)?)),
        disposition: disposition(row, 3)?,
        status: row.get(4)?,
        body_bytes: unsql(row.get(5)?),
        events: row.get(6)?,
        facts,
    })
}

/// One request, as it stands at `moment`.
pub(super) fn request(
    connection: &Connection,
    id: &RequestId,
    moment: Moment,
) -> Result<Option<StoredRequest>> {
    // The row is looked up by its number, so that its id is read from it and not from the index that
    // led to it: where a damaged one leads to the row of another request, that shows.
    let mut statement = connection.prepare_cached(
        "SELECT n.name, r.received_at, r.disposition, r.body_sha256, r.answer, r.record, r.body, \
         r.first_event, r.events, r.state_reads, r.id FROM requests i JOIN requests r ON r.seq = i.seq \
         JOIN names n ON n.id = r.route WHERE i.id = ?1",
    )?;
    let found = statement
        .query_row([id.as_bytes()], |row| {
            let is_it = row.get_ref(10)?.as_blob()? == id.as_bytes();
            let columns = RequestColumns {
                id: *id,
                route: name(&row.get::<_, String>(0)?, RouteName::new)?,
                received_at: UnixMillis(unsql(row.get(1)?)),
                disposition: disposition(row, 2)?,
                body_sha256: array(row.get_ref(3)?.as_blob()?),
                answer: serde_json::from_str(&text(row, 4)?).map_err(unreadable)?,
                body: Bytes::copy_from_slice(row.get_ref(6)?.as_bytes()?),
                state_reads: reads::unpack(row.get_ref(9)?.as_blob_or_null()?),
            };
            let record: RecordRow<'_> = serde_json::from_str(&text(row, 5)?).map_err(unreadable)?;
            Ok((record.into_record(columns), row.get(7)?, row.get(8)?, is_it))
        })
        .optional()?;
    let Some((record, first, count, is_it)) = found else { return Ok(None) };
    let intact = is_it && sha256(&record.body) == record.kept_sha256.unwrap_or(record.body_sha256);
    let events = events(connection, &record, (first, count), moment)?;
    Ok(Some(StoredRequest { record, intact, events }))
}

fn events(
    connection: &Connection,
    record: &RequestRecord,
    (first, count): (i64, i64),
    moment: Moment,
) -> Result<Vec<StoredEvent>> {
    let mut statement = connection.prepare_cached(
        "SELECT sha256, event, data, first_delivery, deliveries FROM events \
         WHERE seq >= ?1 AND seq < ?1 + ?2 ORDER BY seq",
    )?;
    let mut rows = statement.query(params![first, count])?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        let data = text(row, 2)?;
        let read = event_from_row(row.get_ref(0)?.as_blob()?, &text(row, 1)?, data.clone());
        let (event, intact) = read.unwrap_or_else(|_| (unreadable_event(record, data), false));
        // A damaged request may refer to the events of another.
        let intact = intact && event.request == record.id;
        let deliveries = deliveries(connection, (row.get(3)?, row.get(4)?), moment)?;
        events.push(StoredEvent { event, intact, deliveries });
    }
    Ok(events)
}

/// Stands for an event whose row cannot be read: for the operator's eyes, never to be sent.
fn unreadable_event(record: &RequestRecord, data: String) -> Event {
    Event {
        id: EventId::from_bytes([0; 16]),
        request: record.id,
        route: record.route.clone(),
        kind: UNREADABLE.to_owned(),
        subject: None,
        time: None,
        adapter: format_smolstr!("{}/{}", record.plugin.plugin, record.plugin.version),
        adapter_name: record.adapter.clone(),
        received_at: record.received_at,
        verified: record.verified,
        idempotency_key: None,
        partition_key: None,
        data_schema: None,
        replay_of: None,
        hops: 0,
        data,
    }
}

fn deliveries(
    connection: &Connection,
    (first, count): (i64, i64),
    moment: Moment,
) -> Result<Vec<StoredDelivery>> {
    let mut statement = connection.prepare_cached(
        "SELECT d.id, n.name, d.state, d.at, d.attempts, d.took_ms, d.reason, d.failures \
         FROM deliveries d JOIN names n ON n.id = d.destination \
         WHERE d.id >= ?1 AND d.id < ?1 + ?2 ORDER BY d.id",
    )?;
    statement.query_map(params![first, count], |row| delivery(row, moment))?.collect()
}

fn delivery(row: &Row<'_>, moment: Moment) -> Result<StoredDelivery> {
    let state = match row.get(2)? {
        2_i64 => DeliveryState::Delivered,
        3 => DeliveryState::DeadLetter,
        _ => DeliveryState::Pending,
    };
    let at = UnixMillis(unsql(row.get(3)?));
    let failures: Option<String> = row.get(7)?;
    let lines = failures.iter().flat_map(|lines| lines.lines());
    let mut attempts: Vec<StoredAttempt> = lines
        .map(serde_json::from_str)
        .collect::<std::result::Result<_, _>>()
        .map_err(unreadable)?;
    if state == DeliveryState::Delivered {
        attempts.push(StoredAttempt {
            number: row.get(4)?,
            at,
            took_ms: unsql(row.get::<_, Option<i64>>(5)?.unwrap_or_default()),
            outcome: AttemptOutcome::Delivered,
        });
    }
    Ok(StoredDelivery {
        delivery: DeliveryId(row.get(0)?),
        destination: name(&row.get::<_, String>(1)?, DestinationName::new)?,
        state,
        due_at: (state == DeliveryState::Pending).then(|| moment.wall_at(at)),
        reason: row.get(6)?,
        attempts,
    })
}

fn disposition(row: &Row<'_>, column: usize) -> Result<Disposition> {
    let number = row.get(column)?;
    disposition_from(number).ok_or(rusqlite::Error::IntegralValueOutOfRange(column, number))
}

/// Text that bit rot may have made invalid.
fn text(row: &Row<'_>, column: usize) -> Result<String> {
    Ok(String::from_utf8_lossy(row.get_ref(column)?.as_bytes()?).into_owned())
}

fn name<T, E>(text: &str, new: impl Fn(&str) -> std::result::Result<T, E>) -> Result<T>
where
    E: std::error::Error + Send + Sync + 'static,
{
    new(text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
    })
}

fn unreadable(error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What SQLite would do for a page of `filter`, a step a line.
    fn plan(filter: &RequestFilter) -> String {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("migrations/0001_initial.sql")).unwrap();
        let (text, values) = page(filter);
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {text}")).unwrap();
        let steps = explain.query_map(rusqlite::params_from_iter(values), |row| row.get(3));
        steps.unwrap().collect::<Result<Vec<String>>>().unwrap().join("\n")
    }

    #[test]
    fn a_page_is_read_from_an_index_and_never_sorted() {
        use Disposition as D;
        let route = || RouteName::new("shop").ok();
        let before = || Some(RequestId::from_bytes([7; 16]));
        let all = RequestFilter { limit: 9, ..RequestFilter::default() };
        let cases = [
            (RequestFilter { ..all.clone() }, "requests_by_id"),
            (RequestFilter { before: before(), ..all.clone() }, "requests_by_id"),
            (RequestFilter { route: route(), ..all.clone() }, "requests_of_route"),
            (RequestFilter { disposition: Some(D::Accepted), ..all.clone() }, "requests_by_id"),
        ];
        let others = [D::Ignored, D::Duplicate, D::Rejected, D::Quarantined, D::Superseded];
        let others = others.map(|disposition| {
            let disposition = Some(disposition);
            let filter = RequestFilter { disposition, before: before(), ..all.clone() };
            (filter, "requests_by_disposition")
        });
        for (filter, index) in cases.into_iter().chain(others) {
            let plan = plan(&filter);
            assert!(plan.contains(index), "{filter:?}:\n{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{filter:?}:\n{plan}");
        }
    }
}
