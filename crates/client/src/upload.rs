//! Uploads of any length, whose results come while they run.
//!
//! ```no_run
//! # async fn push(client: client::Client, file: reqwest::Body) -> Result<(), client::Error> {
//! use client::upload::{Answered, Upload};
//!
//! let mut results = client.upload(Upload::csv("inventory"), file).await?;
//! while let Some(answered) = results.next().await? {
//!     match answered {
//!         Answered::Line(line) => println!("line {}: {}", line.line, line.result),
//!         Answered::End(end) => println!("{}, up to line {}", end.status, end.next_line),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! All lines have had their effect that have a result. Where the connection breaks, the upload goes on
//! behind the last of them: with the rest of the file, or with all of it and `from_line`.

use std::{collections::BTreeMap, time::Duration};

use reqwest::{Body, Method, RequestBuilder};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::{Client, Error, FieldError, Problem, tls::unanswered};

/// How long the next bytes of the results are waited for: longer than the gateway waits for a service.
const READ_TIMEOUT: Duration = Duration::from_mins(2);
/// How long an upload may take: five million lines at a hundred a second.
const UPLOAD_TIMEOUT: Duration = Duration::from_hours(14);

/// What is uploaded, and how.
#[derive(Debug, Clone, Copy)]
pub struct Upload<'a> {
    /// `inventory`, `products` or `fulfilments`.
    pub path: &'a str,
    /// The content type.
    pub content_type: &'a str,
    /// Whether the body is compressed.
    pub is_gzip: bool,
    /// The lines before this one are passed over, from 0.
    pub from_line: u64,
}

impl<'a> Upload<'a> {
    /// A CSV file.
    pub fn csv(path: &'a str) -> Self {
        Self { path, content_type: "text/csv", is_gzip: false, from_line: 0 }
    }

    /// A JSON object on each line.
    pub fn ndjson(path: &'a str) -> Self {
        Self { content_type: "application/x-ndjson", ..Self::csv(path) }
    }
}

/// What is answered of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// Of a line.
    Line(LineResult),
    /// Of all of them: nothing follows.
    End(UploadEnd),
}

/// What became of a line.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LineResult {
    /// Its number in the upload, from 0; in a CSV file the header is line 0.
    pub line: u64,
    /// What became of it, such as `applied`.
    pub result: String,
    /// Why, where that needs words.
    #[serde(default)]
    pub detail: Option<String>,
    /// Where it was not answered, and may be stored: the command that carries it, of which can be asked what became.
    #[serde(default)]
    pub command_id: Option<String>,
    /// The wrong fields of a line that was `rejected`.
    #[serde(default)]
    pub errors: Vec<FieldError>,
}

impl LineResult {
    /// Whether it had no effect because of an error.
    pub fn is_rejected(&self) -> bool {
        // What a later version adds counts as rejected, so that nobody passes over it.
        const OTHERS: [&str; 12] = [
            "applied",
            "applied_in_excess",
            "applied_elsewhere",
            "applied_incomplete",
            "duplicate",
            "stale",
            "created",
            "updated",
            "archived",
            "unchanged",
            PENDING,
            UNANSWERED,
        ];
        !OTHERS.contains(&self.result.as_str())
    }

    /// Whether it was not answered, and may be stored: sent again, it has its result.
    pub fn is_pending(&self) -> bool {
        [PENDING, UNANSWERED].contains(&self.result.as_str())
    }

    /// Why it was rejected.
    pub fn reason(&self) -> String {
        let errors = self.errors.iter().map(|error| error.detail.clone());
        let reasons: Vec<_> = errors.chain(self.detail.clone()).collect();
        if reasons.is_empty() { self.result.clone() } else { reasons.join("; ") }
    }
}

const PENDING: &str = "pending";
const UNANSWERED: &str = "unanswered";

/// The end of an upload.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct UploadEnd {
    /// `complete`, `pending` or `interrupted`.
    pub status: String,
    /// The line to go on from.
    pub next_line: u64,
    /// Why it ended early: the stable name of that, such as `incomplete_body`.
    #[serde(default)]
    pub code: Option<String>,
    /// The same for people.
    #[serde(default)]
    pub detail: Option<String>,
    /// What is to be sent as `Tradewind-After` by who reads what the lines changed.
    #[serde(default)]
    pub position: Option<String>,
    /// How many lines there are of each kind of result.
    #[serde(flatten)]
    pub counts: BTreeMap<String, Value>,
}

/// The results of an upload, as they come.
#[derive(Debug)]
pub struct Results {
    response: reqwest::Response,
    /// What came and is not read yet.
    received: Vec<u8>,
    /// How much of it is read.
    read: usize,
    client: Client,
}

impl Client {
    /// Begins an upload. What the gateway refuses as a whole is an [`Error::Problem`].
    pub async fn upload(&self, upload: Upload<'_>, body: Body) -> Result<Results, Error> {
        // The usual client allows a request less time in all.
        let http = self.http().read_timeout(READ_TIMEOUT).build().map_err(Error::Setup)?;
        let request = self.with_headers(http.request(Method::POST, self.upload_url(upload)));
        let request = of(request, upload).timeout(UPLOAD_TIMEOUT).body(body);
        let response = request.send().await.map_err(unanswered)?;
        let status = response.status();
        if status.is_success() {
            let client = self.clone();
            return Ok(Results { response, received: Vec::new(), read: 0, client });
        }
        let body = response.bytes().await.map_err(unanswered)?;
        let body =
            serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into());
        Err(Error::Problem(Box::new(Problem::read(status, &body))))
    }

    fn upload_url(&self, upload: Upload<'_>) -> Url {
        let mut url = self.url(upload.path);
        if upload.from_line > 0 {
            url.query_pairs_mut().append_pair("from_line", &upload.from_line.to_string());
        }
        url
    }
}

/// The headers of an upload.
fn of(request: RequestBuilder, upload: Upload<'_>) -> RequestBuilder {
    let mut request = request
        .header("content-type", upload.content_type)
        .header("accept", "application/x-ndjson");
    if upload.is_gzip {
        request = request.header("content-encoding", "gzip");
    }
    request
}

impl Results {
    /// What is answered next; `None` when the connection ended without an end of the upload.
    pub async fn next(&mut self) -> Result<Option<Answered>, Error> {
        loop {
            let rest = &self.received[self.read..];
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let answered = self.parse(&rest[..end])?;
                self.read += end + 1;
                return Ok(Some(answered));
            }
            self.received.drain(..self.read);
            self.read = 0;
            match self.response.chunk().await.map_err(unanswered)? {
                Some(bytes) => self.received.extend_from_slice(&bytes),
                None => return Ok(None),
            }
        }
    }

    fn parse(&self, line: &[u8]) -> Result<Answered, Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Read {
            Line(LineResult),
            End(UploadEnd),
        }
        let status = self.response.status();
        let read = serde_json::from_slice(line);
        Ok(match read.map_err(|source| Error::Unreadable { status, source })? {
            Read::Line(line) => Answered::Line(line),
            Read::End(end) => {
                let position = end.position.as_deref().and_then(|text| text.parse().ok());
                self.client.note(&position.unwrap_or_default());
                Answered::End(end)
            }
        })
    }
}
