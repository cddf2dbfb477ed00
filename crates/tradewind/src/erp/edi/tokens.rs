//! The segments of a file, of X12 or of EDIFACT: where each ends, and what is in it.

use std::io::BufRead;

use super::{EdiError, Segment};

/// The most bytes of a segment: X12 and EDIFACT have none that is longer but for binary data, which is not
/// read.
const MAX_SEGMENT_BYTES: usize = 64 * 1024;
/// The length of an ISA with its terminator: all of its elements have a fixed length.
const ISA_BYTES: usize = 106;
/// Where the elements of an ISA begin.
const ISA_SEPARATORS: [usize; 16] =
    [3, 6, 17, 20, 31, 34, 50, 53, 69, 76, 81, 83, 89, 99, 101, 103];
/// From this version on ISA11 is the separator of repetitions (X12.5); before, it named a standard.
const REPETITION_VERSION: &str = "00402";

/// The version of the syntax of EDIFACT (0002 of UNB) that has repetitions: without UNA, `*` separates them.
const VERSION_WITH_REPETITION: &str = "4";

/// A standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standard {
    /// ASC X12: interchanges as X12.5 has them, segments as X12.6.
    X12,
    /// UN/EDIFACT: the syntax of ISO 9735, versions 1 to 4.
    Edifact,
}

impl Standard {
    /// The type of the document that a segment begins: ST01 of X12; of EDIFACT the type in the message
    /// identifier of UNH (S009, 0065).
    pub(super) fn kind(self, begin: &Segment) -> &str {
        match self {
            Self::X12 => begin.value(1, 1),
            Self::Edifact => begin.value(2, 1),
        }
    }

    /// What most files have between elements, and between components.
    pub(super) fn usual_separators(self) -> (&'static str, &'static str) {
        match self {
            Self::X12 => ("*", ">"),
            Self::Edifact => ("+", ":"),
        }
    }

    /// The control reference of the document that a segment begins: ST02; 0062 of UNH.
    pub(super) fn reference(self, begin: &Segment) -> &str {
        match self {
            Self::X12 => begin.value(2, 1),
            Self::Edifact => begin.value(1, 1),
        }
    }
}

/// How the bytes of an interchange become text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repertoire {
    /// UTF-8, or ISO 8859-1 where it is none: ASCII is both.
    Any,
    /// ISO 8859-1.
    Latin1,
    Utf8,
}

/// What separates the parts of an interchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Separators {
    segment: u8,
    element: u8,
    component: u8,
    /// Between the values of an element that is repeated: only the first of them is read.
    repetition: Option<u8>,
    /// The byte behind it is text, whatever it separates otherwise.
    release: Option<u8>,
}

impl Separators {
    /// Those of an EDIFACT interchange without UNA: the service characters of ISO 9735, level A. Version 4
    /// adds the one between repetitions.
    const EDIFACT: Self = Self {
        segment: b'\'',
        element: b'+',
        component: b':',
        repetition: None,
        release: Some(b'?'),
    };
}

/// Reads the segments of a file.
pub(super) struct Tokens<R> {
    input: R,
    standard: Standard,
    separators: Separators,
    repertoire: Repertoire,
    position: u64,
}

impl<R: BufRead> Tokens<R> {
    /// Of a file, by what it begins with.
    pub(super) fn new(mut input: R) -> Result<Self, EdiError> {
        const BYTE_ORDER_MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];
        if input.fill_buf()?.starts_with(&BYTE_ORDER_MARK) {
            input.consume(BYTE_ORDER_MARK.len());
        }
        skip_blanks(&mut input)?;
        let standard = match input.fill_buf()?.first() {
            Some(b'I') => Standard::X12,
            Some(b'U') => Standard::Edifact,
            _ => return Err(EdiError::Unknown),
        };
        let (separators, repertoire) = (Separators::EDIFACT, Repertoire::Any);
        Ok(Self { input, standard, separators, repertoire, position: 0 })
    }

    pub(super) fn standard(&self) -> Standard {
        self.standard
    }

    /// The next segment; `None` at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<Segment>, EdiError> {
        skip_blanks(&mut self.input)?;
        if self.input.fill_buf()?.is_empty() {
            return Ok(None);
        }
        self.position += 1;
        match self.standard {
            Standard::X12 => self.next_of_x12().map(Some),
            Standard::Edifact => self.next_of_edifact().map(Some),
        }
    }

    /// The first segment of an X12 interchange says how the others are separated.
    fn next_of_x12(&mut self) -> Result<Segment, EdiError> {
        let mut bytes = self.tag()?;
        if bytes != b"ISA" {
            if self.position == 1 {
                return Err(EdiError::Unknown);
            }
            return self.segment(bytes);
        }
        let error = EdiError::Header { position: self.position };
        while bytes.len() < ISA_BYTES {
            match self.byte()? {
                Some(byte) => bytes.push(byte),
                None => return Err(error),
            }
        }
        let element = bytes[ISA_SEPARATORS[0]];
        let (component, segment) = (bytes[ISA_BYTES - 2], bytes[ISA_BYTES - 1]);
        let is_separator = |byte: u8| !byte.is_ascii_alphanumeric() && byte.is_ascii();
        let separators = [element, component, segment];
        let are_separate = element != component && element != segment && component != segment;
        let are_placed = ISA_SEPARATORS.iter().all(|index| bytes[*index] == element)
            && bytes.split(|byte| *byte == element).count() == ISA_SEPARATORS.len() + 1;
        if !are_separate || !are_placed || !separators.into_iter().all(is_separator) {
            return Err(error);
        }
        let version = String::from_utf8_lossy(&bytes[84..89]).into_owned();
        let repetition = (version.as_str() >= REPETITION_VERSION && is_separator(bytes[82]))
            .then_some(bytes[82]);
        // In its header these stand for themselves.
        self.separators =
            Separators { segment, element, component: 0, repetition: None, release: None };
        bytes.pop();
        let isa = self.parse(&bytes);
        self.separators = Separators { component, repetition, ..self.separators };
        Ok(isa)
    }

    /// UNA is no segment, but says how the others are separated; UNB in which repertoire they are.
    fn next_of_edifact(&mut self) -> Result<Segment, EdiError> {
        let mut bytes = self.tag()?;
        let is_advised = bytes == b"UNA";
        if is_advised {
            self.separators = self.service_advice()?;
            skip_blanks(&mut self.input)?;
            self.position += 1;
            bytes = self.tag()?;
        }
        let is_begin = bytes == b"UNB";
        if !is_begin && (is_advised || self.position == 1) {
            if !is_advised {
                return Err(EdiError::Unknown);
            }
            let tag = String::from_utf8_lossy(&bytes).into_owned();
            let (position, expected) = (self.position, "UNB".to_owned());
            return Err(EdiError::Unexpected { position, tag, expected });
        }
        if is_begin {
            self.repertoire = Repertoire::Any;
            if !is_advised {
                self.separators = Separators::EDIFACT;
            }
        }
        let segment = self.segment(bytes)?;
        if is_begin {
            self.repertoire = repertoire(&segment)?;
            if !is_advised && segment.value(1, 2) == VERSION_WITH_REPETITION {
                self.separators.repetition = Some(b'*');
            }
        }
        Ok(segment)
    }

    /// The separators that a UNA says.
    fn service_advice(&mut self) -> Result<Separators, EdiError> {
        let position = self.position;
        let mut service = [0; 6];
        for byte in &mut service {
            *byte = self.byte()?.ok_or(EdiError::Unterminated { position })?;
        }
        let [component, element, _decimal, release, repetition, segment] = service;
        let different = [component, element, release, segment];
        let is_repeated =
            (0..different.len()).any(|index| different[..index].contains(&different[index]));
        let is_text = |byte: &u8| byte.is_ascii_alphanumeric() || !byte.is_ascii();
        if is_repeated || different.iter().any(is_text) {
            return Err(EdiError::Separators { position });
        }
        // A space says that there is none: no release character, and before version 4 no repetitions.
        let given = |byte: u8| (byte != b' ').then_some(byte);
        let repetition = given(repetition).filter(|byte| !different.contains(byte));
        Ok(Separators { segment, element, component, repetition, release: given(release) })
    }

    /// The first bytes of a segment: its tag, of most segments. All of the standards' own have three.
    fn tag(&mut self) -> Result<Vec<u8>, EdiError> {
        let mut bytes = Vec::new();
        while bytes.len() < 3 {
            match self.byte()? {
                Some(byte) => bytes.push(byte),
                None => break,
            }
        }
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<Option<u8>, EdiError> {
        let first = self.input.fill_buf()?.first().copied();
        if first.is_some() {
            self.input.consume(1);
        }
        Ok(first)
    }

    /// The segment that begins with these bytes.
    fn segment(&mut self, mut bytes: Vec<u8>) -> Result<Segment, EdiError> {
        let position = self.position;
        let Separators { segment: end, release, .. } = self.separators;
        // What was read before may hold its end, where a segment is shorter than the tags are.
        if bytes.contains(&end) {
            let expected = "a tag of three characters".to_owned();
            let tag = String::from_utf8_lossy(&bytes).into_owned();
            return self.short(bytes, end).ok_or(EdiError::Unexpected { position, tag, expected });
        }
        loop {
            let byte = self.byte()?.ok_or(EdiError::Unterminated { position })?;
            if byte == end {
                return Ok(self.parse(&bytes));
            }
            bytes.push(byte);
            if Some(byte) == release {
                bytes.push(self.byte()?.ok_or(EdiError::Unterminated { position })?);
            }
            if bytes.len() > MAX_SEGMENT_BYTES {
                return Err(EdiError::TooLong { position, max: MAX_SEGMENT_BYTES });
            }
        }
    }

    /// A segment of at most two characters, which has its end within what was read of it.
    fn short(&self, mut bytes: Vec<u8>, end: u8) -> Option<Segment> {
        (bytes.pop() == Some(end) && !bytes.contains(&end)).then(|| self.parse(&bytes))
    }

    /// The parts of a segment.
    fn parse(&self, bytes: &[u8]) -> Segment {
        let Separators { element, component, repetition, release, .. } = self.separators;
        let mut elements: Vec<Vec<String>> = vec![Vec::new()];
        let (mut value, mut is_repeated) = (Vec::new(), false);
        let mut bytes = bytes.iter().copied();
        let end_value = |value: &mut Vec<u8>, is_repeated: bool, elements: &mut Vec<Vec<_>>| {
            let text = self.decode(&std::mem::take(value));
            if let Some(last) = elements.last_mut().filter(|_| !is_repeated) {
                last.push(text);
            }
        };
        while let Some(byte) = bytes.next() {
            if Some(byte) == release {
                value.extend(bytes.next());
            } else if byte == element {
                end_value(&mut value, is_repeated, &mut elements);
                elements.push(Vec::new());
                is_repeated = false;
            } else if byte == component {
                end_value(&mut value, is_repeated, &mut elements);
            } else if Some(byte) == repetition {
                end_value(&mut value, is_repeated, &mut elements);
                is_repeated = true;
            } else {
                value.push(byte);
            }
        }
        end_value(&mut value, is_repeated, &mut elements);
        let tag = elements.remove(0).into_iter().next().unwrap_or_default();
        Segment { position: self.position, tag, elements }
    }

    fn decode(&self, bytes: &[u8]) -> String {
        let latin1 = || bytes.iter().map(|byte| char::from(*byte)).collect();
        let text = match self.repertoire {
            Repertoire::Any => str::from_utf8(bytes).map_or_else(|_| latin1(), str::to_owned),
            Repertoire::Latin1 => latin1(),
            Repertoire::Utf8 => String::from_utf8_lossy(bytes).into_owned(),
        };
        text.trim().to_owned()
    }
}

/// The repertoire of an interchange: 0001 of its UNB (ISO 9735).
fn repertoire(begin: &Segment) -> Result<Repertoire, EdiError> {
    match begin.value(1, 1) {
        "UNOA" | "UNOB" => Ok(Repertoire::Any),
        "UNOC" => Ok(Repertoire::Latin1),
        "UNOW" | "UNOY" => Ok(Repertoire::Utf8),
        name => {
            let (position, name) = (begin.position, name.to_owned());
            Err(EdiError::Repertoire { position, name })
        }
    }
}

/// Line ends and blanks between segments are none of the standards, and in most files.
fn skip_blanks(input: &mut impl BufRead) -> Result<(), EdiError> {
    loop {
        let buffer = input.fill_buf()?;
        let blanks = buffer.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let is_end = blanks < buffer.len() || buffer.is_empty();
        input.consume(blanks);
        if is_end {
            return Ok(());
        }
    }
}
