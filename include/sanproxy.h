/*
 * sanproxy.h: the contract between the sanproxy driver and the programs that use it.
 *
 * Generated from crates/abi: cargo run -p sanproxy-header > include/sanproxy.h
 * Do not edit.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * How to use it: find the device by its interface class, open it for reading and writing, and send
 * the control codes below with DeviceIoControl. The input and output buffers are exactly the structs
 * named with each code: no longer, no shorter. Every struct begins with a SANPROXY_HEADER; fill that
 * of the input with SANPROXY_HEADER_OF, and zero all reserved fields. What a program registers
 * belongs to the file it opened, and goes when that is closed.
 *
 * The structs have the same layout in 32-bit and 64-bit programs.
 */
#ifndef SANPROXY_H
#define SANPROXY_H

#include <stddef.h>
#include <stdint.h>

#if defined(__cplusplus)
#define SANPROXY_ASSERT(name, condition) static_assert(condition, #name)
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define SANPROXY_ASSERT(name, condition) _Static_assert(condition, #name)
#else
#define SANPROXY_ASSERT(name, condition) typedef char sanproxy_assert_##name[(condition) ? 1 : -1]
#endif

/* ---- Versions and limits ---- */

/* The version of the structs, in every header. */
#define SANPROXY_WIRE_VERSION 0x1u
/* The major version of the interface: another one means that old programs do not work. */
#define SANPROXY_INTERFACE_MAJOR 0x1u
/* The minor version of the interface: a higher one only adds. */
#define SANPROXY_INTERFACE_MINOR 0x0u
/* The size of a page, the unit in which memory is registered. */
#define SANPROXY_PAGE_SIZE 0x1000u
/* How many pieces one SANPROXY_QUERY_REGISTRATION_OUTPUT can hold. */
#define SANPROXY_PIECES_PER_REPLY 0x20u
/* How many failure counters a SANPROXY_STATISTICS_OUTPUT holds. */
#define SANPROXY_FAILURE_COUNTERS 0x30u
/* How many buckets the latency histogram of a SANPROXY_STATISTICS_OUTPUT has. */
#define SANPROXY_LATENCY_BUCKETS 0x18u
/* How many registrations one SANPROXY_ENUMERATE_OUTPUT can hold. */
#define SANPROXY_REGISTRATIONS_PER_REPLY 0x10u
/* The most ranges that a registration is made of. */
#define SANPROXY_MOST_RANGES 0x1000u
/* The kind under which a secured range is listed: it is no memory of the device. */
#define SANPROXY_SECURED_RANGE 0x0u
/* The node number that stands for any node. */
#define SANPROXY_ANY_NODE 0xFFFFFFFFu
/* The largest alignment that can be asked for. */
#define SANPROXY_LARGEST_ALIGNMENT 0x40000000u
/* The highest device address of low memory. */
#define SANPROXY_LOW_MEMORY_HIGHEST 0xFFFFFFFFu
/* The longest message between two files in bytes. */
#define SANPROXY_LONGEST_MESSAGE 0x10000u
/* How many messages are kept for a receiver that has not asked for them yet. */
#define SANPROXY_MESSAGES_PER_QUEUE 0x40u
/* How many send requests, and how many receive requests, one file can have waiting. */
#define SANPROXY_WAITING_REQUESTS 0x40u

/* ---- The device interface class ---- */

/* An initialiser of a GUID: how programs find the device. */
#define SANPROXY_INTERFACE_CLASS \
    { 0xE13F37E5u, 0xB50B, 0x4C9C, { 0x92, 0x2D, 0x68, 0xE0, 0x3B, 0x47, 0x71, 0x9D } }

#if defined(DEFINE_GUID)
/* Include <initguid.h> before this file in one source file, so that it is defined there. */
DEFINE_GUID(GUID_DEVINTERFACE_SANPROXY, 0xE13F37E5, 0xB50B, 0x4C9C,
    0x92, 0x2D, 0x68, 0xE0, 0x3B, 0x47, 0x71, 0x9D);
#endif

/* ---- Kind ---- */

/* Where the memory of a registration comes from. */

/* A common buffer of the device's DMA adapter: the default for RDMA and messages. */
#define SANPROXY_KIND_COMMON_BUFFER 1u
/* Physically contiguous memory from the memory manager. */
#define SANPROXY_KIND_CONTIGUOUS 2u
/* Several contiguous ranges up to a total, from a request of its own. */
#define SANPROXY_KIND_HOST_MEMORY_BUFFER 3u
/* The caller's own pages, registered with IOCTL_SANPROXY_REGISTER_USER_BUFFER. */
#define SANPROXY_KIND_USER_BUFFER 4u

/* ---- RegisterFlags ---- */

/* Flags of a register request, or-ed together. Undefined bits are zero. */

/* Map the memory into the calling process. */
#define SANPROXY_REGISTER_MAP 1u
/* Below 4 GiB as the device sees it, or fail. */
#define SANPROXY_REGISTER_LOW_MEMORY 2u
/* If one block cannot be had, several smaller ones will do. */
#define SANPROXY_REGISTER_ALLOW_PIECES 4u
/* If the node has no memory left, another one will do. */
#define SANPROXY_REGISTER_ALLOW_OTHER_NODE 8u
/* Put the memory into crash dumps. For administrators. Refused like a kind that is not
 * offered if the system does not ask the driver what to add to them.
 */
#define SANPROXY_REGISTER_DUMP 16u
/* User buffers: if the device cannot be given the pages as asked, a copy will do. */
#define SANPROXY_REGISTER_COPY 32u

/* ---- CacheType ---- */

/* How the processor caches the memory; the numbers of MEMORY_CACHING_TYPE. */

/* Not cached. */
#define SANPROXY_CACHE_NONCACHED 0u
/* Cached. */
#define SANPROXY_CACHE_CACHED 1u
/* Not cached; writes may be combined. */
#define SANPROXY_CACHE_WRITE_COMBINED 2u

/* ---- Method ---- */

/* The system routine that memory came from. */

/* None: there is no adapter. */
#define SANPROXY_METHOD_NONE 0u
/* The driver's own reserve of common buffers, taken when the device started. */
#define SANPROXY_METHOD_RESERVE 1u
/* AllocateCommonBuffer. */
#define SANPROXY_METHOD_ALLOCATE_COMMON_BUFFER 2u
/* AllocateCommonBufferEx. */
#define SANPROXY_METHOD_ALLOCATE_COMMON_BUFFER_EX 3u
/* AllocateCommonBufferWithBounds. */
#define SANPROXY_METHOD_ALLOCATE_COMMON_BUFFER_WITH_BOUNDS 4u
/* AllocateCommonBufferVector. */
#define SANPROXY_METHOD_ALLOCATE_COMMON_BUFFER_VECTOR 5u
/* MmAllocateContiguousNodeMemory. */
#define SANPROXY_METHOD_CONTIGUOUS_NODE 6u
/* MmAllocateContiguousMemorySpecifyCache. */
#define SANPROXY_METHOD_CONTIGUOUS_SPECIFY_CACHE 7u
/* MmAllocateContiguousMemorySpecifyCacheNode. */
#define SANPROXY_METHOD_CONTIGUOUS_SPECIFY_CACHE_NODE 8u
/* GetScatterGatherList: pages of the caller's own. */
#define SANPROXY_METHOD_GET_SCATTER_GATHER_LIST 9u
/* GetScatterGatherListEx: pages of the caller's own. */
#define SANPROXY_METHOD_GET_SCATTER_GATHER_LIST_EX 10u

/* ---- AddressKind ---- */

/* What the addresses of a registration are. */

/* No address is given. */
#define SANPROXY_ADDRESS_NONE 0u
/* Logical addresses from the DMA adapter: what the device has to use. */
#define SANPROXY_ADDRESS_LOGICAL 1u
/* Physical addresses: contiguous memory on a device without an adapter. */
#define SANPROXY_ADDRESS_PHYSICAL 2u

/* ---- Access ---- */

/* What the device may do with the caller's own memory; MEM_READ and MEM_WRITE of Windows
 * Sockets Direct.
 */

/* Read it. */
#define SANPROXY_ACCESS_READ 1u
/* Write it. */
#define SANPROXY_ACCESS_WRITE 2u
/* Both. */
#define SANPROXY_ACCESS_READ_WRITE 3u

/* ---- Side ---- */

/* For whom a registration is synchronised. */

/* The device is to see what the process has written. */
#define SANPROXY_FOR_DEVICE 1u
/* The process is to see what the device has written. */
#define SANPROXY_FOR_PROCESSOR 2u

/* ---- EventKind ---- */

/* Kinds of events: bit n of a reply's mask stands for the n-th counter. Several can come at once. */

/* Registrations of this file were released because the device was stopped or removed. */
#define SANPROXY_EVENT_INVALIDATED 1u
/* The device was stopped, to be started again. */
#define SANPROXY_EVENT_DEVICE_STOPPED 2u
/* The device was started again. */
#define SANPROXY_EVENT_DEVICE_STARTED 4u
/* The device was removed. */
#define SANPROXY_EVENT_DEVICE_REMOVED 8u
/* The file has come to 90 % of what it may have registered, in bytes or registrations. */
#define SANPROXY_EVENT_FILE_QUOTA 16u
/* All files together have come to 90 % of what the device may have. */
#define SANPROXY_EVENT_DEVICE_QUOTA 32u
/* The endpoint that this file named has named this file: they are connected. */
#define SANPROXY_EVENT_CONNECTED 64u
/* The connection, or the endpoint that this file named, is gone. */
#define SANPROXY_EVENT_DISCONNECTED 128u

/* ---- ConnectionState ---- */

/* What a file is to another one. */

/* It has named nobody. */
#define SANPROXY_CONNECTION_IDLE 0u
/* It has named an endpoint that has not named it yet. */
#define SANPROXY_CONNECTION_WAITING 1u
/* Both have named each other: messages can be sent. */
#define SANPROXY_CONNECTION_CONNECTED 2u

/* ---- ExchangeFlag ---- */

/* Flags of an exchange request, or-ed together. Undefined bits are zero. */

/* If the message cannot be taken at once, the request fails instead of waiting. It still
 * waits for the message that it receives.
 */
#define SANPROXY_EXCHANGE_DONT_WAIT 1u

/* ---- DeviceState ---- */

/* What the status page says of the device. */

/* Nothing yet. */
#define SANPROXY_DEVICE_UNKNOWN 0u
/* Started: requests are answered. */
#define SANPROXY_DEVICE_STARTED 1u
/* Being stopped; it may be started again. */
#define SANPROXY_DEVICE_STOPPED 2u
/* Being removed. */
#define SANPROXY_DEVICE_REMOVED 3u

/* Begins every request and every reply. */
typedef struct SANPROXY_HEADER {
    /* The size of the whole struct in bytes. */
    uint32_t size;
    /* SANPROXY_WIRE_VERSION. */
    uint16_t version;
    /* Zero. */
    uint16_t reserved;
} SANPROXY_HEADER;

SANPROXY_ASSERT(size_of_SANPROXY_HEADER, sizeof(SANPROXY_HEADER) == 8);
SANPROXY_ASSERT(offset_of_SANPROXY_HEADER_size, offsetof(SANPROXY_HEADER, size) == 0);
SANPROXY_ASSERT(offset_of_SANPROXY_HEADER_version, offsetof(SANPROXY_HEADER, version) == 4);
SANPROXY_ASSERT(offset_of_SANPROXY_HEADER_reserved, offsetof(SANPROXY_HEADER, reserved) == 6);

/* An initialiser of the header of a struct of this type. */
#define SANPROXY_HEADER_OF(type) \
    { (uint32_t)sizeof(type), SANPROXY_WIRE_VERSION, 0 }

/* Which interface version the driver speaks. A program written for the same major version and
 * a lower or equal minor version works with it.
 */
typedef struct SANPROXY_INTERFACE_OUTPUT {
    /* Size and version of this struct. */
    SANPROXY_HEADER header;
    /* The major version of the interface. */
    uint16_t interface_major;
    /* The minor version of the interface. */
    uint16_t interface_minor;
    /* Zero. */
    uint32_t reserved;
    /* The version of the driver, first number. */
    uint32_t driver_major;
    /* The version of the driver, second number. */
    uint32_t driver_minor;
    /* The version of the driver, third number. */
    uint32_t driver_patch;
    /* Zero. */
    uint32_t reserved_end;
} SANPROXY_INTERFACE_OUTPUT;

SANPROXY_ASSERT(size_of_SANPROXY_INTERFACE_OUTPUT, sizeof(SANPROXY_INTERFACE_OUTPUT) == 32);
SANPROXY_ASSERT(offset_of_SANPROXY_INTERFACE_OUTPUT_header, offsetof(SANPROXY_INTERFACE_OUTPUT, header) == 0);
SANPROXY_ASSERT(offset_of_SANPROXY_INTERFACE_OUTPUT_interface_major, offsetof(SANPROXY_INTERFACE_OUTPUT, interface_major) == 8);
SANPROXY_ASSERT(offset_of_SANPROXY_INTERFACE_OUTPUT_interface_minor, offsetof(SANPROXY_INTERFACE_OUTPUT, interface_minor) == 10);
SANPROXY_ASSERT(offset_of_SANPROXY_INTERFACE_OUTPUT_reserved, offsetof(SANPROXY_INTERFACE_OUTPUT, reserved) == 12);
SANPROXY_ASSERT(offset_of_SANPROXY_INTERFACE_OUTPUT_driver_major, offsetof(SANPROXY_INTERFACE_OUTPUT, driver_major) == 16);
SANPROXY_ASSERT(offset_of_SANPROXY_INTERFACE_OUTPUT_driver_minor, offsetof(SANPROXY_INTERFACE_OUTPUT, driver_minor) == 20);
SANPROXY_ASSERT(offset_of_SANPROXY_INTERFACE_OUTPUT_driver_patch, offsetof(SANPROXY_INTERFACE_OUTPUT, driver_patch) == 24);
SANPROXY_ASSERT(offset_of_SANPROXY_INTERFACE_OUTPUT_reserved_end, offsetof(SANPROXY_INTERFACE_OUTPUT, reserved_end) == 28);

/* What the device offers, and its limits. */
typedef struct SANPROXY_CAPABILITIES_OUTPUT {
    /* Size and version of this struct. */
    SANPROXY_HEADER header;
    /* The kinds of memory offered: bit n stands for kind n. */
    uint32_t kinds;
    /* The version of the DMA interface: 1, 2, 3, or 0 if there is no adapter. */
    uint32_t dma_version;
    /* How many address bits the device has; 0 if unknown. */
    uint32_t address_width;
    /* The size of the adapter's table of operations in bytes; 0 if there is no adapter. */
    uint32_t dma_operations_size;
    /* The routine that common buffers come from (SANPROXY_METHOD_...). */
    uint32_t common_buffer_method;
    /* The map registers that the adapter offers. */
    uint32_t map_registers;
    /* The highest NUMA node. */
    uint32_t highest_node;
    /* The size of a page in bytes: the unit of registration. */
    uint32_t page_size;
    /* The longest single registration in bytes. */
    uint64_t longest_registration;
    /* How many bytes one open file can have registered. */
    uint64_t bytes_per_file;
    /* How many registrations one open file can have. */
    uint64_t count_per_file;
    /* How many bytes all files together can have registered. */
    uint64_t bytes_per_device;
    /* How many registrations all files together can have. */
    uint64_t count_per_device;
    /* The size of the driver's reserve of common buffers. */
    uint64_t reserve_bytes;
    /* Zero. */
    uint32_t reserved;
    /* Zero. */
    uint32_t reserved_end;
} SANPROXY_CAPABILITIES_OUTPUT;

SANPROXY_ASSERT(size_of_SANPROXY_CAPABILITIES_OUTPUT, sizeof(SANPROXY_CAPABILITIES_OUTPUT) == 96);
SANPROXY_ASSERT(offset_of_SANPROXY_CAPABILITIES_OUTPUT_header, offsetof(SANPROXY_CAPABILITIES_OUTPUT, header) == 0);
SANPROXY_ASSERT(offset_of_SANPROXY_CAPABILITIES_OUTPUT_kinds, offsetof(SANPROXY_CAPABILITIES_OUTPUT, kinds) == 8);
SANPROXY_ASSERT(offset_of_SANPROXY_CAPABILITIES_OUTPUT_dma_version, offsetof(SANPROXY_CAPABILITIES_OUTPUT, dma_version) == 12);
SANPROXY_ASSERT(offset_of_SANPROXY_CAPABILITIES_OUTPUT_address_width, offsetof(SANPROXY_CAPABILITIES_OUTPUT, address_width) == 16);
SANPROXY_ASSERT(offset_of_SANPROXY_CAPABILITIES_OUTPUT_dma_operations_size, offsetof(SANPROXY_CAPABILITIES_OUTPUT, dma_operations_size) == 20);
SANPROXY_ASSERT(offset_of_SANPROXY_CAPABILITIES_OUTPUT_common_buffer_method, offsetof(SANPROXY_CAPABILITIES_OUTPUT, common_buffer_method) == 24);
SANPROXY_ASSERT(offset_of_SANPROXY_CAPABILITIES_OUTPUT_map_registers, offsetof(SANPROXY_CAPABILITIES_OUTPUT, map_registers) == 28);
SANPROXY_ASSERT(offset_of_SANPROXY_CAPABILITIES_OUTPUT_highest_node, offsetof(SANPROXY_CAPABILITIES_OUTPUT, highest_node) == 32);
SANPROXY_ASSERT(offset_of_SANPROXY_CAPABILITIES_OUTPUT_page_size, offsetof(SANPROXY_CAPABILITIES_OUTPUT, page_size) == 36);
SANPROXY_ASSERT(offset_of_SANPROXY_CAPABILITIES_OUTPUT_longest_registration, offsetof(SANPROXY_CAPABILITIES_OUTPUT, longest_registration) == 40);
SANPROXY_ASSERT(offset_of_SANPROXY_CAPABILITIES_OUTPUT_bytes_per_file, offsetof(SANPROXY_CAPABILITIES_OUTPUT, bytes_per_file) == 48);
SANPROXY_ASSERT(offset_of_SANPROXY_CAPABILITIES_OUTPUT_count_per_file, offsetof(SANPROXY_CAPABILITIES_OUTPUT, count_per_file) == 56);
SANPROXY_ASSERT(offset_of_SANPROXY_CAPABILITIES_OUTPUT_bytes_per_device, offsetof(SANPROXY_CAPABILITIES_OUTPUT, bytes_per_device) == 64);
SANPROXY_ASSERT(offset_of_SANPROXY_CAPABILITIES_OUTPUT_count_per_device, offsetof(SANPROXY_CAPABILITIES_OUTPUT, count_per_device) == 72);
SANPROXY_ASSERT(offset_of_SANPROXY_CAPABILITIES_OUTPUT_reserve_bytes, offsetof(SANPROXY_CAPABILITIES_OUTPUT, reserve_bytes) == 80);
SANPROXY_ASSERT(offset_of_SANPROXY_CAPABILITIES_OUTPUT_reserved, offsetof(SANPROXY_CAPABILITIES_OUTPUT, reserved) == 88);
SANPROXY_ASSERT(offset_of_SANPROXY_CAPABILITIES_OUTPUT_reserved_end, offsetof(SANPROXY_CAPABILITIES_OUTPUT, reserved_end) == 92);

/* Asks for memory that the device can reach.
 *
 * The bounds are of the device address for common buffers, and for contiguous memory if the
 * device has an adapter; of the physical address otherwise.
 */
typedef struct SANPROXY_REGISTER_INPUT {
    /* Size and version of this struct. */
    SANPROXY_HEADER header;
    /* The kind of memory (SANPROXY_KIND_...). */
    uint32_t kind;
    /* Flags (SANPROXY_REGISTER_...). */
    uint32_t flags;
    /* How many bytes; rounded up to whole pages. */
    uint64_t length;
    /* The lowest address allowed; 0 for no bound. */
    uint64_t lowest;
    /* The highest address allowed, inclusive; UINT64_MAX for no bound. */
    uint64_t highest;
    /* The memory crosses no multiple of this: 0 for no boundary, or a power of two, at least
     * a page and at least the length.
     */
    uint64_t boundary;
    /* The memory begins at a multiple of this: 0 for a page, or a power of two up to 1 GiB. */
    uint64_t alignment;
    /* The cache type wanted (SANPROXY_CACHE_...). */
    uint32_t cache;
    /* The NUMA node wanted, or SANPROXY_ANY_NODE. */
    uint32_t node;
} SANPROXY_REGISTER_INPUT;

SANPROXY_ASSERT(size_of_SANPROXY_REGISTER_INPUT, sizeof(SANPROXY_REGISTER_INPUT) == 64);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_INPUT_header, offsetof(SANPROXY_REGISTER_INPUT, header) == 0);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_INPUT_kind, offsetof(SANPROXY_REGISTER_INPUT, kind) == 8);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_INPUT_flags, offsetof(SANPROXY_REGISTER_INPUT, flags) == 12);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_INPUT_length, offsetof(SANPROXY_REGISTER_INPUT, length) == 16);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_INPUT_lowest, offsetof(SANPROXY_REGISTER_INPUT, lowest) == 24);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_INPUT_highest, offsetof(SANPROXY_REGISTER_INPUT, highest) == 32);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_INPUT_boundary, offsetof(SANPROXY_REGISTER_INPUT, boundary) == 40);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_INPUT_alignment, offsetof(SANPROXY_REGISTER_INPUT, alignment) == 48);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_INPUT_cache, offsetof(SANPROXY_REGISTER_INPUT, cache) == 56);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_INPUT_node, offsetof(SANPROXY_REGISTER_INPUT, node) == 60);

/* A new registration. The memory is zeroed, unless it is the caller's own. */
typedef struct SANPROXY_REGISTER_OUTPUT {
    /* Size and version of this struct. */
    SANPROXY_HEADER header;
    /* Names the registration. */
    uint64_t handle;
    /* How many bytes: whole pages, unless it is the caller's own memory. */
    uint64_t length;
    /* Where the device finds the first piece. */
    uint64_t device_address;
    /* Where the process finds the first piece; 0 if it is not mapped. */
    uint64_t user_address;
    /* How many pieces there are. */
    uint32_t pieces;
    /* The routine that the memory came from (SANPROXY_METHOD_...). */
    uint32_t method;
    /* The cache type that the memory has (SANPROXY_CACHE_...). */
    uint32_t cache;
    /* The NUMA node that was asked of the system, or SANPROXY_ANY_NODE. */
    uint32_t node;
    /* What the addresses are (SANPROXY_ADDRESS_...). */
    uint32_t address_kind;
    /* 0 if the memory is as asked, or the step of the ladder that succeeded. */
    uint32_t rung;
} SANPROXY_REGISTER_OUTPUT;

SANPROXY_ASSERT(size_of_SANPROXY_REGISTER_OUTPUT, sizeof(SANPROXY_REGISTER_OUTPUT) == 64);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_OUTPUT_header, offsetof(SANPROXY_REGISTER_OUTPUT, header) == 0);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_OUTPUT_handle, offsetof(SANPROXY_REGISTER_OUTPUT, handle) == 8);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_OUTPUT_length, offsetof(SANPROXY_REGISTER_OUTPUT, length) == 16);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_OUTPUT_device_address, offsetof(SANPROXY_REGISTER_OUTPUT, device_address) == 24);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_OUTPUT_user_address, offsetof(SANPROXY_REGISTER_OUTPUT, user_address) == 32);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_OUTPUT_pieces, offsetof(SANPROXY_REGISTER_OUTPUT, pieces) == 40);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_OUTPUT_method, offsetof(SANPROXY_REGISTER_OUTPUT, method) == 44);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_OUTPUT_cache, offsetof(SANPROXY_REGISTER_OUTPUT, cache) == 48);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_OUTPUT_node, offsetof(SANPROXY_REGISTER_OUTPUT, node) == 52);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_OUTPUT_address_kind, offsetof(SANPROXY_REGISTER_OUTPUT, address_kind) == 56);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_OUTPUT_rung, offsetof(SANPROXY_REGISTER_OUTPUT, rung) == 60);

/* Asks for the pieces of a registration. */
typedef struct SANPROXY_QUERY_REGISTRATION_INPUT {
    /* Size and version of this struct. */
    SANPROXY_HEADER header;
    /* The registration. */
    uint64_t handle;
    /* The first piece wanted, counted from 0. */
    uint32_t first_piece;
    /* Zero. */
    uint32_t reserved;
} SANPROXY_QUERY_REGISTRATION_INPUT;

SANPROXY_ASSERT(size_of_SANPROXY_QUERY_REGISTRATION_INPUT, sizeof(SANPROXY_QUERY_REGISTRATION_INPUT) == 24);
SANPROXY_ASSERT(offset_of_SANPROXY_QUERY_REGISTRATION_INPUT_header, offsetof(SANPROXY_QUERY_REGISTRATION_INPUT, header) == 0);
SANPROXY_ASSERT(offset_of_SANPROXY_QUERY_REGISTRATION_INPUT_handle, offsetof(SANPROXY_QUERY_REGISTRATION_INPUT, handle) == 8);
SANPROXY_ASSERT(offset_of_SANPROXY_QUERY_REGISTRATION_INPUT_first_piece, offsetof(SANPROXY_QUERY_REGISTRATION_INPUT, first_piece) == 16);
SANPROXY_ASSERT(offset_of_SANPROXY_QUERY_REGISTRATION_INPUT_reserved, offsetof(SANPROXY_QUERY_REGISTRATION_INPUT, reserved) == 20);

/* One piece of a registration: contiguous for the device. */
typedef struct SANPROXY_PIECE {
    /* Where the device finds it. */
    uint64_t device_address;
    /* How many bytes. */
    uint64_t length;
    /* Where the process finds it; 0 if it is not mapped. */
    uint64_t user_address;
} SANPROXY_PIECE;

SANPROXY_ASSERT(size_of_SANPROXY_PIECE, sizeof(SANPROXY_PIECE) == 24);
SANPROXY_ASSERT(offset_of_SANPROXY_PIECE_device_address, offsetof(SANPROXY_PIECE, device_address) == 0);
SANPROXY_ASSERT(offset_of_SANPROXY_PIECE_length, offsetof(SANPROXY_PIECE, length) == 8);
SANPROXY_ASSERT(offset_of_SANPROXY_PIECE_user_address, offsetof(SANPROXY_PIECE, user_address) == 16);

/* Some pieces of a registration. */
typedef struct SANPROXY_QUERY_REGISTRATION_OUTPUT {
    /* Size and version of this struct. */
    SANPROXY_HEADER header;
    /* How many pieces the registration has. */
    uint32_t total;
    /* How many of them are in this reply. */
    uint32_t returned;
    /* The kind of memory (SANPROXY_KIND_...). */
    uint32_t kind;
    /* The flags of the registration (SANPROXY_REGISTER_...). */
    uint32_t flags;
    /* How many bytes the whole registration has. */
    uint64_t length;
    /* The pieces; the rest is zero. */
    SANPROXY_PIECE pieces[32];
} SANPROXY_QUERY_REGISTRATION_OUTPUT;

SANPROXY_ASSERT(size_of_SANPROXY_QUERY_REGISTRATION_OUTPUT, sizeof(SANPROXY_QUERY_REGISTRATION_OUTPUT) == 800);
SANPROXY_ASSERT(offset_of_SANPROXY_QUERY_REGISTRATION_OUTPUT_header, offsetof(SANPROXY_QUERY_REGISTRATION_OUTPUT, header) == 0);
SANPROXY_ASSERT(offset_of_SANPROXY_QUERY_REGISTRATION_OUTPUT_total, offsetof(SANPROXY_QUERY_REGISTRATION_OUTPUT, total) == 8);
SANPROXY_ASSERT(offset_of_SANPROXY_QUERY_REGISTRATION_OUTPUT_returned, offsetof(SANPROXY_QUERY_REGISTRATION_OUTPUT, returned) == 12);
SANPROXY_ASSERT(offset_of_SANPROXY_QUERY_REGISTRATION_OUTPUT_kind, offsetof(SANPROXY_QUERY_REGISTRATION_OUTPUT, kind) == 16);
SANPROXY_ASSERT(offset_of_SANPROXY_QUERY_REGISTRATION_OUTPUT_flags, offsetof(SANPROXY_QUERY_REGISTRATION_OUTPUT, flags) == 20);
SANPROXY_ASSERT(offset_of_SANPROXY_QUERY_REGISTRATION_OUTPUT_length, offsetof(SANPROXY_QUERY_REGISTRATION_OUTPUT, length) == 24);
SANPROXY_ASSERT(offset_of_SANPROXY_QUERY_REGISTRATION_OUTPUT_pieces, offsetof(SANPROXY_QUERY_REGISTRATION_OUTPUT, pieces) == 32);

/* Releases a registration: its mapping, then its memory. */
typedef struct SANPROXY_RELEASE_INPUT {
    /* Size and version of this struct. */
    SANPROXY_HEADER header;
    /* The registration. */
    uint64_t handle;
} SANPROXY_RELEASE_INPUT;

SANPROXY_ASSERT(size_of_SANPROXY_RELEASE_INPUT, sizeof(SANPROXY_RELEASE_INPUT) == 16);
SANPROXY_ASSERT(offset_of_SANPROXY_RELEASE_INPUT_header, offsetof(SANPROXY_RELEASE_INPUT, header) == 0);
SANPROXY_ASSERT(offset_of_SANPROXY_RELEASE_INPUT_handle, offsetof(SANPROXY_RELEASE_INPUT, handle) == 8);

/* Counters of the device and of this file. */
typedef struct SANPROXY_STATISTICS_OUTPUT {
    /* Size and version of this struct. */
    SANPROXY_HEADER header;
    /* Registrations of the device now. */
    uint64_t live_registrations;
    /* Bytes registered of the device now. */
    uint64_t live_bytes;
    /* The most registrations there ever were at once since the device started. */
    uint64_t peak_registrations;
    /* The most bytes there ever were at once since the device started. */
    uint64_t peak_bytes;
    /* Registrations made since the device started. */
    uint64_t made;
    /* Registrations released since the device started. */
    uint64_t released;
    /* Registrations of this file now. */
    uint64_t file_registrations;
    /* Bytes registered of this file now. */
    uint64_t file_bytes;
    /* Requests that failed, by cause (SANPROXY_FAILURE_...); the rest is zero. */
    uint64_t failures[48];
    /* Registrations made, by how long it took: bucket n has those of less than 2^n units of
     * 100 ns and not in one before; the last one also has all that took longer.
     */
    uint64_t latencies[24];
} SANPROXY_STATISTICS_OUTPUT;

SANPROXY_ASSERT(size_of_SANPROXY_STATISTICS_OUTPUT, sizeof(SANPROXY_STATISTICS_OUTPUT) == 648);
SANPROXY_ASSERT(offset_of_SANPROXY_STATISTICS_OUTPUT_header, offsetof(SANPROXY_STATISTICS_OUTPUT, header) == 0);
SANPROXY_ASSERT(offset_of_SANPROXY_STATISTICS_OUTPUT_live_registrations, offsetof(SANPROXY_STATISTICS_OUTPUT, live_registrations) == 8);
SANPROXY_ASSERT(offset_of_SANPROXY_STATISTICS_OUTPUT_live_bytes, offsetof(SANPROXY_STATISTICS_OUTPUT, live_bytes) == 16);
SANPROXY_ASSERT(offset_of_SANPROXY_STATISTICS_OUTPUT_peak_registrations, offsetof(SANPROXY_STATISTICS_OUTPUT, peak_registrations) == 24);
SANPROXY_ASSERT(offset_of_SANPROXY_STATISTICS_OUTPUT_peak_bytes, offsetof(SANPROXY_STATISTICS_OUTPUT, peak_bytes) == 32);
SANPROXY_ASSERT(offset_of_SANPROXY_STATISTICS_OUTPUT_made, offsetof(SANPROXY_STATISTICS_OUTPUT, made) == 40);
SANPROXY_ASSERT(offset_of_SANPROXY_STATISTICS_OUTPUT_released, offsetof(SANPROXY_STATISTICS_OUTPUT, released) == 48);
SANPROXY_ASSERT(offset_of_SANPROXY_STATISTICS_OUTPUT_file_registrations, offsetof(SANPROXY_STATISTICS_OUTPUT, file_registrations) == 56);
SANPROXY_ASSERT(offset_of_SANPROXY_STATISTICS_OUTPUT_file_bytes, offsetof(SANPROXY_STATISTICS_OUTPUT, file_bytes) == 64);
SANPROXY_ASSERT(offset_of_SANPROXY_STATISTICS_OUTPUT_failures, offsetof(SANPROXY_STATISTICS_OUTPUT, failures) == 72);
SANPROXY_ASSERT(offset_of_SANPROXY_STATISTICS_OUTPUT_latencies, offsetof(SANPROXY_STATISTICS_OUTPUT, latencies) == 456);

/* Asks which of the caller's own registrations holds a device address. */
typedef struct SANPROXY_LOOKUP_INPUT {
    /* Size and version of this struct. */
    SANPROXY_HEADER header;
    /* The address. It is looked up and never acted on. */
    uint64_t device_address;
} SANPROXY_LOOKUP_INPUT;

SANPROXY_ASSERT(size_of_SANPROXY_LOOKUP_INPUT, sizeof(SANPROXY_LOOKUP_INPUT) == 16);
SANPROXY_ASSERT(offset_of_SANPROXY_LOOKUP_INPUT_header, offsetof(SANPROXY_LOOKUP_INPUT, header) == 0);
SANPROXY_ASSERT(offset_of_SANPROXY_LOOKUP_INPUT_device_address, offsetof(SANPROXY_LOOKUP_INPUT, device_address) == 8);

/* The registration that holds the address. */
typedef struct SANPROXY_LOOKUP_OUTPUT {
    /* Size and version of this struct. */
    SANPROXY_HEADER header;
    /* The registration; 0 if it is the status page. */
    uint64_t handle;
    /* The address's offset from the start of the registration, or of the page. */
    uint64_t offset;
    /* Where the process finds the byte; 0 if it is not mapped. */
    uint64_t user_address;
} SANPROXY_LOOKUP_OUTPUT;

SANPROXY_ASSERT(size_of_SANPROXY_LOOKUP_OUTPUT, sizeof(SANPROXY_LOOKUP_OUTPUT) == 32);
SANPROXY_ASSERT(offset_of_SANPROXY_LOOKUP_OUTPUT_header, offsetof(SANPROXY_LOOKUP_OUTPUT, header) == 0);
SANPROXY_ASSERT(offset_of_SANPROXY_LOOKUP_OUTPUT_handle, offsetof(SANPROXY_LOOKUP_OUTPUT, handle) == 8);
SANPROXY_ASSERT(offset_of_SANPROXY_LOOKUP_OUTPUT_offset, offsetof(SANPROXY_LOOKUP_OUTPUT, offset) == 16);
SANPROXY_ASSERT(offset_of_SANPROXY_LOOKUP_OUTPUT_user_address, offsetof(SANPROXY_LOOKUP_OUTPUT, user_address) == 24);

/* Copies between two of the caller's own registrations, which may be one, as memmove does.
 * Of a user buffer it reads and writes what the device sees, and only as the device may. What two
 * registrations hold of the same memory, where both are copied, is not said.
 */
typedef struct SANPROXY_MOVE_INPUT {
    /* Size and version of this struct. */
    SANPROXY_HEADER header;
    /* Where to read. */
    uint64_t source;
    /* Where in it. */
    uint64_t source_offset;
    /* Where to write. */
    uint64_t destination;
    /* Where in it. */
    uint64_t destination_offset;
    /* How many bytes; not zero. */
    uint64_t length;
} SANPROXY_MOVE_INPUT;

SANPROXY_ASSERT(size_of_SANPROXY_MOVE_INPUT, sizeof(SANPROXY_MOVE_INPUT) == 48);
SANPROXY_ASSERT(offset_of_SANPROXY_MOVE_INPUT_header, offsetof(SANPROXY_MOVE_INPUT, header) == 0);
SANPROXY_ASSERT(offset_of_SANPROXY_MOVE_INPUT_source, offsetof(SANPROXY_MOVE_INPUT, source) == 8);
SANPROXY_ASSERT(offset_of_SANPROXY_MOVE_INPUT_source_offset, offsetof(SANPROXY_MOVE_INPUT, source_offset) == 16);
SANPROXY_ASSERT(offset_of_SANPROXY_MOVE_INPUT_destination, offsetof(SANPROXY_MOVE_INPUT, destination) == 24);
SANPROXY_ASSERT(offset_of_SANPROXY_MOVE_INPUT_destination_offset, offsetof(SANPROXY_MOVE_INPUT, destination_offset) == 32);
SANPROXY_ASSERT(offset_of_SANPROXY_MOVE_INPUT_length, offsetof(SANPROXY_MOVE_INPUT, length) == 40);

/* A range of the calling process's own memory; it need not begin or end at a page. */
typedef struct SANPROXY_USER_RANGE {
    /* Where it begins. */
    uint64_t start;
    /* How many bytes; not zero. */
    uint64_t length;
} SANPROXY_USER_RANGE;

SANPROXY_ASSERT(size_of_SANPROXY_USER_RANGE, sizeof(SANPROXY_USER_RANGE) == 16);
SANPROXY_ASSERT(offset_of_SANPROXY_USER_RANGE_start, offsetof(SANPROXY_USER_RANGE, start) == 0);
SANPROXY_ASSERT(offset_of_SANPROXY_USER_RANGE_length, offsetof(SANPROXY_USER_RANGE, length) == 8);

/* Secures memory of one allocation of the caller's own, in the process that opened the file:
 * until it is unsecured, the process can neither free it nor take that access away.
 */
typedef struct SANPROXY_SECURE_INPUT {
    /* Size and version of this struct. */
    SANPROXY_HEADER header;
    /* The memory. More than one secured range may hold the same. */
    SANPROXY_USER_RANGE range;
    /* The access that stays (SANPROXY_ACCESS_...). The process must have it. */
    uint32_t access;
    /* Zero. */
    uint32_t reserved;
} SANPROXY_SECURE_INPUT;

SANPROXY_ASSERT(size_of_SANPROXY_SECURE_INPUT, sizeof(SANPROXY_SECURE_INPUT) == 32);
SANPROXY_ASSERT(offset_of_SANPROXY_SECURE_INPUT_header, offsetof(SANPROXY_SECURE_INPUT, header) == 0);
SANPROXY_ASSERT(offset_of_SANPROXY_SECURE_INPUT_range, offsetof(SANPROXY_SECURE_INPUT, range) == 8);
SANPROXY_ASSERT(offset_of_SANPROXY_SECURE_INPUT_access, offsetof(SANPROXY_SECURE_INPUT, access) == 24);
SANPROXY_ASSERT(offset_of_SANPROXY_SECURE_INPUT_reserved, offsetof(SANPROXY_SECURE_INPUT, reserved) == 28);

/* A secured range. It counts as a registration of no bytes. */
typedef struct SANPROXY_SECURE_OUTPUT {
    /* Size and version of this struct. */
    SANPROXY_HEADER header;
    /* Names the secured range; it is no handle of a registration. */
    uint64_t handle;
} SANPROXY_SECURE_OUTPUT;

SANPROXY_ASSERT(size_of_SANPROXY_SECURE_OUTPUT, sizeof(SANPROXY_SECURE_OUTPUT) == 16);
SANPROXY_ASSERT(offset_of_SANPROXY_SECURE_OUTPUT_header, offsetof(SANPROXY_SECURE_OUTPUT, header) == 0);
SANPROXY_ASSERT(offset_of_SANPROXY_SECURE_OUTPUT_handle, offsetof(SANPROXY_SECURE_OUTPUT, handle) == 8);

/* Ends the securing of a range. */
typedef struct SANPROXY_UNSECURE_INPUT {
    /* Size and version of this struct. */
    SANPROXY_HEADER header;
    /* The secured range. */
    uint64_t handle;
} SANPROXY_UNSECURE_INPUT;

SANPROXY_ASSERT(size_of_SANPROXY_UNSECURE_INPUT, sizeof(SANPROXY_UNSECURE_INPUT) == 16);
SANPROXY_ASSERT(offset_of_SANPROXY_UNSECURE_INPUT_header, offsetof(SANPROXY_UNSECURE_INPUT, header) == 0);
SANPROXY_ASSERT(offset_of_SANPROXY_UNSECURE_INPUT_handle, offsetof(SANPROXY_UNSECURE_INPUT, handle) == 8);

/* Makes the caller's own memory reachable for the device, page by page where it lies. It is
 * locked until it is released, and what either side writes, the other sees.
 *
 * Only with SANPROXY_REGISTER_COPY, and if the device cannot be given the pages themselves at
 * addresses that lie as asked, it is given a copy, all of which is memory of the driver; then
 * the method in the reply is one of a common buffer. The device sees what the memory held
 * when it was registered, or last synchronised for the device. What the device wrote, and for
 * the rest what was copied, is in the memory when it is synchronised for the process, and
 * when the registration ends, if the device may write.
 */
typedef struct SANPROXY_REGISTER_USER_BUFFER_INPUT {
    /* Size and version of this struct. */
    SANPROXY_HEADER header;
    /* The memory. More than one registration may hold the same. */
    SANPROXY_USER_RANGE range;
    /* What the device may do with it (SANPROXY_ACCESS_...). The process must be able to do
     * the same.
     */
    uint32_t access;
    /* SANPROXY_REGISTER_LOW_MEMORY; SANPROXY_REGISTER_ALLOW_PIECES unless the device must
     * find it in one piece; SANPROXY_REGISTER_COPY if a copy will do.
     */
    uint32_t flags;
    /* The lowest device address allowed; 0 for no bound. */
    uint64_t lowest;
    /* The highest device address allowed, inclusive; UINT64_MAX for no bound. */
    uint64_t highest;
    /* Zero. */
    uint32_t reserved;
    /* Zero. */
    uint32_t reserved_end;
} SANPROXY_REGISTER_USER_BUFFER_INPUT;

SANPROXY_ASSERT(size_of_SANPROXY_REGISTER_USER_BUFFER_INPUT, sizeof(SANPROXY_REGISTER_USER_BUFFER_INPUT) == 56);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_USER_BUFFER_INPUT_header, offsetof(SANPROXY_REGISTER_USER_BUFFER_INPUT, header) == 0);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_USER_BUFFER_INPUT_range, offsetof(SANPROXY_REGISTER_USER_BUFFER_INPUT, range) == 8);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_USER_BUFFER_INPUT_access, offsetof(SANPROXY_REGISTER_USER_BUFFER_INPUT, access) == 24);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_USER_BUFFER_INPUT_flags, offsetof(SANPROXY_REGISTER_USER_BUFFER_INPUT, flags) == 28);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_USER_BUFFER_INPUT_lowest, offsetof(SANPROXY_REGISTER_USER_BUFFER_INPUT, lowest) == 32);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_USER_BUFFER_INPUT_highest, offsetof(SANPROXY_REGISTER_USER_BUFFER_INPUT, highest) == 40);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_USER_BUFFER_INPUT_reserved, offsetof(SANPROXY_REGISTER_USER_BUFFER_INPUT, reserved) == 48);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_USER_BUFFER_INPUT_reserved_end, offsetof(SANPROXY_REGISTER_USER_BUFFER_INPUT, reserved_end) == 52);

/* Brings bytes of a registration up to date. Memory that is no user buffer never needs it, and
 * a user buffer that is no copy does not on a PC, whose devices see what the processor sees:
 * the request does no harm there. It is refused where the adapter offers no way to do it. Bytes
 * around those named may be synchronised too, unless the registration is a copy.
 */
typedef struct SANPROXY_SYNCHRONIZE_INPUT {
    /* Size and version of this struct. */
    SANPROXY_HEADER header;
    /* The registration. */
    uint64_t handle;
    /* Where in it. */
    uint64_t offset;
    /* How many bytes; not zero. */
    uint64_t length;
    /* For whom (SANPROXY_FOR_...): for the device if it may read the memory, for the process
     * if the device may write it.
     */
    uint32_t side;
    /* Zero. */
    uint32_t reserved;
} SANPROXY_SYNCHRONIZE_INPUT;

SANPROXY_ASSERT(size_of_SANPROXY_SYNCHRONIZE_INPUT, sizeof(SANPROXY_SYNCHRONIZE_INPUT) == 40);
SANPROXY_ASSERT(offset_of_SANPROXY_SYNCHRONIZE_INPUT_header, offsetof(SANPROXY_SYNCHRONIZE_INPUT, header) == 0);
SANPROXY_ASSERT(offset_of_SANPROXY_SYNCHRONIZE_INPUT_handle, offsetof(SANPROXY_SYNCHRONIZE_INPUT, handle) == 8);
SANPROXY_ASSERT(offset_of_SANPROXY_SYNCHRONIZE_INPUT_offset, offsetof(SANPROXY_SYNCHRONIZE_INPUT, offset) == 16);
SANPROXY_ASSERT(offset_of_SANPROXY_SYNCHRONIZE_INPUT_length, offsetof(SANPROXY_SYNCHRONIZE_INPUT, length) == 24);
SANPROXY_ASSERT(offset_of_SANPROXY_SYNCHRONIZE_INPUT_side, offsetof(SANPROXY_SYNCHRONIZE_INPUT, side) == 32);
SANPROXY_ASSERT(offset_of_SANPROXY_SYNCHRONIZE_INPUT_reserved, offsetof(SANPROXY_SYNCHRONIZE_INPUT, reserved) == 36);

/* What has happened since the last such reply. */
typedef struct SANPROXY_EVENTS_OUTPUT {
    /* Size and version of this struct. */
    SANPROXY_HEADER header;
    /* The kinds of events (SANPROXY_EVENT_...). */
    uint32_t kinds;
    /* Zero. */
    uint32_t reserved;
    /* How many of each kind, by the number of its bit. */
    uint64_t counts[8];
    /* How many of these events came while one of their kind was waiting to be told already. */
    uint64_t coalesced;
} SANPROXY_EVENTS_OUTPUT;

SANPROXY_ASSERT(size_of_SANPROXY_EVENTS_OUTPUT, sizeof(SANPROXY_EVENTS_OUTPUT) == 88);
SANPROXY_ASSERT(offset_of_SANPROXY_EVENTS_OUTPUT_header, offsetof(SANPROXY_EVENTS_OUTPUT, header) == 0);
SANPROXY_ASSERT(offset_of_SANPROXY_EVENTS_OUTPUT_kinds, offsetof(SANPROXY_EVENTS_OUTPUT, kinds) == 8);
SANPROXY_ASSERT(offset_of_SANPROXY_EVENTS_OUTPUT_reserved, offsetof(SANPROXY_EVENTS_OUTPUT, reserved) == 12);
SANPROXY_ASSERT(offset_of_SANPROXY_EVENTS_OUTPUT_counts, offsetof(SANPROXY_EVENTS_OUTPUT, counts) == 16);
SANPROXY_ASSERT(offset_of_SANPROXY_EVENTS_OUTPUT_coalesced, offsetof(SANPROXY_EVENTS_OUTPUT, coalesced) == 80);

/* Begins the input of an exchange; the message follows. */
typedef struct SANPROXY_EXCHANGE_INPUT {
    /* Size and version of this struct, without the message. */
    SANPROXY_HEADER header;
    /* Flags (SANPROXY_EXCHANGE_...). */
    uint32_t flags;
    /* Zero. */
    uint32_t reserved;
} SANPROXY_EXCHANGE_INPUT;

SANPROXY_ASSERT(size_of_SANPROXY_EXCHANGE_INPUT, sizeof(SANPROXY_EXCHANGE_INPUT) == 16);
SANPROXY_ASSERT(offset_of_SANPROXY_EXCHANGE_INPUT_header, offsetof(SANPROXY_EXCHANGE_INPUT, header) == 0);
SANPROXY_ASSERT(offset_of_SANPROXY_EXCHANGE_INPUT_flags, offsetof(SANPROXY_EXCHANGE_INPUT, flags) == 8);
SANPROXY_ASSERT(offset_of_SANPROXY_EXCHANGE_INPUT_reserved, offsetof(SANPROXY_EXCHANGE_INPUT, reserved) == 12);

/* Names the endpoint that this file is to be connected with. They are connected as soon as
 * both have named each other, and then no third one can come between.
 */
typedef struct SANPROXY_CONNECT_INPUT {
    /* Size and version of this struct. */
    SANPROXY_HEADER header;
    /* The other file's endpoint; 0 only asks for this file's own. */
    uint64_t endpoint;
} SANPROXY_CONNECT_INPUT;

SANPROXY_ASSERT(size_of_SANPROXY_CONNECT_INPUT, sizeof(SANPROXY_CONNECT_INPUT) == 16);
SANPROXY_ASSERT(offset_of_SANPROXY_CONNECT_INPUT_header, offsetof(SANPROXY_CONNECT_INPUT, header) == 0);
SANPROXY_ASSERT(offset_of_SANPROXY_CONNECT_INPUT_endpoint, offsetof(SANPROXY_CONNECT_INPUT, endpoint) == 8);

/* This file's own endpoint, for others to name, and what it is to the other one now. */
typedef struct SANPROXY_CONNECT_OUTPUT {
    /* Size and version of this struct. */
    SANPROXY_HEADER header;
    /* This file's own endpoint. */
    uint64_t own;
    /* The state of the connection (SANPROXY_CONNECTION_...). */
    uint32_t state;
    /* Zero. */
    uint32_t reserved;
} SANPROXY_CONNECT_OUTPUT;

SANPROXY_ASSERT(size_of_SANPROXY_CONNECT_OUTPUT, sizeof(SANPROXY_CONNECT_OUTPUT) == 24);
SANPROXY_ASSERT(offset_of_SANPROXY_CONNECT_OUTPUT_header, offsetof(SANPROXY_CONNECT_OUTPUT, header) == 0);
SANPROXY_ASSERT(offset_of_SANPROXY_CONNECT_OUTPUT_own, offsetof(SANPROXY_CONNECT_OUTPUT, own) == 8);
SANPROXY_ASSERT(offset_of_SANPROXY_CONNECT_OUTPUT_state, offsetof(SANPROXY_CONNECT_OUTPUT, state) == 16);
SANPROXY_ASSERT(offset_of_SANPROXY_CONNECT_OUTPUT_reserved, offsetof(SANPROXY_CONNECT_OUTPUT, reserved) == 20);

/* Where the status page is. */
typedef struct SANPROXY_MAP_STATUS_PAGE_OUTPUT {
    /* Size and version of this struct. */
    SANPROXY_HEADER header;
    /* Where the process finds the page: a SANPROXY_STATUS_PAGE, read-only. */
    uint64_t user_address;
    /* How many bytes are mapped. */
    uint64_t length;
    /* Where the device finds the page. */
    uint64_t device_address;
} SANPROXY_MAP_STATUS_PAGE_OUTPUT;

SANPROXY_ASSERT(size_of_SANPROXY_MAP_STATUS_PAGE_OUTPUT, sizeof(SANPROXY_MAP_STATUS_PAGE_OUTPUT) == 32);
SANPROXY_ASSERT(offset_of_SANPROXY_MAP_STATUS_PAGE_OUTPUT_header, offsetof(SANPROXY_MAP_STATUS_PAGE_OUTPUT, header) == 0);
SANPROXY_ASSERT(offset_of_SANPROXY_MAP_STATUS_PAGE_OUTPUT_user_address, offsetof(SANPROXY_MAP_STATUS_PAGE_OUTPUT, user_address) == 8);
SANPROXY_ASSERT(offset_of_SANPROXY_MAP_STATUS_PAGE_OUTPUT_length, offsetof(SANPROXY_MAP_STATUS_PAGE_OUTPUT, length) == 16);
SANPROXY_ASSERT(offset_of_SANPROXY_MAP_STATUS_PAGE_OUTPUT_device_address, offsetof(SANPROXY_MAP_STATUS_PAGE_OUTPUT, device_address) == 24);

/* The status page. The driver makes sequence odd, changes the rest, and makes it even again:
 * who reads the same even number before and after has read a state that there was.
 */
typedef struct SANPROXY_STATUS_PAGE {
    /* Size and version of this struct. */
    SANPROXY_HEADER header;
    /* Odd while the page is being changed; counts up by two with each change. */
    uint64_t sequence;
    /* Where the device is in its life (SANPROXY_DEVICE_...). */
    uint32_t state;
    /* Zero. */
    uint32_t reserved;
    /* How often the device has been started. */
    uint64_t generation;
    /* Registrations of the device now. */
    uint64_t live_registrations;
    /* Bytes registered of the device now. */
    uint64_t live_bytes;
    /* Registrations made. */
    uint64_t made;
    /* Registrations released. */
    uint64_t released;
    /* Requests that failed, whatever the cause. */
    uint64_t failures;
    /* The most bytes there ever were at once. */
    uint64_t peak_bytes;
    /* Events that the files of the device were told of, by the number of the kind's bit
     * (SANPROXY_EVENT_...): one for each file that was told. While they stay the same, no file
     * has a new event to wait for.
     */
    uint64_t events[8];
} SANPROXY_STATUS_PAGE;

SANPROXY_ASSERT(size_of_SANPROXY_STATUS_PAGE, sizeof(SANPROXY_STATUS_PAGE) == 144);
SANPROXY_ASSERT(offset_of_SANPROXY_STATUS_PAGE_header, offsetof(SANPROXY_STATUS_PAGE, header) == 0);
SANPROXY_ASSERT(offset_of_SANPROXY_STATUS_PAGE_sequence, offsetof(SANPROXY_STATUS_PAGE, sequence) == 8);
SANPROXY_ASSERT(offset_of_SANPROXY_STATUS_PAGE_state, offsetof(SANPROXY_STATUS_PAGE, state) == 16);
SANPROXY_ASSERT(offset_of_SANPROXY_STATUS_PAGE_reserved, offsetof(SANPROXY_STATUS_PAGE, reserved) == 20);
SANPROXY_ASSERT(offset_of_SANPROXY_STATUS_PAGE_generation, offsetof(SANPROXY_STATUS_PAGE, generation) == 24);
SANPROXY_ASSERT(offset_of_SANPROXY_STATUS_PAGE_live_registrations, offsetof(SANPROXY_STATUS_PAGE, live_registrations) == 32);
SANPROXY_ASSERT(offset_of_SANPROXY_STATUS_PAGE_live_bytes, offsetof(SANPROXY_STATUS_PAGE, live_bytes) == 40);
SANPROXY_ASSERT(offset_of_SANPROXY_STATUS_PAGE_made, offsetof(SANPROXY_STATUS_PAGE, made) == 48);
SANPROXY_ASSERT(offset_of_SANPROXY_STATUS_PAGE_released, offsetof(SANPROXY_STATUS_PAGE, released) == 56);
SANPROXY_ASSERT(offset_of_SANPROXY_STATUS_PAGE_failures, offsetof(SANPROXY_STATUS_PAGE, failures) == 64);
SANPROXY_ASSERT(offset_of_SANPROXY_STATUS_PAGE_peak_bytes, offsetof(SANPROXY_STATUS_PAGE, peak_bytes) == 72);
SANPROXY_ASSERT(offset_of_SANPROXY_STATUS_PAGE_events, offsetof(SANPROXY_STATUS_PAGE, events) == 80);

/* Asks for registrations of all files, in the order in which they were made. */
typedef struct SANPROXY_ENUMERATE_INPUT {
    /* Size and version of this struct. */
    SANPROXY_HEADER header;
    /* Only those made after this one: 0, or last of the reply before. */
    uint64_t after;
} SANPROXY_ENUMERATE_INPUT;

SANPROXY_ASSERT(size_of_SANPROXY_ENUMERATE_INPUT, sizeof(SANPROXY_ENUMERATE_INPUT) == 16);
SANPROXY_ASSERT(offset_of_SANPROXY_ENUMERATE_INPUT_header, offsetof(SANPROXY_ENUMERATE_INPUT, header) == 0);
SANPROXY_ASSERT(offset_of_SANPROXY_ENUMERATE_INPUT_after, offsetof(SANPROXY_ENUMERATE_INPUT, after) == 8);

/* One registration, as an administrator sees it. */
typedef struct SANPROXY_ENUMERATED_REGISTRATION {
    /* Its number. */
    uint64_t serial;
    /* The process that opened the file. */
    uint64_t process;
    /* How many bytes. */
    uint64_t length;
    /* Where the device finds the first piece. */
    uint64_t device_address;
    /* The kind of memory (SANPROXY_KIND_...), or SANPROXY_SECURED_RANGE: that is not the
     * device's, so it has no piece, and its bytes count nowhere.
     */
    uint32_t kind;
    /* The flags of the registration (SANPROXY_REGISTER_...). */
    uint32_t flags;
    /* How many pieces it has. */
    uint32_t pieces;
    /* What the address is (SANPROXY_ADDRESS_...). */
    uint32_t address_kind;
} SANPROXY_ENUMERATED_REGISTRATION;

SANPROXY_ASSERT(size_of_SANPROXY_ENUMERATED_REGISTRATION, sizeof(SANPROXY_ENUMERATED_REGISTRATION) == 48);
SANPROXY_ASSERT(offset_of_SANPROXY_ENUMERATED_REGISTRATION_serial, offsetof(SANPROXY_ENUMERATED_REGISTRATION, serial) == 0);
SANPROXY_ASSERT(offset_of_SANPROXY_ENUMERATED_REGISTRATION_process, offsetof(SANPROXY_ENUMERATED_REGISTRATION, process) == 8);
SANPROXY_ASSERT(offset_of_SANPROXY_ENUMERATED_REGISTRATION_length, offsetof(SANPROXY_ENUMERATED_REGISTRATION, length) == 16);
SANPROXY_ASSERT(offset_of_SANPROXY_ENUMERATED_REGISTRATION_device_address, offsetof(SANPROXY_ENUMERATED_REGISTRATION, device_address) == 24);
SANPROXY_ASSERT(offset_of_SANPROXY_ENUMERATED_REGISTRATION_kind, offsetof(SANPROXY_ENUMERATED_REGISTRATION, kind) == 32);
SANPROXY_ASSERT(offset_of_SANPROXY_ENUMERATED_REGISTRATION_flags, offsetof(SANPROXY_ENUMERATED_REGISTRATION, flags) == 36);
SANPROXY_ASSERT(offset_of_SANPROXY_ENUMERATED_REGISTRATION_pieces, offsetof(SANPROXY_ENUMERATED_REGISTRATION, pieces) == 40);
SANPROXY_ASSERT(offset_of_SANPROXY_ENUMERATED_REGISTRATION_address_kind, offsetof(SANPROXY_ENUMERATED_REGISTRATION, address_kind) == 44);

/* Some registrations. One that lives from the first reply to the last is in exactly one. */
typedef struct SANPROXY_ENUMERATE_OUTPUT {
    /* Size and version of this struct. */
    SANPROXY_HEADER header;
    /* How many there are now, of all files. */
    uint64_t total;
    /* The number of the last one in this reply: what to ask after. As asked if there is none. */
    uint64_t last;
    /* How many are in this reply; if fewer than fit, there are no more. */
    uint32_t returned;
    /* Zero. */
    uint32_t reserved;
    /* The registrations; the rest is zero. */
    SANPROXY_ENUMERATED_REGISTRATION registrations[16];
} SANPROXY_ENUMERATE_OUTPUT;

SANPROXY_ASSERT(size_of_SANPROXY_ENUMERATE_OUTPUT, sizeof(SANPROXY_ENUMERATE_OUTPUT) == 800);
SANPROXY_ASSERT(offset_of_SANPROXY_ENUMERATE_OUTPUT_header, offsetof(SANPROXY_ENUMERATE_OUTPUT, header) == 0);
SANPROXY_ASSERT(offset_of_SANPROXY_ENUMERATE_OUTPUT_total, offsetof(SANPROXY_ENUMERATE_OUTPUT, total) == 8);
SANPROXY_ASSERT(offset_of_SANPROXY_ENUMERATE_OUTPUT_last, offsetof(SANPROXY_ENUMERATE_OUTPUT, last) == 16);
SANPROXY_ASSERT(offset_of_SANPROXY_ENUMERATE_OUTPUT_returned, offsetof(SANPROXY_ENUMERATE_OUTPUT, returned) == 24);
SANPROXY_ASSERT(offset_of_SANPROXY_ENUMERATE_OUTPUT_reserved, offsetof(SANPROXY_ENUMERATE_OUTPUT, reserved) == 28);
SANPROXY_ASSERT(offset_of_SANPROXY_ENUMERATE_OUTPUT_registrations, offsetof(SANPROXY_ENUMERATE_OUTPUT, registrations) == 32);

/* Asks for the pieces of a registration of any file. In the answer no piece has an address for a
 * program.
 */
typedef struct SANPROXY_ENUMERATE_PIECES_INPUT {
    /* Size and version of this struct. */
    SANPROXY_HEADER header;
    /* The number of the registration. */
    uint64_t serial;
    /* The first piece to be told, from 0 on. */
    uint32_t first_piece;
    /* Zero. */
    uint32_t reserved;
} SANPROXY_ENUMERATE_PIECES_INPUT;

SANPROXY_ASSERT(size_of_SANPROXY_ENUMERATE_PIECES_INPUT, sizeof(SANPROXY_ENUMERATE_PIECES_INPUT) == 24);
SANPROXY_ASSERT(offset_of_SANPROXY_ENUMERATE_PIECES_INPUT_header, offsetof(SANPROXY_ENUMERATE_PIECES_INPUT, header) == 0);
SANPROXY_ASSERT(offset_of_SANPROXY_ENUMERATE_PIECES_INPUT_serial, offsetof(SANPROXY_ENUMERATE_PIECES_INPUT, serial) == 8);
SANPROXY_ASSERT(offset_of_SANPROXY_ENUMERATE_PIECES_INPUT_first_piece, offsetof(SANPROXY_ENUMERATE_PIECES_INPUT, first_piece) == 16);
SANPROXY_ASSERT(offset_of_SANPROXY_ENUMERATE_PIECES_INPUT_reserved, offsetof(SANPROXY_ENUMERATE_PIECES_INPUT, reserved) == 20);

/* Sets the quotas. What is registered already stays, even if it is more. */
typedef struct SANPROXY_SET_QUOTA_INPUT {
    /* Size and version of this struct. */
    SANPROXY_HEADER header;
    /* How many bytes one file can have registered; for files opened from then on. */
    uint64_t bytes_per_file;
    /* How many registrations one file can have; for files opened from then on. */
    uint64_t count_per_file;
    /* How many bytes all files together can have registered. */
    uint64_t bytes_per_device;
    /* How many registrations all files together can have. */
    uint64_t count_per_device;
} SANPROXY_SET_QUOTA_INPUT;

SANPROXY_ASSERT(size_of_SANPROXY_SET_QUOTA_INPUT, sizeof(SANPROXY_SET_QUOTA_INPUT) == 40);
SANPROXY_ASSERT(offset_of_SANPROXY_SET_QUOTA_INPUT_header, offsetof(SANPROXY_SET_QUOTA_INPUT, header) == 0);
SANPROXY_ASSERT(offset_of_SANPROXY_SET_QUOTA_INPUT_bytes_per_file, offsetof(SANPROXY_SET_QUOTA_INPUT, bytes_per_file) == 8);
SANPROXY_ASSERT(offset_of_SANPROXY_SET_QUOTA_INPUT_count_per_file, offsetof(SANPROXY_SET_QUOTA_INPUT, count_per_file) == 16);
SANPROXY_ASSERT(offset_of_SANPROXY_SET_QUOTA_INPUT_bytes_per_device, offsetof(SANPROXY_SET_QUOTA_INPUT, bytes_per_device) == 24);
SANPROXY_ASSERT(offset_of_SANPROXY_SET_QUOTA_INPUT_count_per_device, offsetof(SANPROXY_SET_QUOTA_INPUT, count_per_device) == 32);

/* Asks for a host memory buffer: ranges, each contiguous for the device, up to a total. */
typedef struct SANPROXY_REGISTER_HOST_MEMORY_INPUT {
    /* Size and version of this struct. */
    SANPROXY_HEADER header;
    /* How many bytes are wanted; rounded up to whole pages. */
    uint64_t preferred;
    /* How many bytes will do; rounded up to whole pages. If there are fewer, there are none. */
    uint64_t minimum;
    /* The lowest address allowed; 0 for no bound. */
    uint64_t lowest;
    /* The highest address allowed, inclusive; UINT64_MAX for no bound. */
    uint64_t highest;
    /* Each range begins at a multiple of this: 0 for a page, or a power of two up to 1 GiB. */
    uint64_t alignment;
    /* The most ranges that will do, up to SANPROXY_MOST_RANGES. */
    uint32_t most_ranges;
    /* Flags (SANPROXY_REGISTER_...). */
    uint32_t flags;
    /* The cache type wanted (SANPROXY_CACHE_...). */
    uint32_t cache;
    /* The NUMA node wanted, or SANPROXY_ANY_NODE. */
    uint32_t node;
    /* Zero. */
    uint32_t reserved;
    /* Zero. */
    uint32_t reserved_end;
} SANPROXY_REGISTER_HOST_MEMORY_INPUT;

SANPROXY_ASSERT(size_of_SANPROXY_REGISTER_HOST_MEMORY_INPUT, sizeof(SANPROXY_REGISTER_HOST_MEMORY_INPUT) == 72);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_HOST_MEMORY_INPUT_header, offsetof(SANPROXY_REGISTER_HOST_MEMORY_INPUT, header) == 0);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_HOST_MEMORY_INPUT_preferred, offsetof(SANPROXY_REGISTER_HOST_MEMORY_INPUT, preferred) == 8);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_HOST_MEMORY_INPUT_minimum, offsetof(SANPROXY_REGISTER_HOST_MEMORY_INPUT, minimum) == 16);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_HOST_MEMORY_INPUT_lowest, offsetof(SANPROXY_REGISTER_HOST_MEMORY_INPUT, lowest) == 24);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_HOST_MEMORY_INPUT_highest, offsetof(SANPROXY_REGISTER_HOST_MEMORY_INPUT, highest) == 32);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_HOST_MEMORY_INPUT_alignment, offsetof(SANPROXY_REGISTER_HOST_MEMORY_INPUT, alignment) == 40);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_HOST_MEMORY_INPUT_most_ranges, offsetof(SANPROXY_REGISTER_HOST_MEMORY_INPUT, most_ranges) == 48);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_HOST_MEMORY_INPUT_flags, offsetof(SANPROXY_REGISTER_HOST_MEMORY_INPUT, flags) == 52);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_HOST_MEMORY_INPUT_cache, offsetof(SANPROXY_REGISTER_HOST_MEMORY_INPUT, cache) == 56);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_HOST_MEMORY_INPUT_node, offsetof(SANPROXY_REGISTER_HOST_MEMORY_INPUT, node) == 60);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_HOST_MEMORY_INPUT_reserved, offsetof(SANPROXY_REGISTER_HOST_MEMORY_INPUT, reserved) == 64);
SANPROXY_ASSERT(offset_of_SANPROXY_REGISTER_HOST_MEMORY_INPUT_reserved_end, offsetof(SANPROXY_REGISTER_HOST_MEMORY_INPUT, reserved_end) == 68);

/* ---- Control codes ---- */

/* All need read and write access to the device, and all but one are METHOD_BUFFERED.
 * That one, and read and write requests, move messages between two connected files: a
 * message of 1 to SANPROXY_LONGEST_MESSAGE bytes is sent with a write request and received
 * with a read request, or both with IOCTL_SANPROXY_EXCHANGE. Messages arrive whole, once
 * and in order. SANPROXY_MESSAGES_PER_QUEUE are kept for a receiver, charged to the quota
 * of the sender; a sender that finds them all taken waits, and can be cancelled.
 */

/* Which interface version the driver speaks.
 * Input: SANPROXY_HEADER.
 * Output: SANPROXY_INTERFACE_OUTPUT.
 */
#define IOCTL_SANPROXY_QUERY_INTERFACE 0x8A5AE000u

/* What the device offers, and its limits.
 * Input: SANPROXY_HEADER.
 * Output: SANPROXY_CAPABILITIES_OUTPUT.
 */
#define IOCTL_SANPROXY_QUERY_CAPABILITIES 0x8A5AE004u

/* Registers memory that the device can reach.
 * Input: SANPROXY_REGISTER_INPUT.
 * Output: SANPROXY_REGISTER_OUTPUT.
 */
#define IOCTL_SANPROXY_REGISTER 0x8A5AE008u

/* The pieces of a registration.
 * Input: SANPROXY_QUERY_REGISTRATION_INPUT.
 * Output: SANPROXY_QUERY_REGISTRATION_OUTPUT.
 */
#define IOCTL_SANPROXY_QUERY_REGISTRATION 0x8A5AE00Cu

/* Releases a registration.
 * Input: SANPROXY_RELEASE_INPUT.
 * Output: SANPROXY_HEADER.
 */
#define IOCTL_SANPROXY_RELEASE 0x8A5AE010u

/* Counters of the device and of this file.
 * Input: SANPROXY_HEADER.
 * Output: SANPROXY_STATISTICS_OUTPUT.
 */
#define IOCTL_SANPROXY_STATISTICS 0x8A5AE014u

/* Finds the caller's own registration that holds a device address.
 * Input: SANPROXY_LOOKUP_INPUT.
 * Output: SANPROXY_LOOKUP_OUTPUT.
 */
#define IOCTL_SANPROXY_LOOKUP 0x8A5AE018u

/* Copies between two of the caller's own registrations.
 * Input: SANPROXY_MOVE_INPUT.
 * Output: SANPROXY_HEADER.
 */
#define IOCTL_SANPROXY_MOVE 0x8A5AE01Cu

/* Secures the caller's own memory, so that it is not freed or protected unnoticed.
 * Input: SANPROXY_SECURE_INPUT.
 * Output: SANPROXY_SECURE_OUTPUT.
 */
#define IOCTL_SANPROXY_SECURE 0x8A5AE020u

/* Ends the securing of a range.
 * Input: SANPROXY_UNSECURE_INPUT.
 * Output: SANPROXY_HEADER.
 */
#define IOCTL_SANPROXY_UNSECURE 0x8A5AE024u

/* Waits for events of this file and its device; at most one such request can be waiting.
 * Input: SANPROXY_HEADER.
 * Output: SANPROXY_EVENTS_OUTPUT.
 */
#define IOCTL_SANPROXY_WAIT_EVENT 0x8A5AE028u

/* Sends a message to the connected file and receives the next one from it.
 * Input: SANPROXY_EXCHANGE_INPUT, then the message to send.
 * Output: the message received.
 */
#define IOCTL_SANPROXY_EXCHANGE 0x8A5AE02Eu

/* Names the endpoint that this file is to be connected with, or asks for its own.
 * Input: SANPROXY_CONNECT_INPUT.
 * Output: SANPROXY_CONNECT_OUTPUT.
 */
#define IOCTL_SANPROXY_CONNECT 0x8A5AE030u

/* Ends the connection of this file, or takes the name back.
 * Input: SANPROXY_HEADER.
 * Output: SANPROXY_HEADER.
 */
#define IOCTL_SANPROXY_DISCONNECT 0x8A5AE034u

/* Maps the device's status page into the caller, read-only.
 * Input: SANPROXY_HEADER.
 * Output: SANPROXY_MAP_STATUS_PAGE_OUTPUT.
 */
#define IOCTL_SANPROXY_MAP_STATUS_PAGE 0x8A5AE038u

/* Lists the registrations of all files, a page at a time. For administrators.
 * Input: SANPROXY_ENUMERATE_INPUT.
 * Output: SANPROXY_ENUMERATE_OUTPUT.
 */
#define IOCTL_SANPROXY_ENUMERATE 0x8A5AE03Cu

/* Sets the quotas, for now and after a restart of the device. For administrators.
 * Input: SANPROXY_SET_QUOTA_INPUT.
 * Output: SANPROXY_HEADER.
 */
#define IOCTL_SANPROXY_SET_QUOTA 0x8A5AE040u

/* Makes the caller's own memory reachable for the device.
 * Input: SANPROXY_REGISTER_USER_BUFFER_INPUT.
 * Output: SANPROXY_REGISTER_OUTPUT.
 */
#define IOCTL_SANPROXY_REGISTER_USER_BUFFER 0x8A5AE044u

/* Registers several ranges up to a total: a host memory buffer.
 * Input: SANPROXY_REGISTER_HOST_MEMORY_INPUT.
 * Output: SANPROXY_REGISTER_OUTPUT.
 */
#define IOCTL_SANPROXY_REGISTER_HOST_MEMORY 0x8A5AE048u

/* Brings a registration up to date, for the device or for the process.
 * Input: SANPROXY_SYNCHRONIZE_INPUT.
 * Output: SANPROXY_HEADER.
 */
#define IOCTL_SANPROXY_SYNCHRONIZE 0x8A5AE04Cu

/* Lists the pieces of a registration of any file. For administrators.
 * Input: SANPROXY_ENUMERATE_PIECES_INPUT.
 * Output: SANPROXY_QUERY_REGISTRATION_OUTPUT.
 */
#define IOCTL_SANPROXY_ENUMERATE_PIECES 0x8A5AE050u

#if defined(CTL_CODE) && defined(METHOD_BUFFERED)
SANPROXY_ASSERT(code_of_IOCTL_SANPROXY_QUERY_INTERFACE, IOCTL_SANPROXY_QUERY_INTERFACE ==
    (uint32_t)CTL_CODE(0x8A5Au, 0x800, METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS));
SANPROXY_ASSERT(code_of_IOCTL_SANPROXY_QUERY_CAPABILITIES, IOCTL_SANPROXY_QUERY_CAPABILITIES ==
    (uint32_t)CTL_CODE(0x8A5Au, 0x801, METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS));
SANPROXY_ASSERT(code_of_IOCTL_SANPROXY_REGISTER, IOCTL_SANPROXY_REGISTER ==
    (uint32_t)CTL_CODE(0x8A5Au, 0x802, METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS));
SANPROXY_ASSERT(code_of_IOCTL_SANPROXY_QUERY_REGISTRATION, IOCTL_SANPROXY_QUERY_REGISTRATION ==
    (uint32_t)CTL_CODE(0x8A5Au, 0x803, METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS));
SANPROXY_ASSERT(code_of_IOCTL_SANPROXY_RELEASE, IOCTL_SANPROXY_RELEASE ==
    (uint32_t)CTL_CODE(0x8A5Au, 0x804, METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS));
SANPROXY_ASSERT(code_of_IOCTL_SANPROXY_STATISTICS, IOCTL_SANPROXY_STATISTICS ==
    (uint32_t)CTL_CODE(0x8A5Au, 0x805, METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS));
SANPROXY_ASSERT(code_of_IOCTL_SANPROXY_LOOKUP, IOCTL_SANPROXY_LOOKUP ==
    (uint32_t)CTL_CODE(0x8A5Au, 0x806, METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS));
SANPROXY_ASSERT(code_of_IOCTL_SANPROXY_MOVE, IOCTL_SANPROXY_MOVE ==
    (uint32_t)CTL_CODE(0x8A5Au, 0x807, METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS));
SANPROXY_ASSERT(code_of_IOCTL_SANPROXY_SECURE, IOCTL_SANPROXY_SECURE ==
    (uint32_t)CTL_CODE(0x8A5Au, 0x808, METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS));
SANPROXY_ASSERT(code_of_IOCTL_SANPROXY_UNSECURE, IOCTL_SANPROXY_UNSECURE ==
    (uint32_t)CTL_CODE(0x8A5Au, 0x809, METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS));
SANPROXY_ASSERT(code_of_IOCTL_SANPROXY_WAIT_EVENT, IOCTL_SANPROXY_WAIT_EVENT ==
    (uint32_t)CTL_CODE(0x8A5Au, 0x80A, METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS));
SANPROXY_ASSERT(code_of_IOCTL_SANPROXY_EXCHANGE, IOCTL_SANPROXY_EXCHANGE ==
    (uint32_t)CTL_CODE(0x8A5Au, 0x80B, METHOD_OUT_DIRECT, FILE_READ_ACCESS | FILE_WRITE_ACCESS));
SANPROXY_ASSERT(code_of_IOCTL_SANPROXY_CONNECT, IOCTL_SANPROXY_CONNECT ==
    (uint32_t)CTL_CODE(0x8A5Au, 0x80C, METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS));
SANPROXY_ASSERT(code_of_IOCTL_SANPROXY_DISCONNECT, IOCTL_SANPROXY_DISCONNECT ==
    (uint32_t)CTL_CODE(0x8A5Au, 0x80D, METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS));
SANPROXY_ASSERT(code_of_IOCTL_SANPROXY_MAP_STATUS_PAGE, IOCTL_SANPROXY_MAP_STATUS_PAGE ==
    (uint32_t)CTL_CODE(0x8A5Au, 0x80E, METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS));
SANPROXY_ASSERT(code_of_IOCTL_SANPROXY_ENUMERATE, IOCTL_SANPROXY_ENUMERATE ==
    (uint32_t)CTL_CODE(0x8A5Au, 0x80F, METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS));
SANPROXY_ASSERT(code_of_IOCTL_SANPROXY_SET_QUOTA, IOCTL_SANPROXY_SET_QUOTA ==
    (uint32_t)CTL_CODE(0x8A5Au, 0x810, METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS));
SANPROXY_ASSERT(code_of_IOCTL_SANPROXY_REGISTER_USER_BUFFER, IOCTL_SANPROXY_REGISTER_USER_BUFFER ==
    (uint32_t)CTL_CODE(0x8A5Au, 0x811, METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS));
SANPROXY_ASSERT(code_of_IOCTL_SANPROXY_REGISTER_HOST_MEMORY, IOCTL_SANPROXY_REGISTER_HOST_MEMORY ==
    (uint32_t)CTL_CODE(0x8A5Au, 0x812, METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS));
SANPROXY_ASSERT(code_of_IOCTL_SANPROXY_SYNCHRONIZE, IOCTL_SANPROXY_SYNCHRONIZE ==
    (uint32_t)CTL_CODE(0x8A5Au, 0x813, METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS));
SANPROXY_ASSERT(code_of_IOCTL_SANPROXY_ENUMERATE_PIECES, IOCTL_SANPROXY_ENUMERATE_PIECES ==
    (uint32_t)CTL_CODE(0x8A5Au, 0x814, METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS));
#endif

/* ---- How the driver answers ---- */

/* The NTSTATUS of a request; DeviceIoControl turns it into a Windows error.
 *
 * STATUS_SUCCESS (0x00000000)
 *     The request was carried out.
 * STATUS_DEVICE_BUSY (0x80000011)
 *     A queue is full, or a request of that sort is waiting already.
 *     - Another request waits for events on this file already; there can be one.
 *     - The queue is full: of messages, if the request does not wait, or of requests that wait.
 * STATUS_INFO_LENGTH_MISMATCH (0xC0000004)
 *     The length of the input or output buffer is not the size of the struct.
 *     - The input is not exactly as long as the input struct of the control code.
 *     - The output buffer is not exactly as long as the output struct of the control code.
 * STATUS_ACCESS_VIOLATION (0xC0000005)
 *     The range is not memory of the calling process that may be used so.
 *     - The range is empty, wraps, or is not memory that the calling process itself may use so.
 * STATUS_INVALID_HANDLE (0xC0000008)
 *     No live registration of this file has that handle.
 *     - The handle names no live registration of this file.
 * STATUS_INVALID_PARAMETER (0xC000000D)
 *     A value in the request is out of its range.
 *     - The size in the header is not the size of the struct.
 *     - A reserved field or an undefined flag is not zero.
 *     - The kind of memory is unknown; 1 is a common buffer, 2 is contiguous memory.
 *     - The length is zero or more than the longest registration.
 *     - The boundary is not 0 or a power of two of at least a page and at least the length.
 *     - The alignment is not 0 or a power of two up to 1 GiB.
 *     - The bounds leave no room for the length.
 *     - The cache type is unknown; 0 is not cached, 1 is cached, 2 is write-combined.
 *     - The machine has no such NUMA node; the capabilities say which is the highest.
 *     - The offset and length reach beyond the registration, or the first piece is not there.
 *     - The access is not 1 (read), 2 (write) or 3 (both), or is more than the registration grants.
 *     - The message, or the room for one, is empty or longer than 64 KiB.
 *     - A quota is beyond what its parameter can be; the parameters are listed in the header.
 *     - The minimum is more than the preferred total, or the most ranges is not 1 to 4096.
 *     - The side to synchronise for is unknown; 1 is the device, 2 is the process.
 * STATUS_INVALID_DEVICE_REQUEST (0xC0000010)
 *     The driver does not know the control code.
 *     - The control code is unknown; the known ones are listed in the header.
 * STATUS_CONFLICTING_ADDRESSES (0xC0000018)
 *     The device does not reach the pages as asked.
 *     - The device cannot be given the pages themselves at addresses that lie as asked.
 * STATUS_ACCESS_DENIED (0xC0000022)
 *     The caller may not ask this: it is another process, or no administrator.
 *     - Mapping was asked from a process other than the one that opened the file.
 *     - The request is for administrators: the caller's token is not in their group.
 * STATUS_BUFFER_TOO_SMALL (0xC0000023)
 *     The message does not fit in the output buffer.
 *     - The next message is longer than the room for it; it is kept.
 * STATUS_QUOTA_EXCEEDED (0xC0000044)
 *     A limit on bytes or registrations is reached.
 *     - The file would have more bytes or registrations than one file can have.
 *     - All files together would have more bytes or registrations than the device can have.
 * STATUS_DELETE_PENDING (0xC0000056)
 *     The device is being removed.
 *     - The device is removed, or its removal has begun.
 * STATUS_REVISION_MISMATCH (0xC0000059)
 *     The driver speaks another version of the wire structs.
 *     - The version in the header is not 1.
 * STATUS_INSUFFICIENT_RESOURCES (0xC000009A)
 *     The system has no such memory left.
 *     - The system has no memory left that fits the request.
 *     - The memory could not be mapped into the process.
 * STATUS_DEVICE_NOT_READY (0xC00000A3)
 *     The device is not started.
 *     - The device is not started yet, or is stopped.
 * STATUS_NOT_SUPPORTED (0xC00000BB)
 *     The device does not offer this kind of memory.
 *     - The kind of memory is not offered by this device; its capabilities say which are.
 *     - The adapter offers no way to synchronise memory that is not copied.
 * STATUS_CANCELLED (0xC0000120)
 *     The request was cancelled: by the program, by the end of its thread, or by the last close.
 * STATUS_FILE_CLOSED (0xC0000128)
 *     The file is closed.
 *     - The last handle of the file is closed already.
 * STATUS_REGISTRY_IO_FAILED (0xC000014D)
 *     The registry could not be written.
 *     - The quotas could not be written to the registry; they are as they were.
 * STATUS_CONNECTION_DISCONNECTED (0xC000020C)
 *     The connection with the other file has ended.
 *     - The connected file has ended the connection, or the device was stopped or removed.
 * STATUS_NOT_FOUND (0xC0000225)
 *     No registration of this file holds the address, or no file has the endpoint.
 *     - No registration of this file holds the device address.
 *     - No other open file of this device has that endpoint.
 *     - No registration has that number any more, or what has it is a secured range.
 * STATUS_CONNECTION_INVALID (0xC000023A)
 *     There is no connection with another file.
 *     - The file is not connected with another one.
 * STATUS_CONNECTION_ACTIVE (0xC000023B)
 *     There is a connection with another file already.
 *     - The file is connected already; it has to disconnect first.
 *
 * A request that fails changes nothing, writes no output, and is counted.
 */

/* ---- Places among the failures of SANPROXY_STATISTICS_OUTPUT ---- */

/* The control code is unknown; the known ones are listed in the header. */
#define SANPROXY_FAILURE_UNKNOWN_CODE 0u
/* The input is not exactly as long as the input struct of the control code. */
#define SANPROXY_FAILURE_INPUT_LENGTH 1u
/* The output buffer is not exactly as long as the output struct of the control code. */
#define SANPROXY_FAILURE_OUTPUT_LENGTH 2u
/* The size in the header is not the size of the struct. */
#define SANPROXY_FAILURE_HEADER_SIZE 3u
/* The version in the header is not 1. */
#define SANPROXY_FAILURE_HEADER_VERSION 4u
/* A reserved field or an undefined flag is not zero. */
#define SANPROXY_FAILURE_RESERVED_BITS 5u
/* The kind of memory is unknown; 1 is a common buffer, 2 is contiguous memory. */
#define SANPROXY_FAILURE_UNKNOWN_KIND 6u
/* The kind of memory is not offered by this device; its capabilities say which are. */
#define SANPROXY_FAILURE_KIND_NOT_OFFERED 7u
/* The length is zero or more than the longest registration. */
#define SANPROXY_FAILURE_LENGTH 8u
/* The boundary is not 0 or a power of two of at least a page and at least the length. */
#define SANPROXY_FAILURE_BOUNDARY 9u
/* The alignment is not 0 or a power of two up to 1 GiB. */
#define SANPROXY_FAILURE_ALIGNMENT 10u
/* The bounds leave no room for the length. */
#define SANPROXY_FAILURE_BOUNDS 11u
/* The cache type is unknown; 0 is not cached, 1 is cached, 2 is write-combined. */
#define SANPROXY_FAILURE_UNKNOWN_CACHE_TYPE 12u
/* The machine has no such NUMA node; the capabilities say which is the highest. */
#define SANPROXY_FAILURE_UNKNOWN_NODE 13u
/* The handle names no live registration of this file. */
#define SANPROXY_FAILURE_UNKNOWN_HANDLE 14u
/* The file would have more bytes or registrations than one file can have. */
#define SANPROXY_FAILURE_FILE_QUOTA 15u
/* All files together would have more bytes or registrations than the device can have. */
#define SANPROXY_FAILURE_DEVICE_QUOTA 16u
/* The system has no memory left that fits the request. */
#define SANPROXY_FAILURE_NO_MEMORY 17u
/* The memory could not be mapped into the process. */
#define SANPROXY_FAILURE_MAPPING_FAILED 18u
/* The device is not started yet, or is stopped. */
#define SANPROXY_FAILURE_NOT_STARTED 19u
/* The device is removed, or its removal has begun. */
#define SANPROXY_FAILURE_REMOVED 20u
/* Mapping was asked from a process other than the one that opened the file. */
#define SANPROXY_FAILURE_WRONG_PROCESS 21u
/* No registration of this file holds the device address. */
#define SANPROXY_FAILURE_ADDRESS_NOT_FOUND 22u
/* The offset and length reach beyond the registration, or the first piece is not there. */
#define SANPROXY_FAILURE_OUT_OF_RANGE 23u
/* The last handle of the file is closed already. */
#define SANPROXY_FAILURE_FILE_CLOSED 24u
/* The range is empty, wraps, or is not memory that the calling process itself may use so. */
#define SANPROXY_FAILURE_USER_RANGE 25u
/* The access is not 1 (read), 2 (write) or 3 (both), or is more than the registration grants. */
#define SANPROXY_FAILURE_ACCESS 26u
/* The device cannot be given the pages themselves at addresses that lie as asked. */
#define SANPROXY_FAILURE_OUT_OF_REACH 27u
/* Another request waits for events on this file already; there can be one. */
#define SANPROXY_FAILURE_WAIT_PENDING 28u
/* The message, or the room for one, is empty or longer than 64 KiB. */
#define SANPROXY_FAILURE_MESSAGE_LENGTH 29u
/* The next message is longer than the room for it; it is kept. */
#define SANPROXY_FAILURE_MESSAGE_TOO_LONG 30u
/* The file is not connected with another one. */
#define SANPROXY_FAILURE_NOT_CONNECTED 31u
/* The connected file has ended the connection, or the device was stopped or removed. */
#define SANPROXY_FAILURE_DISCONNECTED 32u
/* The file is connected already; it has to disconnect first. */
#define SANPROXY_FAILURE_ALREADY_CONNECTED 33u
/* No other open file of this device has that endpoint. */
#define SANPROXY_FAILURE_UNKNOWN_ENDPOINT 34u
/* The queue is full: of messages, if the request does not wait, or of requests that wait. */
#define SANPROXY_FAILURE_QUEUE_FULL 35u
/* The request is for administrators: the caller's token is not in their group. */
#define SANPROXY_FAILURE_NOT_ADMINISTRATOR 36u
/* A quota is beyond what its parameter can be; the parameters are listed in the header. */
#define SANPROXY_FAILURE_QUOTA_RANGE 37u
/* The quotas could not be written to the registry; they are as they were. */
#define SANPROXY_FAILURE_REGISTRY_FAILED 38u
/* The minimum is more than the preferred total, or the most ranges is not 1 to 4096. */
#define SANPROXY_FAILURE_HOST_MEMORY_LIMITS 39u
/* The side to synchronise for is unknown; 1 is the device, 2 is the process. */
#define SANPROXY_FAILURE_UNKNOWN_SIDE 40u
/* The adapter offers no way to synchronise memory that is not copied. */
#define SANPROXY_FAILURE_NOT_SYNCHRONIZABLE 41u
/* No registration has that number any more, or what has it is a secured range. */
#define SANPROXY_FAILURE_UNKNOWN_SERIAL 42u

/* ---- What an administrator can set ---- */

/* Values of the device's hardware key, REG_DWORD or REG_QWORD. One that is out of
 * its range is taken as the nearest that is in it.
 *
 * MaximumBytesPerFile: 0 to 1099511627776, default 1073741824
 *     How many bytes one open file can have registered.
 * MaximumCountPerFile: 0 to 16777216, default 4096
 *     How many registrations one open file can have.
 * MaximumBytesPerDevice: 0 to 70368744177664, default 4294967296
 *     How many bytes all files together can have registered.
 * MaximumCountPerDevice: 0 to 67108864, default 65536
 *     How many registrations all files together can have.
 * DmaAddressWidth: 1 to 64, default 32
 *     How many address bits the device has.
 * ReserveBytes: 0 to 1073741824, default 1048576
 *     The size of the reserve of common buffers taken at start; 0 for none.
 * MaximumTransferLength: 4096 to 4294963200, default 1073741824
 *     The longest single registration in bytes.
 */

#endif /* SANPROXY_H */
