/*
 * One call of each request, as docs/contract.md shows them: what lies between "example: NAME" and
 * "end" is in the book, word for word. Only sanproxy.h and Win32.
 *
 *     x86_64-w64-mingw32-gcc -Wall -Wextra -Werror -I include examples/contract.c -o contract.exe -lsetupapi
 *     cl /W4 /I include examples\contract.c setupapi.lib
 *
 * Run it as an administrator. It ends with 0 if every request was carried out.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include <windows.h>
#include <winioctl.h>
#include <setupapi.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sanproxy.h"

static const GUID interface_class = SANPROXY_INTERFACE_CLASS;

static int failures;

/* Opens the first device; the handle is for one request after the other. */
static HANDLE open_device(void)
{
    union {
        SP_DEVICE_INTERFACE_DETAIL_DATA_W data;
        unsigned char bytes[sizeof(SP_DEVICE_INTERFACE_DETAIL_DATA_W) + 512 * sizeof(WCHAR)];
    } detail;
    SP_DEVICE_INTERFACE_DATA found = { 0 };
    HANDLE device = INVALID_HANDLE_VALUE;
    const HDEVINFO set = SetupDiGetClassDevsW(&interface_class, NULL, NULL,
        DIGCF_PRESENT | DIGCF_DEVICEINTERFACE);

    if (set == INVALID_HANDLE_VALUE)
        return device;
    found.cbSize = sizeof(found);
    detail.data.cbSize = sizeof(detail.data);
    if (SetupDiEnumDeviceInterfaces(set, NULL, &interface_class, 0, &found)
        && SetupDiGetDeviceInterfaceDetailW(set, &found, &detail.data, (DWORD)sizeof(detail), NULL, NULL))
        device = CreateFileW(detail.data.DevicePath, GENERIC_READ | GENERIC_WRITE,
            FILE_SHARE_READ | FILE_SHARE_WRITE, NULL, OPEN_EXISTING, 0, NULL);
    SetupDiDestroyDeviceInfoList(set);
    return device;
}

/* Sends a request; says so and counts it if it is refused. The number of bytes that came back, or 0. */
static DWORD ask(HANDLE device, DWORD code, void *input, size_t input_size, void *output, size_t output_size)
{
    DWORD returned = 0;

    if (DeviceIoControl(device, code, input, (DWORD)input_size, output, (DWORD)output_size, &returned, NULL))
        return returned;
    fprintf(stderr, "request 0x%08lx: Windows error %lu\n", (unsigned long)code,
        (unsigned long)GetLastError());
    failures++;
    return 0;
}

static void about_the_device(HANDLE device)
{
    {
        /* example: IOCTL_SANPROXY_QUERY_INTERFACE */
        SANPROXY_HEADER question = SANPROXY_HEADER_OF(SANPROXY_HEADER);
        SANPROXY_INTERFACE_OUTPUT answer;

        if (ask(device, IOCTL_SANPROXY_QUERY_INTERFACE, &question, sizeof question, &answer, sizeof answer)
            && answer.interface_major == SANPROXY_INTERFACE_MAJOR)
            printf("driver %u.%u.%u\n", answer.driver_major, answer.driver_minor, answer.driver_patch);
        /* end */
    }
    {
        /* example: IOCTL_SANPROXY_QUERY_CAPABILITIES */
        SANPROXY_HEADER question = SANPROXY_HEADER_OF(SANPROXY_HEADER);
        SANPROXY_CAPABILITIES_OUTPUT answer;

        if (ask(device, IOCTL_SANPROXY_QUERY_CAPABILITIES, &question, sizeof question, &answer, sizeof answer)
            && (answer.kinds & (1u << SANPROXY_KIND_USER_BUFFER)))
            printf("one file can register %llu bytes\n", (unsigned long long)answer.bytes_per_file);
        /* end */
    }
    {
        /* example: IOCTL_SANPROXY_STATISTICS */
        SANPROXY_HEADER question = SANPROXY_HEADER_OF(SANPROXY_HEADER);
        SANPROXY_STATISTICS_OUTPUT answer;

        if (ask(device, IOCTL_SANPROXY_STATISTICS, &question, sizeof question, &answer, sizeof answer))
            printf("%llu bytes are registered now\n", (unsigned long long)answer.live_bytes);
        /* end */
    }
    {
        /* example: IOCTL_SANPROXY_MAP_STATUS_PAGE */
        SANPROXY_HEADER question = SANPROXY_HEADER_OF(SANPROXY_HEADER);
        SANPROXY_MAP_STATUS_PAGE_OUTPUT answer;

        if (ask(device, IOCTL_SANPROXY_MAP_STATUS_PAGE, &question, sizeof question, &answer, sizeof answer)) {
            const volatile SANPROXY_STATUS_PAGE *page = (const volatile void *)(uintptr_t)answer.user_address;
            uint64_t sequence, bytes;

            do { /* Until all that was read is of one moment. */
                sequence = page->sequence;
                MemoryBarrier();
                bytes = page->live_bytes;
                MemoryBarrier();
            } while (sequence % 2 != 0 || sequence != page->sequence);
            printf("%llu bytes registered\n", (unsigned long long)bytes);
        }
        /* end */
    }
}

static void registrations(HANDLE device)
{
    uint64_t handle, device_address, other;

    {
        /* example: IOCTL_SANPROXY_REGISTER */
        SANPROXY_REGISTER_INPUT wish = { .header = SANPROXY_HEADER_OF(SANPROXY_REGISTER_INPUT) };
        SANPROXY_REGISTER_OUTPUT memory = { 0 };

        wish.kind = SANPROXY_KIND_COMMON_BUFFER;
        wish.flags = SANPROXY_REGISTER_MAP | SANPROXY_REGISTER_LOW_MEMORY;
        wish.length = 64 * 1024;
        wish.highest = UINT64_MAX;
        wish.cache = SANPROXY_CACHE_CACHED;
        wish.node = SANPROXY_ANY_NODE;
        if (ask(device, IOCTL_SANPROXY_REGISTER, &wish, sizeof wish, &memory, sizeof memory)) {
            memcpy((void *)(uintptr_t)memory.user_address, "for the device", 14);
            printf("the device finds it at 0x%llx\n", (unsigned long long)memory.device_address);
        }
        /* end */
        handle = memory.handle;
        device_address = memory.device_address;
        ask(device, IOCTL_SANPROXY_REGISTER, &wish, sizeof wish, &memory, sizeof memory);
        other = memory.handle;
    }
    {
        /* example: IOCTL_SANPROXY_QUERY_REGISTRATION */
        SANPROXY_QUERY_REGISTRATION_INPUT question = { .header = SANPROXY_HEADER_OF(SANPROXY_QUERY_REGISTRATION_INPUT) };
        SANPROXY_QUERY_REGISTRATION_OUTPUT answer;
        uint32_t i;

        question.handle = handle;
        question.first_piece = 0; /* If answer.total is more than answer.returned, ask from there on. */
        if (ask(device, IOCTL_SANPROXY_QUERY_REGISTRATION, &question, sizeof question, &answer, sizeof answer))
            for (i = 0; i < answer.returned; i++)
                printf("%llu bytes at 0x%llx\n", (unsigned long long)answer.pieces[i].length,
                    (unsigned long long)answer.pieces[i].device_address);
        /* end */
    }
    {
        /* example: IOCTL_SANPROXY_LOOKUP */
        SANPROXY_LOOKUP_INPUT question = { .header = SANPROXY_HEADER_OF(SANPROXY_LOOKUP_INPUT) };
        SANPROXY_LOOKUP_OUTPUT answer;

        question.device_address = device_address + 4096;
        if (ask(device, IOCTL_SANPROXY_LOOKUP, &question, sizeof question, &answer, sizeof answer))
            printf("byte %llu of a registration of this file\n", (unsigned long long)answer.offset);
        /* end */
    }
    {
        /* example: IOCTL_SANPROXY_MOVE */
        SANPROXY_MOVE_INPUT order = { .header = SANPROXY_HEADER_OF(SANPROXY_MOVE_INPUT) };
        SANPROXY_HEADER done;

        order.source = handle;
        order.source_offset = 0;
        order.destination = other;
        order.destination_offset = 1024;
        order.length = 512;
        ask(device, IOCTL_SANPROXY_MOVE, &order, sizeof order, &done, sizeof done);
        /* end */
    }
    {
        /* example: IOCTL_SANPROXY_RELEASE */
        SANPROXY_RELEASE_INPUT order = { .header = SANPROXY_HEADER_OF(SANPROXY_RELEASE_INPUT) };
        SANPROXY_HEADER done;

        order.handle = handle;
        ask(device, IOCTL_SANPROXY_RELEASE, &order, sizeof order, &done, sizeof done);
        /* end */
    }
    {
        /* example: IOCTL_SANPROXY_REGISTER_HOST_MEMORY */
        SANPROXY_REGISTER_HOST_MEMORY_INPUT wish = { .header = SANPROXY_HEADER_OF(SANPROXY_REGISTER_HOST_MEMORY_INPUT) };
        SANPROXY_REGISTER_OUTPUT memory;

        wish.preferred = 1024 * 1024;
        wish.minimum = 64 * 1024;
        wish.highest = UINT64_MAX;
        wish.most_ranges = 16;
        wish.cache = SANPROXY_CACHE_CACHED;
        wish.node = SANPROXY_ANY_NODE;
        if (ask(device, IOCTL_SANPROXY_REGISTER_HOST_MEMORY, &wish, sizeof wish, &memory, sizeof memory))
            printf("%llu bytes in %u ranges\n", (unsigned long long)memory.length, memory.pieces);
        /* end */
    }
}

static void own_memory(HANDLE device)
{
    void *start = VirtualAlloc(NULL, 16384, MEM_COMMIT | MEM_RESERVE, PAGE_READWRITE);
    uint64_t secured = 0, buffer = 0;

    {
        /* example: IOCTL_SANPROXY_REGISTER_USER_BUFFER */
        SANPROXY_REGISTER_USER_BUFFER_INPUT wish = { .header = SANPROXY_HEADER_OF(SANPROXY_REGISTER_USER_BUFFER_INPUT) };
        SANPROXY_REGISTER_OUTPUT memory;

        wish.range.start = (uint64_t)(uintptr_t)start;
        wish.range.length = 16384;
        wish.access = SANPROXY_ACCESS_WRITE; /* What the device may do. */
        wish.flags = SANPROXY_REGISTER_ALLOW_PIECES;
        wish.highest = UINT64_MAX;
        if (ask(device, IOCTL_SANPROXY_REGISTER_USER_BUFFER, &wish, sizeof wish, &memory, sizeof memory))
            printf("%u pieces, the first at 0x%llx\n", memory.pieces, (unsigned long long)memory.device_address);
        /* end */
        buffer = memory.handle;
    }
    {
        /* example: IOCTL_SANPROXY_SYNCHRONIZE */
        SANPROXY_SYNCHRONIZE_INPUT order = { .header = SANPROXY_HEADER_OF(SANPROXY_SYNCHRONIZE_INPUT) };
        SANPROXY_HEADER done;

        order.handle = buffer;
        order.offset = 0;
        order.length = 512;
        order.side = SANPROXY_FOR_PROCESSOR; /* What the device wrote. */
        ask(device, IOCTL_SANPROXY_SYNCHRONIZE, &order, sizeof order, &done, sizeof done);
        /* end */
    }
    {
        /* example: IOCTL_SANPROXY_SECURE */
        SANPROXY_SECURE_INPUT wish = { .header = SANPROXY_HEADER_OF(SANPROXY_SECURE_INPUT) };
        SANPROXY_SECURE_OUTPUT answer;

        wish.range.start = (uint64_t)(uintptr_t)start;
        wish.range.length = 16384;
        wish.access = SANPROXY_ACCESS_READ_WRITE;
        if (ask(device, IOCTL_SANPROXY_SECURE, &wish, sizeof wish, &answer, sizeof answer))
            secured = answer.handle; /* VirtualFree of that memory fails from here on. */
        /* end */
    }
    {
        /* example: IOCTL_SANPROXY_UNSECURE */
        SANPROXY_UNSECURE_INPUT order = { .header = SANPROXY_HEADER_OF(SANPROXY_UNSECURE_INPUT) };
        SANPROXY_HEADER done;

        order.handle = secured;
        ask(device, IOCTL_SANPROXY_UNSECURE, &order, sizeof order, &done, sizeof done);
        /* end */
    }
}

static void messages(HANDLE device)
{
    const HANDLE other = open_device();
    uint64_t number_of_the_other, own = 0;

    {
        SANPROXY_CONNECT_INPUT name = { .header = SANPROXY_HEADER_OF(SANPROXY_CONNECT_INPUT) };
        SANPROXY_CONNECT_OUTPUT answer = { 0 };

        ask(other, IOCTL_SANPROXY_CONNECT, &name, sizeof name, &answer, sizeof answer);
        number_of_the_other = answer.own;
    }
    {
        /* example: IOCTL_SANPROXY_CONNECT */
        SANPROXY_CONNECT_INPUT name = { .header = SANPROXY_HEADER_OF(SANPROXY_CONNECT_INPUT) };
        SANPROXY_CONNECT_OUTPUT answer;

        name.endpoint = number_of_the_other; /* 0 would only ask for this file's own. */
        if (ask(device, IOCTL_SANPROXY_CONNECT, &name, sizeof name, &answer, sizeof answer)) {
            own = answer.own; /* For the other side to name. */
            printf("endpoint %llu, state %u\n", (unsigned long long)own, answer.state);
        }
        /* end */
    }
    {
        SANPROXY_CONNECT_INPUT name = { .header = SANPROXY_HEADER_OF(SANPROXY_CONNECT_INPUT) };
        SANPROXY_CONNECT_OUTPUT answer;
        DWORD written = 0;

        name.endpoint = own;
        ask(other, IOCTL_SANPROXY_CONNECT, &name, sizeof name, &answer, sizeof answer);
        if (!WriteFile(other, "answer", 6, &written, NULL))
            failures++;
    }
    {
        /* example: IOCTL_SANPROXY_WAIT_EVENT */
        SANPROXY_HEADER question = SANPROXY_HEADER_OF(SANPROXY_HEADER);
        SANPROXY_EVENTS_OUTPUT answer;

        /* Waits until there is one: best with an OVERLAPPED, which CancelIoEx can end. */
        if (ask(device, IOCTL_SANPROXY_WAIT_EVENT, &question, sizeof question, &answer, sizeof answer)
            && (answer.kinds & SANPROXY_EVENT_CONNECTED))
            printf("connected\n");
        /* end */
    }
    {
        /* example: IOCTL_SANPROXY_EXCHANGE */
        struct {
            SANPROXY_EXCHANGE_INPUT start;
            char message[8];
        } question = { { SANPROXY_HEADER_OF(SANPROXY_EXCHANGE_INPUT), 0, 0 }, "question" };
        char room[4096];
        const DWORD length = ask(device, IOCTL_SANPROXY_EXCHANGE, &question, sizeof question, room, sizeof room);

        printf("%lu bytes came\n", (unsigned long)length);
        /* end */
    }
    {
        /* example: IOCTL_SANPROXY_DISCONNECT */
        SANPROXY_HEADER order = SANPROXY_HEADER_OF(SANPROXY_HEADER);
        SANPROXY_HEADER done;

        ask(device, IOCTL_SANPROXY_DISCONNECT, &order, sizeof order, &done, sizeof done);
        /* end */
    }
    CloseHandle(other);
}

static void administration(HANDLE device)
{
    {
        /* example: IOCTL_SANPROXY_ENUMERATE */
        SANPROXY_ENUMERATE_INPUT question = { .header = SANPROXY_HEADER_OF(SANPROXY_ENUMERATE_INPUT) };
        SANPROXY_ENUMERATE_OUTPUT answer;
        uint32_t i;

        do {
            if (!ask(device, IOCTL_SANPROXY_ENUMERATE, &question, sizeof question, &answer, sizeof answer))
                break;
            for (i = 0; i < answer.returned; i++)
                printf("process %llu has %llu bytes\n",
                    (unsigned long long)answer.registrations[i].process,
                    (unsigned long long)answer.registrations[i].length);
            question.after = answer.last;
        } while (answer.returned == SANPROXY_REGISTRATIONS_PER_REPLY);
        /* end */
    }
    {
        /* example: IOCTL_SANPROXY_ENUMERATE_PIECES */
        SANPROXY_ENUMERATE_INPUT all = { .header = SANPROXY_HEADER_OF(SANPROXY_ENUMERATE_INPUT) };
        SANPROXY_ENUMERATE_OUTPUT listed;
        SANPROXY_ENUMERATE_PIECES_INPUT question = { .header = SANPROXY_HEADER_OF(SANPROXY_ENUMERATE_PIECES_INPUT) };
        SANPROXY_QUERY_REGISTRATION_OUTPUT answer;

        if (ask(device, IOCTL_SANPROXY_ENUMERATE, &all, sizeof all, &listed, sizeof listed) && listed.returned > 0) {
            question.serial = listed.registrations[0].serial;
            if (ask(device, IOCTL_SANPROXY_ENUMERATE_PIECES, &question, sizeof question, &answer, sizeof answer))
                printf("%u pieces, the first at 0x%llx\n", answer.total, (unsigned long long)answer.pieces[0].device_address);
        }
        /* end */
    }
    {
        /* example: IOCTL_SANPROXY_SET_QUOTA */
        SANPROXY_SET_QUOTA_INPUT order = { .header = SANPROXY_HEADER_OF(SANPROXY_SET_QUOTA_INPUT) };
        SANPROXY_HEADER done;

        order.bytes_per_file = 1ull << 30;
        order.count_per_file = 4096;
        order.bytes_per_device = 4ull << 30;
        order.count_per_device = 65536;
        ask(device, IOCTL_SANPROXY_SET_QUOTA, &order, sizeof order, &done, sizeof done);
        /* end */
    }
}

int main(void)
{
    const HANDLE device = open_device();

    if (device == INVALID_HANDLE_VALUE) {
        fprintf(stderr, "no sanproxy device can be opened: Windows error %lu\n", (unsigned long)GetLastError());
        return EXIT_FAILURE;
    }
    about_the_device(device);
    registrations(device);
    own_memory(device);
    messages(device);
    administration(device);
    CloseHandle(device);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
