use serde_json::Value;

use crate::sign::{self, FURTHER, Payload, STANDARD};

/// A payment with every field of both schemes.
fn full() -> Payload {
    sign::payload(
        r#"{"amount":"86.000","currency_code":"KWD","customer_address_city":"Salmiya",
            "customer_address_country":"KW","customer_address_line1":"Block 4",
            "customer_address_line2":"Street 5","customer_address_postal_code":"22000",
            "customer_address_state":"Hawalli","customer_email":"a@example.com",
            "customer_first_name":"أحمد","customer_last_name":"O'Neil",
            "customer_phone":"+96550000000","gateway_account":"knet-test","gateway_name":"knet",
            "order_no":"0","reference_number":"stgREF01","result":"success","state":"paid",
            "agreement":{"id":"agr-1"},"payment_type":"one_off","session_id":"sess-1",
            "token":{"customer_id":"c-1","pg_code":"knet","token":"tok-1"},
            "extra":{"autopay":{"subscription_id":"sub-1"},"merchant_id":"m-1"}}"#,
    )
}

/// The JSON of a text of these bytes, which need not be UTF-8.
fn json_of(bytes: &[u8]) -> Vec<u8> {
    let mut json = vec![b'"'];
    for byte in bytes {
        match byte {
            b'"' | b'\\' => json.extend([b'\\', *byte]),
            0..0x20 => json.extend(format!("\\u{byte:04x}").bytes()),
            _ => json.push(*byte),
        }
    }
    json.push(b'"');
    json
}

/// Every body in which one bit of `text`, which stands once between quotes in `body`, is another.
fn flips<'a>(body: &'a str, text: &'a str) -> impl Iterator<Item = Vec<u8>> + 'a {
    let quoted = format!("\"{text}\"");
    let (before, after) = body.split_once(&quoted).expect("the text is in the body");
    assert!(!after.contains(&quoted), "{text} stands twice");
    (0..text.len() * 8).map(move |bit| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        [before.as_bytes(), &json_of(&bytes), after.as_bytes()].concat()
    })
}

/// A body, and what to change in it: the texts of all names and values.
fn marked(payload: &Payload, paths: &[&str]) -> Vec<(String, String)> {
    let mut texts = Vec::new();
    for path in paths {
        let mut payload = payload.clone();
        let pointer = format!("/{}", path.replace('.', "/"));
        let mut whole = Value::Object(std::mem::take(&mut payload));
        let value = whole.pointer_mut(&pointer).expect("the payload has the field");
        let text = value.as_str().expect("a text").to_owned();
        // Put apart from equal texts elsewhere, and then back.
        *value = Value::from("~here~");
        let here = whole.to_string();
        let (before, after) = here.split_once("\"~here~\"").expect("it is there once");
        texts.push((text, format!("{before}\u{0}{after}")));
    }
    texts
}

fn assert_refused(payload: &Payload, paths: &[&str]) -> usize {
    let body = Value::Object(payload.clone()).to_string();
    assert!(sign::receive(body.clone()).end.is_ok(), "{body}");
    let mut changed = 0;
    for (text, around) in marked(payload, paths) {
        let (before, after) = around.split_once('\u{0}').expect("marked");
        for bit in 0..text.len() * 8 {
            let mut bytes = text.as_bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let body = [before.as_bytes(), &json_of(&bytes), after.as_bytes()].concat();
            let run = sign::receive(body);
            assert!(run.end.is_err(), "bit {bit} of {text}");
            changed += 1;
        }
    }
    changed
}

#[test]
fn every_changed_bit_of_a_signed_value_is_refused() {
    let standard = assert_refused(&sign::signed(full()), &STANDARD);
    let both: Vec<&str> = STANDARD.into_iter().chain(FURTHER).collect();
    let second = assert_refused(&sign::signed_second(full()), &both);
    println!("{standard} and {second} bits");
    assert!(standard > 900 && second > standard);
}

#[test]
fn every_changed_bit_of_a_signed_name_is_refused() {
    let body = Value::Object(sign::signed(full())).to_string();
    for name in STANDARD {
        for body in flips(&body, name) {
            assert!(sign::receive(body).end.is_err(), "{name}");
        }
    }
}

#[test]
fn every_changed_bit_of_the_signature_is_refused() {
    let payload = sign::signed(full());
    let signature = payload["signature"].as_str().unwrap().to_owned();
    let body = Value::Object(payload).to_string();
    assert_eq!(flips(&body, &signature).count(), 512);
    for body in flips(&body, &signature) {
        assert!(sign::receive(body).end.is_err());
    }
}
