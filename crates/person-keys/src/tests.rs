//! What is sealed opens where it belongs, and never again once its key is deleted.

use std::fs;

use protocol::{id::Shop, time::Timestamp};
use sqlx::Row as _;
use testkit::{Db, on_both_databases};

use crate::{Error, MasterKeyError, MasterKeys, Person, PersonKeys};

on_both_databases!(
    what_is_sealed_opens_where_it_belongs_and_nowhere_else,
    what_is_erased_never_opens_again,
    all_keys_get_the_newest_master_key,
    two_who_make_the_key_of_a_person_at_once_make_one,
    an_erasure_is_recorded_with_it,
    the_same_has_the_same_fingerprint_and_only_with_the_key,
);

const OLD: &str = "old:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const NEW: &str = "new:AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

fn masters(lines: &[&str]) -> MasterKeys {
    MasterKeys::parse(&lines.join("\n")).expect("they are keys")
}

fn open(db: &Db, lines: &[&str]) -> PersonKeys {
    PersonKeys::new(&db.setting(), masters(lines))
}

fn ann() -> Person {
    Person::customer(&"ann")
}

const NOW: Timestamp = Timestamp::from_millis(1_300_000_000_000);

/// What was opened, as text.
#[track_caller]
fn text(opened: Option<zeroize::Zeroizing<Vec<u8>>>) -> String {
    String::from_utf8(opened.expect("its key is there").to_vec()).expect("it is text")
}

fn person(number: usize) -> Person {
    Person::guest(&format!("person-{number}"))
}

fn shop(name: &str) -> Shop {
    Shop::parse(name).expect("valid")
}

async fn what_is_sealed_opens_where_it_belongs_and_nowhere_else(db: Db) {
    let keys = open(&db, &[OLD]);
    let (acme, other) = (shop("acme"), shop("other"));
    let sealed = keys.seal(&acme, &ann(), "order-1", b"Ann, 1 Mill Lane").await.expect("sealed");
    assert!(!String::from_utf8_lossy(&sealed.ciphertext).contains("Ann"));
    let opened = keys.open(&acme, "order-1", &sealed).await.expect("it opens");
    assert_eq!(text(opened), "Ann, 1 Mill Lane");

    // The same person has the same key, and nothing that is sealed looks like anything else.
    let again = keys.seal(&acme, &ann(), "order-1", b"Ann, 1 Mill Lane").await.expect("sealed");
    assert_eq!(again.key_id, sealed.key_id);
    assert_ne!(again.ciphertext, sealed.ciphertext);
    let bob = keys.seal(&acme, &Person::customer(&"bob"), "order-1", b"Bob").await.expect("sealed");
    assert_ne!(bob.key_id, sealed.key_id);

    let opened = keys.open(&acme, "order-2", &sealed).await;
    assert!(matches!(opened, Err(Error::Corrupt { .. })), "{opened:?}");
    // Another shop has no such key.
    assert!(keys.open(&other, "order-1", &sealed).await.expect("no error").is_none());
    // Nor does it open as that of another person who is given the key.
    give_key(&keys, &sealed.key_id, "customer/eve").await;
    let opened = keys.open(&acme, "order-1", &sealed).await;
    assert!(matches!(opened, Err(Error::Corrupt { .. })), "{opened:?}");
    give_key(&keys, &sealed.key_id, "customer/ann").await;
    let mut changed = sealed.clone();
    changed.ciphertext[31] ^= 1;
    let opened = keys.open(&acme, "order-1", &changed).await;
    assert!(matches!(opened, Err(Error::Corrupt { .. })), "{opened:?}");
    changed.ciphertext.truncate(5);
    let opened = keys.open(&acme, "order-1", &changed).await;
    assert!(matches!(opened, Err(Error::Corrupt { .. })), "{opened:?}");
    changed.ciphertext.clear();
    let opened = keys.open(&acme, "order-1", &changed).await;
    assert!(matches!(opened, Err(Error::Corrupt { .. })), "{opened:?}");
    let mut newer = sealed.clone();
    newer.ciphertext[0] = 2;
    let opened = keys.open(&acme, "order-1", &newer).await;
    assert!(matches!(opened, Err(Error::Format { format: 2, .. })), "{opened:?}");
}

/// Writes another person beside a key, by hand.
async fn give_key(keys: &PersonKeys, key_id: &str, person: &str) {
    let sql = "update person_key set person = $2 where id = $1";
    let pool = keys.store.pool().await.expect("it connects");
    let changed = sqlx::query(sql).bind(key_id).bind(person).execute(pool).await;
    assert_eq!(changed.expect("it is changed").rows_affected(), 1);
}

async fn an_erasure_is_recorded_with_it(db: Db) {
    let keys = open(&db, &[OLD]);
    let acme = shop("acme");
    assert!(!keys.erase(&acme, &ann(), "op", NOW).await.expect("there is none"));
    assert_eq!(keys.erasures(None).await.expect("they are read"), []);
    assert_eq!(keys.last_erasure(&acme, &ann()).await.expect("it is looked up"), None);

    let sealed = keys.seal(&acme, &ann(), "order-1", b"Ann").await.expect("sealed");
    let other = open(&db, &[OLD]);
    let ann = ann();
    let (one, two) =
        tokio::join!(keys.erase(&acme, &ann, "one", NOW), other.erase(&acme, &ann, "two", NOW));
    let erased = [one.expect("it is erased"), two.expect("it is erased")];
    assert_eq!(erased.iter().filter(|it| **it).count(), 1, "one of them erased it: {erased:?}");
    let erasures = keys.erasures(Some(&acme)).await.expect("they are read");
    assert_eq!(erasures.len(), 1, "{erasures:?}");
    assert_eq!((&*erasures[0].shop, &*erasures[0].person), ("acme", "customer/ann"));
    assert_eq!((&erasures[0].key_id, erasures[0].erased_at), (&sealed.key_id, NOW));
    assert_eq!(erasures[0].operator, if erased[0] { "one" } else { "two" });
    assert_eq!(keys.last_erasure(&acme, &ann).await.expect("it is looked up"), Some(NOW));
    let other = keys.last_erasure(&shop("other"), &ann).await;
    assert_eq!(other.expect("it is looked up"), None);
    assert_eq!(keys.erasures(Some(&shop("other"))).await.expect("they are read"), []);
}

async fn the_same_has_the_same_fingerprint_and_only_with_the_key(db: Db) {
    let keys = open(&db, &[OLD]);
    let first = keys.fingerprint(&[b"a", b"bc"]).await.expect("it is made");
    // Another process has the same key.
    let again = open(&db, &[OLD]).fingerprint(&[b"a", b"bc"]).await.expect("it is made");
    assert_eq!(first, again);
    assert_ne!(keys.fingerprint(&[b"ab", b"c"]).await.expect("it is made"), first);
    let elsewhere = tempfile::tempdir().expect("a folder");
    let elsewhere = PersonKeys::new(&elsewhere.path().display().to_string(), masters(&[OLD]));
    assert_ne!(elsewhere.fingerprint(&[b"a", b"bc"]).await.expect("it is made"), first);
}

#[tokio::test]
async fn what_is_sealed_for_nobody_is_opened_by_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = PersonKeys::new(&folder.path().display().to_string(), masters(&[OLD]));
    let sealed = PersonKeys::seal_for_nobody(&shop("acme"), &ann(), "order-1", b"Ann");
    let opened = keys.open(&shop("acme"), "order-1", &sealed).await;
    assert!(opened.expect("no error").is_none());
}

/// A new master key needs no restart; a file that is wrong leaves the keys as they were.
#[tokio::test]
async fn a_file_of_master_keys_that_changes_is_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("master-keys");
    fs::write(&file, OLD).expect("it is written");
    let keys = PersonKeys::new(
        &folder.path().display().to_string(),
        MasterKeys::read(&file).expect("they are keys"),
    );
    let acme = shop("acme");
    let sealed = keys.seal(&acme, &ann(), "order-1", b"Ann").await.expect("sealed");
    fs::write(&file, format!("{NEW}\n{OLD}\n")).expect("it is written");
    assert_eq!(keys.rewrap().await.expect("it is encrypted anew"), 1);
    fs::write(&file, NEW).expect("it is written");
    let opened = keys.open(&acme, "order-1", &sealed).await.expect("it opens");
    assert_eq!(text(opened), "Ann");
    fs::write(&file, "no key at all").expect("it is written");
    let opened = keys.open(&acme, "order-1", &sealed).await.expect("it opens");
    assert_eq!(text(opened), "Ann");
}

async fn what_is_erased_never_opens_again(db: Db) {
    let keys = open(&db, &[OLD]);
    let acme = shop("acme");
    let sealed = keys.seal(&acme, &ann(), "order-1", b"Ann").await.expect("sealed");
    let other = keys.seal(&shop("other"), &ann(), "order-1", b"Ann").await.expect("sealed");
    assert!(keys.erase(&acme, &ann(), "op", NOW).await.expect("it is deleted"));
    assert!(!keys.erase(&acme, &ann(), "op", NOW).await.expect("nothing is left to delete"));
    assert!(keys.open(&acme, "order-1", &sealed).await.expect("no error").is_none());
    // She orders again: with a new key, which does not open what was before.
    let later = keys.seal(&acme, &ann(), "order-2", b"Ann").await.expect("sealed");
    assert_ne!(later.key_id, sealed.key_id);
    assert!(keys.open(&acme, "order-1", &sealed).await.expect("no error").is_none());
    // Ann of another shop is another person.
    let opened = keys.open(&shop("other"), "order-1", &other).await.expect("it opens");
    assert_eq!(text(opened), "Ann");
    // Another process knows nothing either.
    let keys = open(&db, &[OLD]);
    assert!(keys.open(&acme, "order-1", &sealed).await.expect("no error").is_none());
}

async fn all_keys_get_the_newest_master_key(db: Db) {
    let keys = open(&db, &[OLD]);
    let fingerprint = keys.fingerprint(&[b"x"]).await.expect("it is made");
    let acme = shop("acme");
    let mut sealed = Vec::new();
    for number in 0..3 {
        let (person, text) = (person(number), format!("person-{number}"));
        sealed.push(keys.seal(&acme, &person, "order", text.as_bytes()).await.expect("sealed"));
    }
    let keys = open(&db, &[NEW, OLD]);
    assert_eq!(keys.rewrap().await.expect("they are encrypted anew"), 4);
    assert_eq!(keys.rewrap().await.expect("nothing is left"), 0);

    let keys = open(&db, &[NEW]);
    for (number, sealed) in sealed.iter().enumerate() {
        let opened = keys.open(&acme, "order", sealed).await.expect("it opens");
        assert_eq!(text(opened), format!("person-{number}"));
    }
    assert_eq!(keys.fingerprint(&[b"x"]).await.expect("it is the same"), fingerprint);
    let keys = open(&db, &[OLD]);
    let refused = keys.open(&acme, "order", &sealed[0]).await.expect_err("it is not known");
    assert!(refused.to_string().contains("the master key new"), "{refused}");
}

async fn two_who_make_the_key_of_a_person_at_once_make_one(db: Db) {
    let [one, other] = [open(&db, &[OLD]), open(&db, &[OLD])];
    let acme = shop("acme");
    for number in 0..20 {
        let person = person(number);
        let (first, second) = tokio::join!(
            one.seal(&acme, &person, "order", b"x"),
            other.seal(&acme, &person, "order", b"x")
        );
        let (first, second) = (first.expect("sealed"), second.expect("sealed"));
        assert_eq!(first.key_id, second.key_id);
    }
}

/// The key of a person is in the file as long as it is there, encrypted, and then nowhere.
#[tokio::test]
async fn a_deleted_key_is_not_left_in_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let location = folder.path().display().to_string();
    let keys = PersonKeys::new(&location, masters(&[OLD]));
    keys.seal(&shop("acme"), &ann(), "order-1", b"Ann").await.expect("sealed");
    let pool = keys.store.pool().await.expect("it connects");
    let row = sqlx::query("select wrapped from person_key").fetch_one(pool).await;
    let wrapped: String = row.expect("there is one").try_get("wrapped").expect("it is text");
    let holds = |text: &str| {
        let files = fs::read_dir(folder.path()).expect("it is there");
        let files = files.map(|file| fs::read(file.expect("a file").path()).expect("it is read"));
        files.into_iter().any(|bytes| String::from_utf8_lossy(&bytes).contains(text))
    };
    assert!(holds(&wrapped));
    keys.erase(&shop("acme"), &ann(), "op", NOW).await.expect("it is deleted");
    assert!(!holds(&wrapped));
}

#[test]
fn a_file_of_master_keys_is_made_once_and_read_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("new");
    let made = MasterKeys::beside(&folder).expect("it is made");
    let read = MasterKeys::beside(&folder).expect("it is read");
    assert_eq!(read.current().newest(), made.current().newest());
    let files: Vec<_> = fs::read_dir(&folder).expect("it is there").collect();
    assert_eq!(files.len(), 1, "nothing else is left");
    let file = fs::metadata(folder.join("master-keys")).expect("it is there");
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    assert!(!format!("{made:?}").contains('='), "{made:?}");
}

#[tokio::test]
async fn a_file_of_master_keys_that_is_lost_is_not_made_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let masters = MasterKeys::beside(folder.path()).expect("it is made");
    let keys = PersonKeys::new(&folder.path().display().to_string(), masters);
    keys.connect().await.expect("it connects");
    fs::remove_file(folder.path().join("master-keys")).expect("it is removed");
    let refused = MasterKeys::beside(folder.path()).expect_err("there are keys");
    assert!(matches!(refused, MasterKeyError::Lost { .. }), "{refused}");
}

#[test]
fn what_is_no_master_key_is_refused_by_its_line() {
    let keys = MasterKeys::parse(&format!("# the keys\n\n{NEW}\n{OLD}\n")).expect("they are keys");
    assert_eq!(keys.current().newest().0, "new");
    for (text, line) in [("no key", 1), (":AAAA", 1), ("a:AAAA", 1), (&*format!("{OLD}\na b:"), 2)]
    {
        let error = MasterKeys::parse(text).expect_err("it is none");
        assert!(matches!(error, MasterKeyError::Line { line: of } if of == line), "{error}");
    }
    assert!(matches!(MasterKeys::parse("# none\n"), Err(MasterKeyError::Empty)));
    let same = NEW.replace("new:", "old:");
    let error = MasterKeys::parse(&format!("{same}\n{OLD}\n")).expect_err("they have one name");
    assert!(matches!(&error, MasterKeyError::SameName { name } if name == "old"), "{error}");
}
