//! What an artifact says of itself, readable from the file without running any of its code.
//!
//! On ELF it is a whole note (`Elf64_Nhdr`, name, description; System V gABI, "Note Section") in the section
//! `.note.midplane`; on Mach-O the same bytes stand in `__DATA,__midplane`. Fixed-size fields, so that a C author writes
//! it as one static initialiser. A file carries exactly one.

/// The note's name, with the terminating zero that ELF counts.
pub const NOTE_NAME: [u8; 9] = *b"Midplane\0";
/// The note's type.
pub const NOTE_TYPE: u32 = 1;

/// Bits of [`DescriptorBody::grants`]: what the module wants to be given.
pub mod grant {
    /// The secret of the session a request acts for.
    pub const SECRETS: u32 = 1;
}

/// Bits of [`DescriptorBody::flags`].
pub mod flag {
    /// Only one generation at a time may be between `restore` and the end of `fini`, since it owns what two cannot share, such as
    /// a database file. At a reload new requests wait while the old generation drains and ends; then the new one is given
    /// `restore`, so that is where it opens what it owns. It hands no state over.
    pub const EXCLUSIVE: u32 = 1;
}

/// The whole note, header included: what is placed in the section.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Descriptor {
    pub name_len: u32,
    pub body_len: u32,
    pub note_type: u32,
    /// [`NOTE_NAME`], padded to four bytes.
    pub note_name: [u8; 12],
    pub body: DescriptorBody,
}

/// The note's description. Texts are UTF-8 and end at the first zero byte or with the field.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct DescriptorBody {
    /// [`DescriptorBody::MAGIC`]
    pub magic: [u8; 8],
    /// `size_of::<DescriptorBody>()` of the one who wrote it.
    pub len: u32,
    pub abi_major: u16,
    /// The least minor that the module can live with.
    pub abi_minor: u16,
    /// Bits of [`grant`].
    pub grants: u32,
    /// Bits of [`flag`]; all others are reserved and zero.
    pub flags: u32,
    /// The schemas of handed-over state that the module reads, both inclusive; 0 and 0: it keeps none.
    pub state_schema_min: u32,
    pub state_schema_max: u32,
    pub name: [u8; 64],
    /// A semantic version.
    pub version: [u8; 64],
    /// Routes that need no session, one a line: a path, or a prefix that ends in `/*`. Effective only where the operator
    /// allows the module public routes.
    pub public_routes: [u8; 256],
    /// Routes that only other modules may call, in the same form.
    pub internal_routes: [u8; 256],
    /// Modules it wants to call, one a line.
    pub calls: [u8; 256],
    /// For people only: what it was written with.
    pub sdk: [u8; 64],
    pub compiler: [u8; 64],
}

impl DescriptorBody {
    pub const MAGIC: [u8; 8] = *b"MIDPLANE";
}

impl Descriptor {
    /// A descriptor for a module called `name`, to be placed in a static in the note's section.
    ///
    /// # Panics
    /// At compile time, when a text is longer than its field.
    pub const fn new(name: &str, version: &str) -> Descriptor {
        Descriptor {
            name_len: NOTE_NAME.len() as u32,
            body_len: size_of::<DescriptorBody>() as u32,
            note_type: NOTE_TYPE,
            note_name: text(NOTE_NAME.as_slice()),
            body: DescriptorBody {
                magic: DescriptorBody::MAGIC,
                len: size_of::<DescriptorBody>() as u32,
                abi_major: crate::MAJOR,
                abi_minor: crate::MINOR,
                grants: 0,
                flags: 0,
                state_schema_min: 0,
                state_schema_max: 0,
                name: text(name.as_bytes()),
                version: text(version.as_bytes()),
                public_routes: [0; 256],
                internal_routes: [0; 256],
                calls: [0; 256],
                sdk: [0; 64],
                compiler: [0; 64],
            },
        }
    }

    /// Asks for [`grant`]s.
    pub const fn grants(mut self, bits: u32) -> Descriptor {
        self.body.grants = bits;
        self
    }

    /// Sets bits of [`flag`].
    pub const fn flags(mut self, bits: u32) -> Descriptor {
        self.body.flags = bits;
        self
    }

    /// Names public routes, one a line.
    pub const fn public_routes(mut self, lines: &str) -> Descriptor {
        self.body.public_routes = text(lines.as_bytes());
        self
    }

    /// Names routes that only other modules may call, one a line.
    pub const fn internal_routes(mut self, lines: &str) -> Descriptor {
        self.body.internal_routes = text(lines.as_bytes());
        self
    }

    /// Names the modules that it wants to call, one a line.
    pub const fn calls(mut self, lines: &str) -> Descriptor {
        self.body.calls = text(lines.as_bytes());
        self
    }

    /// Names the schemas of handed-over state that it reads, both inclusive.
    pub const fn state_schemas(mut self, min: u32, max: u32) -> Descriptor {
        self.body.state_schema_min = min;
        self.body.state_schema_max = max;
        self
    }

    /// Says what it was written with.
    pub const fn written_with(mut self, sdk: &str, compiler: &str) -> Descriptor {
        self.body.sdk = text(sdk.as_bytes());
        self.body.compiler = text(compiler.as_bytes());
        self
    }
}

/// `bytes`, followed by zeros.
const fn text<const N: usize>(bytes: &[u8]) -> [u8; N] {
    assert!(
        bytes.len() <= N,
        "a text of the module descriptor is too long for its field"
    );
    let mut field = [0; N];
    let mut at = 0;
    while at < bytes.len() {
        field[at] = bytes[at];
        at += 1;
    }
    field
}
