//! The `ecto` command.

fn main() {}
