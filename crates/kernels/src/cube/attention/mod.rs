//! Blocked attention on a GPU, tile by tile with an online softmax (Dao et al. 2022, arXiv
//! 2205.14135; Milakov and Gimelshein 2018, arXiv 1805.02867). Tiles that the mask hides are
//! skipped, and the backward pass computes the scores again. All arithmetic is in f32; the tensors
//! may be in bf16.

mod backward;
mod forward;
mod heads;
mod tile;

use burn::backend::{Cube, TensorMetadata};
use burn::tensor::Tensor;
use burn_cubecl::cubecl::prelude::CubeDim;

use self::backward::{grad_key_value_kernel, grad_query_kernel, output_products_kernel};
use self::forward::forward_kernel;
use self::heads::Heads;
use self::tile::Tile;
#[cfg(feature = "cuda")]
use super::cuda::attention as flash;
use super::launch::{elementwise, rows};
use super::rope::rotate;
use super::tensor::{
    CubeTensor, IntoBuffer, client, element, empty, empty_of, into_cube_int, into_gradient,
};
use crate::flex::rope::Direction;
use crate::operations::attention::{AttentionPasses, Context};

/// Whether tiles of heads of this width fit in the shared memory of a tensor's GPU.
pub(crate) fn fits(qkv: &Tensor<2>, head_dim: usize) -> bool {
    let client = client(&qkv.device());
    let bytes = client.properties().hardware.max_shared_memory_size;
    Tile::fitting(head_dim, bytes).is_some()
}

/// What the backward pass needs.
#[derive(Debug, Clone)]
pub(crate) struct Saved {
    /// `[tokens, width]`, queries and keys rotated.
    qkv: CubeTensor,
    output: CubeTensor,
    /// `[tokens, heads]`.
    log_sum_exp: CubeTensor,
    context: Context,
}

fn tile_of(qkv: &CubeTensor, context: &Context) -> Tile {
    let bytes = qkv.client.properties().hardware.max_shared_memory_size;
    Tile::fitting(context.shape.head_dim, bytes).expect("`attention` checked that a tile fits")
}

fn heads_of(context: &Context) -> Heads {
    Heads {
        query: context.shape.heads,
        key_value: context.shape.key_value_heads,
    }
}

/// Rotates queries and keys.
fn rotated(qkv: CubeTensor, context: &Context, direction: Direction) -> CubeTensor {
    let shape = &context.shape;
    let heads = shape.heads + shape.key_value_heads;
    rotate(qkv, shape.width(), heads, &context.rotary, direction)
}

/// What the kernels for tensor cores need.
#[cfg(feature = "cuda")]
fn attended<'a>(qkv: &'a CubeTensor, context: &Context) -> flash::Attended<'a> {
    flash::Attended {
        shape: context.shape,
        qkv,
        visible_until: into_cube_int(context.mask.on_device()),
        spans: into_cube_int(context.mask.tile_spans(flash::TILE)),
        angles: context.rotary.on_device().map(super::tensor::into_cube),
    }
}

impl AttentionPasses for Cube {
    type Saved = Saved;

    fn forward(qkv: CubeTensor, context: Context) -> (CubeTensor, Saved) {
        let shape = context.shape;
        let qkv = rotated(qkv, &context, Direction::Forward);
        #[cfg(feature = "cuda")]
        if flash::supports(&qkv, shape.head_dim) {
            let attended = attended(&qkv, &context);
            let [output, log_sum_exp] = flash::forward(&attended);
            let saved = Saved {
                qkv,
                output: output.clone(),
                log_sum_exp,
                context,
            };
            return (output, saved);
        }
        let tile = tile_of(&qkv, &context);
        let output = empty_of(&qkv, [shape.tokens(), shape.output_width()], qkv.dtype);
        let log_sum_exp = empty(&qkv, [shape.tokens(), shape.heads]);
        let tile_until = into_cube_int(context.mask.tile_until(tile.side));
        forward_kernel::launch(
            &qkv.client,
            rows(tile_until.shape().num_elements() * shape.heads),
            CubeDim::new_1d(tile.units() as u32),
            qkv.clone().into_buffer(),
            into_cube_int(context.mask.on_device()).into_buffer(),
            tile_until.into_buffer(),
            output.clone().into_buffer(),
            log_sum_exp.clone().into_buffer(),
            shape.batch,
            shape.seq,
            shape.scale(),
            heads_of(&context),
            tile,
            element(&qkv),
        );
        let saved = Saved {
            qkv,
            output: output.clone(),
            log_sum_exp,
            context,
        };
        (output, saved)
    }

    fn backward(saved: Saved, grad_output: CubeTensor) -> CubeTensor {
        let Saved {
            qkv,
            output,
            log_sum_exp,
            context,
        } = saved;
        let grad_output = into_gradient(grad_output, &qkv);
        let shape = context.shape;
        #[cfg(feature = "cuda")]
        if flash::supports(&qkv, shape.head_dim) {
            let attended = attended(&qkv, &context);
            let pieces = context.mask.key_pieces(flash::TILE, shape.key_value_heads);
            let pieces = pieces.map(into_cube_int);
            let saved = [&output, &log_sum_exp];
            return flash::backward(&attended, saved, &grad_output, &pieces);
        }
        let tile = tile_of(&qkv, &context);
        let visible_until = into_cube_int(context.mask.on_device());
        let tile_until = into_cube_int(context.mask.tile_until(tile.side));
        let client = qkv.client.clone();
        let output_products = empty(&qkv, [shape.tokens(), shape.heads]);
        let (cubes, units) = elementwise(&client, shape.tokens() * shape.heads);
        output_products_kernel::launch(
            &client,
            cubes,
            units,
            output.into_buffer(),
            grad_output.clone().into_buffer(),
            output_products.clone().into_buffer(),
            shape.head_dim,
            element(&qkv),
        );
        let grad_qkv = empty_of(&qkv, [shape.tokens(), shape.width()], qkv.dtype);
        let tiles = tile_until.shape().num_elements();
        grad_query_kernel::launch(
            &client,
            rows(tiles * shape.heads),
            CubeDim::new_1d(tile.units() as u32),
            qkv.clone().into_buffer(),
            visible_until.clone().into_buffer(),
            tile_until.clone().into_buffer(),
            log_sum_exp.clone().into_buffer(),
            output_products.clone().into_buffer(),
            grad_output.clone().into_buffer(),
            grad_qkv.clone().into_buffer(),
            shape.batch,
            shape.seq,
            shape.scale(),
            heads_of(&context),
            tile,
            element(&grad_qkv),
        );
        grad_key_value_kernel::launch(
            &client,
            rows(tiles * shape.key_value_heads),
            CubeDim::new_1d(tile.units() as u32),
            qkv.into_buffer(),
            visible_until.into_buffer(),
            tile_until.into_buffer(),
            log_sum_exp.into_buffer(),
            output_products.into_buffer(),
            grad_output.into_buffer(),
            grad_qkv.clone().into_buffer(),
            shape.batch,
            shape.seq,
            shape.scale(),
            heads_of(&context),
            tile,
            element(&grad_qkv),
        );
        rotated(grad_qkv, &context, Direction::Inverse)
    }
}
