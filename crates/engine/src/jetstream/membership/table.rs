//! Which processes are alive, and which of them has claimed which partition, as the stream says.
//!
//! No I/O and no clock: time passes with the own renewals that come back through the stream. While
//! the stream takes no renewals (its leader is being elected, the server restarts), nobody's
//! membership runs out, because nobody could have renewed it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};

/// A member that was silent for so many of this process's own renewals is not alive.
pub(super) const MAX_MISSED_RENEWALS: u64 = 4;

/// A partition of a service.
pub(super) type Slot = (String, u32);

/// What a member says of itself with each renewal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Presence {
    /// How the process is called in messages for people.
    pub(super) instance: String,
    /// The services of which it takes its share of the partitions.
    pub(super) services: BTreeSet<String>,
    /// Counts the renewals of one start of a process.
    pub(super) renewal: u64,
    /// The start of the process: another number for each.
    pub(super) start: String,
}

/// What the stream holds, and what this process makes of it.
#[derive(Debug)]
pub(super) struct Table {
    /// The member that this process is.
    me: String,
    /// Own renewals that came back.
    renewals: u64,
    members: HashMap<String, Member>,
    claims: BTreeMap<Slot, Claimed>,
    /// Claims that a worker of this process stands for.
    held: HashSet<Slot>,
    /// Claims that this process is writing or releasing now.
    writing: HashSet<Slot>,
    /// Whether all is known that was in the stream when this process began to read it.
    is_synced: bool,
    /// From this own renewal on, a partition without any claim is free.
    unclaimed_is_free_at: u64,
    /// Counts how often the stream was read from its beginning.
    epoch: u64,
    /// The last that was heard of another start of a process with the own identity.
    namesake: Option<Presence>,
}

#[derive(Debug)]
struct Member {
    presence: Option<Presence>,
    /// The own renewal at which it was last heard of.
    heard_at: u64,
    has_left: bool,
}

#[derive(Debug)]
struct Claimed {
    /// The member; `None` after a release.
    by: Option<String>,
    revision: u64,
}

/// What a process that wants a partition does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Write a claim after that revision.
    Take(u64),
    /// Release the claim of that revision, which no worker stands for: it is above the share.
    GiveUp(u64),
    /// Wait for a change.
    Wait,
}

/// Why a worker must stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClaimLost {
    /// Another process has taken the partition: nothing that this worker does has an effect.
    TakenOver,
    /// Another process has fewer partitions than its share: finish the batch and release.
    HandOver,
}

impl Table {
    pub(super) fn new(me: &str) -> Self {
        Self {
            me: me.to_owned(),
            renewals: 0,
            members: HashMap::new(),
            claims: BTreeMap::new(),
            held: HashSet::new(),
            writing: HashSet::new(),
            is_synced: false,
            unclaimed_is_free_at: 0,
            epoch: 0,
            namesake: None,
        }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The stream is read from its beginning. It may have been lost and be another one, so all
    /// claims are read again, and those who hold one get the time to write it again.
    pub(super) fn restart(&mut self) {
        if self.is_synced {
            self.unclaimed_is_free_at = self.renewals + MAX_MISSED_RENEWALS;
        }
        self.is_synced = false;
        self.claims.clear();
        self.epoch += 1;
    }

    /// All that was in the stream is known.
    pub(super) fn synced(&mut self) {
        self.is_synced = true;
    }

    /// An own renewal came back, a whole interval after the one before.
    pub(super) fn renewed(&mut self) {
        self.renewals += 1;
        let claiming: HashSet<_> =
            self.claims.values().filter_map(|claimed| claimed.by.as_deref()).collect();
        let forgotten = self.renewals.saturating_sub(10 * MAX_MISSED_RENEWALS);
        self.members
            .retain(|id, member| member.heard_at >= forgotten || claiming.contains(id.as_str()));
    }

    /// A member said that it is there; without a presence, that it leaves.
    pub(super) fn hear(&mut self, id: &str, presence: Option<Presence>) {
        let has_left = presence.is_none();
        let member = Member { presence, heard_at: self.renewals, has_left };
        self.members.insert(id.to_owned(), member);
    }

    /// Another start of a process said that it is there, under the own identity. Returns whether that
    /// process runs: a process that is gone renews nothing.
    pub(super) fn hear_namesake(&mut self, presence: &Presence) -> bool {
        let before = self.namesake.replace(presence.clone());
        before.is_some_and(|before| {
            before.start == presence.start && before.renewal < presence.renewal
        })
    }

    /// This process is another member from now on: its claims are those of another process.
    pub(super) fn rename(&mut self, me: &str) {
        me.clone_into(&mut self.me);
        self.namesake = None;
    }

    /// A claim was written; without a member, it was released.
    pub(super) fn note(&mut self, slot: Slot, by: Option<String>, revision: u64) {
        if self.claims.get(&slot).is_some_and(|known| known.revision >= revision) {
            return;
        }
        if let Some(id) = &by {
            // Not heard of yet: it counts as alive for as long as one that was just heard of.
            self.members.entry(id.clone()).or_insert(Member {
                presence: None,
                heard_at: self.renewals,
                has_left: false,
            });
        }
        self.claims.insert(slot, Claimed { by, revision });
    }

    fn is_alive(&self, id: &str) -> bool {
        id == self.me
            || self.members.get(id).is_some_and(|member| {
                !member.has_left && self.renewals < member.heard_at + MAX_MISSED_RENEWALS
            })
    }

    /// The revision after which this process may claim a partition: of nobody, of a process that
    /// is not alive, or of its own without a worker that stands for it.
    fn free(&self, slot: &Slot) -> Option<u64> {
        if !self.is_synced || self.held.contains(slot) || self.writing.contains(slot) {
            return None;
        }
        match self.claims.get(slot) {
            None => (self.renewals >= self.unclaimed_is_free_at).then_some(0),
            Some(Claimed { by: None, revision }) => Some(*revision),
            Some(Claimed { by: Some(id), revision }) => {
                (*id == self.me || !self.is_alive(id)).then_some(*revision)
            }
        }
    }

    /// The most partitions of a service that this process runs. The shares of all processes
    /// together are all partitions; who holds most already keeps what cannot be divided.
    fn share(&self, service: &str, partitions: u32) -> usize {
        let counted = |id: &str| {
            let of = |((name, _), claimed): (&Slot, &Claimed)| {
                name == service && claimed.by.as_deref() == Some(id)
            };
            self.claims.iter().filter(|&(slot, claimed)| of((slot, claimed))).count()
        };
        let runs = |member: &Member| {
            member.presence.as_ref().is_some_and(|presence| presence.services.contains(service))
        };
        let mut members: Vec<_> = self
            .members
            .iter()
            .filter(|(id, member)| self.is_alive(id) && runs(member))
            .map(|(id, _)| (std::cmp::Reverse(counted(id)), id.as_str()))
            .collect();
        members.sort_unstable();
        let Some(rank) = members.iter().position(|(_, id)| *id == self.me) else { return 0 };
        let (all, count) = (partitions as usize, members.len());
        all / count + usize::from(rank < all % count)
    }

    /// How many partitions of a service this process runs or is about to.
    fn own(&self, service: &str) -> usize {
        self.held.iter().chain(&self.writing).filter(|(name, _)| name == service).count()
    }

    /// What a process does that wants a partition; with the number of all partitions, only as long
    /// as it is within its share. What it does then counts until [`Table::written`].
    pub(super) fn next(&mut self, slot: &Slot, partitions: Option<u32>) -> Next {
        let Some(revision) = self.free(slot) else { return Next::Wait };
        let has_share = partitions.is_none_or(|all| self.own(&slot.0) < self.share(&slot.0, all));
        let is_mine = self.claims.get(slot).is_some_and(|c| c.by.as_ref() == Some(&self.me));
        let next = match (has_share, is_mine) {
            (true, _) => Next::Take(revision),
            (false, true) => Next::GiveUp(revision),
            (false, false) => Next::Wait,
        };
        if next != Next::Wait {
            self.writing.insert(slot.clone());
        }
        next
    }

    /// The server stored a claim or its release, as of that epoch; `None` when it did not.
    pub(super) fn written(&mut self, slot: &Slot, by: Option<String>, stored: Option<(u64, u64)>) {
        self.writing.remove(slot);
        let Some((revision, epoch)) = stored else { return };
        if by.is_some() {
            self.held.insert(slot.clone());
        }
        if epoch == self.epoch {
            self.note(slot.clone(), by, revision);
        }
    }

    /// A worker stops. With `release`, the claim is about to be released, after the revision that
    /// is returned; without, it stays until another worker of this process takes it or the process
    /// is not alive.
    pub(super) fn let_go(&mut self, slot: &Slot, release: bool) -> Option<u64> {
        if !self.held.remove(slot) || !release {
            return None;
        }
        let claimed = self.claims.get(slot)?;
        (claimed.by.as_ref() == Some(&self.me)).then(|| {
            self.writing.insert(slot.clone());
            claimed.revision
        })
    }

    /// Why the worker of a claim must stop; `None` when it need not.
    pub(super) fn lost(&self, slot: &Slot, partitions: Option<u32>) -> Option<ClaimLost> {
        if !self.is_synced {
            return None;
        }
        match self.claims.get(slot)?.by.as_ref() {
            Some(id) if *id == self.me => {}
            Some(_) => return Some(ClaimLost::TakenOver),
            None => return None,
        }
        let surplus = self.held.iter().filter(|(name, _)| *name == slot.0).count();
        let surplus = surplus.saturating_sub(self.share(&slot.0, partitions?));
        let higher =
            self.held.iter().filter(|(name, number)| *name == slot.0 && *number > slot.1).count();
        (higher < surplus).then_some(ClaimLost::HandOver)
    }

    /// Claims that are held and that the stream does not have (any more), with the revision after
    /// which to write them again.
    pub(super) fn missing(&self) -> Vec<(Slot, u64)> {
        if !self.is_synced {
            return Vec::new();
        }
        let missing = |slot: &Slot| match self.claims.get(slot) {
            None => Some((slot.clone(), 0)),
            Some(Claimed { by: None, revision }) => Some((slot.clone(), *revision)),
            Some(_) => None,
        };
        self.held.iter().filter_map(missing).collect()
    }

    /// Claims under the own identity, with their revisions, of services of which this process takes no share
    /// and that no worker of it stands for. They are those of another process that had the identity before:
    /// nobody could take them as long as this one lives.
    pub(super) fn inherited(&self, services: &BTreeSet<String>) -> Vec<(Slot, u64)> {
        if !self.is_synced {
            return Vec::new();
        }
        let is_inherited = |(slot, claimed): &(&Slot, &Claimed)| {
            claimed.by.as_ref() == Some(&self.me)
                && !services.contains(&slot.0)
                && !self.held.contains(*slot)
                && !self.writing.contains(*slot)
        };
        let inherited = self.claims.iter().filter(is_inherited);
        inherited.map(|(slot, claimed)| (slot.clone(), claimed.revision)).collect()
    }

    /// Who holds a partition, for people.
    pub(super) fn holder(&self, slot: &Slot) -> Option<String> {
        let id = self.claims.get(slot)?.by.as_ref()?;
        let presence = self.members.get(id).and_then(|member| member.presence.as_ref());
        Some(presence.map_or_else(|| id.clone(), |presence| presence.instance.clone()))
    }
}

#[cfg(test)]
mod tests;
