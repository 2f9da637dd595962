//! Which parts of a piece of memory are free: what a small heap has to know. It touches no memory.

use core::ops::Range;

/// So many free parts are known. Should there ever be more, the least is forgotten.
const MOST: usize = 64;
/// Sizes are rounded up to this, so that what is left between two blocks is of use.
const GRAIN: usize = 16;

pub struct Space {
    /// In the order of their addresses; none ends where the next begins.
    free: [Range<usize>; MOST],
    count: usize,
}

impl Space {
    /// From and to multiples of 16.
    pub const fn new(place: Range<usize>) -> Self {
        let mut free = [const { 0..0 }; MOST];
        free[0] = place;
        Self { free, count: 1 }
    }

    /// Takes the first part that fits, for an alignment that is a power of two.
    pub fn take(&mut self, size: usize, align: usize) -> Option<usize> {
        let size = size.checked_next_multiple_of(GRAIN)?;
        for index in 0..self.count {
            let part = self.free[index].clone();
            let at = part.start.next_multiple_of(align.max(GRAIN));
            let Some(end) = at.checked_add(size).filter(|end| *end <= part.end) else { continue };
            self.remove(index);
            self.insert(index, end..part.end);
            self.insert(index, part.start..at);
            return Some(at);
        }
        None
    }

    /// Gives back what was taken.
    pub fn give(&mut self, at: usize, size: usize) {
        let mut part = at..at + size.next_multiple_of(GRAIN);
        let mut index = self.free[..self.count].iter().take_while(|free| free.end <= at).count();
        if index < self.count && self.free[index].start == part.end {
            part.end = self.free[index].end;
            self.remove(index);
        }
        if index > 0 && self.free[index - 1].end == part.start {
            index -= 1;
            part.start = self.free[index].start;
            self.remove(index);
        }
        self.insert(index, part);
    }

    fn remove(&mut self, index: usize) {
        self.free[index..self.count].rotate_left(1);
        self.count -= 1;
    }

    fn insert(&mut self, mut index: usize, part: Range<usize>) {
        if part.is_empty() {
            return;
        }
        if self.count == MOST {
            let least = (0..MOST).min_by_key(|index| self.free[*index].len()).unwrap_or(0);
            self.remove(least);
            index -= usize::from(least < index);
        }
        self.free[index..=self.count].rotate_right(1);
        self.free[index] = part;
        self.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(seed: &mut u32) -> usize {
        *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (*seed >> 8) as usize
    }

    /// Takes and gives back, never the same to two.
    fn churn(blocks: usize, place: Range<usize>) -> Space {
        let (mut space, mut taken, mut seed) = (Space::new(place.clone()), Vec::<(usize, usize)>::new(), 1);
        for _ in 0..20_000 {
            let (size, align) = (1 + random(&mut seed) % 300, 1 << (random(&mut seed) % 8));
            if taken.len() < blocks
                && let Some(at) = space.take(size, align)
            {
                assert!(at % align == 0 && place.start <= at && at + size <= place.end);
                assert!(taken.iter().all(|(other, length)| at + size <= *other || other + length <= at));
                taken.push((at, size));
            } else if !taken.is_empty() {
                let (at, size) = taken.swap_remove(random(&mut seed) % taken.len());
                space.give(at, size);
            }
        }
        taken.into_iter().for_each(|(at, size)| space.give(at, size));
        space
    }

    #[test]
    fn what_is_given_back_is_whole_again() {
        let mut space = churn(40, 0x2_8000..0x6_8000);
        assert_eq!((space.count, space.free[0].clone()), (1, 0x2_8000..0x6_8000));
        assert_eq!(space.take(0x4_0000, 1), Some(0x2_8000));
        assert_eq!(space.take(1, 1), None);
        space.give(0x2_8000, 0x4_0000);
        assert_eq!(space.take(usize::MAX, 1), None);
        assert_eq!(space.take(0x4_0001, 1), None);
    }

    #[test]
    fn too_many_parts_are_survived() {
        let space = churn(1000, 0..0x4_0000);
        assert!(space.count <= MOST);
    }
}
