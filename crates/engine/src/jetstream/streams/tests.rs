use async_nats::jetstream::stream::Compression;

use super::*;

const ONE: Installation = Installation {
    partitions: 1,
    replicas: 1,
    integrator_streams: false,
    services: &["ledger", "tally"],
    definitions: include_str!("../../../tests/streams.toml"),
};
const TWO: Installation = Installation { partitions: 2, ..ONE };

fn names(installation: Installation) -> Vec<String> {
    let wanted = wanted(installation).expect("the definitions parse");
    wanted.into_iter().map(|config| config.name).collect()
}

#[test]
fn every_partition_has_its_streams() {
    assert_eq!(
        names(TWO),
        ["LEDGER-0", "LEDGER-1", "TALLY-0", "TALLY-1", "INBOX-0", "INBOX-1", "LEASES"]
    );
    let with = names(Installation { integrator_streams: true, ..TWO });
    assert_eq!(with[7..], ["LEDGERS", "TALLIES"]);
}

#[test]
fn a_stream_that_only_some_services_have_is_made_for_those() {
    let definition = |services: &[&str]| Definition {
        name: "{SERVICE}-NOTES-{partition}".to_owned(),
        services: services.iter().map(|&service| service.to_owned()).collect(),
        ..toml::from_str("name = ''").expect("the rest has defaults")
    };
    let names = |services: &[&str]| -> Vec<String> {
        expand(&definition(services), TWO).into_iter().map(|config| config.name).collect()
    };
    assert_eq!(names(&["tally"]), ["TALLY-NOTES-0", "TALLY-NOTES-1"]);
    assert_eq!(names(&["till"]), Vec::<String>::new(), "it is not installed");
    assert_eq!(names(&[]).len(), 4);
    assert_eq!(names(&["tally"])[1], side("tally", "notes", 1));
}

#[test]
fn a_difference_names_the_setting_and_both_values() {
    let wanted = wanted(ONE).expect("the definitions parse");
    let inbox = wanted.iter().find(|c| c.name == "INBOX-0").expect("there is an inbox");
    let differences = |other| compare(&other, inbox).expect("both have a JSON form");
    assert_eq!(differences(inbox.clone()), Vec::<String>::new());
    let other = Config { max_age: Duration::from_mins(1), ..inbox.clone() };
    assert_eq!(differences(other), ["max_age: is 60s, should be 604800s"]);
    let other = Config { no_ack: true, max_message_size: 100, sealed: true, ..inbox.clone() };
    assert_eq!(
        differences(other),
        [
            "max_msg_size: is 100, should be 786432",
            "no_ack: is true, should be unset",
            "sealed: is true, should be unset",
        ]
    );
}

#[test]
fn what_the_server_adds_is_no_difference() {
    let wanted = wanted(ONE).expect("the definitions parse");
    let mut with_more = wanted[0].clone();
    with_more.compression = Some(Compression::None);
    with_more.metadata.insert("_nats.level".to_owned(), "2".to_owned());
    assert_eq!(compare(&with_more, &wanted[0]).expect("have a JSON form"), Vec::<String>::new());
    with_more.compression = Some(Compression::S2);
    with_more.metadata.insert("owner".to_owned(), "me".to_owned());
    assert_eq!(
        compare(&with_more, &wanted[0]).expect("have a JSON form"),
        ["compression: is \"s2\", should be unset", "metadata.owner: is \"me\", should be unset"]
    );
}
