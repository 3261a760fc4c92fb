//! Constants stand in groups, as in the modules of sdk/abi; cbindgen flattens them and leaves out the modules' comments.

use crate::comments::Names;

/// A module of sdk/abi that holds constants.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) name: String,
    /// Its comment, as cbindgen writes comments.
    comment: String,
    pub(crate) constants: Vec<String>,
}

/// The groups in `sources`, in their order.
pub(crate) fn groups(sources: &str) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let (mut comment, mut inside) = (String::new(), false);
    for line in sources.lines() {
        if line.starts_with("///") {
            comment += line;
            comment.push('\n');
            continue;
        }
        if let Some(name) = line
            .strip_prefix("pub mod ")
            .and_then(|rest| rest.strip_suffix(" {"))
        {
            groups.push(Group {
                name: name.to_owned(),
                comment: comment.clone(),
                constants: Vec::new(),
            });
            inside = true;
        } else if line == "}" {
            inside = false;
        } else if inside
            && let Some(group) = groups.last_mut()
            && let Some((name, _)) = line
                .trim()
                .strip_prefix("pub const ")
                .and_then(|rest| rest.split_once(':'))
        {
            group.constants.push(name.to_owned());
        }
        comment.clear();
    }
    groups
}

/// What cbindgen rendered, with each group of constants as one block under its comment: `status` behind the type of its
/// values, the others before everything else.
pub(crate) fn arrange(rendered: &str, groups: &[Group], names: &Names) -> String {
    let mut items: Vec<String> = rendered.trim().split("\n\n").map(parenthesised).collect();
    let mut first = Vec::new();
    for group in groups {
        let mut constants = Vec::new();
        for constant in &group.constants {
            let name = names
                .of(&format!("{}::{constant}", group.name))
                .unwrap_or_default();
            let define = format!("#define {name} ");
            let is_defined = |item: &String| item.lines().any(|line| line.starts_with(&define));
            if let Some(at) = items.iter().position(is_defined) {
                constants.push(items.remove(at));
            }
        }
        let commented = constants.iter().any(|constant| constant.starts_with("///"));
        let between = if commented { "\n\n" } else { "\n" };
        let block = group.comment.trim_end().to_owned() + between + &constants.join(between);
        let is_status = |item: &String| group.name == "status" && item.contains(" mp_status;");
        match items.iter().position(is_status) {
            Some(at) => items.insert(at + 1, block),
            None => first.push(block),
        }
    }
    let at = items
        .iter()
        .take_while(|item| item.contains("#define "))
        .count();
    items.splice(at..at, first);
    items.join("\n\n")
}

/// A negative number in a macro gets parentheses.
fn parenthesised(block: &str) -> String {
    let lines = block.lines().map(|line| {
        match line
            .strip_prefix("#define ")
            .and_then(|rest| rest.split_once(" -"))
        {
            Some((name, number)) => format!("#define {name} (-{number})"),
            None => line.to_owned(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_its_comment_and_its_constants() {
        let found = groups(
            "/// Values.\npub mod level {\n    /// Low.\n    pub const LOW: u32 = 1;\n    pub const HIGH: u32 = 2;\n}\npub const ELSE: u32 = 3;\n",
        );
        let expected = Group {
            name: "level".to_owned(),
            comment: "/// Values.\n".to_owned(),
            constants: vec!["LOW".to_owned(), "HIGH".to_owned()],
        };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn only_negative_numbers_get_parentheses() {
        assert_eq!(
            parenthesised("/// A.\n#define A -1\n#define B 1"),
            "/// A.\n#define A (-1)\n#define B 1"
        );
    }
}
