//! `midplane store import`: puts in what `export` has printed.
//!
//! In commits of some hundred entries, so that kernels can write in between. When it fails half way, what it has put in stays, and
//! `--merge` goes over it again.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use midplane_store_backend::limits::VALUE_BYTES_MAX;
use midplane_store_backend::sqlite::maintenance::Maintenance;
use midplane_store_backend::{Batch, Write};

use crate::export::Line;
use crate::failure::Failure;

/// Of one commit; a value may have more alone.
const COMMIT_ENTRIES_MAX: usize = 500;
const COMMIT_BYTES_MAX: usize = 1 << 20;
/// Of one line: the largest value, in base64, with room for the rest of it.
const LINE_BYTES_MAX: u64 = 2 * VALUE_BYTES_MAX as u64;
/// As the kernel has it.
const MODULE_LEN_MAX: usize = 32;

pub(crate) fn run(file: &Path, from: Option<&Path>, merge: bool) -> Result<(), Failure> {
    let name = from.map_or_else(
        || "standard input".to_owned(),
        |path| path.display().to_string(),
    );
    let failed = |source| Failure::Input {
        from: name.clone(),
        source,
    };
    let mut input: Box<dyn BufRead> = match from {
        Some(path) => Box::new(BufReader::new(File::open(path).map_err(failed)?)),
        None => Box::new(io::stdin().lock()),
    };
    let mut import = Import::into(file, name.clone(), merge)?;
    let mut line = Vec::new();
    while read_line(&mut input, &mut line).map_err(failed)? > 0 {
        import.line(&line)?;
        line.clear();
    }
    import.commit()?;
    let entries = import.imported;
    // It was for the person; the data is in the file.
    let _ = writeln!(io::stderr(), "midplane-store: {entries} entries are in");
    Ok(())
}

/// A line that is too long is cut, and then no entry.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<usize> {
    input.take(LINE_BYTES_MAX).read_until(b'\n', line)
}

/// Whether the kernel knows modules of such a name.
fn is_module_name(name: &str) -> bool {
    name.len() <= MODULE_LEN_MAX
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

struct Import {
    store: Maintenance,
    from: String,
    /// Those that kept something before.
    taken: HashSet<String>,
    /// What is to be committed next, of one module.
    module: String,
    batch: Batch,
    keys: HashSet<Bytes>,
    line: u64,
    imported: u64,
}

impl Import {
    fn into(file: &Path, from: String, merge: bool) -> Result<Import, Failure> {
        let store = Maintenance::open_or_make(file)?;
        let taken = match merge {
            true => HashSet::new(),
            false => {
                let modules = store.modules()?.into_iter();
                let taken = modules.filter(|module| module.entries > 0);
                taken.map(|module| module.name).collect()
            }
        };
        Ok(Import {
            store,
            from,
            taken,
            module: String::new(),
            batch: Batch::default(),
            keys: HashSet::new(),
            line: 0,
            imported: 0,
        })
    }

    fn line(&mut self, text: &[u8]) -> Result<(), Failure> {
        self.line += 1;
        let line: Line = serde_json::from_slice(text).map_err(|error| self.malformed(error))?;
        if !is_module_name(&line.module) {
            let reason = "no module has such a name: a to z, 0 to 9, - and _, the first of them a letter, 32 at most";
            return Err(self.malformed(reason));
        }
        if self.taken.contains(&line.module) {
            return Err(Failure::NotEmpty {
                module: line.module,
                imported: self.imported,
            });
        }
        let decoded = |text: &str| BASE64_STANDARD.decode(text).map(Bytes::from);
        let key = decoded(&line.key).map_err(|error| self.malformed(error))?;
        let value = decoded(&line.value).map_err(|error| self.malformed(error))?;
        let full = self.batch.write.len() == COMMIT_ENTRIES_MAX
            || self.batch.bytes() + key.len() + value.len() > COMMIT_BYTES_MAX;
        if full || line.module != self.module || self.keys.contains(&key) {
            self.commit()?;
            self.module = line.module;
        }
        self.keys.insert(key.clone());
        self.batch.write.push(Write::Put { key, value });
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Failure> {
        if self.batch.write.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        self.keys.clear();
        self.store
            .commit(&self.module, &batch)
            .map_err(|source| Failure::Import {
                from: self.from.clone(),
                line: self.line,
                source,
                imported: self.imported,
            })?;
        self.imported += batch.write.len() as u64;
        Ok(())
    }

    fn malformed(&self, reason: impl ToString) -> Failure {
        Failure::Line {
            from: self.from.clone(),
            line: self.line,
            reason: reason.to_string(),
            imported: self.imported,
        }
    }
}
