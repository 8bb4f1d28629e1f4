//! Tables as Markdown that also reads well in a terminal.

/// A table whose columns are as wide as their cells; the first `left` are aligned to the left.
pub(crate) fn markdown(header: &[&str], left: usize, rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([header[column].len(), 3]).max().unwrap_or(3)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let padded = |cells: &[&str]| {
        let cells = cells.iter().zip(&widths).enumerate();
        let padded = cells.map(|(column, (cell, &width))| match column < left {
            true => format!("{cell:width$}"),
            false => format!("{cell:>width$}"),
        });
        line(padded.collect())
    };
    let rules = widths
        .iter()
        .enumerate()
        .map(|(column, &width)| match column < left {
            true => "-".repeat(width),
            false => "-".repeat(width - 1) + ":",
        });
    let mut text = padded(header) + &line(rules.collect());
    for row in rows {
        let cells: Vec<&str> = row.iter().map(String::as_str).collect();
        text += &padded(&cells);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let rows =
            [["full", "1.20"], ["a long name", "12.3"]].map(|row| row.map(str::to_string).to_vec());
        let expected = "\
| work        | ratio |
| ----------- | ----: |
| full        |  1.20 |
| a long name |  12.3 |
";
        assert_eq!(markdown(&["work", "ratio"], 1, &rows), expected);
    }
}
