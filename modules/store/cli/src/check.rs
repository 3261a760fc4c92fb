//! `midplane store check`: reads the whole file.

use std::io::Write;
use std::path::Path;

use midplane_store_backend::sqlite::maintenance::Maintenance;

use crate::failure::Failure;

pub(crate) fn run(file: &Path, mut output: impl Write) -> Result<(), Failure> {
    let faults = Maintenance::open(file)?.check()?;
    for fault in &faults {
        writeln!(output, "{fault}").map_err(Failure::Output)?;
    }
    if faults.is_empty() {
        return writeln!(output, "{} is sound", file.display()).map_err(Failure::Output);
    }
    Err(Failure::Faults {
        path: file.to_owned(),
        faults: faults.len(),
    })
}
