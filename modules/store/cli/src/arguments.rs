//! The command line, and which file is meant.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::failure::Failure;

/// What modules keep: export, import, back up and check it, also while kernels run.
#[derive(Debug, Parser)]
#[command(
    name = "midplane-store",
    version,
    arg_required_else_help = true,
    after_help = "Exit status: 0 done, 1 refused, failed, or something is wrong with the file, 64 wrong usage, 69 no such store, 73 the backup cannot be made, 130 interrupted."
)]
pub(crate) struct Arguments {
    /// The store's file [default: state/store/state.db in the data directory]
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) file: Option<PathBuf>,

    /// The kernel's `data_dir` [default: $XDG_DATA_HOME/midplane, else ~/.local/share/midplane]
    #[arg(long, value_name = "DIRECTORY", global = true, conflicts_with = "file")]
    pub(crate) data_dir: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print every entry, as of one moment: one JSON object a line, key and value in base64
    Export {
        /// Of this module only
        #[arg(long, value_name = "NAME")]
        module: Option<String>,
    },
    /// Put in what `export` has printed; quotas do not hold
    Import {
        /// Read this file [default: standard input]
        #[arg(value_name = "FROM")]
        from: Option<PathBuf>,
        /// Into modules that keep something already; a key that is there gets the value that is read
        #[arg(long)]
        merge: bool,
    },
    /// Copy the store, as of one moment, to a file that does not exist
    Backup {
        #[arg(value_name = "TO")]
        to: PathBuf,
    },
    /// Read the whole file, and say what is wrong with it
    Check,
    /// Show who keeps how much, and which processes have the file open
    Stats {
        #[arg(long)]
        json: bool,
    },
}

/// `variable` reads the environment.
pub(crate) fn file(
    file: Option<PathBuf>,
    data_dir: Option<PathBuf>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<PathBuf, Failure> {
    if let Some(file) = file {
        return Ok(file);
    }
    let set = |name| {
        variable(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let data_dir = data_dir
        .or_else(|| set("XDG_DATA_HOME").map(|dir| dir.join("midplane")))
        .or_else(|| set("HOME").map(|home| home.join(".local/share/midplane")));
    let data_dir = data_dir.ok_or(Failure::NoHome)?;
    Ok(data_dir.join("state/store/state.db"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_the_one_that_a_kernel_with_the_same_surroundings_uses() {
        let check = |arguments: &str, environment: &[(&str, &str)], expect: &str| {
            let parsed = Arguments::try_parse_from(arguments.split(' ')).unwrap();
            let variable = |name: &str| {
                let found = environment.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            };
            let found = file(parsed.file, parsed.data_dir, variable);
            let found =
                found.map_or_else(|error| error.to_string(), |path| path.display().to_string());
            assert_eq!(found, expect, "{arguments}");
        };
        let home = [("HOME", "/h")];
        let xdg = [("HOME", "/h"), ("XDG_DATA_HOME", "/x")];
        check(
            "store check",
            &home,
            "/h/.local/share/midplane/state/store/state.db",
        );
        check("store check", &xdg, "/x/midplane/state/store/state.db");
        check(
            "store check",
            &[("HOME", "/h"), ("XDG_DATA_HOME", "")],
            "/h/.local/share/midplane/state/store/state.db",
        );
        check("store --data-dir /d check", &xdg, "/d/state/store/state.db");
        check("store check --file f.db", &xdg, "f.db");
        check(
            "store check",
            &[],
            "$HOME is not set: name the store's file with --file",
        );
        assert!(
            Arguments::try_parse_from(["store", "--file", "f", "--data-dir", "d", "check"])
                .is_err()
        );
    }
}
