//! What the mail of an event looks like: templates in the language of Jinja, of which text is escaped in
//! HTML.

use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::Serialize;

/// The types of events of which a mail can be sent.
pub const EVENT_TYPES: [&str; 4] =
    ["order.confirmed", "order.cancelled", "order.shipped", "order.refunded"];
/// The most bytes of a template.
pub const MAX_TEMPLATE_BYTES: usize = 32 << 10;
/// The steps that a template may take: more than it takes to list the lines of the longest order.
const FUEL: u64 = 200_000;

/// What the mail of an event looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The template of its subject.
    pub subject: String,
    /// The template of its text.
    pub text: String,
    /// The template of its HTML.
    pub html: String,
}

/// What a mail says.
#[derive(Clone, PartialEq, Eq)]
pub struct Rendered {
    /// One line.
    pub subject: String,
    /// Its text.
    pub text: String,
    /// The same as HTML.
    pub html: String,
}

/// Shows nothing personal.
impl std::fmt::Debug for Rendered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rendered").finish_non_exhaustive()
    }
}

/// What a template can show. What does not concern the event is empty.
#[derive(Clone, Default, Serialize)]
pub struct Context {
    /// The name of the sender.
    pub sender: String,
    /// The language of the mail, as a BCP 47 tag.
    pub language: String,
    /// The order.
    pub order: Order,
    /// The customer.
    pub customer: Customer,
    /// What has shipped.
    pub shipped: Vec<Line>,
    /// What was refunded.
    pub refund: Refund,
    /// Why the order was cancelled.
    pub cancellation: Cancellation,
}

/// Shows nothing personal.
impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("order", &self.order.id).finish_non_exhaustive()
    }
}

/// An order, as a template shows it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Order {
    /// Its id.
    pub id: String,
    /// The shop's own number of it.
    pub number: u64,
    /// The caller's own number of it; empty when none was given.
    pub reference: String,
    /// What it costs, such as `9.50 GBP`.
    pub total: String,
    /// What was ordered.
    pub lines: Vec<Line>,
}

/// A line of an order, or of what has shipped of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Line {
    /// Its SKU.
    pub sku: String,
    /// Its title as sold; that is the SKU where there is none.
    pub title: String,
    /// The units.
    pub quantity: i64,
    /// The price of one, such as `9.50 GBP`.
    pub unit_price: String,
}

/// A customer, as a template shows it.
#[derive(Clone, Default, Serialize)]
pub struct Customer {
    /// The name of the shipping address, or of the billing address; empty when neither has one.
    pub name: String,
}

/// A refund, as a template shows it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Refund {
    /// What was refunded, such as `9.50 GBP`.
    pub amount: String,
}

/// A cancellation, as a template shows it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Cancellation {
    /// Why, as events have it, without their prefix and in lower case: `out_of_stock`.
    pub reason: String,
}

/// A template does not render.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// It has more than [`MAX_TEMPLATE_BYTES`].
    #[error("the {0} must have at most 32 KiB")]
    TooLong(&'static str),
    /// It is wrong: what it says and where.
    #[error("the {part} does not render: {detail}")]
    Wrong {
        /// The subject, the text, or the HTML.
        part: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// There is no mail for such an event.
    #[error("there is no mail for this type of event")]
    UnknownType,
}

impl Template {
    /// Renders it.
    pub fn render(&self, context: &Context) -> Result<Rendered, TemplateError> {
        let subject = render("subject", &self.subject, AutoEscape::None, context)?;
        Ok(Rendered {
            // A subject is one line.
            subject: subject.split_whitespace().collect::<Vec<_>>().join(" "),
            text: render("text", &self.text, AutoEscape::None, context)?,
            html: render("html", &self.html, AutoEscape::Html, context)?,
        })
    }

    /// Checks that it renders, by an order with everything that a mail can show.
    pub fn check(&self) -> Result<(), TemplateError> {
        let line = Line {
            sku: "MUG".to_owned(),
            title: "A mug".to_owned(),
            quantity: 2,
            unit_price: "9.50 GBP".to_owned(),
        };
        let context = Context {
            sender: "Acme".to_owned(),
            language: "en".to_owned(),
            order: Order {
                id: "0190b3a1-0000-7000-8000-000000000001".to_owned(),
                number: 17,
                reference: "R-17".to_owned(),
                total: "19.00 GBP".to_owned(),
                lines: vec![line.clone()],
            },
            customer: Customer { name: "Ann Example".to_owned() },
            shipped: vec![line],
            refund: Refund { amount: "9.50 GBP".to_owned() },
            cancellation: Cancellation { reason: "requested".to_owned() },
        };
        self.render(&context).map(|_| ())
    }
}

fn render(
    part: &'static str,
    source: &str,
    escape: AutoEscape,
    context: &Context,
) -> Result<String, TemplateError> {
    if source.len() > MAX_TEMPLATE_BYTES {
        return Err(TemplateError::TooLong(part));
    }
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_auto_escape_callback(move |_| escape);
    environment.render_named_str(part, source, context).map_err(|error| {
        // Not what it shows beside: that may be what is rendered.
        let detail = error.line().map_or(String::new(), |line| format!(" in line {line}"));
        TemplateError::Wrong { part, detail: format!("{}{detail}", error.kind()) }
    })
}

/// The built-in template of an event, in English.
pub fn built_in(event_type: &str) -> Result<Template, TemplateError> {
    macro_rules! of {
        ($name:literal, $subject:literal) => {
            Template {
                subject: $subject.to_owned(),
                text: include_str!(concat!("../templates/", $name, ".txt")).to_owned(),
                html: include_str!(concat!("../templates/", $name, ".html")).to_owned(),
            }
        };
    }
    Ok(match event_type {
        "order.confirmed" => of!("confirmed", "Your order {{ order.number }} is confirmed"),
        "order.cancelled" => of!("cancelled", "Your order {{ order.number }} is cancelled"),
        "order.shipped" => of!("shipped", "Your order {{ order.number }} is on its way"),
        "order.refunded" => of!("refunded", "A refund for your order {{ order.number }}"),
        _ => return Err(TemplateError::UnknownType),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context {
        Context {
            sender: "Acme & Co".to_owned(),
            language: "en".to_owned(),
            order: Order {
                number: 7,
                total: "9.50 GBP".to_owned(),
                lines: vec![Line {
                    title: "A <b>mug</b>".to_owned(),
                    quantity: 2,
                    ..Line::default()
                }],
                ..Order::default()
            },
            ..Context::default()
        }
    }

    fn template(subject: &str, html: &str) -> Template {
        let (subject, text, html) = (subject.to_owned(), String::new(), html.to_owned());
        Template { subject, text, html }
    }

    #[test]
    fn each_type_has_a_built_in_template_that_renders() {
        for event_type in EVENT_TYPES {
            let template = built_in(event_type).expect("there is one");
            template.check().expect("it renders");
            let Rendered { subject, text, html } = template.render(&context()).expect("it renders");
            assert!(subject.contains('7'), "{subject}");
            assert!(text.contains("Acme & Co") && html.contains("Acme &amp; Co"), "{text}{html}");
            assert!(html.contains("lang=\"en\"") && !text.contains("<p>"), "{event_type}");
        }
        assert!(built_in("order.placed").is_err());
    }

    #[test]
    fn what_is_shown_is_escaped_in_html_alone() {
        let template = built_in("order.confirmed").expect("there is one");
        let rendered = template.render(&context()).expect("it renders");
        assert!(rendered.text.contains("2 x A <b>mug</b>"), "{}", rendered.text);
        assert!(rendered.html.contains("A &lt;b&gt;mug&lt;&#x2f;b&gt;"), "{}", rendered.html);
    }

    #[test]
    fn a_wrong_template_is_refused_and_an_endless_one_ends() {
        for wrong in [
            "{{ order.numbr }}",
            "{{ order.number",
            "{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}",
            "{% include 'secrets' %}",
        ] {
            assert!(template("s", wrong).check().is_err(), "{wrong}");
        }
        assert!(template("s", &"x".repeat(MAX_TEMPLATE_BYTES + 1)).check().is_err());
    }

    #[test]
    fn no_error_shows_what_is_rendered() {
        let personal =
            Context { customer: Customer { name: "Ann Example".to_owned() }, ..context() };
        let error = template("s", "{{ customer.name.street.number }}").render(&personal);
        assert!(!error.expect_err("is wrong").to_string().contains("Ann"));
    }

    #[test]
    fn a_subject_is_one_line() {
        let rendered = template("a\n\n {{ order.number }}\n", "h").render(&context());
        assert_eq!(rendered.expect("it renders").subject, "a 7");
    }
}
