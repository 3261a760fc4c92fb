//! What a request changes of a module: over what runs, within what the configuration gives.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

use super::{GrantSpec, Registry, Spec, not_found};
use crate::config::{Confine, Isolation};
use crate::modules::grants::Grants;
use crate::problem::{Code, Problem};

/// A `PUT` of a module: what it leaves out is as before, or as configured.
#[derive(Debug, Clone, Default)]
pub(crate) struct Change {
    /// Only swaps what runs.
    pub(crate) only_swap: bool,
    pub(crate) path: Option<PathBuf>,
    pub(crate) config: Option<Map<String, Value>>,
    pub(crate) grants: Option<Grants>,
    pub(crate) public: Option<bool>,
}

impl Registry {
    /// What to load now: the change over what runs, over what is configured.
    pub(super) fn changed(&self, name: &str, change: Change) -> Result<Spec, Problem> {
        let configured = self.settings.configured.get(name);
        let running = self.places().get(name).and_then(|place| place.spec.clone());
        let mut spec = match (running.or_else(|| configured.cloned()), &change.path) {
            (Some(spec), _) => spec,
            (None, Some(path)) => Spec {
                isolation: Isolation::default(),
                confine: Confine::default(),
                path: path.clone(),
                config: Map::new(),
                grants: GrantSpec::Only(Grants::default()),
                public: false,
                sha256: None,
                drain_timeout: Duration::from_secs(30),
                rollback: None,
            },
            (None, None) => return Err(not_found(name)),
        };
        let (granted, public) = configured
            .map_or((GrantSpec::Only(Grants::default()), false), |spec| {
                (spec.grants.clone(), spec.public)
            });
        if let Some(wanted) = change.grants {
            if let GrantSpec::Only(granted) = &granted
                && let Some(beyond) = wanted.beyond(granted)
            {
                let detail = format!(
                    "`{beyond}` is not granted to {name} in the configuration: grant it there, under [modules.{name}]"
                );
                return Err(Problem::new(Code::GrantForbidden, detail));
            }
            spec.grants = GrantSpec::Only(wanted);
        }
        if let Some(wanted) = change.public {
            if wanted && !public {
                let detail = format!(
                    "public routes are not allowed to {name} in the configuration: set public = true under [modules.{name}]"
                );
                return Err(Problem::new(Code::GrantForbidden, detail));
            }
            spec.public = wanted;
        }
        spec.path = change.path.unwrap_or(spec.path);
        spec.config = change.config.unwrap_or(spec.config);
        Ok(spec)
    }
}
