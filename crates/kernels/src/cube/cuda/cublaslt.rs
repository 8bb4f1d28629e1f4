//! Matrix products by NVIDIA's cuBLASLt: f32 in true f32, bf16 with sums in f32.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::c_void;
use std::sync::{LazyLock, Mutex, PoisonError};

use burn::tensor::DType;
use cudarc::cublaslt::{result, sys};
use cudarc::driver::sys::{CUdeviceptr, CUstream};

use super::CudaError;
use super::stream::on_stream;
use crate::cube::matmul::{Addend, Block};

/// Bytes that a product may use for itself, as NVIDIA recommends for Hopper.
const WORKSPACE: usize = 32 << 20;

/// A stored matrix, row-major, as a product takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Stored {
    rows: u64,
    columns: u64,
    /// Elements from one row to the next.
    stride: i64,
    is_half: bool,
    is_transposed: bool,
    /// The greatest power of two, at most 256, that divides the address.
    alignment: u32,
}

impl Stored {
    fn new(block: &Block<'_>) -> Self {
        let [rows, columns] = block.stored();
        Self {
            rows: rows as u64,
            columns: columns as u64,
            stride: block.stride() as i64,
            is_half: block.tensor().dtype == DType::BF16,
            is_transposed: block.is_transposed(),
            alignment: 1,
        }
    }

    fn at(self, address: CUdeviceptr) -> Self {
        Self {
            alignment: 1 << address.trailing_zeros().min(8),
            ..self
        }
    }

    /// cuBLASLt stores matrices by columns, so that it sees each of ours transposed.
    fn layout(&self) -> Result<sys::cublasLtMatrixLayout_t, CudaError> {
        let element = match self.is_half {
            true => sys::cudaDataType_t::CUDA_R_16BF,
            false => sys::cudaDataType_t::CUDA_R_32F,
        };
        let found = result::create_matrix_layout(element, self.columns, self.rows, self.stride)?;
        Ok(found)
    }
}

/// What a plan depends on: right operand, left operand, addend and output.
type Key = [Stored; 4];

/// A product as cuBLASLt runs it.
#[derive(Debug, Clone, Copy)]
struct Plan {
    description: sys::cublasLtMatmulDesc_t,
    layouts: [sys::cublasLtMatrixLayout_t; 4],
    algorithm: sys::cublasLtMatmulAlgo_t,
}

/// cuBLASLt of one device, with its plans.
struct Library {
    handle: sys::cublasLtHandle_t,
    workspace: CUdeviceptr,
    plans: HashMap<Key, Plan>,
}

// SAFETY: the library may be used from every thread, and `LIBRARIES` lets one in at a time.
unsafe impl Send for Library {}

/// By the address of the stream, of which a device has one.
static LIBRARIES: LazyLock<Mutex<HashMap<usize, Library>>> = LazyLock::new(Mutex::default);

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

/// `output = scale * left * right + addend`.
///
/// # Errors
///
/// If cuBLASLt has no algorithm for these shapes and addresses, or the driver refuses.
pub(crate) fn multiply(
    output: &Block<'_>,
    [left, right]: [&Block<'_>; 2],
    scale: f32,
    addend: &Addend<'_>,
) -> Result<(), CudaError> {
    let (other, beta) = match addend {
        Addend::Nothing => (output, 0.0),
        Addend::Output => (output, 1.0),
        Addend::Block(block) => (block, 1.0),
    };
    let blocks = [right, left, other, output];
    let handles = blocks.map(|block| block.tensor().handle.clone());
    let offsets = blocks.map(|block| (block.offset() * block.tensor().dtype.size()) as u64);
    let matrices = blocks.map(Stored::new);
    let client = &output.tensor().client;
    on_stream(client, handles.to_vec(), move |stream, found| {
        let addresses: [CUdeviceptr; 4] = std::array::from_fn(|n| found[n] + offsets[n]);
        let key = std::array::from_fn(|n| matrices[n].at(addresses[n]));
        let mut libraries = LIBRARIES.lock().unwrap_or_else(PoisonError::into_inner);
        let library = match libraries.entry(stream.addr()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Library::new()?),
        };
        library.run(&key, &addresses, [scale, beta], stream)
    })
}

impl Library {
    fn new() -> Result<Self, CudaError> {
        Ok(Self {
            handle: result::create_handle()?,
            // SAFETY: the memory is used by this library's products only, one after the other.
            workspace: unsafe { cudarc::driver::result::malloc_sync(WORKSPACE)? },
            plans: HashMap::new(),
        })
    }

    fn run(
        &mut self,
        key: &Key,
        addresses: &[CUdeviceptr; 4],
        [scale, beta]: [f32; 2],
        stream: CUstream,
    ) -> Result<(), CudaError> {
        let plan = match self.plans.get(key) {
            Some(plan) => *plan,
            None => {
                let plan = self.plan(key)?;
                self.plans.insert(*key, plan);
                plan
            }
        };
        let [right, left, addend, output] = addresses.map(|address| address as *mut c_void);
        let [right_layout, left_layout, addend_layout, output_layout] = plan.layouts;
        // SAFETY: the plan was made for these shapes and alignments, the addresses are those of
        // live tensors, and the workspace is as large as the plan was told.
        unsafe {
            result::matmul(
                self.handle,
                plan.description,
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
                &plan.algorithm,
                self.workspace as *mut c_void,
                WORKSPACE,
                stream.cast(),
            )?;
        }
        Ok(())
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
