//! Which names from outside may become parts of a path or a URL. Knows text alone.

/// Whether a path stays inside the folder that it is relative to. The hub's files are in git, which
/// refuses the others too; control characters would reach the terminal.
pub(crate) fn stays_inside(path: &str) -> bool {
    let is_part = |part| !matches!(part, "" | "." | "..");
    let is_other_platforms = cfg!(windows) && path.contains(['\\', ':']);
    path.split('/').all(is_part) && !path.chars().any(char::is_control) && !is_other_platforms
}

/// Whether a part of a repository's name or of a revision has only characters that the hub allows.
pub(crate) fn is_name(part: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    stays_inside(part) && part.chars().all(is_allowed)
}

/// Whether a revision is a commit: the name of one content, which never changes.
pub(crate) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.chars().all(|c| c.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_a_folder_are_told_from_those_that_stay() {
        for path in ["a", "a/b.txt", ".gitattributes", "a b/é", "..a/b.."] {
            assert!(stays_inside(path), "{path:?}");
        }
        for path in [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            ".",
            "./a",
            "..",
            "../a",
            "a/../b",
            "a/..",
            "a\0",
            "\u{1b}[2J",
        ] {
            assert!(!stays_inside(path), "{path:?}");
        }
        assert!(is_commit(&"0a".repeat(20)) && !is_commit(&"0g".repeat(20)) && !is_commit("0a"));
    }
}
