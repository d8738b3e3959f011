//! Results that their reader does not take.

use crate::machine::Machine;

#[test]
#[cfg(target_os = "linux")]
fn a_result_that_cannot_be_printed_is_a_failure() {
    let machine = Machine::new();
    for (line, told) in [
        (
            "ecto status",
            "The result could not be printed: No space left on device (os error 28).\n\
             Free some room there, or have it printed elsewhere.\n",
        ),
        (
            "ecto key add lost",
            "The key \"lost\" was made. The result could not be printed: No space left on device (os error 28).\n\
             See it with `ecto key show lost`.\n",
        ),
        (
            "ecto key add 'lost too' --json",
            "The key \"lost too\" was made. The result could not be printed: No space left on device (os error 28).\n\
             See it with `ecto key show \"lost too\"`.\n",
        ),
        (
            "ecto key rotate lost",
            "The key \"lost\" was made. The result could not be printed: No space left on device (os error 28).\n\
             See it with `ecto key show lost`.\n",
        ),
        (
            "ecto key --help",
            "The result could not be printed: No space left on device (os error 28).\n\
             Free some room there, or have it printed elsewhere.\n",
        ),
        (
            "ecto completions bash",
            "The result could not be printed: No space left on device (os error 28).\n\
             Free some room there, or have it printed elsewhere.\n",
        ),
    ] {
        let ran = machine.shell(&format!("{line} > /dev/full"));
        assert_eq!(ran.code, 1, "{line}: {ran:?}");
        assert!(ran.stderr.ends_with(told), "{line}: {ran:?}");
    }
    // The way that was told leads there.
    for name in ["lost", "lost too"] {
        let shown = machine.run(&["key", "show", name]);
        assert!(shown.stdout.starts_with("ecto_"), "{shown:?}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_door_that_is_open_is_said_to_be_where_its_address_cannot_be_printed() {
    let machine = Machine::new();
    let told = "The door is open. The result could not be printed: No space left on device (os error 28).\n\
                Close the door with `ecto disconnect --sandbox`, or see how it is with `ecto status --sandbox`.\n";
    for connect in ["connect --detach", "connect --detach --json"] {
        let ran = machine.shell(&format!("ecto {connect} --sandbox > /dev/full"));
        assert_eq!(ran.code, 1, "{connect}: {ran:?}");
        assert!(ran.stderr.ends_with(told), "{connect}: {ran:?}");
    }
    assert_eq!(machine.status()["exposure"]["state"], "public");
    assert_eq!(machine.run(&["disconnect", "--sandbox"]).code, 0);
}

#[test]
fn a_reader_that_went_away_is_no_fault() {
    let machine = Machine::new();
    assert_eq!(machine.run(&["key", "add", "phone"]).code, 0);
    for arguments in ["key list", "key list --json", "--help", "completions bash"] {
        // The reader ends before anything is written to it.
        let line = format!("{{ sleep 0.3; ecto {arguments}; echo $? >&2; }} | true");
        let ran = machine.shell(&line);
        assert!(ran.stderr.ends_with("0\n"), "{arguments}: {ran:?}");
        assert!(!ran.stderr.contains("could not"), "{arguments}: {ran:?}");
    }
}
