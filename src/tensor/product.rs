//! Products on the processor, for executors that go round the tape: dense ones, and those with spikes, which are sums
//! of weight rows over the set bits.

use multiversion::multiversion;

/// Spikes as bits, by rows and by columns.
#[derive(Debug, Default)]
pub struct Spikes {
    rows: usize,
    width: usize,
    /// For each row its columns, 64 to a word.
    by_row: Vec<u64>,
    /// For each column the rows that spike, 64 to a word.
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
        let blocks = rows.div_ceil(WORD);
        self.by_column.clear();
        self.by_column.resize(width * blocks, 0);
        for (block, rows) in self.by_row.chunks(WORD * words).enumerate() {
            for word in 0..words {
                let mut square = [0; WORD];
                for (to, from) in square.iter_mut().zip(rows.iter().skip(word).step_by(words)) {
                    *to = *from;
                }
                transpose(&mut square);
                let columns = self.by_column[word * WORD * blocks..].iter_mut().skip(block).step_by(blocks);
                for (to, from) in columns.zip(square) {
                    *to = from;
                }
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
        add_selected(&self.by_row, words, weights, n, out);
    }

    /// `out[i] += sum of gradients[r] over the rows r that spike at i`; gradients `[rows, n]`, out `[width, n]`.
    pub fn transposed_times(&self, gradients: &[f32], out: &mut [f32]) {
        let n = out.len() / self.width.max(1);
        add_selected(&self.by_column, self.rows.div_ceil(WORD), gradients, n, out);
    }
}

/// Packs rows of zeros and ones to bits.
fn pack(values: &[f32], width: usize, words: &mut [u64]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx") {
        // SAFETY: the processor has AVX, which is all that `pack_avx` asks for.
        return unsafe { pack_avx(values, width, words) };
    }
    pack_plain(values, width, words);
}

fn pack_plain(values: &[f32], width: usize, words: &mut [u64]) {
    for (row, words) in values.chunks_exact(width).zip(words.chunks_exact_mut(width.div_ceil(WORD))) {
        for (part, word) in row.chunks(WORD).zip(words) {
            *word = bits(part);
        }
    }
}

/// Which of up to 64 numbers are not zero.
fn bits(part: &[f32]) -> u64 {
    part.iter().enumerate().fold(0, |bits, (i, value)| bits | u64::from(*value != 0.0) << i)
}

/// [`pack_plain`] with eight comparisons at once: half the time of what the compiler makes of it.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
fn pack_avx(values: &[f32], width: usize, words: &mut [u64]) {
    use std::arch::x86_64::{_CMP_NEQ_UQ, _mm256_cmp_ps, _mm256_loadu_ps, _mm256_movemask_ps, _mm256_setzero_ps};
    for (row, words) in values.chunks_exact(width).zip(words.chunks_exact_mut(width.div_ceil(WORD))) {
        for (part, word) in row.chunks(WORD).zip(words) {
            let (eights, rest) = part.as_chunks::<8>();
            *word = bits(rest).unbounded_shl(8 * eights.len() as u32);
            for (i, eight) in eights.iter().enumerate() {
                // SAFETY: an array of eight numbers is what is read.
                let eight = unsafe { _mm256_loadu_ps(eight.as_ptr()) };
                let ones = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_NEQ_UQ>(eight, _mm256_setzero_ps()));
                *word |= u64::from(ones as u8) << (8 * i);
            }
        }
    }
}

/// Turns a square of 64 by 64 bits. Source: Warren 2012, Hacker's Delight, section 7-3.
fn transpose(square: &mut [u64; WORD]) {
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

/// `out[k] += sum of rows[i]` over the bits `i` of the words of `k`, `[_, n]` each.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn add_selected(bits: &[u64], words: usize, rows: &[f32], n: usize, out: &mut [f32]) {
    // All of `out` reads some columns of the rows of one word, which stay in the first-level cache.
    let mut begin = 0;
    if n > COLUMNS {
        add_wide(bits, words, rows, n, out);
        begin = n / COLUMNS * COLUMNS;
    }
    for word in 0..words {
        let rows = &rows[word * WORD * n..];
        let mut at = begin;
        if n == COLUMNS {
            add_columns::<COLUMNS>(bits, [words, word], rows, [n, 0], out, [n, 0]);
            at = n;
        }
        while n - at >= 16 {
            add_columns::<16>(bits, [words, word], rows, [n, at], out, [n, at]);
            at += 16;
        }
        while at < n {
            add_columns::<1>(bits, [words, word], rows, [n, at], out, [n, at]);
            at += 1;
        }
    }
}

/// Rows that begin where lines of the cache begin.
#[repr(align(64))]
struct Near([f32; WORD * COLUMNS]);

/// The columns of [`add_selected`] that make whole blocks. Those of a wide matrix are brought together before they are
/// read: as they lie they would drive each other out of the cache.
#[inline(always)]
fn add_wide(bits: &[u64], words: usize, rows: &[f32], n: usize, out: &mut [f32]) {
    let mut near = Near([0.0; WORD * COLUMNS]);
    let near = &mut near.0;
    for word in 0..words {
        for at in (0..=n - COLUMNS).step_by(COLUMNS) {
            for (to, from) in near.chunks_exact_mut(COLUMNS).zip(rows[word * WORD * n..].chunks_exact(n)) {
                to.copy_from_slice(&from[at..at + COLUMNS]);
            }
            add_columns::<COLUMNS>(bits, [words, word], near, [COLUMNS, 0], out, [n, at]);
        }
    }
}

/// Columns of [`add_selected`] whose sums stay in registers.
const COLUMNS: usize = 128;

/// Some columns of [`add_selected`] and one word of each row of bits. Rows and `out` have a width and a first column.
#[inline(always)]
fn add_columns<const C: usize>(
    bits: &[u64],
    [words, word]: [usize; 2],
    rows: &[f32],
    [width, first]: [usize; 2],
    out: &mut [f32],
    [n, at]: [usize; 2],
) {
    for (out, bits) in out.chunks_exact_mut(n).zip(bits.chunks_exact(words)) {
        let mut word = bits[word];
        let mut sum = [0.0; C];
        while word != 0 {
            let start = word.trailing_zeros() as usize * width + first;
            let row = &rows[start..start + C];
            for c in 0..C {
                sum[c] += row[c];
            }
            word &= word - 1;
        }
        let out = &mut out[at..at + C];
        for c in 0..C {
            out[c] += sum[c];
        }
    }
}

/// Rows that are worked on together in a dense product.
const ROWS: usize = 5;
/// Terms of a sum that are added before the next rows and columns, so that what they read stays in cache.
const TERMS: usize = 256;

/// The first operand of a product, `[m, k]`: as it lies, or turned, `[k, m]`.
#[derive(Clone, Copy)]
enum Left<'a> {
    Plain(&'a [f32]),
    Turned(&'a [f32]),
}

/// `out += a b` with `a` `[m, k]`, `b` `[k, n]`, row by row.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
pub fn add_product(a: &[f32], b: &[f32], k: usize, n: usize, out: &mut [f32]) {
    add_blocks(Left::Plain(a), b, [out.len() / n, k, n], out);
}

/// `out += a^T b` with `a` `[k, m]`, `b` `[k, n]`.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
pub fn add_turned_product(a: &[f32], b: &[f32], m: usize, n: usize, out: &mut [f32]) {
    add_blocks(Left::Turned(a), b, [m, a.len() / m, n], out);
}

/// All rows of some columns and terms, then the next ones, so that what is read again and again stays in cache.
#[inline(always)]
fn add_blocks(a: Left<'_>, b: &[f32], [m, k, n]: [usize; 3], out: &mut [f32]) {
    // Loops, not iterators with closures: those are compiled without the vector unit of the function around them.
    for first in (0..k).step_by(TERMS) {
        let terms = [first, k.min(first + TERMS)];
        let mut at = 0;
        while n - at >= 64 {
            add_rows::<64>(a, b, [m, k, n], terms, at, out);
            at += 64;
        }
        while n - at >= 16 {
            add_rows::<16>(a, b, [m, k, n], terms, at, out);
            at += 16;
        }
        while at < n {
            add_rows::<1>(a, b, [m, k, n], terms, at, out);
            at += 1;
        }
    }
}

#[inline(always)]
fn add_rows<const C: usize>(a: Left<'_>, b: &[f32], size: [usize; 3], terms: [usize; 2], at: usize, out: &mut [f32]) {
    let whole = size[0] / ROWS * ROWS;
    for row in (0..whole).step_by(ROWS) {
        add_square::<ROWS, C>(a, b, size, terms, [row, at], out);
    }
    match size[0] - whole {
        4 => add_square::<4, C>(a, b, size, terms, [whole, at], out),
        3 => add_square::<3, C>(a, b, size, terms, [whole, at], out),
        2 => add_square::<2, C>(a, b, size, terms, [whole, at], out),
        1 => add_square::<1, C>(a, b, size, terms, [whole, at], out),
        _ => {}
    }
}

/// `R` rows and `C` columns of a product, whose sums stay in registers.
#[inline(always)]
fn add_square<const R: usize, const C: usize>(
    a: Left<'_>,
    b: &[f32],
    [m, k, n]: [usize; 3],
    [from, to]: [usize; 2],
    [row, at]: [usize; 2],
    out: &mut [f32],
) {
    let mut sum = [[0.0; C]; R];
    match a {
        Left::Plain(a) => {
            let rows: [&[f32]; R] = std::array::from_fn(|r| &a[(row + r) * k..(row + r + 1) * k]);
            for i in from..to {
                let mut x = [0.0; R];
                for r in 0..R {
                    x[r] = rows[r][i];
                }
                add_term(x, &b[i * n + at..i * n + at + C], &mut sum);
            }
        }
        Left::Turned(a) => {
            for i in from..to {
                let mut x = [0.0; R];
                x.copy_from_slice(&a[i * m + row..i * m + row + R]);
                add_term(x, &b[i * n + at..i * n + at + C], &mut sum);
            }
        }
    }
    for (r, sum) in sum.iter().enumerate() {
        let out = &mut out[(row + r) * n + at..(row + r) * n + at + C];
        for c in 0..C {
            out[c] += sum[c];
        }
    }
}

/// One term of each sum of [`add_square`].
#[inline(always)]
fn add_term<const R: usize, const C: usize>(x: [f32; R], b: &[f32], sum: &mut [[f32; C]; R]) {
    for r in 0..R {
        for c in 0..C {
            sum[r][c] = x[r].mul_add(b[c], sum[r][c]);
        }
    }
}

/// Rows and columns of a square that is turned at once.
const SQUARE: usize = 16;

/// `out = a` with rows and columns exchanged; `a` is `[m, n]`.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
pub fn transposed(a: &[f32], m: usize, n: usize, out: &mut [f32]) {
    let (rows, columns) = (m / SQUARE * SQUARE, n / SQUARE * SQUARE);
    for i in (0..rows).step_by(SQUARE) {
        for j in (0..columns).step_by(SQUARE) {
            let (mut square, mut next) = ([0.0; SQUARE * SQUARE], [0.0; SQUARE * SQUARE]);
            for (k, row) in square.chunks_exact_mut(SQUARE).enumerate() {
                row.copy_from_slice(&a[(i + k) * n + j..(i + k) * n + j + SQUARE]);
            }
            // As often as the number of rows can be halved.
            for _ in 0..SQUARE.ilog2() / 2 {
                interleave(&square, &mut next);
                interleave(&next, &mut square);
            }
            for (k, row) in square.chunks_exact(SQUARE).enumerate() {
                out[(j + k) * m + i..(j + k) * m + i + SQUARE].copy_from_slice(row);
            }
        }
    }
    for i in 0..m {
        for j in if i < rows { columns..n } else { 0..n } {
            out[j * m + i] = a[i * n + j];
        }
    }
}

/// The numbers of the first half of a square, each followed by that in the same place of the second.
#[inline(always)]
fn interleave(square: &[f32; SQUARE * SQUARE], to: &mut [f32; SQUARE * SQUARE]) {
    let (first, second) = square.split_at(SQUARE * SQUARE / 2);
    for i in 0..SQUARE * SQUARE / 2 {
        to[2 * i] = first[i];
        to[2 * i + 1] = second[i];
    }
}

/// `out[c] += sum over rows of values[r, c]`.
pub fn add_column_sums(values: &[f32], out: &mut [f32]) {
    add_rows_weighted(None, values, out);
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
            None => {
                for (out, w) in out.iter_mut().zip(row) {
                    *out = x * w;
                }
            }
        }
    }
}

/// `out[c] += sum over rows of column[r] * values[r, c]`: one column, transposed, times a matrix.
pub fn add_weighted_rows(column: &[f32], values: &[f32], out: &mut [f32]) {
    add_rows_weighted(Some(column), values, out);
}

/// The sums of [`add_column_sums`] and [`add_weighted_rows`], which stay in registers.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn add_rows_weighted(column: Option<&[f32]>, values: &[f32], out: &mut [f32]) {
    let n = out.len();
    let mut at = 0;
    while n - at >= 64 {
        add_some_columns::<64>(column, values, n, at, out);
        at += 64;
    }
    while n - at >= 16 {
        add_some_columns::<16>(column, values, n, at, out);
        at += 16;
    }
    while at < n {
        add_some_columns::<1>(column, values, n, at, out);
        at += 1;
    }
}

#[inline(always)]
fn add_some_columns<const C: usize>(column: Option<&[f32]>, values: &[f32], n: usize, at: usize, out: &mut [f32]) {
    let mut sum = [0.0; C];
    sum.copy_from_slice(&out[at..at + C]);
    match column {
        Some(column) => {
            for (row, x) in values.chunks_exact(n).zip(column) {
                let row = &row[at..at + C];
                for c in 0..C {
                    sum[c] = x.mul_add(row[c], sum[c]);
                }
            }
        }
        None => {
            for row in values.chunks_exact(n) {
                let row = &row[at..at + C];
                for c in 0..C {
                    sum[c] += row[c];
                }
            }
        }
    }
    out[at..at + C].copy_from_slice(&sum);
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
        fn products_with_spikes_are_products(rows in 1usize..150, width in 1usize..90, n in 1usize..300, seed in 0u64..1000) {
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
    }

    #[test]
    fn spikes_are_packed_the_same_with_and_without_vector_instructions() {
        for width in 1..150 {
            let values: Vec<f32> = numbers(3 * width, 5).iter().map(|x| f32::from(u8::from(*x > 0.2))).collect();
            let words = 3 * width.div_ceil(WORD);
            let (mut chosen, mut plain) = (vec![u64::MAX; words], vec![0; words]);
            pack(&values, width, &mut chosen);
            pack_plain(&values, width, &mut plain);
            assert_eq!(chosen, plain, "{width}");
        }
    }

    #[test]
    fn products_row_by_row_and_turned_matrices_are_right() {
        for [m, n, k] in [[1, 1, 1], [5, 130, 7], [9, 83, 33], [4, 64, 64], [7, 20, 600]] {
            let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
            let mut out = vec![1.0; m * n];
            add_product(&a, &b, k, n, &mut out);
            let more: Vec<f64> = slow(&a, &b, [m, n, k]).iter().map(|e| e + 1.0).collect();
            assert!(close(&out, &more), "{m} {n} {k}");
            let mut turned = vec![0.0; m * k];
            transposed(&a, m, k, &mut turned);
            let mut out = vec![1.0; m * n];
            add_turned_product(&turned, &b, m, n, &mut out);
            assert!(close(&out, &more), "{m} {n} {k} turned");
            let mut turned = vec![0.0; k * n];
            transposed(&b, k, n, &mut turned);
            assert!((0..k).all(|i| (0..n).all(|j| turned[j * k + i] == b[i * n + j])));
        }
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
