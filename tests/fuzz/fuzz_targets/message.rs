//! Whatever a frame holds: telling what message it is never panics, a refusal has one of the specification's codes, and what is
//! taken for a message is one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use midplane_kernel::untrusted::message::{Message, code};
use serde_json::{Map, Value};

fuzz_target!(|bytes: &[u8]| {
    match Message::parse(bytes) {
        Err(refused) => {
            let known = [code::PARSE_ERROR, code::INVALID_REQUEST, code::INVALID_PARAMS];
            assert!(known.contains(&refused.error.code), "{refused:?}");
        }
        Ok(message) => {
            let value: Map<String, Value> = match serde_json::from_slice(bytes) {
                Ok(value) => value,
                // What is not looked at may be nested deeper, or be a number larger, than a value can be.
                Err(_) => return,
            };
            match message {
                Message::Request { id, method, params } => {
                    assert_eq!(value["method"], method.as_str());
                    assert_eq!(value["id"], serde_json::to_value(&id).unwrap());
                    let _ = params.read::<Map<String, Value>>();
                }
                Message::Notification { method, params } => {
                    assert_eq!(value["method"], method.as_str());
                    assert!(!value.contains_key("id"));
                    let _ = params.read::<Map<String, Value>>();
                }
                Message::Response { id, outcome } => {
                    assert_eq!(value["id"], serde_json::to_value(&id).unwrap());
                    assert_eq!(outcome.is_ok(), value.contains_key("result"));
                }
                Message::Stray => assert!(value.contains_key("error")),
            }
        }
    }
});
