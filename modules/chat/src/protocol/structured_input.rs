//! Questions with a form: what an item asks, what a user submits, and what is noted of it.
//!
//! [`StructuredInput::answer`] is the reference's `_apply_structured_input_submission` in `chatkit/server.py`.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// What an item of this kind holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StructuredInput {
    #[serde(default)]
    pub(crate) status: InputStatus,
    pub(crate) inputs: Vec<Input>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum InputStatus {
    #[default]
    Pending,
    Answered,
    Skipped,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Input {
    pub(crate) id: String,
    pub(crate) question: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) answer: Option<Answer>,
    #[serde(flatten)]
    pub(crate) kind: InputKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum InputKind {
    MultipleChoice {
        options: Vec<Choice>,
        #[serde(default)]
        multiple: bool,
    },
    Freeform {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Choice {
    pub(crate) value: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Answer {
    #[serde(default)]
    pub(crate) values: Vec<String>,
    #[serde(default)]
    pub(crate) skipped: bool,
}

/// What a client submits.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Submission {
    #[serde(default)]
    pub(crate) status: SubmissionStatus,
    #[serde(default)]
    pub(crate) answers: HashMap<String, Answer>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SubmissionStatus {
    #[default]
    Answered,
    Skipped,
}

impl StructuredInput {
    /// Notes an answer on each question: one that is missing, empty or skipped is a skipped one, and one choice has one
    /// value. Answers to questions that were not asked are ignored.
    pub(crate) fn answer(&mut self, mut submission: Submission) {
        for input in &mut self.inputs {
            let given = submission.answers.remove(&input.id).unwrap_or_default();
            let skipped = submission.status == SubmissionStatus::Skipped
                || given.skipped
                || given.values.is_empty();
            input.answer = Some(match skipped {
                true => Answer {
                    values: Vec::new(),
                    skipped: true,
                },
                false => Answer {
                    values: input.kind.allowed(given.values),
                    skipped: false,
                },
            });
        }
        self.status = match submission.status {
            SubmissionStatus::Answered => InputStatus::Answered,
            SubmissionStatus::Skipped => InputStatus::Skipped,
        };
    }
}

impl InputKind {
    fn allowed(&self, mut values: Vec<String>) -> Vec<String> {
        if let InputKind::MultipleChoice {
            multiple: false, ..
        } = self
        {
            values.truncate(1);
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn form() -> Value {
        json!({"status": "pending", "inputs": [
            {"id": "one", "question": "One?", "type": "multiple_choice", "options": [{"value": "a"}, {"value": "b"}], "multiple": false},
            {"id": "many", "question": "Many?", "type": "multiple_choice", "options": [{"value": "a"}], "multiple": true},
            {"id": "free", "question": "Free?", "type": "freeform", "description": "d"},
        ]})
    }

    #[test]
    fn a_form_is_written_as_it_is_read() {
        let read: StructuredInput = serde_json::from_value(form()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), form());
        let sparse = json!({"inputs": [{"id": "a", "question": "?", "type": "freeform"}]});
        let read: StructuredInput = serde_json::from_value(sparse).unwrap();
        assert_eq!(read.status, InputStatus::Pending);
    }

    #[test]
    fn answers_are_noted_as_the_reference_notes_them() {
        let check = |submission: Value, status: InputStatus, expect: [Value; 3]| {
            let mut form: StructuredInput = serde_json::from_value(form()).unwrap();
            form.answer(serde_json::from_value(submission.clone()).unwrap());
            assert_eq!(form.status, status, "{submission}");
            let answers = form.inputs.iter().map(|input| json!(input.answer));
            assert_eq!(answers.collect::<Vec<_>>(), expect, "{submission}");
        };
        let skipped = json!({"values": [], "skipped": true});
        let answered = |values: &[&str]| json!({"values": values, "skipped": false});
        check(
            json!({"answers": {"one": {"values": ["b", "a"]}, "many": {"values": ["a", "c"]}, "none": {"values": ["x"]}}}),
            InputStatus::Answered,
            [answered(&["b"]), answered(&["a", "c"]), skipped.clone()],
        );
        check(
            json!({"status": "skipped", "answers": {"one": {"values": ["b"]}}}),
            InputStatus::Skipped,
            [skipped.clone(), skipped.clone(), skipped.clone()],
        );
        check(
            json!({"answers": {"one": {"values": ["b"], "skipped": true}, "many": {}, "free": {"values": ["words"]}}}),
            InputStatus::Answered,
            [skipped.clone(), skipped.clone(), answered(&["words"])],
        );
    }
}
