//! A GPU's memory as CubeCL's memory management sees it, of which only the sizes exist.

use std::collections::HashMap;
use std::sync::Arc;

use cubecl_ir::MemoryDeviceProperties;
use cubecl_server::logging::ServerLogger;
use cubecl_server::memory_management::{
    ErrorGraph, ManagedMemoryHandle, MemoryConfiguration, MemoryManagement,
    MemoryManagementOptions, PageUpdate,
};
use cubecl_server::server::IoError;
use cubecl_server::storage::{ComputeStorage, StorageHandle, StorageId, StorageUtilization};

/// An allocation, which lives until it is dropped.
pub type Tensor = ManagedMemoryHandle;

/// What the driver is asked for. As on CUDA, what is given back stays allocated until a flush.
#[derive(Default)]
struct Driver {
    sizes: HashMap<StorageId, u64>,
    given_back: Vec<StorageId>,
    allocated: u64,
    peak: u64,
}

impl ComputeStorage for Driver {
    type Resource = ();

    fn alignment(&self) -> usize {
        ALIGNMENT as usize
    }

    fn get(&mut self, _handle: &StorageHandle) -> Result<(), IoError> {
        Ok(())
    }

    fn alloc(&mut self, size: u64) -> Result<StorageHandle, IoError> {
        let id = StorageId::new();
        self.sizes.insert(id, size);
        self.allocated += size;
        self.peak = self.peak.max(self.allocated);
        Ok(StorageHandle::new(
            id,
            StorageUtilization { offset: 0, size },
        ))
    }

    fn dealloc(&mut self, id: StorageId) {
        self.given_back.push(id);
    }

    fn flush(&mut self) {
        let freed = self.given_back.drain(..);
        self.allocated -= freed.filter_map(|id| self.sizes.remove(&id)).sum::<u64>();
    }

    fn bytes_allocated(&self) -> u64 {
        self.allocated
    }
}

/// Bytes that an allocation on CUDA is aligned to.
const ALIGNMENT: u64 = 512;

/// An H100's memory.
const BYTES: u64 = 80 << 30;

/// A card and the pools in it.
pub struct Card(MemoryManagement<Driver>);

impl Card {
    /// An empty one, with the pools and the greatest page that CubeCL has on CUDA.
    pub fn new() -> Self {
        let properties = MemoryDeviceProperties::new(BYTES / 4, ALIGNMENT).with_max_memory(BYTES);
        Self(MemoryManagement::from_configuration(
            Driver::default(),
            &properties,
            MemoryConfiguration::default(),
            Arc::new(ServerLogger::default()),
            MemoryManagementOptions::new("card"),
        ))
    }

    /// A tensor of so many bytes.
    pub fn tensor(&mut self, bytes: u64) -> Tensor {
        let reserved = self
            .0
            .reserve(bytes, PageUpdate::Allow, &mut ErrorGraph::default());
        reserved.expect("the card is large enough")
    }

    /// Has unused pages given back.
    pub fn flush(&mut self) {
        self.0.storage().flush();
    }

    /// The most bytes that were allocated at once.
    pub fn peak(&mut self) -> u64 {
        self.0.storage().peak
    }
}
