// Runs attention's CUDA kernels on the CPU and compares them with f64, for heads as wide as
// HEAD_DIM says. The arguments are the number of random cases and the seed.

#include "block.h"

#include <random>

#include <sys/mman.h>

#include "tiles.cu"
#include "forward.cu"
#include "backward.cu"

// An array that ends where a page begins that nobody may touch. All bits are set, a NaN.
template <class T> struct Array {
    size_t bytes, pages;
    char *start;
    T *data;

    explicit Array(size_t count)
        : bytes((count * sizeof(T) + 15) / 16 * 16), pages((bytes + 4095) / 4096 * 4096) {
        const int access = PROT_READ | PROT_WRITE, kind = MAP_PRIVATE | MAP_ANONYMOUS;
        start = (char *)mmap(nullptr, pages + 4096, access, kind, -1, 0);
        mprotect(start + pages, 4096, PROT_NONE);
        memset(start, 0xff, pages);
        data = (T *)(start + pages - bytes);
    }
    Array(const Array &) = delete;
    ~Array() { munmap(start, pages + 4096); }
    operator T *() const { return data; }
};

static std::mt19937 generator;

static int below(int end) { return generator() % end; }

static double number(Bf16 x) { return as_float((unsigned)x << 16); }

enum Mask { CAUSAL, PACKED, PREFIXES, RANDOM, MASKS };

// `visible_until` of a row.
static void fill_mask(Mask mask, int seq, unsigned *until) {
    for (int start = 0; start < seq;) {
        int end = mask == CAUSAL ? seq : min(seq, start + 1 + below(1 + seq / 2));
        int prompt = (end - start) / 3;
        for (int key = start; key < end; key++) {
            until[key] = end;
            // Completions of 8 tokens that only their own tokens see.
            int after = key - start - prompt;
            if (mask == PREFIXES && after >= 0) until[key] = min(end, key + 8 - after % 8);
            if (mask == RANDOM) until[key] = key + 1 + below(seq - key);
        }
        start = end;
    }
}

// An attention of random numbers, and what the kernels make of it.
struct Attention {
    const Sizes sizes;
    const int batch, seq, heads, width, tiles;
    const size_t tokens, queries;
    Array<Bf16> qkv, grad_output, output, grad_qkv;
    Array<unsigned> until;
    Array<TileSpan> spans;
    std::vector<Piece> pieces;
    std::vector<Divided> divided;
    Array<float> cosines, sines, log_sum_exp, products;
    const float scale = 1.0f / sqrtf(HEAD_DIM);

    Attention(int batch, Sizes sizes, Mask mask, float size)
        : sizes(sizes), batch(batch), seq(sizes.seq), heads(sizes.heads), width(sizes.width()),
          tiles(sizes.tiles()), tokens((size_t)batch * seq), queries(tokens * heads),
          qkv(tokens * width), grad_output(queries * HEAD_DIM), output(queries * HEAD_DIM),
          grad_qkv(tokens * width), until(tokens), spans(batch * tiles),
          cosines(tokens * (HEAD_DIM / 2)), sines(tokens * (HEAD_DIM / 2)), log_sum_exp(queries),
          products(queries) {
        std::normal_distribution<float> normal;
        for (size_t n = 0; n < tokens * (HEAD_DIM / 2); n++) {
            float angle = normal(generator) * 10.0f;
            cosines[n] = cosf(angle);
            sines[n] = sinf(angle);
        }
        for (size_t n = 0; n < tokens * width; n++) qkv[n] = to_bf16(normal(generator) * size);
        for (size_t n = 0; n < queries * HEAD_DIM; n++) grad_output[n] = to_bf16(normal(generator));
        for (int row = 0; row < batch; row++) {
            unsigned *of_row = until + row * seq;
            fill_mask(mask, seq, of_row);
            for (int tile = 0; tile < tiles; tile++) {
                unsigned *first = of_row + tile * TILE, *end = min(first + TILE, of_row + seq);
                spans[row * tiles + tile].until = *std::max_element(first, end);
            }
            TileSpan *spans_of_row = spans + row * tiles;
            for (int tile = 0, from = 0; tile < tiles; tile++) {
                while ((int)spans_of_row[from].until <= tile * TILE) from++;
                spans_of_row[tile].from = from;
            }
        }
        divide();
    }

    // Pieces of at most three tiles of queries, in an order that is not that of the tiles.
    void divide() {
        unsigned slots = 0;
        for (unsigned tile = 0; tile < (unsigned)(tiles * batch); tile++) {
            unsigned first = tile % tiles, end = (spans[tile].until + TILE - 1) / TILE;
            unsigned parts = (end - first + 2) / 3;
            if (parts > 1) divided.push_back({tile, slots, slots + parts});
            for (unsigned from = first; from < end; from += 3) {
                pieces.push_back({tile, from, min(end, from + 3), parts > 1 ? slots++ : WHOLE});
            }
        }
        std::shuffle(pieces.begin(), pieces.end(), generator);
    }

    size_t slots() const { return divided.empty() ? 0 : divided.back().until; }

    static void blocks(int width, int height, unsigned bytes, const std::function<void()> &kernel) {
        for (int y = 0; y < height; y++) {
            for (int x = 0; x < width; x++) run_block(x, y, bytes, kernel);
        }
    }

    // Of the kernels with a block for each tile of queries.
    void grid(const std::function<void()> &kernel) const {
        blocks(tiles * batch, heads, 4 * TILE_BYTES, kernel);
    }

    void run() const {
        const int key_value_heads = sizes.key_value_heads;
        grid([&] {
            attention_forward(qkv, until, spans, output, log_sum_exp, seq, heads,
                              key_value_heads, scale);
        });
        grid([&] {
            attention_grad_query(qkv, until, spans, cosines, sines, log_sum_exp, output, products,
                                 grad_output, grad_qkv, seq, heads, key_value_heads, scale);
        });
        Array<float> piece_sums(slots() * key_value_heads * 2 * TILE * HEAD_DIM);
        const unsigned shared = 6 * TILE_BYTES + 4 * TILE * 4;
        blocks(pieces.size(), key_value_heads, shared, [&] {
            attention_grad_key_value(qkv, until, pieces.data(), cosines, sines, log_sum_exp,
                                     products, grad_output, grad_qkv, piece_sums, seq, heads,
                                     key_value_heads, scale);
        });
        blocks(divided.size(), key_value_heads * CHUNKS, 0, [&] {
            attention_add_pieces(divided.data(), cosines, sines, piece_sums, grad_qkv, seq, heads,
                                 key_value_heads, scale);
        });
    }
};

// Of what is compared: the squares of errors and of values.
struct Errors {
    double errors = 0, values = 0;

    void add(double found, double expected) {
        CHECK(std::isfinite(found), "a value is missing or not finite");
        errors += (found - expected) * (found - expected);
        values += expected * expected + 1e-2;
    }
    double relative() const { return sqrt(errors / values); }
};

// The same in f64, with weights and their gradients rounded to bf16 where the kernels round them,
// so that nothing is left but the rounding of results. The backward pass begins, as theirs does,
// with what the forward pass found.
struct Reference {
    const Attention &a;
    std::vector<double> grad_qkv, weights;
    Errors of_output, of_log_sum_exp, of_products;

    explicit Reference(const Attention &a) : a(a), grad_qkv(a.tokens * a.width), weights(a.seq) {
        for (size_t token = 0; token < a.tokens; token++) {
            for (int head = 0; head < a.heads; head++) add_query(token, head);
        }
        for (size_t token = 0; token < a.tokens; token++) {
            for (int column = 0; column < a.sizes.value_column(0); column += HEAD_DIM) {
                rotate_back(token, column);
            }
        }
    }

    // Turns the gradient of a head of queries or keys back, which were rotated.
    void rotate_back(size_t token, int column) {
        double *first = &grad_qkv[token * a.width + column], *second = first + HEAD_DIM / 2;
        for (int d = 0; d < HEAD_DIM / 2; d++) {
            double cosine = a.cosines[token * (HEAD_DIM / 2) + d];
            double sine = a.sines[token * (HEAD_DIM / 2) + d];
            double x = first[d], y = second[d];
            first[d] = x * cosine + y * sine;
            second[d] = y * cosine - x * sine;
        }
    }

    double dot(const Bf16 *left, size_t right) const {
        double sum = 0;
        for (int d = 0; d < HEAD_DIM; d++) sum += number(left[d]) * number(a.qkv[right + d]);
        return sum;
    }

    void add_query(size_t token, int head) {
        const size_t at = token * a.heads + head, query = token % a.seq, row_start = token - query;
        const int key_head = head / a.sizes.group();
        const size_t of_query = token * a.width + a.sizes.query_column(head);
        const Bf16 *grad_output = a.grad_output + at * HEAD_DIM;
        auto key_of = [&](size_t k) {
            return (row_start + k) * a.width + a.sizes.key_column(key_head);
        };
        auto value_of = [&](size_t k) {
            return (row_start + k) * a.width + a.sizes.value_column(key_head);
        };
        double total = 0, product = 0;
        for (size_t k = 0; k <= query; k++) {
            bool sees = query < a.until[row_start + k];
            weights[k] = sees ? exp(dot(a.qkv + of_query, key_of(k)) * a.scale) : 0;
            total += weights[k];
        }
        of_log_sum_exp.add(a.log_sum_exp[at], log(total));
        for (int d = 0; d < HEAD_DIM; d++) {
            double sum = 0;
            for (size_t k = 0; k <= query; k++) {
                if (weights[k] != 0) sum += weights[k] / total * number(a.qkv[value_of(k) + d]);
            }
            double found = number(a.output[at * HEAD_DIM + d]);
            of_output.add(found, sum);
            product += found * number(grad_output[d]);
        }
        of_products.add(a.products[at], product);
        for (size_t k = 0; k <= query; k++) {
            if (weights[k] == 0) continue;
            double weight = weights[k] * exp(-a.log_sum_exp[at]);
            double difference = dot(grad_output, value_of(k)) - a.products[at];
            double gradient = number(to_bf16(weight * difference)) * a.scale;
            weight = number(to_bf16(weight));
            for (int d = 0; d < HEAD_DIM; d++) {
                grad_qkv[of_query + d] += gradient * number(a.qkv[key_of(k) + d]);
                grad_qkv[key_of(k) + d] += gradient * number(a.qkv[of_query + d]);
                grad_qkv[value_of(k) + d] += weight * number(grad_output[d]);
            }
        }
    }
};

static void check(int batch, Sizes sizes, Mask mask, float size) {
    Attention attention(batch, sizes, mask, size);
    attention.run();
    Reference reference(attention);
    // Those of queries, keys and values.
    Errors of_gradients[3];
    for (size_t n = 0; n < reference.grad_qkv.size(); n++) {
        int column = n % attention.width;
        int part = (column >= sizes.key_column(0)) + (column >= sizes.value_column(0));
        of_gradients[part].add(number(attention.grad_qkv[n]), reference.grad_qkv[n]);
    }
    double exact = max(reference.of_log_sum_exp.relative(), reference.of_products.relative());
    double worst = reference.of_output.relative();
    for (const Errors &errors : of_gradients) worst = max(worst, errors.relative());
    printf("%d rows of %d tokens, %d and %d heads, mask %d, size %g: errors %.1e, %.1e\n", batch,
           sizes.seq, sizes.heads, sizes.key_value_heads, mask, size, exact, worst);
    // Results in bf16 are rounded by 0.0017 in the root mean square, the sums' own weights before.
    CHECK(exact < 1.5e-7 && worst < 2.5e-3, "the errors are too large");
}

int main(int, char **arguments) {
    int cases = atoi(arguments[1]);
    generator.seed(atoi(arguments[2]));
    for (int n = 0; n < cases; n++) {
        int key_value_heads = 1 + below(2), group = below(2) ? 3 : 1;
        Sizes sizes = {1 + below(200), key_value_heads * group, key_value_heads};
        check(1 + below(2), sizes, Mask(n % MASKS), below(4) ? 1.0f : 3.0f);
    }
    // Tiles of keys that are divided into several pieces, whatever the random cases are.
    check(1, {700, 3, 1}, CAUSAL, 3.0f);
    // More tiles than lanes look at together.
    if (HEAD_DIM == 64) check(1, {2100, 1, 1}, PACKED, 1.0f);
}
