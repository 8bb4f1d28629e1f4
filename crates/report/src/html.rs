//! What pages are made of: the document, figures, tables.

use crate::figures::Figure;
use crate::format::escape;
use crate::table::Table;

/// The heading of a page's last part.
pub(crate) const METHODS_TITLE: &str = "<h2>How these numbers are computed</h2>";

/// A page that needs no other file.
pub(crate) fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>\n{}</style>\n</head>\n\
         <body>\n{body}</body>\n</html>\n",
        escape(title),
        include_str!("page.css"),
    )
}

/// The items of a list.
pub(crate) fn items<T: AsRef<str>>(lines: &[T]) -> String {
    let items = lines.iter().map(|line| escape(line.as_ref()));
    items.map(|line| format!("<li>{line}</li>\n")).collect()
}

/// A figure with its caption.
pub(crate) fn figure(figure: &Figure) -> String {
    let caption = escape(&figure.caption);
    format!(
        "<figure id=\"{}\">\n{}<figcaption>{caption}</figcaption>\n</figure>\n",
        escape(&figure.name),
        figure.inline_svg
    )
}

/// A table with its title, each row in a class.
pub(crate) fn table(table: &Table, row_class: impl Fn(usize) -> &'static str) -> String {
    let cells = |tag: &str, cells: &[String]| -> String {
        cells
            .iter()
            .map(|cell| format!("<{tag}>{}</{tag}>", escape(&typeset(cell))))
            .collect()
    };
    let rows: String = (table.rows.iter().enumerate())
        .map(|(index, row)| format!("<tr{}>{}</tr>\n", row_class(index), cells("td", row)))
        .collect();
    format!(
        "<h3>{}</h3>\n<div class=\"scroll\"><table>\n<thead><tr>{}</tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table></div>\n",
        escape(&table.title),
        cells("th", &table.header)
    )
}

/// A cell with a true minus sign before a number, and a dash where there is no value.
fn typeset(cell: &str) -> String {
    if cell == "-" {
        return "\u{2013}".to_string();
    }
    let words = cell.split(' ').map(|word| match word.strip_prefix('-') {
        Some(number) if number.starts_with(|first: char| first.is_ascii_digit()) => {
            format!("\u{2212}{number}")
        }
        _ => word.to_string(),
    });
    words.collect::<Vec<_>>().join(" ")
}
