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

/// Spikes as bits, by rows and by columns.
#[derive(Debug, Default)]
pub struct Spikes {
    rows: usize,
    width: usize,
    /// For each row its columns, 64 to a word.
    by_row: Vec<u64>,
    /// For each block of 64 rows and each column the rows that spike, one word.
    by_column: Vec<u64>,
}

/// Bits of a word.
const WORD: usize = 64;

impl Spikes {
    /// Reads rows `[rows, width]` of zeros and ones.
    pub fn read(&mut self, values: &[f32], width: usize) {
        let (rows, words) = (values.len() / width, width.div_ceil(WORD));
        (self.rows, self.width) = (rows, width);
        self.by_row.clear();
        self.by_row.resize(rows * words, 0);
        pack(values, width, &mut self.by_row);
        self.by_column.clear();
        self.by_column.resize(rows.div_ceil(WORD) * words * WORD, 0);
        let blocks = self.by_column.chunks_exact_mut(words * WORD);
        for (block, rows) in blocks.zip(self.by_row.chunks(WORD * words)) {
            for (word, square) in block.chunks_exact_mut(WORD).enumerate() {
                square.iter_mut().zip(rows.iter().skip(word).step_by(words)).for_each(|(to, from)| *to = *from);
                transpose(square);
            }
        }
    }

    /// Share of ones.
    pub fn density(&self) -> f64 {
        let ones: u32 = self.by_row.iter().map(|word| word.count_ones()).sum();
        f64::from(ones) / (self.rows * self.width).max(1) as f64
    }

    /// `out[r] = bias + sum of weights[i] over the spikes i of row r`; weights `[width, n]`, out `[rows, n]`.
    pub fn times(&self, weights: &[f32], bias: Option<&[f32]>, out: &mut [f32]) {
        let (n, words) = (out.len() / self.rows.max(1), self.width.div_ceil(WORD));
        match bias {
            Some(bias) => out.chunks_exact_mut(n).for_each(|row| row.copy_from_slice(bias)),
            None => out.fill(0.0),
        }
        add_selected(&self.by_row, words, weights, 0, n, out);
    }

    /// `out[i] += sum of gradients[r] over the rows r that spike at i`; gradients `[rows, n]`, out `[width, n]`.
    pub fn transposed_times(&self, gradients: &[f32], out: &mut [f32]) {
        let (n, columns) = (out.len() / self.width.max(1), self.width.div_ceil(WORD) * WORD);
        for (block, words) in self.by_column.chunks_exact(columns).enumerate() {
            add_selected(&words[..self.width], 1, gradients, block * WORD, n, out);
        }
    }
}

/// Packs rows of zeros and ones to bits.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn pack(values: &[f32], width: usize, words: &mut [u64]) {
    let each = width.div_ceil(WORD);
    for (row, words) in values.chunks_exact(width).zip(words.chunks_exact_mut(each)) {
        for (part, word) in row.chunks(WORD).zip(words) {
            for (i, half) in part.chunks(32).enumerate() {
                let mut bits = 0u32;
                if let Ok(half) = <&[f32; 32]>::try_from(half) {
                    for (j, value) in half.iter().enumerate() {
                        bits |= u32::from(*value != 0.0) << j;
                    }
                } else {
                    half.iter().enumerate().for_each(|(j, value)| bits |= u32::from(*value != 0.0) << j);
                }
                *word |= u64::from(bits) << (32 * i);
            }
        }
    }
}

/// Turns a square of 64 by 64 bits. Source: Warren 2012, Hacker's Delight, section 7-3.
fn transpose(square: &mut [u64]) {
    let (mut half, mut mask) = (32, 0x0000_0000_ffff_ffff_u64);
    while half != 0 {
        let mut k = 0;
        while k < WORD {
            let swapped = ((square[k] >> half) ^ square[k + half]) & mask;
            square[k] ^= swapped << half;
            square[k + half] ^= swapped;
            k = (k + half + 1) & !half;
        }
        half /= 2;
        mask ^= mask << half;
    }
}

/// `out[k] += sum of rows[first + i]` over the bits `i` of the words of `k`, `[_, n]` each.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn add_selected(bits: &[u64], words: usize, rows: &[f32], first: usize, n: usize, out: &mut [f32]) {
    for (out, words) in out.chunks_exact_mut(n).zip(bits.chunks_exact(words)) {
        let mut at = 0;
        while n - at >= 128 {
            add_columns::<128>(words, rows, first, n, at, out);
            at += 128;
        }
        while n - at >= 32 {
            add_columns::<32>(words, rows, first, n, at, out);
            at += 32;
        }
        while n - at >= 8 {
            add_columns::<8>(words, rows, first, n, at, out);
            at += 8;
        }
        while at < n {
            add_columns::<1>(words, rows, first, n, at, out);
            at += 1;
        }
    }
}

/// Some columns of [`add_selected`], whose sums stay in registers.
#[inline(always)]
fn add_columns<const C: usize>(words: &[u64], rows: &[f32], first: usize, n: usize, at: usize, out: &mut [f32]) {
    let mut sum = [0.0; C];
    for (i, word) in words.iter().enumerate() {
        let (mut word, base) = (*word, first + i * WORD);
        while word != 0 {
            let start = (base + word.trailing_zeros() as usize) * n + at;
            let row = &rows[start..start + C];
            for c in 0..C {
                sum[c] += row[c];
            }
            word &= word - 1;
        }
    }
    for (out, sum) in out[at..at + C].iter_mut().zip(sum) {
        *out += sum;
    }
}

/// Rows that are worked on together in a dense product.
const ROWS: usize = 5;

/// `out += a b` with `a` `[m, k]`, `b` `[k, n]`, row by row.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
pub fn add_product(a: &[f32], b: &[f32], k: usize, n: usize, out: &mut [f32]) {
    for (out, a) in out.chunks_exact_mut(ROWS * n).zip(a.chunks_exact(ROWS * k)) {
        add_rows::<ROWS>(a, b, k, n, out);
    }
    let done = a.len() / (ROWS * k) * ROWS;
    for (out, a) in out[done * n..].chunks_exact_mut(n).zip(a[done * k..].chunks_exact(k)) {
        add_rows::<1>(a, b, k, n, out);
    }
}

#[inline(always)]
fn add_rows<const R: usize>(a: &[f32], b: &[f32], k: usize, n: usize, out: &mut [f32]) {
    let mut at = 0;
    while n - at >= 64 {
        add_square::<R, 64>(a, b, k, n, at, out);
        at += 64;
    }
    while n - at >= 16 {
        add_square::<R, 16>(a, b, k, n, at, out);
        at += 16;
    }
    while at < n {
        add_square::<R, 1>(a, b, k, n, at, out);
        at += 1;
    }
}

/// `R` rows and `C` columns of [`add_product`], whose sums stay in registers.
#[inline(always)]
fn add_square<const R: usize, const C: usize>(a: &[f32], b: &[f32], k: usize, n: usize, at: usize, out: &mut [f32]) {
    let mut sum = [[0.0; C]; R];
    let rows: [&[f32]; R] = std::array::from_fn(|r| &a[r * k..(r + 1) * k]);
    for i in 0..k {
        let b = &b[i * n + at..i * n + at + C];
        for r in 0..R {
            let x = rows[r][i];
            for c in 0..C {
                sum[r][c] = x.mul_add(b[c], sum[r][c]);
            }
        }
    }
    for (r, sum) in sum.iter().enumerate() {
        out[r * n + at..r * n + at + C].iter_mut().zip(sum).for_each(|(out, sum)| *out += sum);
    }
}

/// `out = a` with rows and columns exchanged; `a` is `[m, n]`.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
pub fn transposed(a: &[f32], m: usize, n: usize, out: &mut [f32]) {
    const BLOCK: usize = 16;
    for i in (0..m).step_by(BLOCK) {
        let rows = BLOCK.min(m - i);
        for (j, out) in out.chunks_exact_mut(m).enumerate() {
            for (k, to) in out[i..i + rows].iter_mut().enumerate() {
                *to = a[(i + k) * n + j];
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
    fn products_row_by_row_and_turned_matrices_are_right() {
        for [m, n, k] in [[1, 1, 1], [5, 130, 7], [9, 83, 33], [4, 64, 64]] {
            let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
            let mut out = vec![1.0; m * n];
            add_product(&a, &b, k, n, &mut out);
            let more: Vec<f64> = slow(&a, &b, [m, n, k]).iter().map(|e| e + 1.0).collect();
            assert!(close(&out, &more), "{m} {n} {k}");
            let mut turned = vec![0.0; k * n];
            transposed(&b, k, n, &mut turned);
            assert!((0..k).all(|i| (0..n).all(|j| turned[j * k + i] == b[i * n + j])));
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
