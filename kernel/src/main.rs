//! The kernel and its command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    midplane_kernel::main()
}
