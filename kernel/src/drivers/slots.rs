//! Our account of a ring in which each slot has a buffer of its own, and the device takes slots in their order.

pub(super) struct Slots {
    count: usize,
    /// The first that the device has, and how many it has.
    first: usize,
    given: usize,
    /// Given, but the device was not told.
    fresh: usize,
}

impl Slots {
    /// There is at least one.
    pub(super) fn new(count: usize) -> Self {
        Self { count: count.max(1), first: 0, given: 0, fresh: 0 }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// May another one be given? Not all: a full ring looks like an empty one.
    pub(super) fn has_room(&self) -> bool {
        self.given + 1 < self.count
    }

    /// The next one to give.
    pub(super) fn next(&self) -> usize {
        (self.first + self.given) % self.count
    }

    pub(super) fn give(&mut self) {
        self.given += 1;
        self.fresh += 1;
    }

    /// How many were given that the device was not told of.
    pub(super) fn fresh(&self) -> usize {
        self.fresh
    }

    /// The device has been told of them all.
    pub(super) fn shown(&mut self) {
        self.fresh = 0;
    }

    /// How many the device has and knows of.
    pub(super) fn under_way(&self) -> usize {
        self.given - self.fresh
    }

    /// The first that the device has.
    pub(super) fn first(&self) -> usize {
        self.first
    }

    /// Takes that one back, if the device has one.
    pub(super) fn take(&mut self) -> usize {
        let index = self.first;
        if self.under_way() > 0 {
            self.first = (index + 1) % self.count;
            self.given -= 1;
        }
        index
    }
}

#[cfg(test)]
mod tests {
    use super::Slots;

    #[test]
    fn slots_go_around() {
        let mut slots = Slots::new(8);
        for round in 0..100 {
            let mut given = 0;
            while slots.has_room() {
                assert_eq!(slots.next(), (7 * round + given) % 8);
                slots.give();
                given += 1;
            }
            assert_eq!((given, slots.fresh(), slots.under_way()), (7, 7, 0));
            slots.shown();
            for i in 0..7 {
                assert_eq!((slots.first(), slots.take()), ((7 * round + i) % 8, (7 * round + i) % 8));
            }
            let first = slots.first();
            slots.take();
            assert_eq!((slots.first(), slots.under_way()), (first, 0), "it has none");
        }
    }
}
