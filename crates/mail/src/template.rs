//! What the mail of an event looks like: templates in the language of Jinja, of which text is escaped in
//! HTML.
//!
//! Templates come from shops, and are rendered in processes that serve all shops. So a template has a limit in
//! each respect: its steps ([`FUEL`]), what it shows ([`MAX_PART_BYTES`]), what it may say at all ([`grammar`]) and what
//! its [`filters`] make.

mod filters;
mod grammar;

use std::io;

use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, machinery::WhitespaceConfig,
};
use serde::Serialize;

/// The types of events of which a mail can be sent.
pub const EVENT_TYPES: [&str; 4] =
    ["order.confirmed", "order.cancelled", "order.shipped", "order.refunded"];
/// The most bytes of a template.
pub const MAX_TEMPLATE_BYTES: usize = 32 << 10;
/// The steps that a template may take: more than it takes to list the lines of the longest order.
const FUEL: u64 = 200_000;
/// The most bytes that one part of a mail may have: more than it takes to list the lines of the longest order.
const MAX_PART_BYTES: usize = 2 << 20;
/// A tag that stands in a line of its own leaves no line.
const WHITESPACE: WhitespaceConfig =
    WhitespaceConfig { keep_trailing_newline: false, lstrip_blocks: true, trim_blocks: true };

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
    grammar::check(source, WHITESPACE).map_err(|refused| {
        let detail = format!("it must not have {}, in line {}", refused.what, refused.line);
        TemplateError::Wrong { part, detail }
    })?;
    let mut environment = Environment::empty();
    filters::add(&mut environment);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_trim_blocks(WHITESPACE.trim_blocks);
    environment.set_lstrip_blocks(WHITESPACE.lstrip_blocks);
    environment.set_auto_escape_callback(move |_| escape);
    let mut rendered = Part::default();
    environment
        .template_from_named_str(part, source)
        .and_then(|template| template.render_captured_to(context, &mut rendered).map(|_| ()))
        .map_err(|error| TemplateError::Wrong { part, detail: detail(&error) })?;
    Ok(String::from_utf8_lossy(&rendered.0).into_owned())
}

/// What is wrong, and where; not what the engine shows beside: that may be what is rendered.
fn detail(error: &Error) -> String {
    let line = error.line().map_or(String::new(), |line| format!(" in line {line}"));
    match error.kind() {
        ErrorKind::WriteFailure => format!("it makes too much{line}"),
        kind => format!("{kind}{line}"),
    }
}

/// What is rendered of a part, which fails where it is too long.
#[derive(Default)]
struct Part(Vec<u8>);

impl io::Write for Part {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_PART_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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
            "{% include 'secrets' %}",
            "{{ order.linse | join }}",
            "{{ order.linse | reverse | join }}",
            "{{ order.linse | map(attribute='sku') | join }}",
            "{{ order.lines | map(attribute='skew') | join }}",
        ] {
            assert!(template("s", wrong).check().is_err(), "{wrong}");
        }
        let loops = "{% for a in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] %}".repeat(6);
        let endless = format!("{loops}{}", "{% endfor %}".repeat(6));
        assert!(template("s", &endless).check().is_err());
        assert!(template("s", &"x".repeat(MAX_TEMPLATE_BYTES + 1)).check().is_err());
    }

    #[track_caller]
    fn refused(part: &str, expected: &str) {
        let hidden = format!("{{% if order.number != 17 %}}{part}{{% endif %}}");
        for part in [part, &hidden] {
            let error = template("s", part).render(&context()).expect_err(part);
            assert!(error.to_string().contains(expected), "{part}: {error}");
        }
    }

    #[test]
    fn a_template_cannot_make_more_than_a_mail_may_be() {
        let raw = "x".repeat(30_000);
        let lines = "{% for i in order.lines %}".repeat(12);
        let context = Context {
            order: Order { lines: vec![Line::default(); 3], ..Order::default() },
            ..Context::default()
        };
        for shown in [raw, format!("{{{{ 'x{}' }}}}", "x".repeat(30_000))] {
            let text = format!("{lines}{shown}{}", "{% endfor %}".repeat(12));
            let error = template("s", &text).render(&context).expect_err("is too long");
            assert!(error.to_string().contains("it makes too much"), "{error}");
        }
    }

    #[test]
    fn what_grows_a_value_is_refused_wherever_it_stands() {
        for grows in [
            r#"{% set a = "x" * 100000000 %}{% for i in range(30000) %}{{ a }}{% endfor %}"#,
            "{% set a = 'x' ~ 'x' %}{{ a }}",
            "{{ 'x' + 'x' }}",
            "{% if order.id == 'x' * 100000000 %}{% endif %}",
            "{{ 'x' if 'y' ~ 'y' else 'z' }}",
            "{{ order.id | default('x' * 100000000) }}",
            "{% with a = sender ~ sender %}{{ a }}{% endwith %}",
            "{% set a %}{{ sender }}{{ sender }}{% endset %}",
            "{% filter upper %}{{ sender }}{% endfilter %}",
            "{{ [sender, sender] }}",
            "{% set a = {'b': sender} %}",
            "{{ sender[0:1] }}",
            "{{ range(10) }}",
            "{{ loop.cycle() }}",
            "{% do range(10) %}",
        ] {
            // Checked, not found out: it is refused where it is never reached as well.
            refused(&format!("{{% if order.number == 99 %}}{grows}{{% endif %}}"), "must not have");
            assert!(template("s", grows).check().is_err(), "{grows}");
        }
    }

    #[test]
    fn filters_make_no_more_than_they_may_together() {
        let x = "x".repeat(5_000);
        refused(&format!("{{{{ '{x}' | replace('x', '{x}') }}}}"), "it makes too much");
        let long = format!("'{x}' | replace('x', '{}')", "x".repeat(600));
        assert!(template("s", &format!("{{% set a = {long} %}}")).render(&context()).is_ok());
        refused(&format!("{{{{ {long} | length }}}}"), "it makes too much");
        refused("{{ sender | indent(1000000000) }}", "unknown filter");
        refused("{{ order.lines | batch(1000000000, 'x') }}", "unknown filter");
        refused("{{ order.lines | map(attribute='sku', default=sender) }}", "too many arguments");
        let order = Order { lines: vec![Line::default(); 2_000], ..Order::default() };
        let long = Context { order, ..Context::default() };
        let joined = format!("{{{{ order.lines | map(attribute='sku') | join('{x}') }}}}");
        let error = template("s", &joined).render(&long).expect_err("is too long");
        assert!(error.to_string().contains("it makes too much"), "{error}");
        let again =
            format!("{{% for i in order.lines %}}{{% set a = '{x}' | upper %}}{{% endfor %}}");
        let error = template("s", &again).render(&long).expect_err("is too much");
        assert!(error.to_string().contains("it makes too much"), "{error}");
    }

    #[test]
    fn a_template_that_nests_too_deep_is_refused() {
        refused(&format!("{{{{ 1{} }}}}", "-1".repeat(10_000)), "more than 200 words");
        refused(&format!("{{{{ order{} }}}}", ".id".repeat(5_000)), "more than 200 words");
        refused(
            &format!("{{% if 1 %}}{}{{% endif %}}", "{% elif 1 %}".repeat(2_000)),
            "more than 100 elif",
        );
    }

    #[test]
    fn what_a_mail_needs_can_be_said() {
        let lines = ["A <b>mug</b>", "Tea"].map(|title| Line {
            title: title.to_owned(),
            quantity: 2,
            ..Line::default()
        });
        let order = Order { number: 7, lines: lines.to_vec(), ..Order::default() };
        let context = Context { order, ..context() };
        for (part, expected) in [
            ("{% set name = customer.name or 'friend' %}{{ name | upper }}", "FRIEND"),
            ("{{ order.lines | map(attribute='quantity') | sum }}", "4"),
            (
                "{{ order.lines | map(attribute='title') | join(', ') }}",
                "A &lt;b&gt;mug&lt;&#x2f;b&gt;, Tea",
            ),
            ("{{ order.lines | map(attribute='title') | last }}", "Tea"),
            ("{{ order.lines | reverse | map(attribute='title') | first }}", "Tea"),
            (
                "{% for it in order.lines if it.title is startingwith 'T' %}{{ it.title }}{% endfor %}",
                "Tea",
            ),
            ("{% for it in order.lines %}{{ loop.index is odd }} {% endfor %}", "True False "),
            (
                "{{ 'a' if order.number in [6, 7] else 'b' }}{{ order.number is divisibleby 0 }}",
                "aFalse",
            ),
            ("{{ sender | replace('&', 'and') }}", "Acme and Co"),
            ("{{ (order.lines | length) - 1 }}", "1"),
        ] {
            let rendered = template("s", part).render(&context).expect(part);
            assert_eq!(rendered.html, expected, "{part}");
        }
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
