//! Matrix products by NVIDIA's cuBLASLt: f32 in true f32, bf16 with sums in f32.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::c_void;
use std::sync::{LazyLock, Mutex, PoisonError};

use burn::tensor::DType;
use burn_cubecl::cubecl::client::Client;
use cubecl_common::device::DeviceId;
use cudarc::cublaslt::{result, sys};
use cudarc::driver::sys::{CUdeviceptr, CUstream};

use super::CudaError;
use super::stream::{on_runner, queue};
use crate::cube::matmul::{Addend, Block};

/// Bytes that a product may use for itself, as NVIDIA recommends for Hopper.
const WORKSPACE: usize = 32 << 20;

/// Bytes that every allocation of CubeCL begins at a multiple of, at least.
const ALIGNMENT: usize = 256;

/// A stored matrix, row-major, as a product takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Stored {
    rows: u64,
    columns: u64,
    /// Elements from one row to the next.
    stride: i64,
    is_half: bool,
    is_transposed: bool,
    /// The greatest power of two that is known to divide the address.
    alignment: u32,
}

/// Bytes before a block in its tensor's memory.
fn offset(block: &Block<'_>) -> usize {
    block.offset() * block.tensor().dtype.size()
}

impl Stored {
    fn new(block: &Block<'_>) -> Self {
        let [rows, columns] = block.stored();
        let start = block.tensor().handle.offset_start.unwrap_or(0) as usize;
        Self {
            rows: rows as u64,
            columns: columns as u64,
            stride: block.stride() as i64,
            is_half: block.tensor().dtype == DType::BF16,
            is_transposed: block.is_transposed(),
            alignment: 1 << ((start + offset(block)) | ALIGNMENT).trailing_zeros(),
        }
    }

    fn with_rows_rounded(self) -> Self {
        let step = (self.rows.next_power_of_two() / 16).max(1);
        Self {
            rows: self.rows.next_multiple_of(step),
            ..self
        }
    }
}

/// A matrix as cuBLASLt knows it.
struct Layout(sys::cublasLtMatrixLayout_t);

impl Layout {
    /// cuBLASLt stores matrices by columns, so that it sees each of ours transposed.
    fn new(stored: &Stored) -> Result<Self, CudaError> {
        let element = match stored.is_half {
            true => sys::cudaDataType_t::CUDA_R_16BF,
            false => sys::cudaDataType_t::CUDA_R_32F,
        };
        let (rows, columns) = (stored.columns, stored.rows);
        Ok(Self(result::create_matrix_layout(
            element,
            rows,
            columns,
            stored.stride,
        )?))
    }
}

impl Drop for Layout {
    fn drop(&mut self) {
        // SAFETY: the layout is destroyed once, and nothing keeps it.
        let destroyed = unsafe { result::destroy_matrix_layout(self.0) };
        debug_assert!(destroyed.is_ok(), "a layout is memory of the host");
    }
}

/// The matrices of a product: right operand, left operand, addend and output.
type Matrices = [Stored; 4];

fn layouts(matrices: &Matrices) -> Result<[Layout; 4], CudaError> {
    let [right, left, addend, output] = matrices;
    Ok([
        Layout::new(right)?,
        Layout::new(left)?,
        Layout::new(addend)?,
        Layout::new(output)?,
    ])
}

/// The matrices with a few tokens more, so that batches of about one size share a plan.
fn rounded(matrices: Matrices) -> Matrices {
    let [right, left, addend, output] = matrices;
    match (left.is_transposed, right.is_transposed) {
        // A token is a row of the left operand and of the output.
        (false, _) => [
            right,
            left.with_rows_rounded(),
            addend.with_rows_rounded(),
            output.with_rows_rounded(),
        ],
        // A token is a row of both operands.
        (true, false) => [
            right.with_rows_rounded(),
            left.with_rows_rounded(),
            addend,
            output,
        ],
        (true, true) => matrices,
    }
}

/// How cuBLASLt computes a product.
#[derive(Debug, Clone, Copy)]
struct Plan {
    library: Library,
    description: sys::cublasLtMatmulDesc_t,
    algorithm: sys::cublasLtMatmulAlgo_t,
}

// SAFETY: nothing changes a plan, and the library may be used from every thread.
unsafe impl Send for Plan {}

/// cuBLASLt of one device.
#[derive(Debug, Clone, Copy)]
struct Library {
    handle: sys::cublasLtHandle_t,
}

// SAFETY: the library may be used from every thread.
unsafe impl Send for Library {}

static LIBRARIES: LazyLock<Mutex<HashMap<DeviceId, Library>>> = LazyLock::new(Mutex::default);

/// Memory for products of one stream, which computes them one after the other. By the stream's
/// address.
static WORKSPACES: LazyLock<Mutex<HashMap<usize, CUdeviceptr>>> = LazyLock::new(Mutex::default);

/// The workspace of a stream of the current device, made when it is first asked for.
fn workspace(stream: CUstream) -> Result<CUdeviceptr, CudaError> {
    let mut workspaces = WORKSPACES.lock().unwrap_or_else(PoisonError::into_inner);
    match workspaces.entry(stream.addr()) {
        Entry::Occupied(entry) => Ok(*entry.get()),
        Entry::Vacant(entry) => {
            // SAFETY: the memory is used by products on this stream only, and never freed.
            Ok(*entry.insert(unsafe { cudarc::driver::result::malloc_sync(WORKSPACE)? }))
        }
    }
}

/// None where cuBLASLt has no algorithm.
type Plans = HashMap<(DeviceId, Matrices), Option<Plan>>;

static PLANS: LazyLock<Mutex<Plans>> = LazyLock::new(Mutex::default);

/// Whether the library is installed, and not turned off by the environment variable `PLW_CUBLASLT`.
pub(crate) fn is_available() -> bool {
    static FOUND: LazyLock<bool> = LazyLock::new(|| {
        if std::env::var_os("PLW_CUBLASLT").is_some_and(|value| value == "off") {
            return false;
        }
        // SAFETY: the call only opens the library by its usual names.
        unsafe { sys::is_culib_present() }
    });
    *FOUND
}

/// Queues `output = scale * left * right + addend`. Returns false, and does nothing, where cuBLASLt
/// has no algorithm for these shapes and addresses.
pub(crate) fn multiply(
    output: &Block<'_>,
    [left, right]: [&Block<'_>; 2],
    scale: f32,
    addend: &Addend<'_>,
) -> bool {
    let (other, beta) = match addend {
        Addend::Nothing => (output, 0.0),
        Addend::Output => (output, 1.0),
        Addend::Block(block) => (block, 1.0),
    };
    let blocks = [right, left, other, output];
    let client = &output.tensor().client;
    let matrices = blocks.map(Stored::new);
    let Some(plan) = plan_of(client, rounded(matrices)) else {
        return false;
    };
    let handles = blocks.map(|block| block.tensor().handle.clone());
    let offsets = blocks.map(|block| offset(block) as u64);
    queue(client, handles.to_vec(), move |stream, found| {
        let addresses = std::array::from_fn(|n| found[n] + offsets[n]);
        let factors = [scale, beta];
        if plan.run(&matrices, &addresses, factors, stream).is_ok() {
            return Ok(());
        }
        // What suits a few tokens more need not suit these.
        let plan = plan.library.plan(&matrices)?;
        plan.run(&matrices, &addresses, factors, stream)
    });
    true
}

/// The plan of a product, made when it is first asked for.
fn plan_of(client: &Client, matrices: Matrices) -> Option<Plan> {
    let device = client.service_id().device;
    let mut plans = PLANS.lock().unwrap_or_else(PoisonError::into_inner);
    *plans.entry((device, matrices)).or_insert_with(|| {
        let made = on_runner(client, || Library::of(device)?.plan(&matrices));
        made.ok()
    })
}

impl Plan {
    fn run(
        &self,
        matrices: &Matrices,
        addresses: &[CUdeviceptr; 4],
        [scale, beta]: [f32; 2],
        stream: CUstream,
    ) -> Result<(), CudaError> {
        let [right, left, addend, output] = addresses.map(|address| address as *mut c_void);
        let layouts = layouts(matrices)?;
        let workspace = workspace(stream)?;
        // SAFETY: the layouts are those of live tensors at these addresses, cuBLASLt checks that
        // the algorithm takes them, and the workspace is as large as the plan was told.
        unsafe {
            result::matmul(
                self.library.handle,
                self.description,
                (&raw const scale).cast(),
                (&raw const beta).cast(),
                right,
                layouts[0].0,
                left,
                layouts[1].0,
                addend,
                layouts[2].0,
                output,
                layouts[3].0,
                &self.algorithm,
                workspace as *mut c_void,
                WORKSPACE,
                stream.cast(),
            )?;
        }
        Ok(())
    }
}

impl Library {
    /// The current device's.
    fn of(device: DeviceId) -> Result<Self, CudaError> {
        let mut libraries = LIBRARIES.lock().unwrap_or_else(PoisonError::into_inner);
        match libraries.entry(device) {
            Entry::Occupied(entry) => Ok(*entry.get()),
            Entry::Vacant(entry) => Ok(*entry.insert(Self {
                handle: result::create_handle()?,
            })),
        }
    }

    fn plan(&self, matrices: &Matrices) -> Result<Plan, CudaError> {
        let description = result::create_matmul_desc(
            sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            sys::cudaDataType_t::CUDA_R_32F,
        )?;
        let [right, left, ..] = matrices;
        let sides = [
            (
                sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA,
                right,
            ),
            (
                sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSB,
                left,
            ),
        ];
        for (attribute, side) in sides {
            // CUBLAS_OP_N and CUBLAS_OP_T, which cudarc does not name.
            let operation = i32::from(side.is_transposed);
            // SAFETY: the attribute has the type and size of the value.
            unsafe {
                result::set_matmul_desc_attribute(
                    description,
                    attribute,
                    (&raw const operation).cast(),
                    size_of_val(&operation),
                )?;
            }
        }
        let algorithm = self.algorithm(description, matrices)?;
        Ok(Plan {
            library: *self,
            description,
            algorithm,
        })
    }

    /// The algorithm that cuBLASLt expects to be the fastest.
    fn algorithm(
        &self,
        description: sys::cublasLtMatmulDesc_t,
        matrices: &Matrices,
    ) -> Result<sys::cublasLtMatmulAlgo_t, CudaError> {
        use sys::cublasLtMatmulPreferenceAttributes_t as Preference;
        let preference = result::create_matmul_pref()?;
        let workspace = WORKSPACE;
        let layouts = layouts(matrices)?;
        let alignments = [
            Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
            Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
            Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
            Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
        ];
        // SAFETY: the attributes have the types and sizes of the values, and nothing is used after
        // it was destroyed.
        unsafe {
            result::set_matmul_pref_attribute(
                preference,
                Preference::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                (&raw const workspace).cast(),
                size_of_val(&workspace),
            )?;
            for (attribute, stored) in alignments.into_iter().zip(matrices) {
                result::set_matmul_pref_attribute(
                    preference,
                    attribute,
                    (&raw const stored.alignment).cast(),
                    size_of_val(&stored.alignment),
                )?;
            }
            let found = result::get_matmul_algo_heuristic(
                self.handle,
                description,
                layouts[0].0,
                layouts[1].0,
                layouts[2].0,
                layouts[3].0,
                preference,
            );
            result::destroy_matmul_pref(preference)?;
            Ok(found?.algo)
        }
    }
}
