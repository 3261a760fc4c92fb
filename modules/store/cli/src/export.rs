//! `midplane store export`: one JSON object a line.

use std::io::{BufWriter, Write};
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use midplane_store_backend::sqlite::maintenance::Maintenance;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// A line. Versions are not among it: what is put in elsewhere is new there.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    pub(crate) module: String,
    pub(crate) key: String,
    pub(crate) value: String,
}

pub(crate) fn run(file: &Path, module: Option<&str>, output: impl Write) -> Result<(), Failure> {
    let store = Maintenance::open(file)?;
    let mut output = BufWriter::new(output);
    store.export(module, |entry| {
        let line = Line {
            module: entry.module.to_owned(),
            key: BASE64_STANDARD.encode(entry.key),
            value: BASE64_STANDARD.encode(entry.value),
        };
        serde_json::to_writer(&mut output, &line)?;
        output.write_all(b"\n")
    })?;
    output.flush().map_err(Failure::Output)
}
