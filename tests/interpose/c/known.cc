// Allocates exactly what scenarios/known.rs says.
#include <cstdlib>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <vector>

#define NOINLINE extern "C" __attribute__((noinline))

static void *volatile kept;

struct alignas(256) Wide {
    char bytes[512];
};

// 400 bytes in one block, freed; 8, which stay; 512 at a multiple of 256, freed.
NOINLINE void cpp_new() {
    kept = new int[100];
    delete[] static_cast<int *>(kept);
    kept = new long(5);
    Wide *wide = new Wide;
    kept = wide;
    if (reinterpret_cast<std::size_t>(wide) % 256) std::abort();
    delete wide;
}

// What a vector does when it grows: 1, 2, 4, ..., 128 words of 8 bytes.
NOINLINE std::size_t cpp_vector() {
    std::vector<long> numbers;
    for (long n = 0; n < 100; n++) numbers.push_back(n);
    return numbers.size();
}

// A thousand nodes, and strings too long to lie in themselves: all are freed.
NOINLINE std::size_t cpp_map() {
    std::map<int, std::string> map;
    for (int n = 0; n < 1000; n++) map.emplace(n, std::string(100, 'x'));
    return map.size();
}

// An exception is a block, too, for as long as it is caught.
NOINLINE int cpp_throw() {
    try {
        throw std::string(50, 'x');
    } catch (const std::string &text) {
        return static_cast<int>(text.size());
    }
}
