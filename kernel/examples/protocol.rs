//! Prints the description of the bridge, an OpenRPC document made of the kernel's own types: `scripts/generate-protocol` writes
//! `sdk/node/protocol.json` with it, and makes types and a reference of that.

fn main() {
    println!("{:#}", midplane_kernel::schema::document());
}
