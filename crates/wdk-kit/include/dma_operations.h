/* DMA_OPERATIONS as of Windows 11 (320 bytes), with the types that its members since Windows 8 need. Facts from the
   documented member list and from the page of each member. */
#define DMA_ADAPTER_INFO_VERSION1 1
#define DMA_TRANSFER_INFO_VERSION1 1
#define DMA_TRANSFER_INFO_VERSION2 2
#define DMA_TRANSFER_CONTEXT_VERSION1 1
#define DMA_TRANSFER_CONTEXT_SIZE_V1 128
#define DMA_SYNCHRONOUS_CALLBACK 0x01
#define DMA_ZERO_BUFFERS 0x02
#define DOMAIN_COMMON_BUFFER_LARGE_PAGE 0x01
#define ADAPTER_INFO_SYNCHRONOUS_CALLBACK 0x0001
#define ADAPTER_INFO_API_BYPASS 0x0002

typedef ULONG NODE_REQUIREMENT;

typedef struct _DMA_ADAPTER_INFO_V1 {
  ULONG ReadDmaCounterAvailable;
  ULONG ScatterGatherLimit;
  ULONG DmaAddressWidth;
  ULONG Flags;
  ULONG MinimumTransferUnit;
} DMA_ADAPTER_INFO_V1, *PDMA_ADAPTER_INFO_V1;

typedef struct _DMA_ADAPTER_INFO {
  ULONG Version;
  union {
    DMA_ADAPTER_INFO_V1 V1;
  };
} DMA_ADAPTER_INFO, *PDMA_ADAPTER_INFO;

typedef struct _DMA_TRANSFER_INFO_V1 {
  ULONG MapRegisterCount;
  ULONG ScatterGatherElementCount;
  ULONG ScatterGatherListSize;
} DMA_TRANSFER_INFO_V1, *PDMA_TRANSFER_INFO_V1;

typedef struct _DMA_TRANSFER_INFO_V2 {
  ULONG MapRegisterCount;
  ULONG ScatterGatherElementCount;
  ULONG ScatterGatherListSize;
  ULONG LogicalPageCount;
} DMA_TRANSFER_INFO_V2, *PDMA_TRANSFER_INFO_V2;

typedef struct _DMA_TRANSFER_INFO {
  ULONG Version;
  union {
    DMA_TRANSFER_INFO_V1 V1;
    DMA_TRANSFER_INFO_V2 V2;
  };
} DMA_TRANSFER_INFO, *PDMA_TRANSFER_INFO;

typedef enum _DMA_COMMON_BUFFER_EXTENDED_CONFIGURATION_TYPE {
  CommonBufferConfigTypeLogicalAddressLimits,
  CommonBufferConfigTypeSubSection,
  CommonBufferConfigTypeHardwareAccessPermissions,
  CommonBufferConfigTypeMax
} DMA_COMMON_BUFFER_EXTENDED_CONFIGURATION_TYPE, *PDMA_COMMON_BUFFER_EXTENDED_CONFIGURATION_TYPE;

typedef enum _DMA_COMMON_BUFFER_EXTENDED_CONFIGURATION_ACCESS_TYPE {
  CommonBufferHardwareAccessReadOnly,
  CommonBufferHardwareAccessWriteOnly,
  CommonBufferHardwareAccessReadWrite,
  CommonBufferHardwareAccessMax
} DMA_COMMON_BUFFER_EXTENDED_CONFIGURATION_ACCESS_TYPE, *PDMA_COMMON_BUFFER_EXTENDED_CONFIGURATION_ACCESS_TYPE;

typedef struct _DMA_COMMON_BUFFER_EXTENDED_CONFIGURATION {
  DMA_COMMON_BUFFER_EXTENDED_CONFIGURATION_TYPE ConfigType;
  union {
    struct {
      PHYSICAL_ADDRESS MinimumAddress;
      PHYSICAL_ADDRESS MaximumAddress;
    } LogicalAddressLimits;
    struct {
      ULONGLONG Offset;
      ULONG Length;
    } SubSection;
    DMA_COMMON_BUFFER_EXTENDED_CONFIGURATION_ACCESS_TYPE HardwareAccessType;
    ULONGLONG Reserved[4];
  };
} DMA_COMMON_BUFFER_EXTENDED_CONFIGURATION, *PDMA_COMMON_BUFFER_EXTENDED_CONFIGURATION;

typedef struct _DMA_COMMON_BUFFER_VECTOR DMA_COMMON_BUFFER_VECTOR, *PDMA_COMMON_BUFFER_VECTOR;

typedef VOID
(NTAPI DMA_COMPLETION_ROUTINE)(
  PDMA_ADAPTER DmaAdapter,
  PDEVICE_OBJECT DeviceObject,
  PVOID CompletionContext,
  DMA_COMPLETION_STATUS Status);
typedef DMA_COMPLETION_ROUTINE *PDMA_COMPLETION_ROUTINE;

typedef NTSTATUS
(NTAPI *PGET_DMA_ADAPTER_INFO)(
  PDMA_ADAPTER DmaAdapter,
  PDMA_ADAPTER_INFO AdapterInfo);

typedef NTSTATUS
(NTAPI *PGET_DMA_TRANSFER_INFO)(
  PDMA_ADAPTER DmaAdapter,
  PMDL Mdl,
  ULONGLONG Offset,
  ULONG Length,
  BOOLEAN WriteOnly,
  PDMA_TRANSFER_INFO TransferInfo);

typedef NTSTATUS
(NTAPI *PINITIALIZE_DMA_TRANSFER_CONTEXT)(
  PDMA_ADAPTER DmaAdapter,
  PVOID DmaTransferContext);

typedef PVOID
(NTAPI *PALLOCATE_COMMON_BUFFER_EX)(
  PDMA_ADAPTER DmaAdapter,
  PPHYSICAL_ADDRESS MaximumAddress,
  ULONG Length,
  PPHYSICAL_ADDRESS LogicalAddress,
  BOOLEAN CacheEnabled,
  NODE_REQUIREMENT PreferredNode);

typedef NTSTATUS
(NTAPI *PALLOCATE_ADAPTER_CHANNEL_EX)(
  PDMA_ADAPTER DmaAdapter,
  PDEVICE_OBJECT DeviceObject,
  PVOID DmaTransferContext,
  ULONG NumberOfMapRegisters,
  ULONG Flags,
  PDRIVER_CONTROL ExecutionRoutine,
  PVOID ExecutionContext,
  PVOID *MapRegisterBase);

typedef NTSTATUS
(NTAPI *PCONFIGURE_ADAPTER_CHANNEL)(
  PDMA_ADAPTER DmaAdapter,
  ULONG FunctionNumber,
  PVOID Context);

typedef BOOLEAN
(NTAPI *PCANCEL_ADAPTER_CHANNEL)(
  PDMA_ADAPTER DmaAdapter,
  PDEVICE_OBJECT DeviceObject,
  PVOID DmaTransferContext);

typedef NTSTATUS
(NTAPI *PMAP_TRANSFER_EX)(
  PDMA_ADAPTER DmaAdapter,
  PMDL Mdl,
  PVOID MapRegisterBase,
  ULONGLONG Offset,
  ULONG DeviceOffset,
  PULONG Length,
  BOOLEAN WriteToDevice,
  PSCATTER_GATHER_LIST ScatterGatherBuffer,
  ULONG ScatterGatherBufferLength,
  PDMA_COMPLETION_ROUTINE DmaCompletionRoutine,
  PVOID CompletionContext);

typedef NTSTATUS
(NTAPI *PGET_SCATTER_GATHER_LIST_EX)(
  PDMA_ADAPTER DmaAdapter,
  PDEVICE_OBJECT DeviceObject,
  PVOID DmaTransferContext,
  PMDL Mdl,
  ULONGLONG Offset,
  ULONG Length,
  ULONG Flags,
  PDRIVER_LIST_CONTROL ExecutionRoutine,
  PVOID Context,
  BOOLEAN WriteToDevice,
  PDMA_COMPLETION_ROUTINE DmaCompletionRoutine,
  PVOID CompletionContext,
  PSCATTER_GATHER_LIST *ScatterGatherList);

typedef NTSTATUS
(NTAPI *PBUILD_SCATTER_GATHER_LIST_EX)(
  PDMA_ADAPTER DmaAdapter,
  PDEVICE_OBJECT DeviceObject,
  PVOID DmaTransferContext,
  PMDL Mdl,
  ULONGLONG Offset,
  ULONG Length,
  ULONG Flags,
  PDRIVER_LIST_CONTROL ExecutionRoutine,
  PVOID Context,
  BOOLEAN WriteToDevice,
  PVOID ScatterGatherBuffer,
  ULONG ScatterGatherLength,
  PDMA_COMPLETION_ROUTINE DmaCompletionRoutine,
  PVOID CompletionContext,
  PVOID ScatterGatherList);

typedef NTSTATUS
(NTAPI *PFLUSH_ADAPTER_BUFFERS_EX)(
  PDMA_ADAPTER DmaAdapter,
  PMDL Mdl,
  PVOID MapRegisterBase,
  ULONGLONG Offset,
  ULONG Length,
  BOOLEAN WriteToDevice);

typedef VOID
(NTAPI *PFREE_ADAPTER_OBJECT)(
  PDMA_ADAPTER DmaAdapter,
  IO_ALLOCATION_ACTION AllocationAction);

typedef NTSTATUS
(NTAPI *PCANCEL_MAPPED_TRANSFER)(
  PDMA_ADAPTER DmaAdapter,
  PVOID DmaTransferContext);

typedef NTSTATUS
(NTAPI *PALLOCATE_DOMAIN_COMMON_BUFFER)(
  PDMA_ADAPTER DmaAdapter,
  HANDLE DomainHandle,
  PPHYSICAL_ADDRESS MaximumAddress,
  ULONG Length,
  ULONG Flags,
  MEMORY_CACHING_TYPE *CacheType,
  NODE_REQUIREMENT PreferredNode,
  PPHYSICAL_ADDRESS LogicalAddress,
  PVOID *VirtualAddress);

typedef NTSTATUS
(NTAPI *PFLUSH_DMA_BUFFER)(
  PDMA_ADAPTER DmaAdapter,
  PMDL Mdl,
  BOOLEAN ReadOperation);

typedef NTSTATUS
(NTAPI *PJOIN_DMA_DOMAIN)(
  PDMA_ADAPTER DmaAdapter,
  HANDLE DomainHandle);

typedef NTSTATUS
(NTAPI *PLEAVE_DMA_DOMAIN)(
  PDMA_ADAPTER DmaAdapter);

typedef HANDLE
(NTAPI *PGET_DMA_DOMAIN)(
  PDMA_ADAPTER DmaAdapter);

typedef PVOID
(NTAPI *PALLOCATE_COMMON_BUFFER_WITH_BOUNDS)(
  PDMA_ADAPTER DmaAdapter,
  PPHYSICAL_ADDRESS MinimumAddress,
  PPHYSICAL_ADDRESS MaximumAddress,
  ULONG Length,
  ULONG Flags,
  MEMORY_CACHING_TYPE *CacheType,
  NODE_REQUIREMENT PreferredNode,
  PPHYSICAL_ADDRESS LogicalAddress);

typedef NTSTATUS
(NTAPI *PALLOCATE_COMMON_BUFFER_VECTOR)(
  PDMA_ADAPTER DmaAdapter,
  PHYSICAL_ADDRESS LowAddress,
  PHYSICAL_ADDRESS HighAddress,
  MEMORY_CACHING_TYPE CacheType,
  ULONG IdealNode,
  ULONG Flags,
  ULONG NumberOfElements,
  ULONGLONG SizeOfElements,
  PDMA_COMMON_BUFFER_VECTOR *VectorOut);

typedef VOID
(NTAPI *PGET_COMMON_BUFFER_FROM_VECTOR_BY_INDEX)(
  PDMA_ADAPTER DmaAdapter,
  PDMA_COMMON_BUFFER_VECTOR Vector,
  ULONG Index,
  PVOID *VirtualAddressOut,
  PPHYSICAL_ADDRESS LogicalAddressOut);

typedef VOID
(NTAPI *PFREE_COMMON_BUFFER_FROM_VECTOR)(
  PDMA_ADAPTER DmaAdapter,
  PDMA_COMMON_BUFFER_VECTOR Vector,
  ULONG Index);

typedef VOID
(NTAPI *PFREE_COMMON_BUFFER_VECTOR)(
  PDMA_ADAPTER DmaAdapter,
  PDMA_COMMON_BUFFER_VECTOR Vector);

typedef NTSTATUS
(NTAPI *PCREATE_COMMON_BUFFER_FROM_MDL)(
  PDMA_ADAPTER DmaAdapter,
  PMDL Mdl,
  PDMA_COMMON_BUFFER_EXTENDED_CONFIGURATION ExtendedConfigs,
  ULONG ExtendedConfigsCount,
  PPHYSICAL_ADDRESS LogicalAddress);

typedef struct _DMA_OPERATIONS {
  ULONG Size;
  PPUT_DMA_ADAPTER PutDmaAdapter;
  PALLOCATE_COMMON_BUFFER AllocateCommonBuffer;
  PFREE_COMMON_BUFFER FreeCommonBuffer;
  PALLOCATE_ADAPTER_CHANNEL AllocateAdapterChannel;
  PFLUSH_ADAPTER_BUFFERS FlushAdapterBuffers;
  PFREE_ADAPTER_CHANNEL FreeAdapterChannel;
  PFREE_MAP_REGISTERS FreeMapRegisters;
  PMAP_TRANSFER MapTransfer;
  PGET_DMA_ALIGNMENT GetDmaAlignment;
  PREAD_DMA_COUNTER ReadDmaCounter;
  PGET_SCATTER_GATHER_LIST GetScatterGatherList;
  PPUT_SCATTER_GATHER_LIST PutScatterGatherList;
  /* version 2 */
  PCALCULATE_SCATTER_GATHER_LIST_SIZE CalculateScatterGatherList;
  PBUILD_SCATTER_GATHER_LIST BuildScatterGatherList;
  PBUILD_MDL_FROM_SCATTER_GATHER_LIST BuildMdlFromScatterGatherList;
  /* version 3, Windows 8 */
  PGET_DMA_ADAPTER_INFO GetDmaAdapterInfo;
  PGET_DMA_TRANSFER_INFO GetDmaTransferInfo;
  PINITIALIZE_DMA_TRANSFER_CONTEXT InitializeDmaTransferContext;
  PALLOCATE_COMMON_BUFFER_EX AllocateCommonBufferEx;
  PALLOCATE_ADAPTER_CHANNEL_EX AllocateAdapterChannelEx;
  PCONFIGURE_ADAPTER_CHANNEL ConfigureAdapterChannel;
  PCANCEL_ADAPTER_CHANNEL CancelAdapterChannel;
  PMAP_TRANSFER_EX MapTransferEx;
  PGET_SCATTER_GATHER_LIST_EX GetScatterGatherListEx;
  PBUILD_SCATTER_GATHER_LIST_EX BuildScatterGatherListEx;
  PFLUSH_ADAPTER_BUFFERS_EX FlushAdapterBuffersEx;
  PFREE_ADAPTER_OBJECT FreeAdapterObject;
  PCANCEL_MAPPED_TRANSFER CancelMappedTransfer;
  /* Windows 10 */
  PALLOCATE_DOMAIN_COMMON_BUFFER AllocateDomainCommonBuffer;
  PFLUSH_DMA_BUFFER FlushDmaBuffer;
  PJOIN_DMA_DOMAIN JoinDmaDomain;
  PLEAVE_DMA_DOMAIN LeaveDmaDomain;
  PGET_DMA_DOMAIN GetDmaDomain;
  /* Windows 10, version 1803 */
  PALLOCATE_COMMON_BUFFER_WITH_BOUNDS AllocateCommonBufferWithBounds;
  /* Windows 10, version 1903 */
  PALLOCATE_COMMON_BUFFER_VECTOR AllocateCommonBufferVector;
  PGET_COMMON_BUFFER_FROM_VECTOR_BY_INDEX GetCommonBufferFromVectorByIndex;
  PFREE_COMMON_BUFFER_FROM_VECTOR FreeCommonBufferFromVector;
  PFREE_COMMON_BUFFER_VECTOR FreeCommonBufferVector;
  /* Windows Server 2022, Windows 11 */
  PCREATE_COMMON_BUFFER_FROM_MDL CreateCommonBufferFromMdl;
} DMA_OPERATIONS, *PDMA_OPERATIONS;
