//! Writes midplane.h to standard output.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    print!("{}", midplane_header::header()?);
    Ok(())
}
