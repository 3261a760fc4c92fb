//! Comments of Rust's that are to be read in C: links become names, `size_of` becomes `sizeof`.

use std::collections::BTreeMap;

use cbindgen::Config;

use crate::Error;
use crate::constants::Group;

/// What things of sdk/abi are called in C, by their path in it.
pub(crate) struct Names(BTreeMap<String, String>);

impl Names {
    pub(crate) fn new(config: &Config, groups: &[Group]) -> Names {
        let renamed = &config.export.rename;
        let mut names: BTreeMap<_, _> = renamed
            .iter()
            .map(|(name, c)| (name.clone(), c.clone()))
            .collect();
        for group in groups {
            for constant in &group.constants {
                if let Some(name) = renamed.get(constant) {
                    names.insert(format!("{}::{constant}", group.name), name.clone());
                }
            }
            let prefix = format!("MP_{}_", group.name.to_uppercase());
            if group.constants.iter().all(|constant| {
                renamed
                    .get(constant)
                    .is_some_and(|name| name.starts_with(&prefix))
            }) {
                names.insert(group.name.clone(), format!("{prefix}*"));
            }
        }
        for (path, text) in [
            ("ENTRY_SYMBOL", midplane_abi::ENTRY_SYMBOL),
            ("NOTE_NAME", "MP_NOTE_NAME"),
            ("DescriptorBody::MAGIC", "MIDPLANE"),
        ] {
            names.insert(path.to_owned(), text.to_owned());
        }
        Names(names)
    }

    /// The name in C of `path`, which may be a field's: `Module::init`.
    pub(crate) fn of(&self, path: &str) -> Option<String> {
        if let Some(name) = self.0.get(path) {
            return Some(name.clone());
        }
        let (owner, field) = path.split_once("::")?;
        let fields = midplane_abi::LAYOUTS
            .iter()
            .find(|layout| layout.name == owner)?
            .fields;
        let owner = self.0.get(owner)?;
        fields
            .iter()
            .any(|(name, _)| *name == field)
            .then(|| format!("{owner}.{field}"))
    }
}

/// `text` with its comments in C's terms.
pub(crate) fn in_c(text: &str, names: &Names) -> Result<String, Error> {
    let linked = replace(text, "[`", "`]", |path| {
        names.of(path).map(|name| format!("`{name}`"))
    })?;
    // Where a link goes is Rust's business: what is left of it is the target behind the name.
    let mut named = linked;
    for open in ["`(super::", "`(crate::"] {
        named = replace(&named, open, ")", |_target| Some("`".to_owned()))?;
    }
    replace(&named, "size_of::<", ">()", |name| {
        names.of(name).map(|name| format!("sizeof({name})"))
    })
}

/// Replaces every `open…close` by what `change` makes of the text between.
fn replace(
    text: &str,
    open: &str,
    close: &str,
    change: impl Fn(&str) -> Option<String>,
) -> Result<String, Error> {
    let (mut changed, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once(open) {
        let (inner, after) = after
            .split_once(close)
            .ok_or_else(|| Error::UnknownLink(after.to_owned()))?;
        changed += before;
        changed += &change(inner).ok_or_else(|| Error::UnknownLink(inner.to_owned()))?;
        rest = after;
    }
    Ok(changed + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let entries = [
            ("Host", "mp_host"),
            ("Session", "mp_session"),
            ("status::OK", "MP_OK"),
        ];
        Names(
            entries
                .map(|(path, name)| (path.to_owned(), name.to_owned()))
                .into(),
        )
    }

    #[test]
    fn links_become_names() {
        for (rust, c) in [
            ("/// See [`Host::wake`].", "/// See `mp_host.wake`."),
            (
                "/// See [`Host::wake`](super::Host::wake) (once).",
                "/// See `mp_host.wake` (once).",
            ),
            (
                "/// [`status::OK`], `size_of::<Session>()`",
                "/// `MP_OK`, `sizeof(mp_session)`",
            ),
            ("/// `[limits] state_bytes`", "/// `[limits] state_bytes`"),
        ] {
            assert_eq!(in_c(rust, &names()).unwrap(), c);
        }
    }

    #[test]
    fn what_has_no_name_in_c_is_an_error() {
        for text in [
            "[`Nothing`]",
            "[`Host::nothing`]",
            "[`Host",
            "size_of::<u8>()",
        ] {
            assert!(
                matches!(in_c(text, &names()), Err(Error::UnknownLink(_))),
                "{text}"
            );
        }
    }
}
