//! The README's commands print what it says.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Commands of the ```console blocks, each with what it prints.
fn commands(readme: &str) -> Vec<(String, String)> {
    let mut commands: Vec<(String, String)> = Vec::new();
    let mut inside = false;
    for line in readme.lines() {
        match (inside, line.strip_prefix("$ ")) {
            (_, _) if line.starts_with("```") => inside = line == "```console",
            (true, Some(command)) => commands.push((command.to_string(), String::new())),
            (true, None) => {
                let (_, printed) = commands.last_mut().expect("a command comes first");
                printed.push_str(line);
                printed.push('\n');
            }
            (false, _) => {}
        }
    }
    commands
}

#[test]
fn commands_print_what_the_readme_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = root.join("../..");
    let readme = fs::read_to_string(root.join("README.md")).expect("it is there");
    let commands = commands(&readme);
    assert!(!commands.is_empty());
    // As the program knows itself: the build's folder may be a link.
    let program = fs::canonicalize(env!("CARGO_BIN_EXE_plw")).expect("it is built");
    let program = program.display().to_string();
    let folder = tempfile::tempdir().expect("a temporary directory");
    for (command, expected) in commands {
        let arguments = command.strip_prefix("plw ").expect("a command of plw");
        // Files of the workspace, which a reader stands in.
        let arguments = arguments.split(' ').map(|argument| {
            match argument.starts_with("experiments/") || argument == "assets" {
                true => workspace.join(argument).display().to_string(),
                false => argument.to_string(),
            }
        });
        let output = Command::new(env!("CARGO_BIN_EXE_plw"))
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .expect("plw runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {said}");
        let printed = String::from_utf8_lossy(&output.stdout).replace(&program, "plw");
        let printed = printed.replace(&format!("{}/", workspace.display()), "");
        assert_eq!(printed, expected, "{command}");
    }
}
