//! Signs and verifies tokens exactly as the kernel does, under a key of your choice: to hold the kernel's tokens against
//! other JWT libraries. The running kernel's keys never leave it.
//!
//!     jws sign --key HEX --kid KID < claims.json     prints a token
//!     jws verify --key HEX --kid KID TOKEN           prints its claims, or exits 1

use std::error::Error;
use std::io::Read as _;
use std::process::ExitCode;

use clap::Parser;
use midplane_kernel::untrusted::token::{Claims, Key, Parts, RejectReason};

#[derive(Parser)]
#[command(name = "jws", about = "Signs and verifies tokens as the kernel does")]
enum Command {
    /// Sign the claims on standard input
    Sign {
        #[command(flatten)]
        key: KeyFlags,
    },
    /// Verify a token and print its claims; exits 1 if it is not accepted
    Verify {
        #[command(flatten)]
        key: KeyFlags,
        token: String,
    },
}

#[derive(clap::Args)]
struct KeyFlags {
    /// The key's bytes, hexadecimal
    #[arg(long, value_name = "HEX")]
    key: String,
    /// The key's name
    #[arg(long)]
    kid: String,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    match Command::parse() {
        Command::Sign { key } => {
            let mut claims = String::new();
            std::io::stdin().read_to_string(&mut claims)?;
            let claims: Claims = serde_json::from_str(&claims)?;
            println!("{}", key.read()?.sign(&claims));
        }
        Command::Verify { key, token } => match verify(&key.read()?, token.as_bytes()) {
            Ok(claims) => println!("{}", serde_json::to_string(&claims)?),
            Err(reason) => {
                eprintln!("{reason}");
                return Ok(ExitCode::FAILURE);
            }
        },
    }
    Ok(ExitCode::SUCCESS)
}

fn verify(key: &Key, token: &[u8]) -> Result<Claims, RejectReason> {
    let parts = Parts::cut(token)?;
    if !key.wrote_header_of(&parts) {
        return Err(RejectReason::Header);
    }
    key.verify(&parts)
}

impl KeyFlags {
    fn read(&self) -> Result<Key, Box<dyn Error>> {
        if !self.key.is_ascii() || !self.key.len().is_multiple_of(2) {
            return Err("--key takes an even number of hexadecimal digits".into());
        }
        let bytes = (0..self.key.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&self.key[at..at + 2], 16))
            .collect::<Result<Vec<u8>, _>>()?;
        Ok(Key::new(&self.kid, &bytes))
    }
}
