/*
 * probe.c: does on Windows what it is told on its standard input, a line at a time, and answers each with one line. The tests
 * drive it: it opens the device by its interface class, sends control requests as they are, and touches its own memory.
 *
 *   open                         ok PATH | error STEP WIN32
 *   close                        ok
 *   process                      ok IDENTIFIER HANDLE              of the device; to be taken by another probe
 *   take IDENTIFIER HANDLE       ok | error STEP WIN32             and used as the device from now on
 *   control CODE OUTPUT INPUT    ok HEX | error WIN32             INPUT is hex or -; OUTPUT is the room for output
 *   read ADDRESS LENGTH          ok HEX | fault ADDRESS
 *   write ADDRESS HEX            ok | fault ADDRESS
 *   protection ADDRESS           ok STATE PROTECTION TYPE
 *   install INF HARDWARE-ID      ok | error STEP WIN32
 *   uninstall HARDWARE-ID        ok REMOVED | error STEP WIN32
 *   devices HARDWARE-ID          ok COUNT
 *   delete SERVICE               ok | error STEP WIN32
 *   service NAME                 ok STATE | error STEP WIN32
 *
 * Numbers are hexadecimal, except counts and Win32 errors. SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include <windows.h>
#include <winioctl.h>
#include <initguid.h>
#include <setupapi.h>
#include <newdev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sanproxy.h>

#define ROOM (1 << 20)

/* The class "System" of the INF. */
static const GUID SYSTEM_CLASS = { 0x4d36e97d, 0xe325, 0x11ce, { 0xbf, 0xc1, 0x08, 0x00, 0x2b, 0xe1, 0x03, 0x18 } };
static const GUID INTERFACE_CLASS = SANPROXY_INTERFACE_CLASS;

static HANDLE device = INVALID_HANDLE_VALUE;
static char line[3 * ROOM], word[ROOM];
static unsigned char input[ROOM], output[ROOM];

static void error_at(const char *step)
{
    printf("error %s %lu\n", step, GetLastError());
}

static size_t from_hex(const char *text, unsigned char *bytes)
{
    size_t count = 0;
    unsigned value;
    while (count < ROOM && sscanf(text + 2 * count, "%2x", &value) == 1)
        bytes[count++] = (unsigned char)value;
    return count;
}

static void print_hex(const unsigned char *bytes, size_t count)
{
    size_t i;
    printf("ok ");
    for (i = 0; i < count; i++)
        printf("%02x", bytes[i]);
    printf("\n");
}

static void open_device(void)
{
    union {
        SP_DEVICE_INTERFACE_DETAIL_DATA_A data;
        char room[1024];
    } detail;
    SP_DEVICE_INTERFACE_DATA found = { .cbSize = sizeof found };
    HDEVINFO set = SetupDiGetClassDevsA(&INTERFACE_CLASS, NULL, NULL, DIGCF_DEVICEINTERFACE | DIGCF_PRESENT);

    detail.data.cbSize = sizeof detail.data;
    if (!SetupDiEnumDeviceInterfaces(set, NULL, &INTERFACE_CLASS, 0, &found)
        || !SetupDiGetDeviceInterfaceDetailA(set, &found, &detail.data, sizeof detail, NULL, NULL)) {
        error_at("interface");
    } else {
        device = CreateFileA(detail.data.DevicePath, GENERIC_READ | GENERIC_WRITE,
            FILE_SHARE_READ | FILE_SHARE_WRITE, NULL, OPEN_EXISTING, 0, NULL);
        if (device == INVALID_HANDLE_VALUE)
            error_at("open");
        else
            printf("ok %s\n", detail.data.DevicePath);
    }
    SetupDiDestroyDeviceInfoList(set);
}

/* Takes a handle out of another process, as anybody can who may open that process. */
static void take(void)
{
    unsigned long long handle;
    unsigned long identifier;
    HANDLE process;

    if (sscanf(line, "take %lx %llx", &identifier, &handle) != 2) {
        printf("what? %s", line);
        return;
    }
    process = OpenProcess(PROCESS_DUP_HANDLE, FALSE, identifier);
    if (!process)
        error_at("process");
    else if (!DuplicateHandle(process, (HANDLE)(size_t)handle, GetCurrentProcess(), &device, 0, FALSE,
                 DUPLICATE_SAME_ACCESS))
        error_at("duplicate");
    else
        printf("ok\n");
    if (process)
        CloseHandle(process);
}

static void control(void)
{
    unsigned long code, room;
    DWORD returned = 0;
    size_t length;

    if (sscanf(line, "control %lx %lx %1048575s", &code, &room, word) != 3 || room > ROOM) {
        printf("what? %s", line);
        return;
    }
    length = from_hex(word, input);
    if (DeviceIoControl(device, code, length ? input : NULL, (DWORD)length, room ? output : NULL, room, &returned, NULL))
        print_hex(output, returned);
    else
        printf("error %lu\n", GetLastError());
}

/* Whether the pages of a range are there and can be read, or written. */
static int reachable(unsigned long long address, unsigned long long length, DWORD protections)
{
    unsigned long long end = address + length;
    while (address < end) {
        MEMORY_BASIC_INFORMATION information;
        if (!VirtualQuery((void *)(size_t)address, &information, sizeof information)
            || information.State != MEM_COMMIT || !(information.Protect & protections))
            return 0;
        address = (size_t)information.BaseAddress + information.RegionSize;
    }
    return 1;
}

static void read_memory(void)
{
    unsigned long long address, length;
    if (sscanf(line, "read %llx %llx", &address, &length) != 2 || length > ROOM)
        printf("what? %s", line);
    else if (!reachable(address, length, PAGE_READWRITE | PAGE_READONLY | PAGE_WRITECOPY))
        printf("fault %llx\n", address);
    else
        print_hex((const unsigned char *)(size_t)address, (size_t)length);
}

static void write_memory(void)
{
    unsigned long long address;
    size_t length;
    if (sscanf(line, "write %llx %1048575s", &address, word) != 2) {
        printf("what? %s", line);
        return;
    }
    length = from_hex(word, input);
    if (!reachable(address, length, PAGE_READWRITE)) {
        printf("fault %llx\n", address);
        return;
    }
    memcpy((void *)(size_t)address, input, length);
    printf("ok\n");
}

static void protection(void)
{
    MEMORY_BASIC_INFORMATION information = { 0 };
    unsigned long long address;
    if (sscanf(line, "protection %llx", &address) != 1
        || !VirtualQuery((void *)(size_t)address, &information, sizeof information))
        printf("what? %s", line);
    else
        printf("ok %lx %lx %lx\n", information.State, information.Protect, information.Type);
}

/* What `devcon install` does. */
static void install(void)
{
    char inf[MAX_PATH], identifier[201] = { 0 };
    SP_DEVINFO_DATA data = { .cbSize = sizeof data };
    HDEVINFO set;
    BOOL restart = FALSE;

    if (sscanf(line, "install %259s %199s", inf, identifier) != 2) {
        printf("what? %s", line);
        return;
    }
    set = SetupDiCreateDeviceInfoList(&SYSTEM_CLASS, NULL);
    if (!SetupDiCreateDeviceInfoA(set, "System", &SYSTEM_CLASS, NULL, NULL, DICD_GENERATE_ID, &data))
        error_at("create");
    else if (!SetupDiSetDeviceRegistryPropertyA(set, &data, SPDRP_HARDWAREID, (BYTE *)identifier,
                 (DWORD)strlen(identifier) + 2))
        error_at("identifier");
    else if (!SetupDiCallClassInstaller(DIF_REGISTERDEVICE, set, &data))
        error_at("register");
    else if (!UpdateDriverForPlugAndPlayDevicesA(NULL, identifier, inf, 0, &restart))
        error_at("update");
    else
        printf("ok\n");
    SetupDiDestroyDeviceInfoList(set);
}

/* Calls the class installer for every device with the identifier; -1 if that fails. */
static int each_device(const char *identifier, DI_FUNCTION function)
{
    SP_DEVINFO_DATA data = { .cbSize = sizeof data };
    HDEVINFO set = SetupDiGetClassDevsA(NULL, NULL, NULL, DIGCF_ALLCLASSES);
    int count = 0;
    DWORD i;

    for (i = 0; count >= 0 && SetupDiEnumDeviceInfo(set, i, &data); i++) {
        char found[400] = { 0 };
        if (!SetupDiGetDeviceRegistryPropertyA(set, &data, SPDRP_HARDWAREID, NULL, (BYTE *)found, sizeof found - 2, NULL)
            || _stricmp(found, identifier))
            continue;
        count++;
        if (function && !SetupDiCallClassInstaller(function, set, &data))
            count = -1;
    }
    SetupDiDestroyDeviceInfoList(set);
    return count;
}

static void uninstall(int remove)
{
    char identifier[200];
    int count;
    if (sscanf(line, "%*s %199s", identifier) != 1) {
        printf("what? %s", line);
        return;
    }
    count = each_device(identifier, remove ? DIF_REMOVE : 0);
    if (count < 0)
        error_at("remove");
    else
        printf("ok %d\n", count);
}

static void service(int delete)
{
    SC_HANDLE manager = OpenSCManagerA(NULL, NULL, SC_MANAGER_CONNECT), handle;
    SERVICE_STATUS status = { 0 };
    char name[200];

    if (sscanf(line, "%*s %199s", name) != 1) {
        printf("what? %s", line);
        return;
    }
    handle = OpenServiceA(manager, name, SERVICE_QUERY_STATUS | (delete ? DELETE | SERVICE_STOP : 0));
    if (!handle) {
        error_at("service");
    } else if (delete) {
        ControlService(handle, SERVICE_CONTROL_STOP, &status);
        if (DeleteService(handle))
            printf("ok\n");
        else
            error_at("delete");
    } else if (QueryServiceStatus(handle, &status)) {
        printf("ok %lu\n", status.dwCurrentState);
    } else {
        error_at("query");
    }
    if (handle)
        CloseServiceHandle(handle);
    CloseServiceHandle(manager);
}

static int is(const char *command)
{
    size_t length = strlen(command);
    return !strncmp(line, command, length) && (line[length] == ' ' || line[length] == '\n' || line[length] == '\r');
}

int main(void)
{
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    while (fgets(line, sizeof line, stdin)) {
        if (is("open")) {
            open_device();
        } else if (is("close")) {
            CloseHandle(device);
            printf("ok\n");
        } else if (is("process")) {
            printf("ok %lx %llx\n", GetCurrentProcessId(), (unsigned long long)(size_t)device);
        } else if (is("take")) {
            take();
        } else if (is("control")) {
            control();
        } else if (is("read")) {
            read_memory();
        } else if (is("write")) {
            write_memory();
        } else if (is("protection")) {
            protection();
        } else if (is("install")) {
            install();
        } else if (is("uninstall")) {
            uninstall(1);
        } else if (is("devices")) {
            uninstall(0);
        } else if (is("delete")) {
            service(1);
        } else if (is("service")) {
            service(0);
        } else {
            printf("what? %s", line);
        }
        fflush(stdout);
    }
    return 0;
}
