//! The query of a request.

use std::borrow::Cow;

use super::Call;
use crate::problem::{Code, Problem};

impl Call<'_> {
    /// The query's members, each known and given once. The names are short and plain: no value needs more than
    /// percent-decoding.
    pub(super) fn query(&self, known: &[&str]) -> Result<Vec<(String, String)>, Problem> {
        let mut members: Vec<(String, String)> = Vec::new();
        for pair in self
            .parts
            .uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
        {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !known.contains(&name) || members.iter().any(|(other, _)| other == name) {
                let detail = format!(
                    "the query member `{name}` is unknown here or given twice; known are: {}",
                    known.join(", ")
                );
                return Err(Problem::new(Code::InvalidRequest, detail));
            }
            members.push((name.to_owned(), percent_decode(value)?.into_owned()));
        }
        Ok(members)
    }
}

fn percent_decode(text: &str) -> Result<Cow<'_, str>, Problem> {
    percent_encoding::percent_decode_str(text)
        .decode_utf8()
        .map_err(|_not_utf8| Problem::new(Code::InvalidRequest, "the query is not UTF-8"))
}
