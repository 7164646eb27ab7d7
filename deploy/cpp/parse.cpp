// Parses one picture with the exported model, from C++: PPM (P6) in, PGM (P5) of class ids out.
//
//   parse lisa.ts picture.ppm labels.pgm
//
// Built against the libtorch inside torch's pip package; CMakeLists.txt beside this file finds it.
// A model file is a program: load only those that you trust.
#include <torch/script.h>

#include <fstream>
#include <iostream>
#include <limits>
#include <stdexcept>
#include <string>

// The next number of a PNM header, past white space and comments.
static int64_t header_number(std::istream& in) {
  while (in >> std::ws && in.peek() == '#') in.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  int64_t value = 0;
  if (!(in >> value) || value < 1 || value > 65535) throw std::runtime_error("damaged PPM header");
  return value;
}

// (1, 3, height, width) uint8 RGB.
static torch::Tensor read_ppm(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("can't be opened");
  std::string magic(2, ' ');
  in.read(magic.data(), 2);
  if (magic != "P6") throw std::runtime_error("no binary PPM (P6)");
  const int64_t width = header_number(in), height = header_number(in);
  if (header_number(in) != 255) throw std::runtime_error("its largest value must be 255");
  in.get();  // the one white space before the pixels
  auto pixels = torch::empty({1, height, width, 3}, torch::kUInt8);
  in.read(reinterpret_cast<char*>(pixels.data_ptr<uint8_t>()), pixels.numel());
  if (in.gcount() != pixels.numel()) throw std::runtime_error("truncated");
  return pixels.permute({0, 3, 1, 2});
}

static void write_pgm(const std::string& path, const torch::Tensor& labels) {
  std::ofstream out(path, std::ios::binary);
  out << "P5\n" << labels.size(1) << " " << labels.size(0) << "\n255\n";
  out.write(reinterpret_cast<const char*>(labels.data_ptr<uint8_t>()), labels.numel());
  if (!out.flush()) throw std::runtime_error("can't be written");
}

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: parse MODEL.ts PICTURE.ppm LABELS.pgm\n";
    return 2;
  }
  std::string at = argv[1];
  try {
    c10::InferenceMode guard;
    auto model = torch::jit::load(at);
    model.eval();
    at = argv[2];
    auto picture = read_ppm(at);
    auto labels = model.forward({picture}).toTensor()[0].contiguous();
    write_pgm(at = argv[3], labels);
  } catch (const std::exception& error) {
    std::cerr << "error: " << at << ": " << std::string(error.what()).substr(0, 300) << "\n";
    return 1;
  }
}
