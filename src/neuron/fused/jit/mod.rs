//! Code as machine code of its own, so that what passes between two instructions stays in vector registers, and states
//! in them from step to step. An interpreter reads and writes the cache for every operand, which is most of its time.
//!
//! Only for x86-64 with AVX2 or AVX-512; `interpret` runs the rest, and gives the same bits.

mod assembler;
mod emit;

use super::code::Code;
pub use assembler::Offset;
use assembler::Unit;
use emit::emit;
use memmap2::{Mmap, MmapMut};
use std::fmt;

/// Addresses that a function is given at most.
pub const TABLE: usize = 64;

/// An array that a function reads or writes: its place in the table, and what it is counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Site {
    /// Place in the table.
    pub entry: usize,
    /// What it is counted from.
    pub offset: Offset,
}

/// A register that a step hands on to the next one.
#[derive(Debug, Clone, Copy)]
pub struct Carried {
    /// The register.
    pub register: u16,
    /// Where its first value lies.
    pub begin: Site,
    /// The register that it becomes; none for zero.
    pub becomes: Option<u16>,
    /// Where its last value goes.
    pub end: Option<Site>,
}

/// Where the values of a step come from and go to. The first entry of the table is the tile's registers.
#[derive(Debug, Default)]
pub struct Layout {
    /// Registers that are read from arrays at each step.
    pub loads: Vec<(u16, Site)>,
    /// Registers that are written to arrays at each step; none for zero.
    pub stores: Vec<(Option<u16>, Site)>,
    /// Registers that are summed up over the steps, and where the sum is.
    pub sums: Vec<(u16, Site)>,
    /// Registers that are handed on.
    pub carried: Vec<Carried>,
}

impl Layout {
    /// Entries of the table, with the tile's registers.
    pub fn entries(&self) -> usize {
        let all = (self.loads.iter().map(|(_, place)| place.entry))
            .chain(self.stores.iter().map(|(_, place)| place.entry))
            .chain(self.sums.iter().map(|(_, place)| place.entry))
            .chain(self.carried.iter().map(|carried| carried.begin.entry));
        all.max().unwrap_or(0) + 1
    }
}

/// Machine code for a step, over time.
pub struct MachineFunction {
    memory: Mmap,
    /// Entries of the table that are read at each step.
    loads: Vec<usize>,
    unit: Unit,
    /// Lanes that the first part works on, all of them there.
    wide: usize,
    /// Where the second part begins, which works on one register of lanes, or fewer.
    last: usize,
}

impl fmt::Debug for MachineFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes for {:?}, {} lanes at once", self.memory.len(), self.unit, self.wide)
    }
}

/// Table, bytes to the first step and lane, bytes to the first lane, steps, bytes between steps, and the mask.
type EntryPoint = unsafe extern "sysv64" fn(*const *mut f32, isize, isize, usize, isize, usize);

/// The steps and lanes of a run.
#[derive(Debug, Clone, Copy)]
pub struct Walk {
    /// The first step that is computed.
    pub first: usize,
    /// How many.
    pub steps: usize,
    /// Whether time runs backward.
    pub back: bool,
    /// Lanes of a time step in memory.
    pub stride: usize,
    /// Lanes that are computed, from where the table points to.
    pub lanes: usize,
}

/// Masks of AVX2 for 0 to 8 lanes.
static MASKS: [[i32; 8]; 9] = {
    let mut masks = [[0; 8]; 9];
    let mut lanes = 0;
    while lanes < 9 {
        let mut lane = 0;
        while lane < lanes {
            masks[lanes][lane] = -1;
            lane += 1;
        }
        lanes += 1;
    }
    masks
};

impl MachineFunction {
    /// Compiles; nothing where the processor, the system or the code does not allow it.
    pub fn new(code: &Code, layout: &Layout) -> Option<MachineFunction> {
        let unit = Unit::best()?;
        let (wide, copies) =
            [4, 2, 1].iter().find_map(|&copies| Some((emit(code, layout, unit, copies, false)?, copies)))?;
        let last = emit(code, layout, unit, 1, true)?;
        let mut memory = MmapMut::map_anon(wide.len() + last.len()).ok()?;
        memory[..wide.len()].copy_from_slice(&wide);
        memory[wide.len()..wide.len() + last.len()].copy_from_slice(&last);
        let memory = memory.make_exec().ok()?;
        let loads = layout.loads.iter().map(|(_, place)| place.entry).collect();
        Some(MachineFunction { memory, loads, unit, wide: copies * unit.lanes(), last: wide.len() })
    }

    /// Whether an entry of the table is read at each step.
    pub fn loads(&self, entry: usize) -> bool {
        self.loads.contains(&entry)
    }

    /// Runs the code.
    ///
    /// # Safety
    /// Every entry of the table that the layout names must point to an array in which all steps and lanes of the run
    /// lie, entry 0 to the registers of a tile that were begun; those that are written to must not be read through
    /// another entry at the same step.
    pub unsafe fn run(&self, table: &[*mut f32; TABLE], run: Walk) {
        let row = (run.stride * size_of::<f32>()) as isize;
        let stride = if run.back { -row } else { row };
        let mut lane = 0;
        while lane < run.lanes {
            let whole = run.lanes - lane >= self.wide;
            let lanes = if whole { self.wide } else { self.unit.lanes().min(run.lanes - lane) };
            let mask = match self.unit {
                Unit::Avx512 => (1 << lanes.min(16)) - 1,
                Unit::Avx2 => MASKS[lanes.min(8)].as_ptr() as usize,
            };
            let at = (lane * size_of::<f32>()) as isize;
            // SAFETY: the memory holds a function of this type at both places, made by `emit`; the caller answers for
            // the arrays.
            unsafe {
                let start = self.memory.as_ptr().add(if whole { 0 } else { self.last });
                let function: EntryPoint = std::mem::transmute(start);
                function(table.as_ptr(), run.first as isize * row + at, at, run.steps, stride, mask);
            }
            lane += lanes;
        }
    }
}
