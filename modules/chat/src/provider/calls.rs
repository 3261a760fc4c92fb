//! Tool calls, which providers stream in fragments, several at a time, put together.

use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Map, Value};

use super::{Delta, ProviderError};

/// As many tools as OpenAI's APIs take; a model that calls more in one answer has lost its way.
const CALLS_MAX: usize = 128;
/// Of all calls of one answer, as much as an answer's text may have.
const BYTES_MAX: usize = 1024 * 1024;

/// Calls of which the last fragment has not come.
#[derive(Default)]
pub(super) struct Calls {
    open: Vec<Call>,
    /// Of this answer, ended ones included.
    count: usize,
    bytes: usize,
}

#[derive(Default)]
pub(super) struct Call {
    pub(super) index: u64,
    pub(super) call_id: String,
    pub(super) name: String,
    pub(super) arguments: String,
}

/// What one event says of a call.
#[derive(Default)]
pub(super) struct Fragment {
    /// Which call of the answer; some servers leave it out.
    pub(super) index: Option<u64>,
    pub(super) call_id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) arguments: Option<String>,
}

impl Calls {
    pub(super) fn add(&mut self, fragment: Fragment) -> Result<(), ProviderError> {
        let call_id = fragment.call_id.filter(|id| !id.is_empty());
        let call = match self.position(fragment.index, call_id.as_deref()) {
            Some(at) => &mut self.open[at],
            None => {
                self.count += 1;
                if self.count > CALLS_MAX {
                    return Err(ProviderError::ToolCall);
                }
                let index = fragment.index.unwrap_or(self.count as u64);
                self.open.push(Call {
                    index,
                    ..Call::default()
                });
                self.open.last_mut().expect("one was pushed")
            }
        };
        if let Some(call_id) = call_id {
            call.call_id = call_id;
        }
        if let Some(name) = fragment.name.filter(|name| !name.is_empty()) {
            call.name = name;
        }
        let arguments = fragment.arguments.unwrap_or_default();
        call.arguments.push_str(&arguments);
        self.bytes += call.name.len() + arguments.len();
        if self.bytes > BYTES_MAX {
            return Err(ProviderError::ToolCall);
        }
        Ok(())
    }

    /// Ends the call at `index`, of which `whole` is everything.
    pub(super) fn end(&mut self, whole: Call) -> Result<Delta, ProviderError> {
        match self.open.iter().position(|call| call.index == whole.index) {
            Some(at) => drop(self.open.remove(at)),
            None => self.count += 1,
        }
        if self.count > CALLS_MAX || whole.name.len() + whole.arguments.len() > BYTES_MAX {
            return Err(ProviderError::ToolCall);
        }
        whole.into_delta()
    }

    /// Ends those that are still open, in the order in which they began.
    pub(super) fn end_all(&mut self) -> Result<Vec<Delta>, ProviderError> {
        self.open.drain(..).map(Call::into_delta).collect()
    }

    /// Ends the open ones that are whole, and forgets the others: the answer was cut.
    pub(super) fn end_whole(&mut self) -> Vec<Delta> {
        let whole = self.open.drain(..).map(Call::into_delta);
        whole.filter_map(Result::ok).collect()
    }

    /// Some servers number every call 0, or none; then a new id is a new call.
    fn position(&self, index: Option<u64>, call_id: Option<&str>) -> Option<usize> {
        let at = match index {
            Some(index) => self.open.iter().rposition(|call| call.index == index),
            None => self.open.len().checked_sub(1),
        }?;
        let known = &self.open[at].call_id;
        match call_id {
            Some(new) if !known.is_empty() && known != new => {
                self.open.iter().position(|call| call.call_id == new)
            }
            _ => Some(at),
        }
    }
}

impl Call {
    fn into_delta(mut self) -> Result<Delta, ProviderError> {
        if self.arguments.trim().is_empty() {
            self.arguments = "{}".to_owned();
        }
        let is_object = serde_json::from_str::<Map<String, Value>>(&self.arguments).is_ok();
        if self.name.is_empty() || !is_object {
            return Err(ProviderError::ToolCall);
        }
        if self.call_id.is_empty() {
            self.call_id = generate_id();
        }
        Ok(Delta::ToolCall {
            call_id: self.call_id,
            name: self.name,
            arguments: self.arguments,
        })
    }
}

/// For a server that names none; it is shown the same id with the output.
fn generate_id() -> String {
    let mut bytes = [0_u8; 12];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the operating system gives random bytes");
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("call_{digits}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `index/id/name/arguments`, `-` for what is left out.
    fn add(calls: &mut Calls, fragment: &str) -> Result<(), ProviderError> {
        let parts: Vec<_> = fragment.splitn(4, '/').collect();
        let given = |at: usize| (parts[at] != "-").then(|| parts[at].to_owned());
        calls.add(Fragment {
            index: given(0).map(|index| index.parse().unwrap()),
            call_id: given(1),
            name: given(2),
            arguments: given(3),
        })
    }

    fn told(delta: &Delta) -> String {
        match delta {
            Delta::ToolCall {
                call_id,
                name,
                arguments,
            } => format!("{call_id}/{name}/{arguments}"),
            other => panic!("{other:?}"),
        }
    }

    fn check(fragments: &[&str], expect: &[&str]) {
        let mut calls = Calls::default();
        for fragment in fragments {
            add(&mut calls, fragment).unwrap();
        }
        let ended: Vec<_> = calls.end_all().unwrap().iter().map(told).collect();
        assert_eq!(ended, expect, "{fragments:?}");
    }

    #[test]
    fn fragments_are_put_together_however_servers_number_them() {
        check(&[], &[]);
        check(
            &["0/c1/look/", "0/-/-/{\"a\":", "0/-/-/1}"],
            &["c1/look/{\"a\":1}"],
        );
        // several at a time, as OpenAI
        check(
            &["0/c1/look/", "1/c2/find/", "0/-/-/{}", "1/-/-/{ }"],
            &["c1/look/{}", "c2/find/{ }"],
        );
        // all numbered 0, or not at all, whole in one fragment
        check(
            &["0/c1/look/{}", "0/c2/find/{}"],
            &["c1/look/{}", "c2/find/{}"],
        );
        check(
            &["-/c1/look/{}", "-/c2/find/{}"],
            &["c1/look/{}", "c2/find/{}"],
        );
        // the id and the name repeated in each, as vLLM did
        check(&["0/c1/look/{", "0/c1/look/}"], &["c1/look/{}"]);
        check(&["0/c1/look/-"], &["c1/look/{}"]);
    }

    #[test]
    fn an_id_that_is_missing_is_made() {
        let mut calls = Calls::default();
        add(&mut calls, "0//look/{}").unwrap();
        add(&mut calls, "1/-/look/{}").unwrap();
        let ids: Vec<_> = calls.end_all().unwrap().iter().map(told).collect();
        assert!(ids.iter().all(|id| id.starts_with("call_")), "{ids:?}");
        assert_ne!(ids[0], ids[1]);
    }

    #[test]
    fn what_is_no_call_is_an_error_unless_the_answer_was_cut() {
        for fragment in [
            "0/c1/-/{}",
            "0/c1/look/{\"a\":",
            "0/c1/look/[1]",
            "0/c1/look/text",
        ] {
            let mut calls = Calls::default();
            add(&mut calls, fragment).unwrap();
            assert_eq!(calls.end_all(), Err(ProviderError::ToolCall), "{fragment}");
            add(&mut calls, fragment).unwrap();
            add(&mut calls, "7/c7/look/{}").unwrap();
            let whole: Vec<_> = calls.end_whole().iter().map(told).collect();
            assert_eq!(whole, ["c7/look/{}"], "{fragment}");
        }
    }

    #[test]
    fn too_much_is_refused() {
        let mut calls = Calls::default();
        let number = (0..).map(|index| add(&mut calls, &format!("{index}/c{index}/look/{{}}")));
        assert_eq!(number.take_while(Result::is_ok).count(), CALLS_MAX);
        let mut calls = Calls::default();
        let fragment = format!("0/c/look/{}", "x".repeat(1024));
        let fits = std::iter::repeat_with(|| add(&mut calls, &fragment));
        assert!(fits.take_while(Result::is_ok).count() < 1024);
    }
}
