//! What is sealed opens where it belongs, and never again once its key is deleted.

use std::fs;

use protocol::id::Shop;
use testkit::{Db, on_both_databases};

use crate::{Error, MasterKeyError, MasterKeys, PersonKeys};

on_both_databases!(
    what_is_sealed_opens_where_it_belongs_and_nowhere_else,
    what_is_erased_never_opens_again,
    all_keys_get_the_newest_master_key,
    two_who_make_the_key_of_a_person_at_once_make_one,
);

const OLD: &str = "old:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const NEW: &str = "new:AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

fn masters(lines: &[&str]) -> MasterKeys {
    MasterKeys::parse(&lines.join("\n")).expect("they are keys")
}

async fn open(db: &Db, lines: &[&str]) -> PersonKeys {
    let location = match db.location() {
        engine::Location::Folder(folder) => folder.display().to_string(),
        engine::Location::Postgres(url) => url,
    };
    PersonKeys::open(&location, masters(lines)).await.expect("it opens")
}

fn shop(name: &str) -> Shop {
    Shop::parse(name).expect("valid")
}

async fn what_is_sealed_opens_where_it_belongs_and_nowhere_else(db: Db) {
    let keys = open(&db, &[OLD]).await;
    let (acme, other) = (shop("acme"), shop("other"));
    let sealed = keys.seal(&acme, "ann", "order-1", b"Ann, 1 Mill Lane").await.expect("sealed");
    assert!(!String::from_utf8_lossy(&sealed.ciphertext).contains("Ann"));
    let opened = keys.open_sealed(&acme, "order-1", &sealed).await.expect("it opens");
    assert_eq!(opened.as_deref(), Some(&b"Ann, 1 Mill Lane"[..]));

    // The same person has the same key, and nothing that is sealed looks like anything else.
    let again = keys.seal(&acme, "ann", "order-1", b"Ann, 1 Mill Lane").await.expect("sealed");
    assert_eq!(again.key_id, sealed.key_id);
    assert_ne!(again.ciphertext, sealed.ciphertext);
    let bob = keys.seal(&acme, "bob", "order-1", b"Bob").await.expect("sealed");
    assert_ne!(bob.key_id, sealed.key_id);

    for (shop, context) in [(&acme, "order-2"), (&other, "order-1")] {
        let opened = keys.open_sealed(shop, context, &sealed).await;
        assert!(matches!(opened, Err(Error::Corrupt { .. })), "{opened:?}");
    }
    let mut changed = sealed.clone();
    changed.ciphertext[30] ^= 1;
    let opened = keys.open_sealed(&acme, "order-1", &changed).await;
    assert!(matches!(opened, Err(Error::Corrupt { .. })), "{opened:?}");
    changed.ciphertext.truncate(5);
    let opened = keys.open_sealed(&acme, "order-1", &changed).await;
    assert!(matches!(opened, Err(Error::Corrupt { .. })), "{opened:?}");
}

async fn what_is_erased_never_opens_again(db: Db) {
    let keys = open(&db, &[OLD]).await;
    let acme = shop("acme");
    let sealed = keys.seal(&acme, "ann", "order-1", b"Ann").await.expect("sealed");
    let other = keys.seal(&shop("other"), "ann", "order-1", b"Ann").await.expect("sealed");
    assert!(keys.erase(&acme, "ann").await.expect("it is deleted"));
    assert!(!keys.erase(&acme, "ann").await.expect("nothing is left to delete"));
    assert_eq!(keys.open_sealed(&acme, "order-1", &sealed).await.expect("no error"), None);
    // She orders again: with a new key, which does not open what was before.
    let later = keys.seal(&acme, "ann", "order-2", b"Ann").await.expect("sealed");
    assert_ne!(later.key_id, sealed.key_id);
    assert_eq!(keys.open_sealed(&acme, "order-1", &sealed).await.expect("no error"), None);
    // Ann of another shop is another person.
    let opened = keys.open_sealed(&shop("other"), "order-1", &other).await.expect("it opens");
    assert_eq!(opened.as_deref(), Some(&b"Ann"[..]));
    // Another process knows nothing either.
    let keys = open(&db, &[OLD]).await;
    assert_eq!(keys.open_sealed(&acme, "order-1", &sealed).await.expect("no error"), None);
}

async fn all_keys_get_the_newest_master_key(db: Db) {
    let keys = open(&db, &[OLD]).await;
    let acme = shop("acme");
    let mut sealed = Vec::new();
    for number in 0..3 {
        let person = format!("person-{number}");
        sealed.push(keys.seal(&acme, &person, "order", person.as_bytes()).await.expect("sealed"));
    }
    let keys = open(&db, &[NEW, OLD]).await;
    assert_eq!(keys.rewrap().await.expect("they are encrypted anew"), 3);
    assert_eq!(keys.rewrap().await.expect("nothing is left"), 0);

    let keys = open(&db, &[NEW]).await;
    for (number, sealed) in sealed.iter().enumerate() {
        let opened = keys.open_sealed(&acme, "order", sealed).await.expect("it opens");
        assert_eq!(opened, Some(format!("person-{number}").into_bytes()));
    }
    let keys = open(&db, &[OLD]).await;
    let refused = keys.open_sealed(&acme, "order", &sealed[0]).await.expect_err("it is not known");
    assert!(refused.to_string().contains("the master key new"), "{refused}");
}

async fn two_who_make_the_key_of_a_person_at_once_make_one(db: Db) {
    let [one, other] = [open(&db, &[OLD]).await, open(&db, &[OLD]).await];
    let acme = shop("acme");
    for number in 0..20 {
        let person = format!("person-{number}");
        let (first, second) = tokio::join!(
            one.seal(&acme, &person, "order", b"x"),
            other.seal(&acme, &person, "order", b"x")
        );
        let (first, second) = (first.expect("sealed"), second.expect("sealed"));
        assert_eq!(first.key_id, second.key_id);
    }
}

/// The key of a person is in the file as long as it is there, in no clear form, and then nowhere.
#[tokio::test]
async fn a_deleted_key_is_not_left_in_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let location = folder.path().display().to_string();
    let keys = PersonKeys::open(&location, masters(&[OLD])).await.expect("it opens");
    let sealed = keys.seal(&shop("acme"), "ann", "order-1", b"Ann").await.expect("sealed");
    let holds = |text: &str| {
        let files = fs::read_dir(folder.path()).expect("it is there");
        let files = files.map(|file| fs::read(file.expect("a file").path()).expect("it is read"));
        files.into_iter().any(|bytes| String::from_utf8_lossy(&bytes).contains(text))
    };
    assert!(holds(&sealed.key_id));
    keys.erase(&shop("acme"), "ann").await.expect("it is deleted");
    assert!(!holds(&sealed.key_id));
}

#[test]
fn a_file_of_master_keys_is_made_once_and_read_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("new").join("master-keys");
    let made = MasterKeys::read_or_make(&file).expect("it is made");
    assert_eq!(MasterKeys::read_or_make(&file).expect("it is read").newest(), made.newest());
    assert_eq!(fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
    assert!(!format!("{made:?}").contains('='), "{made:?}");
}

#[test]
fn what_is_no_master_key_is_refused_by_its_line() {
    let keys = MasterKeys::parse(&format!("# the keys\n\n{NEW}\n{OLD}\n")).expect("they are keys");
    assert_eq!(keys.newest(), "new");
    for (text, line) in [("no key", 1), (":AAAA", 1), ("a:AAAA", 1), (&*format!("{OLD}\na b:"), 2)]
    {
        let error = MasterKeys::parse(text).expect_err("it is none");
        assert!(matches!(error, MasterKeyError::Line { line: of } if of == line), "{error}");
    }
    assert!(matches!(MasterKeys::parse("# none\n"), Err(MasterKeyError::Empty)));
}
