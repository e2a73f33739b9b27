/* Windows programs under Wine, for the stand-in's parser "wine".
 *
 * As sshd-run.exe: starts `"cmd.exe" /c "TEXT"` as Windows' sshd does, TEXT from the environment.
 * As argv.exe: splits each line of its input with CommandLineToArgvW, for tests to compare.
 * Under any other name (wsl.exe, icacls.exe, ...): hands its command line, exactly as cmd.exe made
 * it, to the stand-in's program on the Linux side, which gets the same standard streams.
 *
 * Wine starts Unix programs but does not tell how they ended: the exit code comes in a file.
 */
#include <windows.h>
#include <shellapi.h>
#include <stdio.h>

#define MOST 40000

static WCHAR text[MOST], line[MOST + 100], path[4096];
static char utf8[MOST * 4], hex[MOST * 8 + 4096];

static DWORD started(const WCHAR *program, WCHAR *command, PROCESS_INFORMATION *made)
{
    STARTUPINFOW start = {0};
    start.cb = sizeof(start);
    start.dwFlags = STARTF_USESTDHANDLES;
    start.hStdInput = GetStdHandle(STD_INPUT_HANDLE);
    start.hStdOutput = GetStdHandle(STD_OUTPUT_HANDLE);
    start.hStdError = GetStdHandle(STD_ERROR_HANDLE);
    return CreateProcessW(program, command, NULL, NULL, TRUE, 0, NULL, NULL, &start, made);
}

static void set_variables(void)
{
    WCHAR *at = text, *next, *equals;
    if (!GetEnvironmentVariableW(L"MAW_SET", text, MOST)) return;
    SetEnvironmentVariableW(L"MAW_SET", NULL);
    for (; *at; at = next) {
        next = wcschr(at, L'\n');
        *next++ = 0;
        equals = wcschr(at, L'=');
        *equals = 0;
        SetEnvironmentVariableW(at, equals + 1);
    }
}

static int run_cmd(void)
{
    PROCESS_INFORMATION made = {0};
    DWORD code = 1;
    set_variables();
    text[0] = 0;
    GetEnvironmentVariableW(L"MAW_RAW", text, MOST);
    SetEnvironmentVariableW(L"MAW_RAW", NULL);
    wsprintfW(path, L"%s", L"C:\\windows\\system32\\cmd.exe");
    wcscpy(line, L"\"cmd.exe\" /c \"");
    wcscat(line, text);
    wcscat(line, L"\"");
    if (!started(path, line, &made)) {
        fprintf(stderr, "cmd.exe did not start: %lu\n", GetLastError());
        return 1;
    }
    WaitForSingleObject(made.hProcess, INFINITE);
    GetExitCodeProcess(made.hProcess, &code);
    return (int)code;
}

static int answer_of(const WCHAR *file)
{
    char digits[32] = {0};
    DWORD size = 0;
    HANDLE handle;
    for (;;) {
        handle = CreateFileW(file, GENERIC_READ, 7, NULL, OPEN_EXISTING, 0, NULL);
        if (handle != INVALID_HANDLE_VALUE) break;
        Sleep(2);
    }
    ReadFile(handle, digits, sizeof(digits) - 1, &size, NULL);
    CloseHandle(handle);
    DeleteFileW(file);
    return atoi(digits);
}

static int hand_over(void)
{
    static WCHAR wide[MOST * 8 + 4096], program[4096], own[MAX_PATH];
    char name[64];
    PROCESS_INFORMATION made = {0};
    int size, at;
    char *end = hex;
    if (!GetEnvironmentVariableW(L"MAW_PROGRAM", program, 4096)) return 1;
    if (!GetEnvironmentVariableW(L"MAW_START", text, MOST)) return 1;
    GetModuleFileNameW(NULL, own, MAX_PATH);
    size = WideCharToMultiByte(CP_UTF8, 0, GetCommandLineW(), -1, utf8, sizeof(utf8), NULL, NULL) - 1;
    for (at = 0; at < size; at++) end += sprintf(end, "%02x", (unsigned char)utf8[at]);
    sprintf(name, "%lu-%lu", GetCurrentProcessId(), GetTickCount());
    _snwprintf(wide, MOST * 8 + 4096, L"%s %s %S %S", text, wcsrchr(own, L'\\') + 1, name, hex);
    GetEnvironmentVariableW(L"MAW_ANSWERS", path, 4096);
    wcscat(path, L"\\");
    _snwprintf(path + wcslen(path), 64, L"%S", name);
    if (!started(program, wide, &made)) {
        fprintf(stderr, "the stand-in's program did not start: %lu\n", GetLastError());
        return 1;
    }
    return answer_of(path);
}

static int split_lines(void)
{
    while (fgets(utf8, sizeof(utf8), stdin)) {
        int count, at;
        WCHAR **words;
        utf8[strcspn(utf8, "\n")] = 0;
        MultiByteToWideChar(CP_UTF8, 0, utf8, -1, line, MOST);
        words = CommandLineToArgvW(line, &count);
        for (at = 0; at < count; at++) {
            unsigned char *byte;
            WideCharToMultiByte(CP_UTF8, 0, words[at], -1, hex, sizeof(hex), NULL, NULL);
            printf(at ? " x" : "x");
            for (byte = (unsigned char *)hex; *byte; byte++) printf("%02x", *byte);
        }
        printf("\n");
        LocalFree(words);
    }
    return 0;
}

int main(void)
{
    static WCHAR own[MAX_PATH];
    GetModuleFileNameW(NULL, own, MAX_PATH);
    if (wcsstr(own, L"argv.exe")) return split_lines();
    return wcsstr(own, L"sshd-run") ? run_cmd() : hand_over();
}
