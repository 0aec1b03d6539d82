//! Numbers that begin where a line of the cache begins.

use std::ops::{Deref, DerefMut};

/// Numbers of a line of the cache, which is also the widest vector of the machines that there are.
const LINE: usize = 16;

#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct CacheLine([f32; LINE]);

/// A list of numbers that begins at a line of the cache: a vector that crosses two lines is read in two steps.
#[derive(Debug, Clone, Default)]
pub struct Aligned {
    lines: Vec<CacheLine>,
    len: usize,
}

impl Aligned {
    /// So many zeros.
    pub fn zeros(len: usize) -> Aligned {
        Aligned { lines: vec![CacheLine([0.0; LINE]); len.div_ceil(LINE)], len }
    }

    /// Makes it so many zeros, in the room that it has where that is enough.
    pub fn reset(&mut self, len: usize) {
        self.len = len;
        self.lines.clear();
        self.lines.resize(len.div_ceil(LINE), CacheLine([0.0; LINE]));
    }

    /// The first place from `start` on that begins a line.
    pub fn next_line(start: usize) -> usize {
        start.next_multiple_of(LINE)
    }
}

impl Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::Aligned;

    /// Room that was used before must look like new room.
    #[test]
    fn lists_begin_at_lines_and_are_zero_again_after_a_reset() {
        let mut list = Aligned::zeros(37);
        list.fill(3.0);
        assert_eq!((list.len(), list.as_ptr() as usize % 64), (37, 0));
        list.reset(90);
        assert_eq!(*list, [0.0; 90]);
    }
}
