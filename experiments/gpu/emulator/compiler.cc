// NVRTC on the CPU: a program becomes a shared library, whose path stands for its PTX.
//
// The C++ compiler is c++, or that of the environment variable CXX. Libraries are kept in the
// cache's folder, by a hash of all that decides them.

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>

#include <unistd.h>

#include "driver.h"

namespace {

enum { SUCCESS = 0 };

struct Program {
    std::string source, library;
};

// The folder of the emulator's sources.
const std::string SOURCES = EMULATOR_SOURCES;

std::string read(const std::filesystem::path &path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

// The source of a kernel of CubeCL, as C++.
std::string of_cubecl(const std::string &source) {
    static const std::regex window("extern __shared__ __align__\\(\\d+\\) char (\\w+)\\[\\];");
    static const std::regex addition(
        "asm volatile\\(\"atom.relaxed.add.f32 %0, \\[%1\\], %2;\" : "
        "\"=f\"\\((\\w+)\\) : \"l\"\\((\\w+)\\), \"f\"\\((\\w+)\\) \\);");
    static const std::regex entry(
        "extern \"C\" __global__ void (?:__launch_bounds__\\(\\d+\\))? *(\\w+)\\(");
    std::string text = std::regex_replace(source, window, "char *const $1 = emulated::shared;");
    text = std::regex_replace(text, addition, "$1 = emulated::add_atomically($2, $3);");
    bool has_barriers = text.find("__sync") != std::string::npos;
    std::string found = "#include \"kernel.h\"\n" + text + "\n";
    std::sregex_iterator at(source.begin(), source.end(), entry), end;
    for (; at != end; ++at) {
        found += "ENTRY(" + (*at)[1].str() + ", " + (has_barriers ? "true" : "false") + ")\n";
    }
    return found;
}

// The source of attention's kernels, which brings the instructions of a warp along.
std::string of_attention(const std::string &source) {
    static const std::regex entry("KERNEL void[^;{]*?\\s(attention_\\w+)\\(");
    std::string found = "#include \"warp_kernel.h\"\n#define HAS_PRIMITIVES\n" + source + "\n";
    std::sregex_iterator at(source.begin(), source.end(), entry), end;
    for (; at != end; ++at) found += "ENTRY(" + (*at)[1].str() + ")\n";
    return found;
}

} // namespace

extern "C" {

int nvrtcVersion(int *major, int *minor) {
    *major = 13;
    *minor = 0;
    return SUCCESS;
}

const char *nvrtcGetErrorString(int error) {
    return error == SUCCESS ? "success" : "the compiler refused the program";
}

int nvrtcCreateProgram(Program **program, const char *source, const char *name, int headers,
                       const char *const *texts, const char *const *names) {
    *program = new Program{source, ""};
    return SUCCESS;
}

int nvrtcDestroyProgram(Program **program) {
    delete *program;
    *program = nullptr;
    return SUCCESS;
}

int nvrtcCompileProgram(Program *program, int count, const char *const *options) {
    static std::atomic<int> number;
    auto quoted = [](const std::string &text) { return "'" + text + "'"; };
    const char *named = getenv("CXX");
    const std::string compiler = named ? named : "c++";
    // Coroutines jump between stacks, which a fortified longjmp takes for an error.
    std::string flags = "-std=c++17 -O2 -ffp-contract=off -U_FORTIFY_SOURCE -shared -fPIC -w "
                        "-fsanitize=alignment -fsanitize-undefined-trap-on-error";
    const std::string attention = "/../../../crates/kernels/tests/cuda_attention";
    for (const std::string &folder : {std::string(), std::string("/include"), attention}) {
        flags += " -I" + quoted(SOURCES + folder);
    }
    const std::string macro = "--define-macro=";
    for (int n = 0; n < count; n++) {
        std::string option = options[n];
        if (option.compare(0, macro.size(), macro) == 0) {
            flags += " -D" + option.substr(macro.size());
        }
    }
    bool is_attention = program->source.find("attention_forward") != std::string::npos &&
                        program->source.find("multiply_add") != std::string::npos;
    std::string text = is_attention ? of_attention(program->source) : of_cubecl(program->source);
    std::string decides = compiler + flags + text + read(SOURCES + attention + "/block.h");
    for (const char *name : {"kernel.h", "warp_kernel.h", "entry.h", "include/mma.h",
                             "include/cuda_bf16.h"}) {
        decides += read(SOURCES + "/" + name);
    }
    std::ostringstream name;
    name << std::hex << std::hash<std::string>()(decides);
    std::string library = cache() / (name.str() + ".so");
    program->library = library;
    if (access(library.c_str(), R_OK) == 0) return SUCCESS;

    // Another thread or process may compile the same.
    std::string own = library + "-" + std::to_string(getpid()) + "-" + std::to_string(number++);
    std::ofstream(own + ".cc") << text;
    // What this program is preloaded with is not for the compiler.
    std::string command = "env -u LD_PRELOAD -u LD_LIBRARY_PATH " + compiler + " " + flags +
                          " -o " + quoted(own) + " " + quoted(own + ".cc") + " >" +
                          quoted(own + ".log") + " 2>&1";
    if (system(command.c_str()) != 0) {
        std::string log = read(own + ".log").substr(0, 2000);
        refuse("a kernel does not compile:\n%s\n%s", command.c_str(), log.c_str());
    }
    if (rename(own.c_str(), library.c_str()) != 0) refuse("cannot write %s", library.c_str());
    rename((own + ".cc").c_str(), (library + ".cc").c_str());
    unlink((own + ".log").c_str());
    return SUCCESS;
}

int nvrtcGetPTXSize(Program *program, size_t *bytes) {
    *bytes = program->library.size() + 1;
    return SUCCESS;
}

int nvrtcGetPTX(Program *program, char *text) {
    strcpy(text, program->library.c_str());
    return SUCCESS;
}

int nvrtcGetProgramLogSize(Program *program, size_t *bytes) {
    *bytes = 1;
    return SUCCESS;
}

int nvrtcGetProgramLog(Program *program, char *text) {
    *text = 0;
    return SUCCESS;
}

} // extern "C"
