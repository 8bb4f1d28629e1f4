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
            alignment: 1 << (start + offset(block) | ALIGNMENT).trailing_zeros(),
        }
    }

    /// cuBLASLt stores matrices by columns, so that it sees each of ours transposed.
    fn layout(&self) -> Result<sys::cublasLtMatrixLayout_t, CudaError> {
        let element = match self.is_half {
            true => sys::cudaDataType_t::CUDA_R_16BF,
            false => sys::cudaDataType_t::CUDA_R_32F,
        };
        Ok(result::create_matrix_layout(
            element,
            self.columns,
            self.rows,
            self.stride,
        )?)
    }
}

/// What a plan depends on: right operand, left operand, addend and output.
type Key = [Stored; 4];

/// A product as cuBLASLt runs it.
#[derive(Debug, Clone, Copy)]
struct Plan {
    library: Library,
    description: sys::cublasLtMatmulDesc_t,
    layouts: [sys::cublasLtMatrixLayout_t; 4],
    algorithm: sys::cublasLtMatmulAlgo_t,
}

// SAFETY: nothing changes a plan, and the library may be used from every thread.
unsafe impl Send for Plan {}

/// cuBLASLt of one device.
#[derive(Debug, Clone, Copy)]
struct Library {
    handle: sys::cublasLtHandle_t,
    /// Used by one product after the other, which the stream sees to.
    workspace: CUdeviceptr,
}

// SAFETY: the library may be used from every thread.
unsafe impl Send for Library {}

static LIBRARIES: LazyLock<Mutex<HashMap<DeviceId, Library>>> = LazyLock::new(Mutex::default);

/// The plans of each device. None where cuBLASLt has no algorithm.
static PLANS: LazyLock<Mutex<HashMap<(DeviceId, Key), Option<Plan>>>> =
    LazyLock::new(Mutex::default);

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
    let Some(plan) = plan_of(client, blocks.map(Stored::new)) else {
        return false;
    };
    let handles = blocks.map(|block| block.tensor().handle.clone());
    let offsets = blocks.map(|block| offset(block) as u64);
    queue(client, handles.to_vec(), move |stream, found| {
        let addresses = std::array::from_fn(|n| found[n] + offsets[n]);
        plan.run(&addresses, [scale, beta], stream)
    });
    true
}

/// The plan of a product, made when it is first asked for.
fn plan_of(client: &Client, key: Key) -> Option<Plan> {
    let device = client.service_id().device;
    let mut plans = PLANS.lock().unwrap_or_else(PoisonError::into_inner);
    *plans.entry((device, key)).or_insert_with(|| {
        let made = on_runner(client, || Library::of(device)?.plan(&key));
        made.ok()
    })
}

impl Plan {
    fn run(
        &self,
        addresses: &[CUdeviceptr; 4],
        [scale, beta]: [f32; 2],
        stream: CUstream,
    ) -> Result<(), CudaError> {
        let [right, left, addend, output] = addresses.map(|address| address as *mut c_void);
        let [right_layout, left_layout, addend_layout, output_layout] = self.layouts;
        // SAFETY: the plan was made for these shapes and alignments, the addresses are those of
        // live tensors, and the workspace is as large as the plan was told.
        unsafe {
            result::matmul(
                self.library.handle,
                self.description,
                (&raw const scale).cast(),
                (&raw const beta).cast(),
                right,
                right_layout,
                left,
                left_layout,
                addend,
                addend_layout,
                output,
                output_layout,
                &self.algorithm,
                self.library.workspace as *mut c_void,
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
                // SAFETY: the memory is used by this library's products only.
                workspace: unsafe { cudarc::driver::result::malloc_sync(WORKSPACE)? },
            })),
        }
    }

    fn plan(&self, key: &Key) -> Result<Plan, CudaError> {
        let description = result::create_matmul_desc(
            sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            sys::cudaDataType_t::CUDA_R_32F,
        )?;
        let [right, left, ..] = key;
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
        let mut layouts = [std::ptr::null_mut(); 4];
        for (layout, stored) in layouts.iter_mut().zip(key) {
            *layout = stored.layout()?;
        }
        let algorithm = self.algorithm(description, &layouts, key)?;
        Ok(Plan {
            library: *self,
            description,
            layouts,
            algorithm,
        })
    }

    /// The algorithm that cuBLASLt expects to be the fastest.
    fn algorithm(
        &self,
        description: sys::cublasLtMatmulDesc_t,
        layouts: &[sys::cublasLtMatrixLayout_t; 4],
        key: &Key,
    ) -> Result<sys::cublasLtMatmulAlgo_t, CudaError> {
        use sys::cublasLtMatmulPreferenceAttributes_t as Preference;
        let preference = result::create_matmul_pref()?;
        let workspace = WORKSPACE;
        let [right, left, addend, output] = layouts;
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
            for (attribute, stored) in alignments.into_iter().zip(key) {
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
                *right,
                *left,
                *addend,
                *output,
                preference,
            );
            result::destroy_matmul_pref(preference)?;
            Ok(found?.algo)
        }
    }
}
