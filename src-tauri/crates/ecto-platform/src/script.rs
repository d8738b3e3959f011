//! Programs made up for tests.

use std::path::Path;
use std::process::Command;

/// Writes an executable shell script. Another process writes it: a file that this one has open for writing cannot be
/// run by a child that another test starts at the same moment.
pub(crate) fn write(path: &Path, lines: &str) {
    let status = Command::new("sh")
        .args([
            "-c",
            r##"printf '#!/bin/sh\n%s\n' "$1" > "$0" && chmod 755 "$0""##,
        ])
        .args([path.as_os_str(), lines.as_ref()])
        .status()
        .unwrap();
    assert!(status.success());
}
