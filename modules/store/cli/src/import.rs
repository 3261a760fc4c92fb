//! `midplane store import`: puts in what `export` has printed.
//!
//! In commits of some hundred entries, so that kernels can write in between. When it fails half way, what it has put in stays, and
//! `--merge` goes over it again.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write as _};
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use midplane_store_backend::sqlite::maintenance::Maintenance;
use midplane_store_backend::{Batch, Write};

use crate::export::Line;
use crate::failure::Failure;

/// Of one commit; a value may have more alone.
const COMMIT_ENTRIES_MAX: usize = 500;
const COMMIT_BYTES_MAX: usize = 1 << 20;

pub(crate) fn run(file: &Path, from: Option<&Path>, merge: bool) -> Result<(), Failure> {
    let name = from.map_or_else(
        || "standard input".to_owned(),
        |path| path.display().to_string(),
    );
    let failed = |source| Failure::Input {
        from: name.clone(),
        source,
    };
    let input: Box<dyn BufRead> = match from {
        Some(path) => Box::new(BufReader::new(File::open(path).map_err(failed)?)),
        None => Box::new(io::stdin().lock()),
    };
    let mut import = Import::into(file, name.clone(), merge)?;
    for line in input.lines() {
        import.line(&line.map_err(failed)?)?;
    }
    import.commit()?;
    let entries = import.imported;
    // It was for the person; the data is in the file.
    let _ = writeln!(io::stderr(), "midplane-store: {entries} entries are in");
    Ok(())
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

    fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.line += 1;
        let line: Line = serde_json::from_str(text).map_err(|error| self.malformed(error))?;
        if self.taken.contains(&line.module) {
            return Err(Failure::NotEmpty {
                module: line.module,
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
