/*
 * What a provider does with the driver, from start to end: finds the device, registers 64 KiB of low
 * memory, writes and reads it, looks its address up, releases it. Only sanproxy.h and Win32.
 *
 *     x86_64-w64-mingw32-gcc -Wall -Wextra -Werror -I include examples/provider.c -o provider-c.exe -lsetupapi
 *     cl /W4 /I include examples\provider.c setupapi.lib
 *
 * Run it as an administrator. It ends with 0 if every step did what it should.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include <windows.h>
#include <winioctl.h>
#include <setupapi.h>

#include <stdio.h>
#include <stdlib.h>

#include "sanproxy.h"

#define LENGTH (64u * 1024u)

static const GUID interface_class = SANPROXY_INTERFACE_CLASS;

/* Says what failed and why, and ends the program. */
static void fail(const char *what)
{
    const DWORD error = GetLastError();
    char text[256] = "";

    FormatMessageA(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, NULL, error, 0, text,
        (DWORD)sizeof(text), NULL);
    fprintf(stderr, "error: %s: Windows error %lu: %s\n", what, (unsigned long)error, text);
    exit(EXIT_FAILURE);
}

/* Opens the first device of the interface class. The handle is not inherited by child processes. */
static HANDLE open_device(void)
{
    /* The struct ends with the path: room for 512 characters of it, aligned for the struct. */
    union {
        SP_DEVICE_INTERFACE_DETAIL_DATA_W data;
        unsigned char bytes[sizeof(SP_DEVICE_INTERFACE_DETAIL_DATA_W) + 512 * sizeof(WCHAR)];
    } detail;
    SP_DEVICE_INTERFACE_DATA device_interface = { 0 };
    HANDLE device;
    const HDEVINFO set = SetupDiGetClassDevsW(&interface_class, NULL, NULL,
        DIGCF_PRESENT | DIGCF_DEVICEINTERFACE);

    if (set == INVALID_HANDLE_VALUE)
        fail("cannot list the devices");
    device_interface.cbSize = sizeof(device_interface);
    if (!SetupDiEnumDeviceInterfaces(set, NULL, &interface_class, 0, &device_interface))
        fail("no sanproxy device is started");
    detail.data.cbSize = sizeof(detail.data);
    if (!SetupDiGetDeviceInterfaceDetailW(set, &device_interface, &detail.data,
            (DWORD)sizeof(detail), NULL, NULL))
        fail("cannot get the path of the device");
    device = CreateFileW(detail.data.DevicePath, GENERIC_READ | GENERIC_WRITE,
        FILE_SHARE_READ | FILE_SHARE_WRITE, NULL, OPEN_EXISTING, 0, NULL);
    if (device == INVALID_HANDLE_VALUE)
        fail("cannot open the device");
    SetupDiDestroyDeviceInfoList(set);
    return device;
}

/* Sends a request. Input and output are exactly the structs of the control code. */
static void ask(HANDLE device, const char *what, DWORD code, void *input, DWORD input_size,
    void *output, DWORD output_size)
{
    DWORD returned = 0;

    if (!DeviceIoControl(device, code, input, input_size, output, output_size, &returned, NULL))
        fail(what);
    if (returned != output_size) {
        fprintf(stderr, "error: %s: the reply has %lu bytes instead of %lu\n", what,
            (unsigned long)returned, (unsigned long)output_size);
        exit(EXIT_FAILURE);
    }
}

static int write_and_compare(volatile unsigned char *memory)
{
    size_t i;

    for (i = 0; i < LENGTH; i++)
        memory[i] = (unsigned char)i;
    for (i = 0; i < LENGTH; i++)
        if (memory[i] != (unsigned char)i)
            return 0;
    return 1;
}

int main(void)
{
    SANPROXY_HEADER hello = SANPROXY_HEADER_OF(SANPROXY_HEADER);
    SANPROXY_INTERFACE_OUTPUT version = { 0 };
    SANPROXY_REGISTER_INPUT wish = { 0 };
    SANPROXY_REGISTER_OUTPUT memory = { 0 };
    SANPROXY_LOOKUP_INPUT question = { 0 };
    SANPROXY_LOOKUP_OUTPUT place = { 0 };
    SANPROXY_RELEASE_INPUT farewell = { 0 };
    SANPROXY_HEADER done = { 0 };
    const SANPROXY_HEADER register_header = SANPROXY_HEADER_OF(SANPROXY_REGISTER_INPUT);
    const SANPROXY_HEADER lookup_header = SANPROXY_HEADER_OF(SANPROXY_LOOKUP_INPUT);
    const SANPROXY_HEADER release_header = SANPROXY_HEADER_OF(SANPROXY_RELEASE_INPUT);
    int equal, found;
    const HANDLE device = open_device();

    ask(device, "cannot ask for the version", IOCTL_SANPROXY_QUERY_INTERFACE, &hello, sizeof(hello),
        &version, sizeof(version));
    if (version.interface_major != SANPROXY_INTERFACE_MAJOR) {
        fprintf(stderr, "error: the driver speaks version %u of the interface, this program %u\n",
            (unsigned)version.interface_major, SANPROXY_INTERFACE_MAJOR);
        return EXIT_FAILURE;
    }
    printf("driver %u.%u.%u\n", (unsigned)version.driver_major, (unsigned)version.driver_minor,
        (unsigned)version.driver_patch);

    wish.header = register_header;
    wish.kind = SANPROXY_KIND_COMMON_BUFFER;
    wish.flags = SANPROXY_REGISTER_MAP | SANPROXY_REGISTER_LOW_MEMORY;
    wish.length = LENGTH;
    wish.highest = UINT64_MAX;
    wish.cache = SANPROXY_CACHE_CACHED;
    wish.node = SANPROXY_ANY_NODE;
    ask(device, "cannot register memory", IOCTL_SANPROXY_REGISTER, &wish, sizeof(wish), &memory,
        sizeof(memory));
    printf("registered %llu bytes; the device finds them at 0x%llx\n",
        (unsigned long long)memory.length, (unsigned long long)memory.device_address);

    equal = write_and_compare((volatile unsigned char *)(uintptr_t)memory.user_address);
    printf("written and read again: %s\n", equal ? "equal" : "DIFFERENT");

    question.header = lookup_header;
    question.device_address = memory.device_address + LENGTH / 2;
    ask(device, "cannot look the address up", IOCTL_SANPROXY_LOOKUP, &question, sizeof(question),
        &place, sizeof(place));
    found = place.handle == memory.handle && place.offset == LENGTH / 2;
    printf("looked up 0x%llx: %s\n", (unsigned long long)question.device_address,
        found ? "found" : "NOT FOUND");

    farewell.header = release_header;
    farewell.handle = memory.handle;
    ask(device, "cannot release the memory", IOCTL_SANPROXY_RELEASE, &farewell, sizeof(farewell),
        &done, sizeof(done));
    printf("released\n");

    CloseHandle(device);
    return equal && found ? EXIT_SUCCESS : EXIT_FAILURE;
}
