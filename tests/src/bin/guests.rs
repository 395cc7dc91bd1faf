//! Builds every guest of the tests once, before the tests: `cargo run --release -p tests --bin guests`. Prints the
//! directory that `MILLSTREAM_TEST_GUESTS` is to name.

fn main() -> anyhow::Result<()> {
    println!("{}", tests::guests::prepare()?.display());
    Ok(())
}
