//! Widgets: trees of components that a client draws.
//!
//! Their properties are the client's business; what is checked is what the reference's `WidgetRoot` demands of every
//! tree. Changes of a part are carried out on the tree as well, so that what is kept is what the user saw.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Deeper than any widget a person can use; trees are walked by recursion.
const DEPTH_MAX: usize = 32;
const ROOTS: [&str; 3] = ["Card", "ListView", "Basic"];
/// The components whose `value` may be streamed.
const STREAMED: [&str; 2] = ["Markdown", "Text"];

/// The root of a widget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value")]
pub(crate) struct Root(Component);

/// A component with those below it; properties that are null are left out, as by the reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value")]
pub(crate) struct Component(Map<String, Value>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WidgetError {
    #[error("a widget's component is an object with a `type`")]
    NoType,
    #[error("`{0}` of a widget's component is a string")]
    NotAString(&'static str),
    #[error("`children` of a widget's component is a component or a list of them")]
    Children,
    #[error("a widget has components {DEPTH_MAX} deep at most")]
    TooDeep,
    #[error("`{0}` is no root of a widget: take Card, ListView or Basic")]
    Root(String),
    #[error("the widget has no component with the id `{0}`")]
    NoComponent(String),
    #[error("the component `{0}` is no Markdown or Text: its value cannot be streamed")]
    NotStreamed(String),
}

impl TryFrom<Value> for Component {
    type Error = WidgetError;

    fn try_from(value: Value) -> Result<Component, WidgetError> {
        component(value, 1).map(Component)
    }
}

impl TryFrom<Value> for Root {
    type Error = WidgetError;

    fn try_from(value: Value) -> Result<Root, WidgetError> {
        let component = Component::try_from(value)?;
        match component.0["type"].as_str() {
            Some(known) if ROOTS.contains(&known) => Ok(Root(component)),
            other => Err(WidgetError::Root(
                other.unwrap_or_default().chars().take(64).collect(),
            )),
        }
    }
}

impl Root {
    /// Puts `replacement` in the place of the component with this id.
    pub(crate) fn replace(&mut self, id: &str, replacement: Component) -> Result<(), WidgetError> {
        let mut changed = self.clone();
        *changed.find(id)? = replacement.0;
        // The tree may have become too deep, or lost its root.
        *self = Root::try_from(Value::Object(changed.0.0))?;
        Ok(())
    }

    /// Appends to the value of the Markdown or Text with this id.
    pub(crate) fn append(&mut self, id: &str, delta: &str) -> Result<(), WidgetError> {
        let component = self.find(id)?;
        let streamed = component["type"]
            .as_str()
            .is_some_and(|name| STREAMED.contains(&name));
        let value = component
            .entry("value")
            .or_insert_with(|| Value::String(String::new()));
        match value {
            Value::String(text) if streamed => {
                text.push_str(delta);
                Ok(())
            }
            _ => Err(WidgetError::NotStreamed(id.to_owned())),
        }
    }

    fn find(&mut self, id: &str) -> Result<&mut Map<String, Value>, WidgetError> {
        find(&mut self.0.0, id).ok_or_else(|| WidgetError::NoComponent(id.to_owned()))
    }
}

fn component(value: Value, depth: usize) -> Result<Map<String, Value>, WidgetError> {
    if depth > DEPTH_MAX {
        return Err(WidgetError::TooDeep);
    }
    let Value::Object(mut members) = value else {
        return Err(WidgetError::NoType);
    };
    if !members.get("type").is_some_and(Value::is_string) {
        return Err(WidgetError::NoType);
    }
    for name in ["id", "key"] {
        if members
            .get(name)
            .is_some_and(|value| !value.is_string() && !value.is_null())
        {
            return Err(WidgetError::NotAString(name));
        }
    }
    let children = match members.remove("children") {
        None | Some(Value::Null) => None,
        Some(Value::Array(children)) => {
            let checked = children
                .into_iter()
                .map(|child| Ok(Value::Object(component(child, depth + 1)?)));
            Some(Value::Array(checked.collect::<Result<_, WidgetError>>()?))
        }
        Some(child @ Value::Object(_)) => Some(Value::Object(component(child, depth + 1)?)),
        Some(_) => return Err(WidgetError::Children),
    };
    let mut members = without_nulls(members);
    members.extend(children.map(|children| ("children".to_owned(), children)));
    Ok(members)
}

fn without_nulls(members: Map<String, Value>) -> Map<String, Value> {
    fn clean(value: Value) -> Value {
        match value {
            Value::Object(members) => Value::Object(without_nulls(members)),
            Value::Array(values) => Value::Array(
                values
                    .into_iter()
                    .filter(|value| !value.is_null())
                    .map(clean)
                    .collect(),
            ),
            other => other,
        }
    }
    members
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name, clean(value)))
        .collect()
}

fn find<'a>(members: &'a mut Map<String, Value>, id: &str) -> Option<&'a mut Map<String, Value>> {
    if members.get("id").and_then(Value::as_str) == Some(id) {
        return Some(members);
    }
    match members.get_mut("children")? {
        Value::Array(children) => children
            .iter_mut()
            .filter_map(Value::as_object_mut)
            .find_map(|child| find(child, id)),
        Value::Object(child) => find(child, id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn card() -> Root {
        let tree = json!({"type": "Card", "children": [
            {"type": "Text", "id": "t", "value": "Hel"},
            {"type": "Row", "children": {"type": "Button", "id": "b", "label": "Go"}},
        ]});
        Root::try_from(tree).unwrap()
    }

    fn nested(depth: usize) -> Value {
        (1..depth).fold(
            json!({"type": "Card"}),
            |inner, _| json!({"type": "Card", "children": [inner]}),
        )
    }

    #[test]
    fn what_the_reference_s_types_would_refuse_is_refused() {
        let check = |tree: Value, expect: &str| {
            let error = Root::try_from(tree.clone()).unwrap_err().to_string();
            assert!(error.contains(expect), "{tree}: {error}");
        };
        check(json!([]), "an object");
        check(json!({"children": []}), "with a `type`");
        check(json!({"type": "Text", "value": "x"}), "`Text` is no root");
        check(json!({"type": "Card", "id": 7}), "`id`");
        check(json!({"type": "Card", "children": "x"}), "`children`");
        check(json!({"type": "Card", "children": ["x"]}), "an object");
        check(nested(DEPTH_MAX + 1), "deep");
        assert!(Root::try_from(nested(DEPTH_MAX)).is_ok());
    }

    #[test]
    fn nulls_are_left_out() {
        let tree = json!({"type": "Card", "id": null, "size": "sm", "confirm": {"label": "x", "icon": null}, "children": []});
        let read = Root::try_from(tree).unwrap();
        assert_eq!(
            serde_json::to_value(read).unwrap(),
            json!({"type": "Card", "size": "sm", "confirm": {"label": "x"}, "children": []})
        );
    }

    #[test]
    fn a_part_is_changed_in_the_tree() {
        let mut card = card();
        card.append("t", "lo").unwrap();
        let done = Component::try_from(json!({"type": "Badge", "id": "b", "label": "Done"}));
        card.replace("b", done.unwrap()).unwrap();
        assert_eq!(
            serde_json::to_value(&card).unwrap(),
            json!({"type": "Card", "children": [
                {"type": "Text", "id": "t", "value": "Hello"},
                {"type": "Row", "children": {"type": "Badge", "id": "b", "label": "Done"}},
            ]})
        );
        assert!(
            card.append("x", "")
                .unwrap_err()
                .to_string()
                .contains("`x`")
        );
        assert!(matches!(
            card.append("b", "!"),
            Err(WidgetError::NotStreamed(_))
        ));
    }

    #[test]
    fn a_part_that_would_spoil_the_tree_is_not_taken() {
        let mut root = Root::try_from(json!({"type": "Card", "id": "r"})).unwrap();
        let text = Component::try_from(json!({"type": "Text", "value": "x"})).unwrap();
        assert!(matches!(root.replace("r", text), Err(WidgetError::Root(_))));
        let mut before = card();
        let deep = Component::try_from(nested(DEPTH_MAX)).unwrap();
        assert_eq!(before.replace("b", deep), Err(WidgetError::TooDeep));
        assert_eq!(before, card());
    }
}
