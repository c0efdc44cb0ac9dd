/* What the kernel's interface has gained since Windows 7 and MinGW's headers lack, as far as drivers built with this kit
   have asked for it. Facts from the page of each routine; the import libraries offer each of these names. */
#ifdef __cplusplus
extern "C" {
#endif

/* Windows 10, version 2004. wdk-alloc calls it. */
typedef ULONG64 POOL_FLAGS;

NTKERNELAPI PVOID NTAPI ExAllocatePool2(POOL_FLAGS Flags, SIZE_T NumberOfBytes, ULONG Tag);

/* Windows 8 */
NTKERNELAPI PVOID NTAPI MmAllocateContiguousNodeMemory(
  SIZE_T NumberOfBytes,
  PHYSICAL_ADDRESS LowestAcceptableAddress,
  PHYSICAL_ADDRESS HighestAcceptableAddress,
  PHYSICAL_ADDRESS BoundaryAddressMultiple,
  ULONG Protect,
  NODE_REQUIREMENT PreferredNode);

NTKERNELAPI PMDL NTAPI MmAllocateNodePagesForMdlEx(
  PHYSICAL_ADDRESS LowAddress,
  PHYSICAL_ADDRESS HighAddress,
  PHYSICAL_ADDRESS SkipBytes,
  SIZE_T TotalBytes,
  MEMORY_CACHING_TYPE CacheType,
  ULONG IdealNode,
  ULONG Flags);

#define MdlMappingNoWrite 0x80000000
#define MdlMappingNoExecute 0x40000000

#define MM_ALLOCATE_FULLY_REQUIRED 0x00000004
#define MM_ALLOCATE_NO_WAIT 0x00000008
#define MM_ALLOCATE_PREFER_CONTIGUOUS 0x00000010
#define MM_ALLOCATE_REQUIRE_CONTIGUOUS_CHUNKS 0x00000020
#define MM_ALLOCATE_FAST_LARGE_PAGES 0x00000040

NTKERNELAPI VOID NTAPI KeQuerySystemTimePrecise(PLARGE_INTEGER CurrentTime);
NTKERNELAPI ULONG64 NTAPI KeQueryInterruptTimePrecise(PULONG64 QpcTimeStamp);

/* Push locks, documented from Windows 10, version 1809 */
#define EX_DEFAULT_PUSH_LOCK_FLAGS 0
#define EX_PUSH_LOCK_DISABLE_AUTOBOOST 0x00000001

NTKERNELAPI VOID NTAPI ExInitializePushLock(PULONG_PTR PushLock);
NTKERNELAPI VOID NTAPI ExAcquirePushLockExclusiveEx(PULONG_PTR PushLock, ULONG Flags);
NTKERNELAPI VOID NTAPI ExAcquirePushLockSharedEx(PULONG_PTR PushLock, ULONG Flags);
NTKERNELAPI VOID NTAPI ExReleasePushLockExclusiveEx(PULONG_PTR PushLock, ULONG Flags);
NTKERNELAPI VOID NTAPI ExReleasePushLockSharedEx(PULONG_PTR PushLock, ULONG Flags);

/* Windows 10, version 1809 */
#define MM_SECURE_EXCLUSIVE 0x00000001
#define MM_SECURE_NO_CHANGE 0x00000002
#define MM_SECURE_USER_MODE_ONLY 0x00000004
#define MM_SECURE_NO_INHERIT 0x00000008

NTKERNELAPI HANDLE NTAPI MmSecureVirtualMemoryEx(PVOID Address, SIZE_T Size, ULONG ProbeMode, ULONG Flags);

#ifdef __cplusplus
}
#endif
