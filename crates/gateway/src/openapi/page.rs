//! The description as a page for people: one HTML file that needs nothing else, no script and no network.

use std::fmt::{self, Write as _};

use serde_json::Value;

mod reading;
mod text;

use self::{
    reading::{items, members, str_of},
    text::{Escaped, Prose},
};

const STYLE: &str = include_str!("page/style.css");
/// The methods in the order in which they are shown.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];
/// How deep the fields of a body are shown where it is used; deeper ones are behind a link.
const MAX_DEPTH: usize = 2;
const SCHEMAS: &str = "#/components/schemas/";

/// Renders the document.
pub(super) fn render(document: &Value) -> String {
    let mut html = String::new();
    // Writing to a text does not fail.
    Page { document, html: &mut html }.write().ok();
    html
}

struct Page<'a> {
    document: &'a Value,
    html: &'a mut String,
}

/// An operation of the document.
#[derive(Clone, Copy)]
struct Operation<'a> {
    method: &'a str,
    path: &'a str,
    described: &'a Value,
}

impl Operation<'_> {
    fn id(&self) -> &str {
        str_of(&self.described["operationId"])
    }
}

impl<'a> Page<'a> {
    fn write(mut self) -> fmt::Result {
        let info = &self.document["info"];
        let title = str_of(&info["title"]);
        write!(
            self.html,
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width, initial-scale=1\"><title>{0}: the HTTP API</title><style>{STYLE}</style>\
             </head><body>",
            Escaped(title)
        )?;
        self.navigation()?;
        write!(
            self.html,
            "<main><header><h1>{} <small>{}</small></h1>{}<p><a href=\"/openapi.json\">openapi.json</a> is the same for \
             programs.</p></header>",
            Escaped(title),
            Escaped(str_of(&info["version"])),
            Prose(str_of(&info["description"])),
        )?;
        self.security()?;
        for tag in items(&self.document["tags"]) {
            let name = str_of(&tag["name"]);
            write!(self.html, "<section><h2 id=\"{0}\">{0}</h2>", Escaped(name))?;
            write!(self.html, "{}", Prose(str_of(&tag["description"])))?;
            for operation in self.operations(name) {
                self.operation(operation)?;
            }
            self.html.push_str("</section>");
        }
        self.shared_headers()?;
        self.schemas()?;
        self.html.push_str("</main></body></html>\n");
        Ok(())
    }

    /// The operations with a tag, by path.
    fn operations(&self, tag: &str) -> Vec<Operation<'a>> {
        let mut found = Vec::new();
        for (path, item) in members(&self.document["paths"]) {
            for method in METHODS {
                if let Some(described) = item.get(method)
                    && described["tags"][0] == tag
                {
                    found.push(Operation { method, path, described });
                }
            }
        }
        found
    }

    fn navigation(&mut self) -> fmt::Result {
        self.html.push_str("<nav><details open><summary>Contents</summary>");
        for tag in items(&self.document["tags"]) {
            let name = str_of(&tag["name"]);
            write!(self.html, "<h3><a href=\"#{0}\">{0}</a></h3><ul>", Escaped(name))?;
            for operation in self.operations(name) {
                write!(
                    self.html,
                    "<li><a href=\"#{}\"><b class=\"{1}\">{1}</b> {2}</a></li>",
                    Escaped(operation.id()),
                    operation.method,
                    Escaped(str_of(&operation.described["summary"]).trim_end_matches('.'))
                )?;
            }
            self.html.push_str("</ul>");
        }
        self.html.push_str(
            "<h3><a href=\"#headers\">Headers</a></h3><h3><a href=\"#schemas\">Schemas</a></h3></details></nav>",
        );
        Ok(())
    }

    fn security(&mut self) -> fmt::Result {
        self.html.push_str("<section><h2 id=\"authentication\">Authentication</h2>");
        for (_, scheme) in members(&self.document["components"]["securitySchemes"]) {
            write!(self.html, "{}", Prose(str_of(&scheme["description"])))?;
        }
        self.html.push_str("</section>");
        Ok(())
    }

    fn operation(&mut self, operation: Operation<'a>) -> fmt::Result {
        let Operation { method, path, described } = operation;
        let id = Escaped(operation.id());
        write!(
            self.html,
            "<article id=\"{id}\"><h3><a href=\"#{id}\">{}</a></h3><p class=\"route\"><b class=\"{method}\">{method}</b> \
             <code>{}</code></p>{}",
            Escaped(str_of(&described["summary"]).trim_end_matches('.')),
            Escaped(path),
            Prose(str_of(&described["description"])),
        )?;
        self.scope(described)?;
        self.parameters(described)?;
        if described["requestBody"].is_object() {
            self.html.push_str("<h4>Body</h4>");
            self.content(&described["requestBody"]["content"])?;
        }
        self.html.push_str("<h4>Responses</h4>");
        for (status, response) in members(&described["responses"]) {
            self.response(status, response)?;
        }
        self.html.push_str("</article>");
        Ok(())
    }

    fn scope(&mut self, described: &Value) -> fmt::Result {
        match described["security"][0]["api_key"].as_array().map(Vec::as_slice) {
            None => self.html.push_str("<p class=\"scope\">Needs no API key.</p>"),
            Some([]) => self.html.push_str("<p class=\"scope\">Any API key.</p>"),
            Some(scopes) => {
                let scopes: Vec<_> = scopes.iter().map(str_of).collect();
                let scopes = scopes.join(", ");
                write!(
                    self.html,
                    "<p class=\"scope\">Scope <a href=\"#authentication\"><code>{}</code></a></p>",
                    Escaped(&scopes)
                )?;
            }
        }
        Ok(())
    }

    fn parameters(&mut self, described: &'a Value) -> fmt::Result {
        let all = items(&described["parameters"]);
        let (shared, own): (Vec<_>, Vec<_>) =
            all.partition(|it| !it["$ref"].is_null() && self.resolve(it)["in"] == "header");
        if !own.is_empty() {
            self.html.push_str("<h4>Parameters</h4><dl>");
            for parameter in own {
                let parameter = self.resolve(parameter);
                self.term(
                    str_of(&parameter["name"]),
                    &parameter["schema"],
                    parameter["required"] == true,
                    str_of(&parameter["in"]),
                )?;
                write!(self.html, "<dd>{}</dd>", Prose(str_of(&parameter["description"])))?;
            }
            self.html.push_str("</dl>");
        }
        let names: Vec<_> = shared
            .iter()
            .map(|it| str_of(&self.resolve(it)["name"]))
            .map(|name| format!("<a href=\"#header-{0}\"><code>{0}</code></a>", Escaped(name)))
            .collect();
        if !names.is_empty() {
            write!(self.html, "<p class=\"shared\">Optional headers: {}</p>", names.join(", "))?;
        }
        Ok(())
    }

    fn response(&mut self, status: &str, response: &'a Value) -> fmt::Result {
        let whole = self.resolve(response);
        let class = if status.starts_with('2') { "good" } else { "bad" };
        let description = response["description"].as_str().unwrap_or(str_of(&whole["description"]));
        write!(self.html, "<div class=\"response\"><b class=\"{class}\">{}</b> ", Escaped(status))?;
        write!(self.html, "{}", Prose(description))?;
        // A problem is the same everywhere.
        if class == "good" {
            let own = members(&whole["headers"]).filter(|(_, it)| it["$ref"].is_null());
            let own: Vec<_> = own.collect();
            if !own.is_empty() {
                self.html.push_str("<dl>");
                for (name, header) in own {
                    self.term(name, &header["schema"], false, "header")?;
                    write!(self.html, "<dd>{}</dd>", Prose(str_of(&header["description"])))?;
                }
                self.html.push_str("</dl>");
            }
            self.content(&whole["content"])?;
        }
        self.html.push_str("</div>");
        Ok(())
    }

    fn content(&mut self, content: &'a Value) -> fmt::Result {
        for (media, content) in members(content) {
            write!(self.html, "<p class=\"media\"><code>{}</code> ", Escaped(media))?;
            self.type_of(&content["schema"])?;
            self.html.push_str("</p>");
            self.fields(&content["schema"], 1)?;
            if !content["example"].is_null() {
                self.example(&content["example"])?;
            }
        }
        Ok(())
    }

    fn example(&mut self, example: &Value) -> fmt::Result {
        let json = serde_json::to_string_pretty(example).unwrap_or_default();
        write!(
            self.html,
            "<details><summary>Example</summary><pre>{}</pre></details>",
            Escaped(&json)
        )
    }

    /// The fields of an object, and those of its parts while they are not too deep.
    fn fields(&mut self, schema: &'a Value, depth: usize) -> fmt::Result {
        let schema = self.resolve(schema);
        let parts = items(&schema["allOf"]).chain(items(&schema["oneOf"]));
        for part in parts.chain(items(&schema["anyOf"])) {
            self.fields(part, depth)?;
        }
        if !schema["properties"].is_object() {
            return Ok(());
        }
        let required: Vec<_> = items(&schema["required"]).map(str_of).collect();
        let title = members(&schema["properties"]).count();
        self.html.push_str(if title == 0 { "" } else { "<dl>" });
        for (name, property) in members(&schema["properties"]) {
            self.term(name, property, required.contains(&name), "")?;
            let description = match property["description"].as_str() {
                Some(own) => own,
                None => str_of(&self.resolve(property)["description"]),
            };
            write!(self.html, "<dd>{}", Prose(description))?;
            if depth < MAX_DEPTH {
                let inner =
                    if property["items"].is_object() { &property["items"] } else { property };
                self.fields(inner, depth + 1)?;
            }
            self.html.push_str("</dd>");
        }
        self.html.push_str(if title == 0 { "" } else { "</dl>" });
        Ok(())
    }

    fn term(&mut self, name: &str, schema: &'a Value, required: bool, kind: &str) -> fmt::Result {
        write!(self.html, "<dt><code>{}</code> <span>", Escaped(name))?;
        self.type_of(schema)?;
        self.html.push_str("</span>");
        if !kind.is_empty() {
            write!(self.html, " <i>{}</i>", Escaped(kind))?;
        }
        if required {
            self.html.push_str(" <em>required</em>");
        }
        self.html.push_str("</dt>");
        Ok(())
    }

    /// The type of a value, with its limits.
    fn type_of(&mut self, schema: &'a Value) -> fmt::Result {
        if let Some(name) = schema["$ref"].as_str().and_then(|it| it.strip_prefix(SCHEMAS)) {
            return write!(self.html, "<a href=\"#schema-{0}\">{0}</a>", Escaped(name));
        }
        let choices = items(&schema["oneOf"]).chain(items(&schema["anyOf"]));
        for (index, choice) in choices.enumerate() {
            self.html.push_str(if index > 0 { " or " } else { "" });
            self.type_of(choice)?;
        }
        for part in items(&schema["allOf"]).filter(|it| !it["$ref"].is_null()) {
            self.type_of(part)?;
        }
        let types: Vec<_> = match &schema["type"] {
            Value::Array(types) => types.iter().map(str_of).collect(),
            one => one.as_str().into_iter().collect(),
        };
        write!(self.html, "{}", Escaped(&types.join(" or ")))?;
        if schema["items"].is_object() {
            self.html.push_str(" of ");
            self.type_of(&schema["items"])?;
        }
        if schema["additionalProperties"].is_object() {
            self.html.push_str(" of names and ");
            self.type_of(&schema["additionalProperties"])?;
        }
        self.limits(schema)
    }

    fn limits(&mut self, schema: &Value) -> fmt::Result {
        for (name, before, after) in [
            ("format", ", ", ""),
            ("minimum", ", at least ", ""),
            ("maximum", ", at most ", ""),
            ("minLength", ", at least ", " characters"),
            ("maxLength", ", at most ", " characters"),
            ("minItems", ", at least ", " items"),
            ("maxItems", ", at most ", " items"),
            ("default", ", ", " unless it is given"),
        ] {
            let value = match &schema[name] {
                Value::Null => continue,
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            // They say nothing that the type does not say.
            let is_usual = ["int64", "int32"].contains(&value.as_str())
                || (name == "minLength" && value == "1");
            if !is_usual {
                write!(self.html, "{before}{}{after}", Escaped(&value))?;
            }
        }
        let values: Vec<_> = items(&schema["enum"]).map(ToString::to_string).collect();
        if !values.is_empty() {
            write!(self.html, ": <code>{}</code>", Escaped(&values.join(" | ")))?;
        }
        Ok(())
    }

    fn shared_headers(&mut self) -> fmt::Result {
        self.html.push_str("<section><h2 id=\"headers\">Headers</h2><h4>Of requests</h4><dl>");
        for (name, parameter) in members(&self.document["components"]["parameters"]) {
            if parameter["in"] == "header" {
                write!(self.html, "<div id=\"header-{}\">", Escaped(name))?;
                self.term(name, &parameter["schema"], false, "")?;
                let description = Prose(str_of(&parameter["description"]));
                write!(self.html, "<dd>{description}</dd></div>")?;
            }
        }
        self.html.push_str("</dl><h4>Of responses</h4><dl>");
        for (name, header) in members(&self.document["components"]["headers"]) {
            self.term(name, &header["schema"], false, "")?;
            write!(self.html, "<dd>{}</dd>", Prose(str_of(&header["description"])))?;
        }
        self.html.push_str("</dl></section>");
        Ok(())
    }

    fn schemas(&mut self) -> fmt::Result {
        self.html.push_str("<section><h2 id=\"schemas\">Schemas</h2>");
        for (name, schema) in members(&self.document["components"]["schemas"]) {
            let name = Escaped(name);
            write!(
                self.html,
                "<article id=\"schema-{name}\"><h3><a href=\"#schema-{name}\">{name}</a></h3><p class=\"media\">"
            )?;
            self.type_of(schema)?;
            write!(self.html, "</p>{}", Prose(str_of(&schema["description"])))?;
            self.fields(schema, MAX_DEPTH)?;
            self.html.push_str("</article>");
        }
        self.html.push_str("</section>");
        Ok(())
    }

    fn resolve(&self, value: &'a Value) -> &'a Value {
        let reference = value["$ref"].as_str().and_then(|it| it.strip_prefix('#'));
        reference.and_then(|it| self.document.pointer(it)).unwrap_or(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::openapi_document as document;

    #[test]
    fn the_page_shows_every_operation_and_schema_and_every_link_leads_somewhere() {
        let page = render(document());
        for (_, item) in members(&document()["paths"]) {
            for (_, operation) in members(item) {
                let id = str_of(&operation["operationId"]);
                assert!(page.contains(&format!("<article id=\"{id}\">")), "{id}");
            }
        }
        let links = page.split("href=\"#").skip(1).filter_map(|it| it.split('"').next());
        let mut count = 0;
        for link in links {
            assert!(page.contains(&format!("id=\"{link}\"")), "{link} leads nowhere");
            count += 1;
        }
        assert!(count > 500, "{count}");
    }

    #[test]
    fn the_page_needs_nothing_else() {
        let page = render(document());
        for other in ["<script", "<link", "<img", "src=", "url(", "@import"] {
            assert!(!page.contains(other), "{other}");
        }
        assert!(page.len() < 1_000_000, "{}", page.len());
    }

    #[test]
    fn what_the_document_says_is_text() {
        let mut document = document().clone();
        document["info"]["title"] = "<b>\"Tom\" & Ann</b>".into();
        let page = render(&document);
        assert!(page.contains("&lt;b&gt;&quot;Tom&quot; &amp; Ann&lt;/b&gt;"));
        assert!(!page.contains("<b>\"Tom"));
    }
}
