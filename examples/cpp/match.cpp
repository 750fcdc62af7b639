// Matches two grey pictures (binary PGM) by match.onnx, and prints a line for each match:
//   x0 y0 x1 y1 confidence sigma
// Pixels of the pictures, pixel centres at whole numbers. Pictures must fit into the graph's size.
//   astr_match graphs/match.onnx left.pgm right.pgm [threshold]
#include <onnxruntime_cxx_api.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

struct Picture {  // padded to the graph's size, at the right and at the bottom
  std::vector<float> grey;            // in [0, 1]; 0 where there is no picture
  std::unique_ptr<bool[]> usable;     // true where there is one
};

Picture read_pgm(const std::string& path, int64_t height, int64_t width) {
  std::ifstream file(path, std::ios::binary);
  std::string kind;
  int64_t columns = 0, rows = 0, most = 0;
  if (!(file >> kind >> columns >> rows >> most) || kind != "P5" || most != 255)
    throw std::runtime_error(path + " is no binary PGM of 8 bits without comments");
  if (columns > width || rows > height)
    throw std::runtime_error(path + " does not fit into " + std::to_string(width) + " x " +
                             std::to_string(height) + ": shrink it first");
  file.get();  // one space ends the header
  std::vector<unsigned char> bytes(rows * columns);
  if (!file.read(reinterpret_cast<char*>(bytes.data()), bytes.size()))
    throw std::runtime_error(path + " ends too early");
  Picture picture{std::vector<float>(height * width), std::make_unique<bool[]>(height * width)};
  for (int64_t y = 0; y < rows; ++y)
    for (int64_t x = 0; x < columns; ++x) {
      picture.grey[y * width + x] = bytes[y * columns + x] / 255.0f;
      picture.usable[y * width + x] = true;
    }
  return picture;
}

int main(int count, char** words) try {
  if (count < 4) throw std::runtime_error("usage: astr_match match.onnx left.pgm right.pgm [threshold]");
  Ort::Env env(ORT_LOGGING_LEVEL_ERROR, "astr_match");
  Ort::Session session(env, words[1], Ort::SessionOptions());
  auto type = session.GetInputTypeInfo(0);  // image0: [1 h w]
  auto shape = type.GetTensorTypeAndShapeInfo().GetShape();
  int64_t area = shape[1] * shape[2];

  auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  std::array<Picture, 2> pictures{read_pgm(words[2], shape[1], shape[2]),
                                  read_pgm(words[3], shape[1], shape[2])};
  float threshold = count > 4 ? std::stof(words[4]) : 0.9f;
  std::vector<Ort::Value> given;
  for (auto& picture : pictures)
    given.push_back(Ort::Value::CreateTensor<float>(memory, picture.grey.data(), area, shape.data(), 3));
  for (auto& picture : pictures)
    given.push_back(Ort::Value::CreateTensor<bool>(memory, picture.usable.get(), area, shape.data(), 3));
  given.push_back(Ort::Value::CreateTensor<float>(memory, &threshold, 1, nullptr, 0));

  const char* inputs[] = {"image0", "image1", "mask0", "mask1", "threshold"};
  const char* outputs[] = {"keypoints0", "keypoints1", "confidence", "covariance", "valid"};
  auto found = session.Run(Ort::RunOptions{}, inputs, given.data(), given.size(), outputs, 5);

  auto rows = found[4].GetTensorTypeAndShapeInfo().GetElementCount();
  auto points0 = found[0].GetTensorData<float>(), points1 = found[1].GetTensorData<float>();
  auto confidence = found[2].GetTensorData<float>(), covariance = found[3].GetTensorData<float>();
  auto valid = found[4].GetTensorData<bool>();
  for (size_t k = 0; k < rows; ++k)
    if (valid[k])
      std::printf("%.3f %.3f %.3f %.3f %.4f %.3f\n", points0[2 * k], points0[2 * k + 1],
                  points1[2 * k], points1[2 * k + 1], confidence[k],
                  std::sqrt((covariance[4 * k] + covariance[4 * k + 3]) / 2));
  return 0;
} catch (const std::exception& error) {
  std::cerr << "astr_match: " << error.what() << "\n";
  return 2;
}
