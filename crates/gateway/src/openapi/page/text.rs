//! Text of the document as HTML.

use std::fmt::{self, Write as _};

/// Text in which nothing is markup.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// Text with what descriptions have of Markdown: paragraphs, lists, and code between backticks.
pub(super) struct Prose<'a>(pub(super) &'a str);

impl fmt::Display for Prose<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for paragraph in self.0.split("\n\n").filter(|it| !it.is_empty()) {
            if paragraph.starts_with("- ") {
                f.write_str("<ul>")?;
                for item in paragraph.lines() {
                    f.write_str("<li>")?;
                    inline(item.trim_start_matches("- "), f)?;
                    f.write_str("</li>")?;
                }
                f.write_str("</ul>")?;
            } else {
                f.write_str("<p>")?;
                inline(paragraph, f)?;
                f.write_str("</p>")?;
            }
        }
        Ok(())
    }
}

fn inline(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, part) in text.split('`').enumerate() {
        if index % 2 == 1 {
            write!(f, "<code>{}</code>", Escaped(part))?;
        } else {
            write!(f, "{}", Escaped(part))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_lists_and_code_are_shown() {
        let text = "One `a<b`.\n\n- first\n- `second`\n\nLast & least";
        assert_eq!(
            Prose(text).to_string(),
            "<p>One <code>a&lt;b</code>.</p><ul><li>first</li><li><code>second</code></li></ul><p>Last &amp; least</p>"
        );
    }
}
