//! Matrices under a dropout mask on a GPU. The hash has 64 bits, which WGSL does not know. It is
//! therefore computed in halves.

use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::launch::elementwise;
use super::tensor::{CubeTensor, IntoBuffer, element, empty_of, into_cube_int, sizes};
use crate::dropout_mask::{DropoutMask, FACTORS, PAIR_STEP, high_half, low_half};

/// 64 bits.
#[derive(CubeType, Clone, Copy)]
struct Halves {
    low: u32,
    high: u32,
}

/// The upper half of a product of 32 bits each.
#[cube]
fn upper_product(a: u32, b: u32) -> u32 {
    let (a_low, a_high) = (a & 0xFFFF, a >> 16);
    let (b_low, b_high) = (b & 0xFFFF, b >> 16);
    let low_high = a_low * b_high;
    let high_low = a_high * b_low;
    let middle = ((a_low * b_low) >> 16) + (low_high & 0xFFFF) + (high_low & 0xFFFF);
    a_high * b_high + (low_high >> 16) + (high_low >> 16) + (middle >> 16)
}

#[cube]
fn product(x: Halves, low: u32, high: u32) -> Halves {
    Halves {
        low: x.low * low,
        high: upper_product(x.low, low) + x.low * high + x.high * low,
    }
}

#[cube]
fn sum(x: Halves, low: u32, high: u32) -> Halves {
    let lower = x.low + low;
    let carry = select(lower < low, 1u32, 0u32);
    Halves {
        low: lower,
        high: x.high + high + carry,
    }
}

/// `x ^ (x >> bits)`, for fewer than 32 bits.
#[cube]
fn fold(x: Halves, #[comptime] bits: u32) -> Halves {
    Halves {
        low: x.low ^ ((x.low >> bits) | (x.high << (32 - bits))),
        high: x.high ^ (x.high >> bits),
    }
}

const STEP_LOW: u32 = low_half(PAIR_STEP);
const STEP_HIGH: u32 = high_half(PAIR_STEP);
const FIRST_LOW: u32 = low_half(FACTORS[0]);
const FIRST_HIGH: u32 = high_half(FACTORS[0]);
const SECOND_LOW: u32 = low_half(FACTORS[1]);
const SECOND_HIGH: u32 = high_half(FACTORS[1]);

/// [`split_mix`](crate::split_mix).
#[cube]
fn mixed(x: Halves) -> Halves {
    let x = sum(x, STEP_LOW, STEP_HIGH);
    let x = product(fold(x, 30u32), FIRST_LOW, FIRST_HIGH);
    let x = product(fold(x, 27u32), SECOND_LOW, SECOND_HIGH);
    fold(x, 31u32)
}

/// Writes an element of `values` under its mask, or adds it to what the output holds.
#[cube]
fn write_element<F: Float>(
    values: &[F],
    output: &mut [F],
    at: usize,
    factor: f32,
    accumulates: u32,
) {
    let mut value = f32::cast_from(values[at]) * factor;
    if accumulates != 0 {
        value += f32::cast_from(output[at]);
    }
    output[at] = F::cast_from(value);
}

/// `values * mask`, or what the output holds and that. A unit for each pair of a row's elements.
#[cube(launch)]
#[allow(
    clippy::too_many_arguments,
    reason = "a kernel takes scalars one by one"
)]
fn mask_kernel<F: Float>(
    values: &[F],
    token_keys: &[u32],
    output: &mut [F],
    columns: usize,
    key_low: u32,
    key_high: u32,
    threshold: u32,
    scale: f32,
    accumulates: u32,
    #[define(F)] _element: ElemType,
) {
    let pairs = columns.div_ceil(2);
    let token = ABSOLUTE_POS / pairs;
    if token * columns >= output.len() {
        terminate!();
    }
    let pair = ABSOLUTE_POS % pairs;
    let row_key = mixed(Halves {
        low: key_low ^ token_keys[2 * token],
        high: key_high ^ token_keys[2 * token + 1],
    });
    let steps = product(
        Halves {
            low: pair as u32,
            high: 0u32,
        },
        STEP_LOW,
        STEP_HIGH,
    );
    let bits = mixed(sum(row_key, steps.low, steps.high));
    let first = token * columns + 2 * pair;
    let factor = select(bits.low < threshold, f32::new(0.0), scale);
    write_element::<F>(values, output, first, factor, accumulates);
    if 2 * pair + 1 < columns {
        let factor = select(bits.high < threshold, f32::new(0.0), scale);
        write_element::<F>(values, output, first + 1, factor, accumulates);
    }
}

/// Writes `values * mask`, or adds it to what the output holds.
pub(super) fn write_masked(
    output: &CubeTensor,
    values: CubeTensor,
    mask: &DropoutMask,
    accumulates: bool,
) {
    let [tokens, columns] = sizes(output);
    let (cubes, units) = elementwise(&output.client, tokens * columns.div_ceil(2));
    mask_kernel::launch(
        &output.client,
        cubes,
        units,
        values.into_buffer(),
        into_contiguous(into_cube_int(mask.tokens.on_device())).into_buffer(),
        output.clone().into_buffer(),
        columns,
        low_half(mask.key),
        high_half(mask.key),
        mask.threshold,
        mask.scale,
        u32::from(accumulates),
        element(output),
    );
}

/// The input of an adapter: `x`, under its dropout mask where there is one.
pub(super) fn masked(x: &CubeTensor, mask: Option<&DropoutMask>) -> CubeTensor {
    let Some(mask) = mask else {
        return x.clone();
    };
    let output = empty_of(x, sizes(x), x.dtype);
    write_masked(&output, x.clone(), mask, false);
    output
}
