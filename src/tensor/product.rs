//! Products on the processor, for executors that go round the tape: dense ones, and those with spikes, which are sums
//! of weight rows over the set bits.

use multiversion::multiversion;

/// A matrix in a slice: element (i, j) is at `i * row + j * column`.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The numbers.
    pub data: &'a [f32],
    /// Distance of rows.
    pub row: usize,
    /// Distance of columns.
    pub column: usize,
}

impl View<'_> {
    fn holds(&self, rows: usize, columns: usize) -> bool {
        rows == 0 || columns == 0 || (rows - 1) * self.row + (columns - 1) * self.column < self.data.len()
    }
}

/// `out = a b`, or `out += a b`; `a` is `[m, k]`, `b` `[k, n]`, `out` `[m, n]` row by row.
///
/// # Panics
/// Where a slice is too short for its shape.
pub fn dense(out: &mut [f32], [m, n, k]: [usize; 3], a: View<'_>, b: View<'_>, add: bool) {
    assert!(out.len() >= m * n && a.holds(m, k) && b.holds(k, n), "a matrix is larger than its slice");
    if m == 0 || n == 0 {
        return;
    }
    // SAFETY: the assertion above holds every element that the strides reach inside of the three slices, `out` is
    // borrowed alone, and nothing of `out` is read unless `add` says that it is to be.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            add,
            a.data.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.data.as_ptr(),
            b.column as isize,
            b.row as isize,
            1.0_f32,
            1.0_f32,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// Rows of spikes that share a word of bits, one bit a row.
const WORD: usize = 64;
/// Columns of weights that are summed at once.
const COLUMNS: usize = 64;

/// Spikes as bits, by rows and by columns.
#[derive(Debug, Default)]
pub struct Spikes {
    rows: usize,
    width: usize,
    /// Indices of the spikes of each row, one row after the other.
    active: Vec<u32>,
    /// Where each row begins in `active`.
    begins: Vec<u32>,
    /// For each block of 64 rows and each column the rows that spike.
    bits: Vec<u64>,
}

impl Spikes {
    /// Reads rows `[rows, width]` of zeros and ones.
    pub fn read(&mut self, values: &[f32], width: usize) {
        self.rows = values.len() / width;
        self.width = width;
        self.active.clear();
        self.begins.clear();
        self.bits.clear();
        self.bits.resize(self.rows.div_ceil(WORD) * width, 0);
        for (r, row) in values.chunks_exact(width).enumerate() {
            self.begins.push(self.active.len() as u32);
            let block = &mut self.bits[r / WORD * width..][..width];
            for (first, part) in row.chunks(32).enumerate() {
                let mut word = part.iter().rev().fold(0u32, |word, value| word << 1 | u32::from(*value != 0.0));
                while word != 0 {
                    let column = first * 32 + word.trailing_zeros() as usize;
                    self.active.push(column as u32);
                    block[column] |= 1 << (r % WORD);
                    word &= word - 1;
                }
            }
        }
        self.begins.push(self.active.len() as u32);
    }

    /// Share of ones.
    pub fn density(&self) -> f64 {
        self.active.len() as f64 / (self.rows * self.width).max(1) as f64
    }

    /// `out[r] = bias + sum of weights[i] over the spikes i of row r`; weights `[width, n]`, out `[rows, n]`.
    pub fn times(&self, weights: &[f32], bias: Option<&[f32]>, out: &mut [f32]) {
        let n = out.len() / self.rows.max(1);
        sum_rows(&self.active, &self.begins, weights, bias, n, out);
    }

    /// `out[i] += sum of gradients[r] over the rows r that spike at i`; gradients `[rows, n]`, out `[width, n]`.
    pub fn transposed_times(&self, gradients: &[f32], out: &mut [f32]) {
        let n = out.len() / self.width.max(1);
        sum_columns(&self.bits, self.width, gradients, n, out);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn sum_rows(active: &[u32], begins: &[u32], weights: &[f32], bias: Option<&[f32]>, n: usize, out: &mut [f32]) {
    for (row, begin) in out.chunks_exact_mut(n).zip(begins.windows(2)) {
        let spikes = &active[begin[0] as usize..begin[1] as usize];
        for (block, out) in row.chunks_mut(COLUMNS).enumerate() {
            let first = block * COLUMNS;
            let mut sum = [0.0; COLUMNS];
            if let Some(bias) = bias {
                sum[..out.len()].copy_from_slice(&bias[first..first + out.len()]);
            }
            if out.len() == COLUMNS {
                for i in spikes {
                    let weights = &weights[*i as usize * n + first..][..COLUMNS];
                    for c in 0..COLUMNS {
                        sum[c] += weights[c];
                    }
                }
            } else {
                for i in spikes {
                    let weights = &weights[*i as usize * n + first..][..out.len()];
                    sum.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += weight);
                }
            }
            out.copy_from_slice(&sum[..out.len()]);
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn sum_columns(bits: &[u64], width: usize, gradients: &[f32], n: usize, out: &mut [f32]) {
    for (block, words) in bits.chunks_exact(width).enumerate() {
        let gradients = &gradients[block * WORD * n..];
        for (row, word) in out.chunks_exact_mut(n).zip(words) {
            for (part, out) in row.chunks_mut(COLUMNS).enumerate() {
                let (first, mut word) = (part * COLUMNS, *word);
                let mut sum = [0.0; COLUMNS];
                if out.len() == COLUMNS {
                    while word != 0 {
                        let gradient = &gradients[word.trailing_zeros() as usize * n + first..][..COLUMNS];
                        for c in 0..COLUMNS {
                            sum[c] += gradient[c];
                        }
                        word &= word - 1;
                    }
                } else {
                    while word != 0 {
                        let gradient = &gradients[word.trailing_zeros() as usize * n + first..][..out.len()];
                        sum.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += g);
                        word &= word - 1;
                    }
                }
                out.iter_mut().zip(sum).for_each(|(out, sum)| *out += sum);
            }
        }
    }
}

/// `out[c] += sum over rows of values[r, c]`.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
pub fn add_column_sums(values: &[f32], out: &mut [f32]) {
    for row in values.chunks_exact(out.len()) {
        out.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
}

/// `out[r, c] = bias[c] + column[r] * row[c]`: the product of one column and one row.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
pub fn outer(column: &[f32], row: &[f32], bias: Option<&[f32]>, out: &mut [f32]) {
    for (out, x) in out.chunks_exact_mut(row.len()).zip(column) {
        match bias {
            Some(bias) => {
                for ((out, w), b) in out.iter_mut().zip(row).zip(bias) {
                    *out = x.mul_add(*w, *b);
                }
            }
            None => out.iter_mut().zip(row).for_each(|(out, w)| *out = x * w),
        }
    }
}

/// `out[c] += sum over rows of column[r] * values[r, c]`: one column, transposed, times a matrix.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
pub fn add_weighted_rows(column: &[f32], values: &[f32], out: &mut [f32]) {
    for (row, x) in values.chunks_exact(out.len()).zip(column) {
        out.iter_mut().zip(row).for_each(|(sum, value)| *sum = x.mul_add(*value, *sum));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slow(a: &[f32], b: &[f32], [m, n, k]: [usize; 3]) -> Vec<f64> {
        let cell = |i: usize, j: usize| (0..k).map(|l| f64::from(a[i * k + l]) * f64::from(b[l * n + j])).sum();
        (0..m).flat_map(|i| (0..n).map(move |j| (i, j))).map(|(i, j)| cell(i, j)).collect()
    }

    fn close(got: &[f32], expected: &[f64]) -> bool {
        got.len() == expected.len() && got.iter().zip(expected).all(|(g, e)| (f64::from(*g) - e).abs() < 1e-4)
    }

    fn numbers(n: usize, seed: u64) -> Vec<f32> {
        use crate::random::Draws;
        crate::random::Stream::new(seed, "test").uniform(-1.0, 1.0, n)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn products_with_spikes_are_products(rows in 1usize..150, width in 1usize..90, n in 1usize..140, seed in 0u64..1000) {
            let spikes: Vec<f32> = numbers(rows * width, seed).iter().map(|x| f32::from(u8::from(*x > 0.4))).collect();
            let (weights, bias, gradients) = (numbers(width * n, seed + 1), numbers(n, seed + 2), numbers(rows * n, seed + 3));
            let mut bits = Spikes::default();
            bits.read(&numbers(77, 1), 7);
            bits.read(&spikes, width);
            let mut out = vec![f32::NAN; rows * n];
            bits.times(&weights, Some(&bias), &mut out);
            let mut expected = slow(&spikes, &weights, [rows, n, width]);
            expected.iter_mut().enumerate().for_each(|(i, e)| *e += f64::from(bias[i % n]));
            prop_assert!(close(&out, &expected));
            let mut out = vec![0.0; width * n];
            bits.transposed_times(&gradients, &mut out);
            let transposed: Vec<f32> = (0..width).flat_map(|i| (0..rows).map(move |r| (r, i))).map(|(r, i)| spikes[r * width + i]).collect();
            prop_assert!(close(&out, &slow(&transposed, &gradients, [width, n, rows])));
        }

        #[test]
        fn dense_products_are_products_for_every_stride(m in 1usize..40, n in 1usize..40, k in 1usize..40, seed in 0u64..1000) {
            let (a, b) = (numbers(m * k, seed), numbers(k * n, seed + 1));
            let turned: Vec<f32> = (0..n).flat_map(|j| (0..k).map(move |l| (l, j))).map(|(l, j)| b[l * n + j]).collect();
            let expected = slow(&a, &b, [m, n, k]);
            let view = View { data: &a, row: k, column: 1 };
            let mut out = vec![f32::NAN; m * n];
            dense(&mut out, [m, n, k], view, View { data: &b, row: n, column: 1 }, false);
            prop_assert!(close(&out, &expected));
            let mut out = vec![1.0; m * n];
            dense(&mut out, [m, n, k], view, View { data: &turned, row: 1, column: k }, true);
            let more: Vec<f64> = expected.iter().map(|e| e + 1.0).collect();
            prop_assert!(close(&out, &more));
        }
    }

    #[test]
    #[should_panic(expected = "larger than its slice")]
    fn a_view_that_reaches_beyond_its_slice_is_refused() {
        let (a, mut out) = (vec![0.0; 6], vec![0.0; 9]);
        let view = View { data: &a, row: 3, column: 1 };
        dense(&mut out, [3, 3, 3], view, view, false);
    }

    #[test]
    fn outer_products_and_weighted_rows_are_products() {
        let (column, row, values) = (numbers(5, 1), numbers(33, 2), numbers(5 * 33, 3));
        let mut out = vec![0.0; 5 * 33];
        outer(&column, &row, None, &mut out);
        assert!(close(&out, &slow(&column, &row, [5, 33, 1])));
        let mut sums = vec![0.0; 33];
        add_weighted_rows(&column, &values, &mut sums);
        assert!(close(&sums, &slow(&column, &values, [1, 33, 5])));
        let mut sums = vec![0.0; 33];
        add_column_sums(&values, &mut sums);
        assert!(close(&sums, &slow(&[1.0; 5], &values, [1, 33, 5])));
    }
}
