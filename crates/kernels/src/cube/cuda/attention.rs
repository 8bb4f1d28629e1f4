//! Blocked attention in bf16 on tensor cores, with sums in f32 (FlashAttention-2, Dao 2023, arXiv
//! 2307.08691), as CUDA C++ that NVRTC compiles for the GPU when it is first used.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::{CString, c_void};
use std::sync::{LazyLock, Mutex, PoisonError};

use burn::tensor::DType;
use cudarc::driver::result::{function, launch_kernel, module};
use cudarc::driver::sys::{
    CUdevice_attribute, CUdeviceptr, CUfunction, CUfunction_attribute_enum, CUresult, CUstream,
    cuCtxGetDevice,
};
use cudarc::nvrtc::{CompileOptions, compile_ptx_with_opts};

use super::stream::{current_context, queue};
use super::{CudaError, is_cuda};
use crate::cube::tensor::{CubeTensor, empty, empty_of};
use crate::flex::attention::Shape;
use crate::key_pieces::KeyPieces;

const SOURCE: &str = concat!(
    include_str!("attention/primitives.cu"),
    include_str!("attention/tiles.cu"),
    include_str!("attention/forward.cu"),
    include_str!("attention/backward.cu"),
);

/// Queries or keys of a tile. The same as in the source.
pub(in crate::cube) const TILE: usize = 64;

/// Threads of a block. The same as in the source.
const THREADS: usize = 128;

/// Whether these kernels compute the attention of a tensor: bf16 heads of a width that they are
/// written for. The environment variable `PLW_FLASH_ATTENTION=off` leaves it to CubeCL's.
pub(in crate::cube) fn supports(qkv: &CubeTensor, head_dim: usize) -> bool {
    static IS_ON: LazyLock<bool> = LazyLock::new(|| {
        let value = std::env::var_os("PLW_FLASH_ATTENTION");
        value.is_none_or(|value| value != "off")
    });
    is_cuda(qkv) && qkv.dtype == DType::BF16 && matches!(head_dim, 64 | 128) && *IS_ON
}

/// The queries, keys and values of a batch, and who sees whom. All are contiguous.
#[derive(Debug, Clone)]
pub(in crate::cube) struct Attended<'a> {
    pub(in crate::cube) shape: Shape,
    /// `[tokens, width]`, queries and keys rotated.
    pub(in crate::cube) qkv: &'a CubeTensor,
    /// `[tokens]`.
    pub(in crate::cube) visible_until: CubeTensor,
    /// [`AttentionMask::tile_spans`](crate::AttentionMask::tile_spans) of tiles of `TILE` tokens.
    pub(in crate::cube) spans: CubeTensor,
    /// What queries and keys were rotated by: cosines and sines, `[tokens * head_dim / 2]` each.
    pub(in crate::cube) angles: [CubeTensor; 2],
}

/// The output `[tokens, heads * head_dim]`, and in f32 the log-sum-exp of each query's scores
/// `[tokens, heads]`.
///
/// # Panics
///
/// Where the GPU refused earlier work. That NVRTC or the driver refuses these kernels shows later.
pub(in crate::cube) fn forward(attended: &Attended<'_>) -> [CubeTensor; 2] {
    let Attended {
        shape,
        qkv,
        visible_until,
        spans,
        angles: _,
    } = attended;
    let shape = *shape;
    let output = empty_of(qkv, [shape.tokens(), shape.output_width()], DType::BF16);
    let log_sum_exp = empty(qkv, [shape.tokens(), shape.heads]);
    let tensors = [qkv, visible_until, spans, &output, &log_sum_exp];
    run(&shape, &tensors, move |kernels, launch, found| {
        let grid = [launch.tiles(), shape.heads];
        // SAFETY: the tensors have the sizes that the kernel's comment names.
        unsafe { launch.run(&kernels.forward, grid, found) }
    });
    [output, log_sum_exp]
}

/// The gradient of `qkv` before queries and keys were rotated, for what [`forward`] found and the
/// gradient of its output. `pieces` are those of tiles of `TILE` tokens.
///
/// # Panics
///
/// As [`forward`].
pub(in crate::cube) fn backward(
    attended: &Attended<'_>,
    [output, log_sum_exp]: [&CubeTensor; 2],
    grad_output: &CubeTensor,
    pieces: &KeyPieces<CubeTensor>,
) -> CubeTensor {
    assert_eq!(grad_output.dtype, DType::BF16, "the output's type");
    let Attended {
        shape,
        qkv,
        visible_until,
        spans,
        angles: [cosines, sines],
    } = attended;
    let shape = *shape;
    let products = empty(qkv, [shape.tokens(), shape.heads]);
    let grad_qkv = empty_of(qkv, [shape.tokens(), shape.width()], DType::BF16);
    // Of each slot and head a tile of keys and one of values.
    let of_slot = shape.key_value_heads * 2 * TILE * shape.head_dim;
    let piece_sums = empty(qkv, [pieces.slots.max(1), of_slot]);
    let tensors = [
        qkv,
        visible_until,
        spans,
        cosines,
        sines,
        log_sum_exp,
        &products,
        grad_output,
        &grad_qkv,
        output,
        &pieces.pieces,
        &pieces.divided,
        &piece_sums,
    ];
    let (count, divided_count) = (pieces.count, pieces.divided_count);
    run(&shape, &tensors, move |kernels, launch, found| {
        let found = found.try_into().expect("an address for each tensor");
        let [
            qkv,
            visible_until,
            spans,
            cosines,
            sines,
            log_sum_exp,
            products,
            grad_output,
            grad_qkv,
            output,
            pieces,
            divided,
            piece_sums,
        ]: [CUdeviceptr; 13] = found;
        // SAFETY: the tensors have the sizes that the kernels' comments name.
        unsafe {
            let first = [qkv, visible_until, spans, cosines, sines, log_sum_exp];
            let rest = [output, products, grad_output, grad_qkv];
            let grid = [launch.tiles(), shape.heads];
            launch.run(&kernels.grad_query, grid, &[&first[..], &rest].concat())?;
            let first = [qkv, visible_until, pieces, cosines, sines, log_sum_exp];
            let rest = [products, grad_output, grad_qkv, piece_sums];
            let grid = [count, shape.key_value_heads];
            launch.run(&kernels.grad_key_value, grid, &[&first[..], &rest].concat())?;
            if divided_count == 0 {
                return Ok(());
            }
            // A block for each 8 columns of keys and of values.
            let grid = [divided_count, shape.key_value_heads * shape.head_dim / 8];
            let operands = [divided, cosines, sines, piece_sums, grad_qkv];
            launch.run(&kernels.add_pieces, grid, &operands)
        }
    });
    grad_qkv
}

/// Queues `work`, which gets the kernels for the width of the heads and the tensors' addresses.
fn run(
    shape: &Shape,
    tensors: &[&CubeTensor],
    work: impl FnOnce(&Kernels, &Launch, &[CUdeviceptr]) -> Result<(), CudaError> + Send + 'static,
) {
    if shape.tokens() == 0 {
        return;
    }
    let handles = tensors.iter().map(|tensor| tensor.handle.clone()).collect();
    let shape = *shape;
    queue(&tensors[0].client, handles, move |stream, addresses| {
        // The kernels read and write 16 bytes at a time.
        if addresses.iter().any(|address| address % 16 != 0) {
            return Err(CudaError::Driver(CUresult::CUDA_ERROR_MISALIGNED_ADDRESS));
        }
        let kernels = Kernels::of_context(shape.head_dim)?;
        work(&kernels, &Launch::new(&shape, stream), addresses)
    });
}

/// A kernel on a GPU.
#[derive(Debug, Clone, Copy)]
struct Kernel {
    function: CUfunction,
    /// Bytes of its blocks' shared memory.
    shared: usize,
}

/// The kernels for heads of one width.
#[derive(Debug, Clone, Copy)]
struct Kernels {
    forward: Kernel,
    grad_query: Kernel,
    grad_key_value: Kernel,
    add_pieces: Kernel,
}

// SAFETY: a kernel may be launched from every thread, and is never unloaded.
unsafe impl Send for Kernels {}

/// By the address of a context, which lives as long as the program, and the width of the heads.
static KERNELS: LazyLock<Mutex<HashMap<(usize, usize), Kernels>>> = LazyLock::new(Mutex::default);

impl Kernels {
    /// Those of the current context, compiled when they are first asked for.
    fn of_context(head_dim: usize) -> Result<Self, CudaError> {
        let mut kernels = KERNELS.lock().unwrap_or_else(PoisonError::into_inner);
        match kernels.entry((current_context()?.addr(), head_dim)) {
            Entry::Occupied(entry) => Ok(*entry.get()),
            Entry::Vacant(entry) => Ok(*entry.insert(Self::load(head_dim)?)),
        }
    }

    fn load(head_dim: usize) -> Result<Self, CudaError> {
        let options = CompileOptions {
            options: vec![
                format!("--gpu-architecture=compute_{}", compute_capability()?),
                format!("--define-macro=HEAD_DIM={head_dim}"),
                "--std=c++17".to_string(),
            ],
            ..CompileOptions::default()
        };
        let compiled = compile_ptx_with_opts(SOURCE, options)?;
        let text = CString::new(compiled.to_src()).expect("`to_src` ends at the first zero");
        // SAFETY: the image is a string that ends with a zero.
        let module = unsafe { module::load_data(text.as_ptr().cast())? };
        let kernel = |name: &str, shared: usize| -> Result<Kernel, CudaError> {
            let name = CString::new(name).expect("a name without zeros");
            // SAFETY: the module was loaded above and is never unloaded.
            let function = unsafe { module::get_function(module, name)? };
            let attribute =
                CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: the function was found above.
            unsafe { function::set_function_attribute(function, attribute, shared as i32)? };
            Ok(Kernel { function, shared })
        };
        let tile = TILE * head_dim * size_of::<u16>();
        // Of each query of two tiles, the log-sum-exp and the output's product.
        let sums = 2 * TILE * 2 * size_of::<f32>();
        Ok(Self {
            forward: kernel("attention_forward", 4 * tile)?,
            grad_query: kernel("attention_grad_query", 4 * tile)?,
            grad_key_value: kernel("attention_grad_key_value", 6 * tile + sums)?,
            add_pieces: kernel("attention_add_pieces", 0)?,
        })
    }
}

/// The compute capability of the current device, as `90` for 9.0.
fn compute_capability() -> Result<i32, CudaError> {
    let mut device = 0;
    // SAFETY: the call writes the current device through the pointer.
    unsafe { cuCtxGetDevice(&mut device) }.result()?;
    // SAFETY: the device is the current one.
    let read =
        |attribute| unsafe { cudarc::driver::result::device::get_attribute(device, attribute) };
    let major = read(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
    let minor = read(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
    Ok(major * 10 + minor)
}

/// The sizes of an attention, as the kernels take them, and the stream that they run on.
struct Launch {
    stream: CUstream,
    batch: usize,
    seq: i32,
    heads: i32,
    key_value_heads: i32,
    scale: f32,
}

impl Launch {
    fn new(shape: &Shape, stream: CUstream) -> Self {
        Self {
            stream,
            batch: shape.batch,
            seq: shape.seq as i32,
            heads: shape.heads as i32,
            key_value_heads: shape.key_value_heads as i32,
            scale: shape.scale(),
        }
    }

    fn tiles(&self) -> usize {
        self.batch * (self.seq as usize).div_ceil(TILE)
    }

    /// Queues a kernel with `first` (addresses, and what has their size) and then the sizes as its
    /// parameters. A kernel that takes fewer does not read the last ones.
    ///
    /// # Safety
    ///
    /// The parameters must be those of the kernel, and what it reads and writes must be there.
    unsafe fn run(
        &self,
        kernel: &Kernel,
        [width, height]: [usize; 2],
        first: &[u64],
    ) -> Result<(), CudaError> {
        let sizes = [&self.seq, &self.heads, &self.key_value_heads];
        let address = |value: *const c_void| value.cast_mut();
        let mut parameters: Vec<*mut c_void> = Vec::with_capacity(first.len() + 4);
        parameters.extend(
            first
                .iter()
                .map(|value| address((&raw const *value).cast())),
        );
        parameters.extend(sizes.map(|value| address((&raw const *value).cast())));
        parameters.push(address((&raw const self.scale).cast()));
        // SAFETY: as the caller promises; the parameters live until the call has copied them.
        unsafe {
            launch_kernel(
                kernel.function,
                (width as u32, height as u32, 1),
                (THREADS as u32, 1, 1),
                kernel.shared as u32,
                self.stream,
                &mut parameters,
            )?;
        }
        Ok(())
    }
}
