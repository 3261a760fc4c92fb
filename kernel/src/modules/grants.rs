//! What a module may be given beyond its own requests: as it asks in its descriptor, as the operator grants it, and as a
//! request narrows it.

use serde::{Deserialize, Serialize};

/// As for the configuration's module names.
const NAME_LEN_MAX: usize = 32;
/// Before the name of a module, in a grant.
const CALL: &str = "call:";
/// In the place of a module's name, in what a module asks for: whichever modules the operator names. No operator grants it,
/// so that who may be called stands in the configuration.
const ANY: &str = "*";

/// What a module wants, or was given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grants {
    /// The secret of the session that a request acts for.
    pub secrets: bool,
    /// The modules that it may call; of a descriptor, `*` also.
    pub calls: Vec<String>,
}

impl Grants {
    /// Reads `secrets` and `call:<module>`.
    ///
    /// # Errors
    /// The first that is neither, in a sentence.
    pub(crate) fn parse(names: &[String]) -> Result<Grants, String> {
        let mut grants = Grants::default();
        for name in names {
            match name.strip_prefix(CALL) {
                Some(module) if is_module_name(module) => grants.calls.push(module.to_owned()),
                None if name == "secrets" => grants.secrets = true,
                _ => {
                    return Err(format!(
                        "there is no grant `{name}`; there are: secrets, call:<module>"
                    ));
                }
            }
        }
        Ok(grants)
    }

    /// As they are configured.
    pub(crate) fn names(&self) -> Vec<String> {
        let calls = self.calls.iter().map(|module| format!("{CALL}{module}"));
        let secrets = self.secrets.then(|| "secrets".to_owned());
        secrets.into_iter().chain(calls).collect()
    }

    /// What it is given where the operator grants all it asks for: of modules, those that it names itself.
    pub(crate) fn named(mut self) -> Grants {
        self.calls.retain(|module| module != ANY);
        self
    }

    pub(crate) fn may_call(&self, module: &str) -> bool {
        self.calls.iter().any(|one| one == module)
    }

    /// Those that `given` has, too.
    pub(crate) fn within(mut self, given: &Grants) -> Grants {
        self.secrets &= given.secrets;
        match self.may_call(ANY) {
            true => self.calls.clone_from(&given.calls),
            false => self.calls.retain(|module| given.may_call(module)),
        }
        self
    }

    /// The first of these that `given` has not.
    pub(crate) fn beyond(&self, given: &Grants) -> Option<String> {
        let lacks = |name: &String| !given.names().contains(name);
        self.names().into_iter().find(lacks)
    }
}

impl std::fmt::Display for Grants {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.names().as_slice() {
            [] => f.write_str("none"),
            names => f.write_str(&names.join(" ")),
        }
    }
}

/// Whether a module may ask to call this.
pub(crate) fn is_callee(name: &str) -> bool {
    name == ANY || is_module_name(name)
}

/// Whether a module can be called so.
pub(crate) fn is_module_name(name: &str) -> bool {
    name.len() <= NAME_LEN_MAX
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(text: &str) -> Grants {
        let names: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
        Grants::parse(&names).unwrap()
    }

    #[test]
    fn grants_are_read_and_shown_as_they_are_written() {
        for text in [
            "",
            "secrets",
            "call:store",
            "secrets call:store call:other-1_x",
        ] {
            assert_eq!(grants(text).names().join(" "), text);
        }
        for wrong in [
            "everything",
            "call",
            "call:",
            "call:Store",
            "call:a b",
            "call:*",
            "Secrets",
        ] {
            let error = Grants::parse(&[wrong.to_owned()]).unwrap_err();
            assert!(error.contains(&format!("`{wrong}`")), "{error}");
        }
    }

    #[test]
    fn who_asks_for_any_module_may_call_those_that_are_named() {
        let asked = || Grants {
            secrets: true,
            calls: vec!["store".to_owned(), ANY.to_owned()],
        };
        for (given, within) in [
            (
                "secrets call:store call:other",
                "secrets call:store call:other",
            ),
            ("call:other", "call:other"),
            ("", ""),
        ] {
            assert_eq!(asked().within(&grants(given)), grants(within), "{given}");
        }
        assert_eq!(asked().named(), grants("secrets call:store"));
    }

    #[test]
    fn what_is_given_bounds_what_is_asked_for() {
        for (asked, given, within, beyond) in [
            (
                "secrets call:a",
                "secrets call:a call:b",
                "secrets call:a",
                None,
            ),
            ("secrets call:a", "call:a", "call:a", Some("secrets")),
            ("call:a call:b", "secrets call:b", "call:b", Some("call:a")),
            ("", "secrets", "", None),
            ("call:a", "", "", Some("call:a")),
        ] {
            let (asked, given) = (grants(asked), grants(given));
            assert_eq!(
                asked.beyond(&given).as_deref(),
                beyond,
                "{asked} of {given}"
            );
            assert_eq!(
                asked.clone().within(&given),
                grants(within),
                "{asked} of {given}"
            );
        }
    }
}
