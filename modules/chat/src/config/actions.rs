//! Which module carries out custom actions.

use super::{Config, ConfigError};
use crate::actions::Hook;

impl Config {
    pub(super) fn actions(&self) -> Result<Option<Hook>, ConfigError> {
        let Some(module) = &self.actions else {
            return Ok(None);
        };
        let is_name = module.starts_with(|first: char| first.is_ascii_lowercase())
            && module.bytes().all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte)
            });
        match is_name {
            true => Ok(Some(Hook {
                module: module.clone(),
            })),
            false => Err(ConfigError::Actions(module.clone())),
        }
    }
}
