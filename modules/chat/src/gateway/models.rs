//! Which models the gateway lets through, where the operator named some: in requests, and in the provider's list.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::error::GatewayError;

/// All that the provider serves, or those that are named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Models(Option<Arc<[String]>>);

/// The one member that is looked at. A second `model` is refused: the provider might go by the other one.
#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    model: Option<String>,
}

impl Models {
    pub(crate) fn only(names: &[String]) -> Models {
        Models(Some(names.into()))
    }

    /// Whether requests must be looked into.
    pub(crate) fn are_restricted(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn check(&self, model: &str) -> Result<(), GatewayError> {
        match &self.0 {
            Some(names) if !names.iter().any(|name| name == model) => {
                Err(GatewayError::ModelNotOffered(GatewayError::quoted(model)))
            }
            _ => Ok(()),
        }
    }

    /// Whether the model that a request's body names may be asked.
    pub(crate) fn check_body(&self, body: &[u8]) -> Result<(), GatewayError> {
        if !self.are_restricted() {
            return Ok(());
        }
        let named: Named = serde_json::from_slice(body)
            .map_err(|error| GatewayError::Malformed(error.to_string()))?;
        self.check(&named.model.ok_or(GatewayError::ModelMissing)?)
    }

    /// The provider's list, without those that may not be asked.
    pub(crate) fn filter(&self, list: &[u8]) -> Result<Vec<u8>, GatewayError> {
        let mut list: Value =
            serde_json::from_slice(list).map_err(|_| GatewayError::UnreadableModels)?;
        let data = list
            .get_mut("data")
            .and_then(Value::as_array_mut)
            .ok_or(GatewayError::UnreadableModels)?;
        data.retain(|model| {
            model
                .get("id")
                .and_then(Value::as_str)
                .is_some_and(|id| self.check(id).is_ok())
        });
        Ok(list.to_string().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Models {
        Models::only(&["small".to_owned(), "org/tiny".to_owned()])
    }

    #[test]
    fn without_names_nothing_is_looked_at() {
        let all = Models::default();
        assert!(!all.are_restricted());
        assert_eq!(all.check("any"), Ok(()));
        assert_eq!(all.check_body(b"not json"), Ok(()));
    }

    #[test]
    fn a_body_must_name_a_model_that_is_offered() {
        let check = |body: &str, expect: Result<(), &str>| {
            let outcome = small().check_body(body.as_bytes());
            match expect {
                Ok(()) => assert_eq!(outcome, Ok(()), "{body}"),
                Err(words) => {
                    let error = outcome.expect_err(body).to_string();
                    assert!(error.contains(words), "{body}: {error}");
                }
            }
        };
        check(
            r#"{"model":"small","messages":[{"model":"large"}]}"#,
            Ok(()),
        );
        check(r#"{"stream":true,"model":"org\/tiny"}"#, Ok(()));
        check(r#"{"model":"large"}"#, Err("`large` is not offered"));
        check(r#"{"model":"Small"}"#, Err("`Small` is not offered"));
        check(
            r#"{"model":"small","model":"large"}"#,
            Err("duplicate field"),
        );
        check(r#"{"mod\u0065l":"large"}"#, Err("`large` is not offered"));
        check(r#"{"model":null}"#, Err("`model` is missing"));
        check("{}", Err("`model` is missing"));
        check(r#"{"model":7}"#, Err("cannot be read"));
        check("", Err("cannot be read"));
    }

    #[test]
    fn a_list_loses_what_is_not_offered() {
        let list = br#"{"object":"list","data":[{"id":"small","x":1},{"id":"large"},{},{"id":"org/tiny"}]}"#;
        let filtered: Value = serde_json::from_slice(&small().filter(list).unwrap()).unwrap();
        let expect = serde_json::json!({"object": "list", "data": [{"id": "small", "x": 1}, {"id": "org/tiny"}]});
        assert_eq!(filtered, expect);
        for unreadable in ["<html>", "[]", "{}", r#"{"data":{}}"#] {
            let outcome = small().filter(unreadable.as_bytes());
            assert_eq!(outcome, Err(GatewayError::UnreadableModels), "{unreadable}");
        }
    }
}
