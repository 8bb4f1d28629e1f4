// NVRTC on the CPU: a program becomes a shared library, whose path stands for its PTX.
//
// The C++ compiler is c++, or that of the environment variable CXX. Libraries are kept in the
// folder that EMULATOR_CACHE names, by the digest of all that decides them.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>

#include <unistd.h>

namespace {

enum { SUCCESS = 0, COMPILATION_FAILED = 6 };

struct Program {
    std::string source, log, library;
};

std::string folder_of_this() {
    const char *named = getenv("EMULATOR_SOURCES");
    return named ? named : EMULATOR_SOURCES;
}

std::filesystem::path cache() {
    const char *named = getenv("EMULATOR_CACHE");
    std::filesystem::path path = named ? named : "/tmp/plw-emulator";
    std::filesystem::create_directories(path);
    return path;
}

std::string read(const std::filesystem::path &path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

// The source of a kernel of CubeCL, as C++.
std::string of_cubecl(const std::string &source) {
    static const std::regex window("extern __shared__ __align__\\((\\d+)\\) char (\\w+)\\[\\];");
    static const std::regex addition("asm volatile\\(\"atom.relaxed.add.f32 %0, \\[%1\\], %2;\" : "
                                     "\"=f\"\\((\\w+)\\) : \"l\"\\((\\w+)\\), \"f\"\\((\\w+)\\) \\);");
    static const std::regex entry(
        "extern \"C\" __global__ void (?:__launch_bounds__\\(\\d+\\))? *(\\w+)\\(");
    std::string text = std::regex_replace(source, window, "char *const $2 = emulated::shared;");
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
    *program = new Program{source, "", ""};
    return SUCCESS;
}

int nvrtcDestroyProgram(Program **program) {
    delete *program;
    *program = nullptr;
    return SUCCESS;
}

int nvrtcCompileProgram(Program *program, int count, const char *const *options) {
    const char *compiler = getenv("CXX");
    std::string flags = "-std=c++17 -O2 -ffp-contract=off -shared -fPIC -w";
    for (const char *folder : {"", "/include", "/../../../crates/kernels/tests/cuda_attention"}) {
        flags += " -I" + folder_of_this() + folder;
    }
    const std::string macro = "--define-macro=";
    for (int n = 0; n < count; n++) {
        std::string option = options[n];
        if (option.compare(0, macro.size(), macro) == 0) flags += " -D" + option.substr(macro.size());
    }
    bool is_attention = program->source.find("attention_forward") != std::string::npos &&
                        program->source.find("multiply_add") != std::string::npos;
    std::string text = is_attention ? of_attention(program->source) : of_cubecl(program->source);
    std::string decides = flags + text;
    for (const char *name : {"/kernel.h", "/warp_kernel.h", "/include/mma.h", "/include/cuda_bf16.h", "/entry.h"}) {
        decides += read(folder_of_this() + name);
    }
    std::ostringstream name;
    name << std::hex << std::hash<std::string>()(decides);
    std::filesystem::path library = cache() / (name.str() + ".so");
    program->library = library;
    if (std::filesystem::exists(library)) return SUCCESS;

    std::string own = library.string() + "-" + std::to_string(getpid());
    std::ofstream(own + ".cc") << text;
    std::string command = std::string(compiler ? compiler : "c++") + " " + flags + " -o " + own +
                          " " + own + ".cc >" + own + ".log 2>&1";
    if (system(command.c_str()) != 0) {
        program->log = command + "\n" + read(own + ".log");
        return COMPILATION_FAILED;
    }
    std::filesystem::rename(own, library);
    std::filesystem::rename(own + ".cc", library.string() + ".cc");
    std::filesystem::remove(own + ".log");
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
    *bytes = program->log.size() + 1;
    return SUCCESS;
}

int nvrtcGetProgramLog(Program *program, char *text) {
    strcpy(text, program->log.c_str());
    return SUCCESS;
}

} // extern "C"
