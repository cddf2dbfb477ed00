//! The event feed, by the command line.

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use client::feed::{Feed, FeedPosition};
use node::{say, settings::Settings, terminal::interrupted};
use serde_json::Value;

use crate::gateway::{ENVIRONMENT, ShopOptions};

/// What is done with events.
#[derive(Debug, Subcommand)]
pub(crate) enum Events {
    /// Print the events that happen from now on, one a line
    #[command(after_help = ENVIRONMENT)]
    Tail(Options),
    /// Print all events so far, one a line, each page checked for gaps
    #[command(after_help = ENVIRONMENT)]
    Replay {
        /// Which events
        #[command(flatten)]
        options: Options,
        /// The cursor to begin after (`next` of a page); the beginning unless it is given
        #[arg(long, value_name = "CURSOR")]
        after: Option<String>,
    },
    /// Print the event of an id; looks for it from the beginning
    #[command(after_help = ENVIRONMENT)]
    Get {
        /// Which events it is looked for among
        #[command(flatten)]
        options: Options,
        /// The id
        id: String,
    },
}

/// Which events.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    of: ShopOptions,
    /// Types of events between commas, such as order.*,payment.captured
    #[arg(long)]
    types: Option<String>,
}

/// Does it.
pub(crate) async fn run(settings: &Settings, what: Events) -> Result<()> {
    match what {
        Events::Tail(options) => {
            tokio::select! {
                ended = tail(feed(settings, &options, Some("end".to_owned()))?) => ended,
                () = interrupted() => Ok(()),
            }
        }
        Events::Replay { options, after } => {
            let mut feed = feed(settings, &options, after)?;
            while let Some(events) = next_events(&mut feed).await? {
                print(&events);
            }
            Ok(())
        }
        Events::Get { options, id } => {
            let mut feed = feed(settings, &options, None)?;
            while let Some(events) = next_events(&mut feed).await? {
                if let Some(event) = events.iter().find(|event| event["id"] == *id) {
                    say!("{}", serde_json::to_string_pretty(event)?);
                    return Ok(());
                }
            }
            bail!("the shop {} has no event {id}", options.of.shop)
        }
    }
}

fn feed(settings: &Settings, options: &Options, after: Option<String>) -> Result<Feed> {
    let feed =
        Feed::new(options.of.client(settings)?, FeedPosition { after, ..FeedPosition::default() });
    Ok(match &options.types {
        Some(types) => feed.of_types(types),
        None => feed,
    })
}

async fn tail(mut feed: Feed) -> Result<()> {
    loop {
        print(&feed.next().await?);
    }
}

/// The next events; `None` at the end.
async fn next_events(feed: &mut Feed) -> Result<Option<Vec<Value>>> {
    let page = feed.next_page().await?;
    let is_over = page.at_end && page.events.is_empty();
    Ok((!is_over).then_some(page.events))
}

fn print(events: &[Value]) {
    for event in events {
        say!("{event}");
    }
}
