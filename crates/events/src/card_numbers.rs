//! Finds the numbers of payment cards in free text. Such text goes into logs and databases that are not
//! made for them, so a text that holds one is refused.
//!
//! Digits are the number of a card when they have the first digits and the length of a card network, and
//! the check digit of Luhn. One of ten numbers has that check digit by chance; the networks keep most
//! order numbers, dates and times apart from cards.

/// The most digits of the number of a card.
const MAX_DIGITS: usize = 19;
/// The least.
const MIN_DIGITS: usize = 13;
/// The most digits of a group, in a number that is written in groups. A UUID has longer ones.
const MAX_GROUP_DIGITS: usize = 6;
/// The most digits of a telephone number, with the code of its country (ITU-T E.164).
const MAX_TELEPHONE_DIGITS: usize = 15;
/// The digits of ids and digests in hexadecimal: of `MongoDB`, of 128, 160, 256 and 512 bits.
const HEXADECIMAL_LENGTHS: [usize; 5] = [24, 32, 40, 64, 128];

/// A card network: the first and the last value of the first digits, and how many digits there are.
type Network = ((u64, u64), (usize, usize));

const NETWORKS: [Network; 13] = [
    // Visa.
    ((4, 4), (13, 19)),
    // Mastercard.
    ((51, 55), (16, 16)),
    ((2221, 2720), (16, 16)),
    // American Express.
    ((34, 34), (15, 15)),
    ((37, 37), (15, 15)),
    // Diners Club.
    ((300, 305), (14, 19)),
    ((36, 36), (14, 19)),
    ((38, 39), (14, 19)),
    // JCB.
    ((3528, 3589), (16, 19)),
    // Mir.
    ((2200, 2204), (16, 19)),
    // Maestro.
    ((50, 50), (13, 19)),
    // Maestro, Discover, UnionPay and others.
    ((56, 69), (13, 19)),
    // RuPay.
    ((81, 82), (16, 16)),
];

/// A free text holds the number of a card. The text itself is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} must not hold the number of a payment card")]
pub struct CardNumberError(&'static str);

/// Takes a free text, called `name`, only if it does not hold the number of a card.
///
/// # Errors
///
/// Fails when it does.
pub fn refuse_card_number(name: &'static str, text: &str) -> Result<(), CardNumberError> {
    if holds_card_number(text) { Err(CardNumberError(name)) } else { Ok(()) }
}

/// Whether the text holds the number of a card: its digits unbroken, whatever stands next to them; or in groups of up to
/// 6 with spaces, dashes, dots or slashes between them, and with no letter directly before or after them. The digits of
/// an id or a digest in hexadecimal are none, and neither are those of a telephone number with a plus.
pub fn holds_card_number(text: &str) -> bool {
    // Most texts have fewer digits, and are not looked at twice.
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    digits >= MIN_DIGITS
        && (runs(text).iter().any(|run| run_holds_card_number(run))
            || text.split(|c: char| !c.is_alphanumeric()).any(word_holds_card_number))
}

/// Whether digits of a word of letters and digits are the number of a card.
fn word_holds_card_number(word: &str) -> bool {
    let is_hexadecimal = word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_hexadecimal_id = is_hexadecimal && HEXADECIMAL_LENGTHS.contains(&word.len());
    let has_letter = word.chars().any(char::is_alphabetic);
    // Digits alone are looked at with what is around them.
    has_letter
        && !is_hexadecimal_id
        && word.split(|c: char| !c.is_ascii_digit()).any(|digits| {
            let digits: Vec<u8> = digits.bytes().map(|digit| digit - b'0').collect();
            (MIN_DIGITS..=MAX_DIGITS).contains(&digits.len()) && is_card_number(&digits)
        })
}

/// Groups of digits with nothing but spaces, dashes, dots and slashes between them, as often as there are such.
fn runs(text: &str) -> Vec<Vec<Vec<u8>>> {
    let mut runs = vec![Vec::new()];
    let mut group: Vec<u8> = Vec::new();
    let (mut before, mut follows_letter, mut follows_plus) = (' ', false, false);
    for c in text.chars().chain([' ']) {
        if let Some(digit) = c.to_digit(10) {
            if group.is_empty() {
                follows_letter = before.is_alphabetic();
                follows_plus = before == '+';
            }
            group.push(digit as u8);
        } else {
            let group = std::mem::take(&mut group);
            let is_telephone_number = follows_plus && group.len() <= MAX_TELEPHONE_DIGITS;
            let is_word = follows_letter || c.is_alphabetic() || is_telephone_number;
            let is_part_of_word = !group.is_empty() && is_word;
            match runs.last_mut() {
                Some(run) if !group.is_empty() && !is_part_of_word => run.push(group),
                _ => {}
            }
            if is_part_of_word || !is_separator(c) {
                runs.push(Vec::new());
            }
        }
        before = c;
    }
    runs
}

fn is_separator(c: char) -> bool {
    let is_dash = matches!(c, '-' | '\u{ad}' | '\u{2010}'..='\u{2015}' | '\u{2212}');
    is_dash || c.is_whitespace() || matches!(c, '.' | '/')
}

/// Whether some groups that follow each other are the number of a card.
fn run_holds_card_number(groups: &[Vec<u8>]) -> bool {
    let is_unbroken_one = groups.iter().any(|group| is_card_number(group));
    let starts = 0..groups.len();
    is_unbroken_one
        || starts.into_iter().any(|start| {
            let mut number = Vec::with_capacity(MAX_DIGITS);
            let short = groups[start..].iter().take_while(|it| it.len() <= MAX_GROUP_DIGITS);
            short
                .take_while(|group| {
                    let fits = number.len() < MAX_DIGITS;
                    if fits {
                        number.extend_from_slice(group);
                    }
                    fits && !is_card_number(&number)
                })
                .count();
            is_card_number(&number)
        })
}

fn is_card_number(digits: &[u8]) -> bool {
    let value = |count: usize| {
        digits.iter().take(count).fold(0, |value, digit| value * 10 + u64::from(*digit))
    };
    let is_of = |&((first, last), (least, most)): &Network| {
        let prefix = value(first.to_string().len());
        (first..=last).contains(&prefix) && (least..=most).contains(&digits.len())
    };
    NETWORKS.iter().any(is_of) && has_check_digit(digits) && !is_ean_13(digits)
}

/// Whether it is the number of a product as on its bar code. Cards of 13 digits are no longer issued.
fn is_ean_13(digits: &[u8]) -> bool {
    let weighted = digits.iter().zip([1, 3].into_iter().cycle());
    let sum: u32 = weighted.map(|(digit, weight)| u32::from(*digit) * weight).sum();
    digits.len() == 13 && sum.is_multiple_of(10)
}

/// Whether the last digit is that of Luhn (ISO/IEC 7812-1) for those before it.
fn has_check_digit(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(index, digit)| {
            let weighted = u32::from(*digit) * if index % 2 == 0 { 1 } else { 2 };
            weighted / 10 + weighted % 10
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that the networks publish for tests.
    const NUMBERS: [&str; 14] = [
        "4111111111111111",
        "4012888888881881",
        "4222222222222",
        "5555555555554444",
        "5105105105105100",
        "2223003122003222",
        "378282246310005",
        "371449635398431",
        "30569309025904",
        "38520000023237",
        "3530111333300000",
        "6011111111111117",
        "6200000000000005",
        "6304000000000000",
    ];

    #[test]
    fn the_number_of_a_card_is_found_wherever_it_stands() {
        for number in NUMBERS {
            for text in [
                number.to_owned(),
                format!("card {number} of Ann"),
                format!("card:{number},12/26"),
                format!("17 {number} 12/26"),
                format!("tok_{number}"),
            ] {
                assert!(holds_card_number(&text), "{text:?} passed");
            }
        }
    }

    #[test]
    fn spaces_and_dashes_do_not_hide_it() {
        for text in [
            "4111 1111 1111 1111",
            "4111-1111-1111-1111",
            "4111\u{a0}1111\u{2013}1111 - 1111",
            "3782 822463 10005",
            "4111 1111 1111 1111 12 26 123",
            "No 12, 4111 1111 1111 1111",
            "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
            "4111.1111.1111.1111",
            "4111/1111/1111/1111",
            "4111 1111/1111.1111",
        ] {
            assert!(holds_card_number(text), "{text:?} passed");
        }
    }

    #[test]
    fn letters_and_signs_next_to_it_do_not_hide_it() {
        for text in [
            "Visa4111111111111111",
            "b4111111111111111",
            "4111111111111111exp12/26",
            "a4111111111111111b5555555555554444",
            "+4111111111111111",
            "#4111111111111111.",
            "card/4111111111111111/12.26",
        ] {
            assert!(holds_card_number(text), "{text:?} passed");
        }
    }

    #[test]
    fn other_numbers_are_none() {
        for text in [
            "",
            "a mug",
            "4111111111111112",
            "4111 1111 1111",
            "411111111111111141111111",
            "01:4111:1111:1111:1111",
            // Has the check digit, and is of no network.
            "1234567812345670",
            "0000000000000000",
            // A time in milliseconds, with the check digit.
            "1732221234567",
            // A UUID whose digits would be one.
            "41111111-1111-4111-8111-111111111111",
            "4111-1111-1111-1111a",
            // Ids and digests.
            "4111111111111111abcdef01",
            "ab4111111111111111cd4111111111111111ef01",
            // A telephone number, with the check digit.
            "+4915112345678",
            "+44 2079 460958 4111",
            "20241121-000017",
            // Bar codes that have the check digit of a card as well.
            "EAN 4006381000093",
            "5012345601090",
        ] {
            assert!(!holds_card_number(text), "{text:?} is refused");
        }
    }
}
