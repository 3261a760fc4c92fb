//! Files made by hand, right and wrong in one place each.

use super::*;

/// The smallest ELF file with these notes: a header, one `PT_NOTE` segment, the notes.
fn elf(notes: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    file.extend_from_slice(&3_u16.to_le_bytes());
    file.extend_from_slice(
        &if cfg!(target_arch = "aarch64") {
            183_u16
        } else {
            62
        }
        .to_le_bytes(),
    );
    file.extend_from_slice(&1_u32.to_le_bytes());
    for value in [0_u64, 64, 0] {
        file.extend_from_slice(&value.to_le_bytes());
    }
    file.extend_from_slice(&0_u32.to_le_bytes());
    for value in [64_u16, 56, 1, 64, 0, 0] {
        file.extend_from_slice(&value.to_le_bytes());
    }
    file.extend_from_slice(&4_u32.to_le_bytes());
    file.extend_from_slice(&4_u32.to_le_bytes());
    for value in [120, 120, 120, notes.len() as u64, notes.len() as u64, 4] {
        file.extend_from_slice(&value.to_le_bytes());
    }
    file.extend_from_slice(notes);
    file
}

fn note(change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let descriptor = abi::Descriptor::new("sample", "1.2.3")
        .grants(1)
        .public_routes("/feed\n/files/*")
        .internal_routes("/rows/*\n/all")
        .calls("store\nother")
        .written_with("sdk", "rustc");
    let body = &descriptor.body;
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&descriptor.name_len.to_le_bytes());
    bytes.extend_from_slice(&descriptor.body_len.to_le_bytes());
    bytes.extend_from_slice(&descriptor.note_type.to_le_bytes());
    bytes.extend_from_slice(&descriptor.note_name);
    let start = bytes.len();
    bytes.extend_from_slice(&body.magic);
    bytes.extend_from_slice(&body.len.to_le_bytes());
    bytes.extend_from_slice(&body.abi_major.to_le_bytes());
    bytes.extend_from_slice(&body.abi_minor.to_le_bytes());
    for number in [
        body.grants,
        body.flags,
        body.state_schema_min,
        body.state_schema_max,
    ] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    for field in [
        &body.name[..],
        &body.version,
        &body.public_routes,
        &body.internal_routes,
        &body.calls,
        &body.sdk,
        &body.compiler,
    ] {
        bytes.extend_from_slice(field);
    }
    assert_eq!(bytes.len() - start, size_of::<DescriptorBody>());
    change(&mut bytes[start..]);
    bytes
}

#[test]
fn a_module_may_ask_to_call_whichever_the_operator_names() {
    let asks = |calls: &str| {
        let field = std::mem::offset_of!(DescriptorBody, calls);
        let note = note(|body| {
            body[field..field + calls.len() + 1].copy_from_slice(format!("{calls}\0").as_bytes())
        });
        Descriptor::read(&elf(&note))
    };
    assert_eq!(asks("store\n*").unwrap().grants.calls, ["store", "*"]);
    assert!(asks("store\n**").is_err());
}

#[test]
fn a_descriptor_is_read() {
    let read = Descriptor::read(&elf(&note(|_| ()))).unwrap();
    assert_eq!(
        (read.name.as_str(), read.version.as_str()),
        ("sample", "1.2.3")
    );
    assert!(read.grants.secrets && !read.exclusive);
    let exclusive = Descriptor::read(&elf(&note(|body| body[20] = 1))).unwrap();
    assert!(exclusive.exclusive);
    assert_eq!(read.grants.calls, ["store", "other"]);
    assert_eq!(
        read.internal_routes,
        [
            RoutePattern::Prefix("/rows/".into()),
            RoutePattern::Exact("/all".into())
        ]
    );
    assert_eq!(
        read.public_routes,
        [
            RoutePattern::Exact("/feed".into()),
            RoutePattern::Prefix("/files/".into())
        ]
    );
    assert_eq!(
        (read.sdk.as_str(), read.compiler.as_str()),
        ("sdk", "rustc")
    );
    assert!(read.expect_name("sample").is_ok());
    assert!(
        read.expect_name("other")
            .unwrap_err()
            .to_string()
            .contains("`sample`")
    );
}

#[test]
fn what_is_wrong_is_told() {
    let check = |file: &[u8], expect: &str| {
        let error = Descriptor::read(file).unwrap_err().to_string();
        assert!(error.contains(expect), "{expect:?} is not in {error:?}");
    };
    check(
        b"",
        "not a shared library of this machine: the file is empty",
    );
    check(b"#!/bin/sh\n", "it starts with \"#!/bin/sh\\n\"");
    check(&elf(&[]), "no module descriptor");
    check(
        &elf(&[note(|_| ()), note(|_| ())].concat()),
        "2 module descriptors",
    );
    check(&elf(&note(|body| body[0] = b'X')), "XIDPLANE");
    check(
        &elf(&note(|body| body[12] = 9)),
        "built for ABI 9, the kernel has ABI 1.0",
    );
    check(
        &elf(&note(|body| body[14] = 7)),
        "needs ABI 1.7, the kernel has 1.0",
    );
    check(
        &elf(&note(|body| {
            body[8..12].copy_from_slice(&40_u32.to_le_bytes())
        })),
        "40 bytes long",
    );
    check(&elf(&note(|body| body[16] = 0x83)), "no grant 0x82");
    check(&elf(&note(|body| body[20] = 3)), "0x2 is reserved");
    let exclusive_with_state = |body: &mut [u8]| (body[20], body[24], body[28]) = (1, 1, 1);
    check(
        &elf(&note(exclusive_with_state)),
        "an exclusive module hands no state over",
    );
    check(
        &elf(&note(|body| body[32] = b'S')),
        "\"Sample\" is not a name",
    );
    check(&elf(&note(|body| body[33] = 0xff)), "`name` is not valid");
    check(
        &elf(&note(|body| body[160] = b'x')),
        "\"xfeed\" is not a path",
    );
    check(
        &elf(&note(|body| body[672] = b'S')),
        "field `calls` is not valid: \"Store\" is not a name",
    );
    let mut other = elf(&note(|_| ()));
    other[18] = 8;
    check(&other, "built for mips");
    let whole = elf(&note(|_| ()));
    check(&whole[..whole.len() - 1], "past the end");
    check(&whole[..70], "cut short");
}

#[test]
fn no_cut_or_flipped_byte_panics() {
    let whole = elf(&note(|_| ()));
    for len in 0..whole.len() {
        assert!(Descriptor::read(&whole[..len]).is_err());
    }
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 0xff;
        // Accepted or refused, but never a panic: a flip in a text for people changes nothing else.
        let _ = Descriptor::read(&flipped);
    }
}

#[test]
fn patterns_match_as_documented() {
    for (pattern, path, expect) in [
        ("/feed", "/feed", true),
        ("/feed", "/feed/", false),
        ("/feed", "/feed2", false),
        ("/files/*", "/files/a/b", true),
        ("/files/*", "/files", false),
        ("/files/*", "/filesystem", false),
        ("/*", "/anything", true),
    ] {
        assert_eq!(
            RoutePattern::parse(pattern).unwrap().matches(path),
            expect,
            "{pattern} {path}"
        );
    }
    for bad in ["feed", "/a*", "/*/b", "*", "/a/**", ""] {
        assert_eq!(RoutePattern::parse(bad), None, "{bad}");
    }
}
