//! A table, as text for a terminal and as Markdown.

use crate::format::markdown_text;

/// A table of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// What the table shows.
    pub title: String,
    /// The columns' heads.
    pub header: Vec<String>,
    /// The rows, each as long as the header.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<const N: usize>(
        title: &str,
        header: [&str; N],
        rows: Vec<[String; N]>,
    ) -> Self {
        Self {
            title: title.to_string(),
            header: header.map(str::to_string).to_vec(),
            rows: rows.into_iter().map(|row| row.to_vec()).collect(),
        }
    }

    /// Each column's width in characters.
    fn widths(&self) -> Vec<usize> {
        let lines = || std::iter::once(&self.header).chain(&self.rows);
        (0..self.header.len())
            .map(|column| {
                lines()
                    .map(|line| line[column].chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect()
    }

    /// Cells padded to their widths, the first aligned left and the others right.
    fn line(cells: &[String], widths: &[usize], separator: &str) -> String {
        let padded = cells
            .iter()
            .zip(widths)
            .enumerate()
            .map(|(column, (cell, &width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
        padded.collect::<Vec<_>>().join(separator)
    }

    /// The table for a terminal.
    pub fn text(&self) -> String {
        let widths = self.widths();
        let rule: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
        let mut lines = vec![
            self.title.clone(),
            Self::line(&self.header, &widths, "  "),
            rule.join("  "),
        ];
        lines.extend(self.rows.iter().map(|row| Self::line(row, &widths, "  ")));
        lines
            .iter()
            .map(|line| format!("{}\n", line.trim_end()))
            .collect()
    }

    /// The table as Markdown.
    pub fn markdown(&self) -> String {
        let widths = self.widths();
        let rule: Vec<String> = (widths.iter().enumerate())
            .map(|(column, &width)| match column {
                0 => "-".repeat(width.max(3)),
                _ => format!("{}:", "-".repeat(width.max(3) - 1)),
            })
            .collect();
        let escaped = |cells: &[String]| -> Vec<String> {
            let text = cells.iter().map(|cell| markdown_text(cell));
            text.map(|cell| cell.replace('|', "\\|")).collect()
        };
        let row = |cells: &[String]| format!("| {} |\n", Self::line(cells, &widths, " | "));
        let rows = self.rows.iter().map(|cells| row(&escaped(cells)));
        let head = [
            row(&escaped(&self.header)),
            format!("| {} |\n", rule.join(" | ")),
        ];
        head.into_iter().chain(rows).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up() {
        let cells = |first: &str, second: &str| [first.to_string(), second.to_string()];
        let table = Table::new(
            "T",
            ["weight", "x"],
            vec![cells("0", "62.1"), cells("a|b", "7")],
        );
        assert_eq!(
            table.text(),
            "T\nweight     x\n------  ----\n0       62.1\na|b        7\n"
        );
        let markdown = table.markdown();
        assert_eq!(
            markdown,
            "| weight |    x |\n| ------ | ---: |\n| 0      | 62.1 |\n| a\\|b   |    7 |\n"
        );
    }
}
