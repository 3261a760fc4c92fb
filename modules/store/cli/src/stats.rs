//! `midplane store stats`: who keeps how much.

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

use midplane_store_backend::sqlite::maintenance::{FileUsage, Maintenance, ModuleUsage};
use serde_json::json;

use crate::failure::Failure;

pub(crate) fn run(file: &Path, json: bool, mut output: impl Write) -> Result<(), Failure> {
    let store = Maintenance::open(file)?;
    let (modules, usage) = (store.modules()?, store.file()?);
    let text = if json {
        machine(file, &modules, &usage)
    } else {
        readable(file, &modules, &usage)
    };
    output.write_all(text.as_bytes()).map_err(Failure::Output)
}

fn machine(file: &Path, modules: &[ModuleUsage], usage: &FileUsage) -> String {
    let modules = modules.iter().map(|module| {
        json!({
            "module": module.name,
            "entries": module.entries,
            "bytes": module.bytes,
            "version": module.version.0,
        })
    });
    let told = json!({
        "file": file.display().to_string(),
        "file_bytes": usage.file_bytes,
        "free_bytes": usage.free_bytes,
        "log_bytes": usage.log_bytes,
        "open_in": usage.open_in,
        "modules": modules.collect::<Vec<_>>(),
    });
    format!("{told}\n")
}

fn readable(file: &Path, modules: &[ModuleUsage], usage: &FileUsage) -> String {
    let mut text = format!(
        "{}  {}, of which {} free; log {}\n",
        file.display(),
        quantity(usage.file_bytes),
        quantity(usage.free_bytes),
        quantity(usage.log_bytes),
    );
    let processes: Vec<String> = usage.open_in.iter().map(u32::to_string).collect();
    let open_in = match processes.as_slice() {
        [] => "open in no kernel".to_owned(),
        processes => format!("open in {}", processes.join(", ")),
    };
    text += &open_in;
    text.push('\n');
    let names = modules.iter().map(|module| module.name.chars().count());
    let width = names.max().unwrap_or(0).max("MODULE".len());
    if !modules.is_empty() {
        let _ = writeln!(
            text,
            "{:width$}  {:>10}  {:>10}  {:>10}",
            "MODULE", "ENTRIES", "SIZE", "COMMITS"
        );
    }
    for module in modules {
        let _ = writeln!(
            text,
            "{:width$}  {:>10}  {:>10}  {:>10}",
            module.name,
            module.entries,
            quantity(module.bytes),
            module.version.0,
        );
    }
    text
}

fn quantity(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let (mut unit, mut shift) = (0, 0);
    while unit + 1 < UNITS.len() && bytes >> shift >= 1024 {
        (unit, shift) = (unit + 1, shift + 10);
    }
    let tenths = (bytes >> shift) * 10 + (((bytes & ((1 << shift) - 1)) * 10) >> shift);
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use midplane_store_backend::Version;

    use super::*;

    #[test]
    fn people_get_a_table_and_programs_an_object() {
        let modules = [
            ModuleUsage {
                name: "chat".into(),
                entries: 12,
                bytes: 1_536,
                version: Version(40),
            },
            ModuleUsage {
                name: "a-long-name".into(),
                entries: 0,
                bytes: 0,
                version: Version(2),
            },
        ];
        let usage = FileUsage {
            file_bytes: 5 << 20,
            free_bytes: 4_096,
            log_bytes: 0,
            open_in: vec![7, 12],
        };
        let file = Path::new("/s/state.db");
        assert_eq!(
            readable(file, &modules, &usage),
            "/s/state.db  5.0 MiB, of which 4.0 KiB free; log 0 B\n\
             open in 7, 12\n\
             MODULE          ENTRIES        SIZE     COMMITS\n\
             chat                 12     1.5 KiB          40\n\
             a-long-name           0         0 B           2\n"
        );
        let empty = FileUsage {
            open_in: Vec::new(),
            ..usage.clone()
        };
        assert!(readable(file, &[], &empty).ends_with("open in no kernel\n"));
        let told: serde_json::Value =
            serde_json::from_str(&machine(file, &modules, &usage)).unwrap();
        assert_eq!(told["modules"][0]["bytes"], 1_536);
        assert_eq!(told["open_in"], json!([7, 12]));
    }

    #[test]
    fn quantities_are_cut_not_rounded_up() {
        for (bytes, expect) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_048_575, "1023.9 KiB"),
            (3 << 30, "3.0 GiB"),
            (5_000 << 30, "5000.0 GiB"),
        ] {
            assert_eq!(quantity(bytes), expect);
        }
    }
}
