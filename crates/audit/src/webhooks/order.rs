//! The deliveries of each aggregate, for endpoints that get these in order, as they wait in temporary
//! files.

use std::io;

use crate::{
    Findings, LogPosition,
    record::{LogNumbers, PackedPosition, Reader, Writer},
    runs::Runs,
    scratch::{Scratch, fingerprint},
};

/// An endpoint that gets the deliveries of an aggregate in order.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyedEndpoint<'a> {
    pub(super) number: u32,
    pub(super) id: &'a str,
    /// Later deliveries need not wait for these.
    pub(super) excused: &'a Runs,
}

/// A delivery that was scheduled.
#[derive(Debug)]
struct SlotRecord {
    endpoint: u32,
    seq: u64,
    aggregate: u64,
}

impl SlotRecord {
    const SIZE: usize = 20;

    fn write(&self) -> [u8; Self::SIZE] {
        let Self { endpoint, seq, aggregate } = *self;
        Writer::new().u32(endpoint).u64(seq).u64(aggregate).finish()
    }

    fn read(record: &[u8; Self::SIZE]) -> Self {
        let mut from = Reader::new(record);
        Self { endpoint: from.u32(), seq: from.u64(), aggregate: from.u64() }
    }
}

/// A delivery that came to its end, for the first time.
#[derive(Debug)]
pub(super) struct SettledRecord {
    endpoint: u32,
    seq: u64,
    is_delivered: bool,
    at: Option<PackedPosition>,
}

impl SettledRecord {
    const SIZE: usize = 13 + PackedPosition::SIZE;

    pub(super) fn new(endpoint: u32, seq: u64, is_delivered: bool) -> Self {
        Self { endpoint, seq, is_delivered, at: None }
    }

    fn write(&self, at: PackedPosition) -> [u8; Self::SIZE] {
        let Self { endpoint, seq, is_delivered, .. } = *self;
        Writer::new().u32(endpoint).u64(seq).u8(is_delivered.into()).position(at).finish()
    }

    fn read(record: &[u8; Self::SIZE]) -> Self {
        let mut from = Reader::new(record);
        let (endpoint, seq, is_delivered) = (from.u32(), from.u64(), from.u8() != 0);
        Self { endpoint, seq, is_delivered, at: Some(from.position()) }
    }
}

/// A delivery of an aggregate, and when it came to its end.
#[derive(Debug)]
struct KeyedRecord {
    slot: SlotRecord,
    /// Whether it was delivered, and where the log says so; none while it is open.
    settled: Option<(bool, PackedPosition)>,
}

/// The deliveries of each aggregate, of all endpoints that get these in order.
#[derive(Debug, Default)]
pub(super) struct KeyOrder {
    numbers: LogNumbers,
    slots: Scratch<{ SlotRecord::SIZE }>,
    settled: Scratch<{ SettledRecord::SIZE }>,
}

impl KeyOrder {
    pub(super) fn scheduled(&mut self, endpoint: u32, seq: u64, aggregate: u64) {
        let slot = SlotRecord { endpoint, seq, aggregate };
        self.slots.push(fingerprint((endpoint, seq)), &slot.write());
    }

    pub(super) fn settled(&mut self, at: LogPosition, settled: &SettledRecord) {
        let at = self.numbers.pack(at);
        self.settled.push(fingerprint((settled.endpoint, settled.seq)), &settled.write(at));
    }

    /// That no delivery of an aggregate has overtaken an earlier one.
    pub(super) fn compare(mut self, endpoints: &[KeyedEndpoint<'_>], findings: &mut Findings) {
        let compared = self.by_aggregate().and_then(|mut keyed| {
            for bucket in Scratch::<{ KEYED_SIZE }>::numbers() {
                let mut records = keyed.read(bucket, KeyedRecord::read)?;
                records.sort_by_key(|it| (it.slot.endpoint, it.slot.aggregate, it.slot.seq));
                let of = |it: &KeyedRecord| (it.slot.endpoint, it.slot.aggregate);
                for records in records.chunk_by(|one, other| of(one) == of(other)) {
                    let endpoint = endpoints.iter().find(|it| it.number == of(&records[0]).0);
                    if let Some(endpoint) = endpoint {
                        self.compare_aggregate(*endpoint, records, findings);
                    }
                }
            }
            Ok(())
        });
        if let Err(error) = compared {
            findings.add(format!("no order could be compared: a temporary file failed: {error}"));
        }
    }

    fn compare_aggregate(
        &self,
        endpoint: KeyedEndpoint<'_>,
        records: &[KeyedRecord],
        findings: &mut Findings,
    ) {
        // The latest of those so far, and where it came to its end; none while it is open.
        let mut latest: Option<(u64, Option<PackedPosition>)> = None;
        for KeyedRecord { slot: SlotRecord { seq, .. }, settled } in records {
            if let (Some((true, at)), Some((before, end))) = (settled, latest) {
                findings.expect(end.is_some_and(|end| end <= *at), || {
                    let (at, id) = (self.numbers.unpack(*at), endpoint.id);
                    format!(
                        "{at}: delivers {seq} to the endpoint {id} before {before}, of the same aggregate"
                    )
                });
            }
            if endpoint.excused.contains(*seq) {
                continue;
            }
            let end = settled.map(|(_, at)| at);
            let is_later = latest.is_none_or(|(_, before)| match (before, end) {
                (None, _) => false,
                (Some(_), None) => true,
                (Some(before), Some(end)) => before < end,
            });
            if is_later {
                latest = Some((*seq, end));
            }
        }
    }

    /// What was scheduled with what became of it, by aggregate.
    fn by_aggregate(&mut self) -> io::Result<Scratch<{ KEYED_SIZE }>> {
        let mut keyed = Scratch::default();
        for bucket in Scratch::<{ SlotRecord::SIZE }>::numbers() {
            let slots = self.slots.read(bucket, SlotRecord::read)?;
            let mut settled = self.settled.read(bucket, SettledRecord::read)?;
            settled.sort_by_key(|it| (it.endpoint, it.seq));
            for slot in slots {
                let found = settled
                    .binary_search_by_key(&(slot.endpoint, slot.seq), |it| (it.endpoint, it.seq));
                let settled = found.ok().map(|index| &settled[index]);
                let settled = settled.and_then(|it| Some((it.is_delivered, it.at?)));
                let key = fingerprint((slot.endpoint, slot.aggregate));
                keyed.push(key, &KeyedRecord { slot, settled }.write());
            }
        }
        Ok(keyed)
    }
}

const KEYED_SIZE: usize = SlotRecord::SIZE + 1 + PackedPosition::SIZE;

impl KeyedRecord {
    fn write(&self) -> [u8; KEYED_SIZE] {
        let SlotRecord { endpoint, seq, aggregate } = self.slot;
        let record = Writer::new().u32(endpoint).u64(seq).u64(aggregate);
        match self.settled {
            Some((is_delivered, at)) => record.u8(1 + u8::from(is_delivered)).position(at).finish(),
            None => record.u8(0).finish(),
        }
    }

    fn read(record: &[u8; KEYED_SIZE]) -> Self {
        let mut from = Reader::new(record);
        let slot = SlotRecord { endpoint: from.u32(), seq: from.u64(), aggregate: from.u64() };
        let (end, at) = (from.u8(), from.position());
        let settled = (end > 0).then_some((end == 2, at));
        Self { slot, settled }
    }
}
