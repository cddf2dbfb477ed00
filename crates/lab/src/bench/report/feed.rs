//! The figures of the feed of events as a table.

use std::fmt;

use audit::text::number;

use super::{
    head,
    row::{Cell, Expected, Row, Unit},
};
use crate::bench::figures::{Feed, FeedReaders, Processed};

/// Events a second to one reader.
const TO_ONE_PER_S: f64 = 100_000.0;
/// The megabytes of the services with all readers.
const MEMORY_MB: f64 = 400.0;

impl fmt::Display for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, pages, stream, readers } = self;
        writeln!(
            f,
            "Feed: {} events to one reader, by pages and as a stream; and readers of streams, each of events as they\n\
             are published. Percentages: of reading the log alone in the same run, with {}/s.",
            number(pages.count as i64),
            number(limit.per_s.round() as i64)
        )?;
        writeln!(f, "{}", head(&["pages", "stream", "1,000 readers"]))?;
        let row = |name: &str, unit, expected, cells: Vec<Cell>| Row {
            name: name.to_owned(),
            unit,
            expected,
            cells,
        };
        let share = |it: &Processed| Cell::share(it.per_s, it.per_s / limit.per_s);
        let to_one = vec![share(pages), share(stream)];
        writeln!(f, "{}", row("events/s", Unit::Count, Expected::AtLeast(TO_ONE_PER_S), to_one))?;
        let cpu = |it: &Processed| Cell::of(it.cpu_ms);
        let of_readers = readers.figures();
        let cpu_of_readers = of_readers.map(|it| cpu(&it.read)).unwrap_or_default();
        let cells = vec![cpu(pages), cpu(stream), cpu_of_readers];
        let name = "CPU time of the services, each";
        write!(f, "{}", row(name, Unit::Micros, Expected::Nothing, cells))?;
        let Some(FeedReaders { rate_per_s, read, lag_s, memory_mb, .. }) = of_readers else {
            return match readers.problem() {
                Some(problem) => write!(f, "\n  1,000 readers: not measured: {problem}"),
                None => Ok(()),
            };
        };
        let last = |value| vec![Cell::default(), Cell::default(), Cell::of(value)];
        let name = format!("  to all, {rate_per_s}/s for each");
        write!(f, "\n{}", row(&name, Unit::Count, Expected::Nothing, last(Some(read.per_s))))?;
        let lag = last(Some(lag_s * 1_000.0));
        write!(
            f,
            "\n{}",
            row("all have the last event after", Unit::Millis, Expected::Nothing, lag)
        )?;
        let memory = last(memory_mb.map(|memory| memory as f64));
        let most = Expected::AtMost(MEMORY_MB);
        write!(f, "\n{}", row("memory of the services", Unit::Megabytes, most, memory))
    }
}
