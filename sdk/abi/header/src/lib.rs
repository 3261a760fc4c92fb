//! midplane.h out of the sources of sdk/abi: cbindgen renders the items, and what it has no word for is added here.
//!
//! That is: constants in groups, each under the comment of its Rust module; comments that speak of C's names; the rules of
//! sdk/abi's first page; the layouts as assertions; and what exists in C only (`prologue.h`, `epilogue.h`).

mod comments;
mod constants;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use cbindgen::{Builder, Config};

use crate::comments::Names;

/// Why there is no header.
#[derive(Debug)]
pub enum Error {
    Config(String),
    Read(PathBuf, std::io::Error),
    Render(cbindgen::Error),
    /// A comment links to something that has no name in C.
    UnknownLink(String),
}

impl std::error::Error for Error {}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Config(reason) => write!(f, "cbindgen.toml: {reason}"),
            Error::Read(path, error) => write!(f, "{}: {error}", path.display()),
            Error::Render(error) => write!(f, "sdk/abi is not understood: {error}"),
            Error::UnknownLink(link) => write!(
                f,
                "a comment of sdk/abi links to `{link}`, which has no name in C: add it to cbindgen.toml or to Names"
            ),
        }
    }
}

/// The text of midplane.h.
///
/// # Errors
/// See [`Error`].
pub fn header() -> Result<String, Error> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let abi = here.join("../src/lib.rs");
    let config = Config::from_file(here.join("cbindgen.toml")).map_err(Error::Config)?;
    let mut sources = read(&abi)?;
    for file in ["calls.rs", "metrics.rs", "descriptor.rs"] {
        sources += &read(&here.join("../src").join(file))?;
    }
    let groups = constants::groups(&sources);
    let names = Names::new(&config, &groups);

    let mut rendered = Vec::new();
    Builder::new()
        .with_config(config)
        .with_src(&abi)
        .generate()
        .map_err(Error::Render)?
        .write(&mut rendered);
    let rendered = without_tags(&String::from_utf8_lossy(&rendered));
    let items = constants::arrange(&rendered, &groups, &names);

    let prologue = include_str!("../prologue.h").replace("@RULES@", &rules(&sources));
    let epilogue = include_str!("../epilogue.h")
        .replace("@NOTE_NAME@", note_name())
        .replace("@VERSION@", env!("CARGO_PKG_VERSION"))
        .replace("@LAYOUTS@", &layouts(&names));
    comments::in_c(&format!("{prologue}\n{items}\n\n{epilogue}"), &names)
}

fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|error| Error::Read(path.to_owned(), error))
}

/// Every struct has a typedef of its name: the tag is needed where it is defined only.
fn without_tags(rendered: &str) -> String {
    let lines = rendered.lines().map(|line| {
        if line.starts_with("typedef struct ") {
            line.to_owned()
        } else {
            line.replace("struct mp_", "mp_")
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What sdk/abi's first page says under "Rules".
fn rules(sources: &str) -> String {
    sources
        .lines()
        .skip_while(|line| *line != "//! # Rules")
        .map_while(|line| line.strip_prefix("//!"))
        .map(|line| format!("//{}", line.replace("**", "").replace("# Rules", "Rules:")))
        .collect::<Vec<_>>()
        .join("\n")
}

fn note_name() -> &'static str {
    let name = std::str::from_utf8(midplane_abi::NOTE_NAME.as_slice());
    name.expect("ASCII").trim_end_matches('\0')
}

/// The header's lines are no longer.
const LINE_LEN_MAX: usize = 120;

fn layouts(names: &Names) -> String {
    let mut text = String::from(
        "// The layouts: a compiler that would lay them out otherwise says so here.\n\
         #define MP_AT(type, field, offset) static_assert(offsetof(type, field) == offset, #type \".\" #field)\n",
    );
    for layout in midplane_abi::LAYOUTS {
        let name = names
            .of(layout.name)
            .expect("cbindgen.toml names every struct");
        let size = layout.size;
        let mut line = format!("static_assert(sizeof({name}) == {size}, \"size of {name}\");");
        for (field, offset) in layout.fields {
            let at = format!("MP_AT({name}, {field}, {offset});");
            if line.len() + 1 + at.len() > LINE_LEN_MAX {
                _ = writeln!(text, "{line}");
                line.clear();
            } else {
                line.push(' ');
            }
            line += &at;
        }
        _ = writeln!(text, "{line}");
    }
    text + "#undef MP_AT"
}
