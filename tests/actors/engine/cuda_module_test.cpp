// What is said when the CUDA backend cannot be had, and how its tensors are laid out.
#include "actors/engine/cuda_module.h"

#include <cstdlib>
#include <fstream>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "actors/engine/cuda/extents.h"
#include "tests/protocol/temp_dir.h"

namespace seng {
namespace {

using ::testing::HasSubstr;

std::string built(const std::string& name) {
  return std::string(SENG_BIN_DIR) + "/modules/" + name + ".so";
}

std::string refusal(const std::string& path) {
  const auto backend = cuda::make_backend_from(path, Arithmetic::kF32);
  EXPECT_FALSE(backend);
  if (backend) return "";
  EXPECT_EQ(backend.error().code, ErrorCode::kUnsupported);
  return backend.error().message;
}

TEST(CudaModule, ThatIsNotThereIsNamedWithWhatItNeeds) {
  const std::string text = refusal("/nowhere/libseng_cuda.so");
  EXPECT_THAT(text, HasSubstr("/nowhere/libseng_cuda.so is not there"));
  EXPECT_THAT(text, HasSubstr("CUDA Toolkit and cuDNN 9"));
}

TEST(CudaModule, ThatIsNoLibraryIsRefused) {
  TempDir dir;
  std::ofstream(dir.path() + "/libseng_cuda.so") << "no library";
  EXPECT_THAT(refusal(dir.path() + "/libseng_cuda.so"), HasSubstr("cannot be loaded"));
}

TEST(CudaModule, WithoutItsSymbolIsRefused) {
  EXPECT_THAT(refusal(built("no_symbol")), HasSubstr("no CUDA backend of SENG (it has no seng_cuda_module)"));
}

TEST(CudaModule, OfAnotherBuildIsRefused) {
  EXPECT_THAT(refusal(built("other_build")), HasSubstr("another build (interface of another build, this"));
}

TEST(CudaModule, NamesTheLibraryThatItLacks) {
  const std::string text = refusal(built("needs_library"));
  EXPECT_THAT(text, HasSubstr("libseng_test_gone.so"));
  EXPECT_THAT(text, HasSubstr("LD_LIBRARY_PATH"));
}

TEST(CudaModule, SaysThatTheGpuIsHidden) {
  setenv("CUDA_VISIBLE_DEVICES", "", 1);
  EXPECT_THAT(refusal(std::string(SENG_BIN_DIR) + "/emulated/libseng_cuda.so"),
              HasSubstr("no GPU is to be seen; CUDA_VISIBLE_DEVICES may hide it"));
  unsetenv("CUDA_VISIBLE_DEVICES");
}

TEST(CudaModule, SaysThatMemoryIsFullWithTheCallAndItsPlace) {
  const auto backend =
      cuda::make_backend_from(std::string(SENG_BIN_DIR) + "/emulated/libseng_cuda.so", Arithmetic::kF32);
  ASSERT_TRUE(backend) << backend.error().message;
  try {
    (*backend)->allocate(std::size_t{1} << 50);
    FAIL() << "a petabyte";
  } catch (const VendorError& error) {  // across the library's border
    EXPECT_THAT(error.what(), HasSubstr("out of memory (cudaErrorMemoryAllocation)"));
    EXPECT_THAT(error.what(), HasSubstr("smaller batch.micro"));
    EXPECT_THAT(error.what(), HasSubstr("cudaMalloc"));
    EXPECT_THAT(error.what(), HasSubstr(", actors/engine/cuda/handles.h:"));
  }
}

TEST(Backend, CudaSaysWhatIsMissing) {
  const auto backend = make_backend(Device::kCuda);
  if (backend) GTEST_SKIP() << "nothing is missing: " << (*backend)->device_name();
  EXPECT_EQ(backend.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(backend.error().message, HasSubstr("CUDA"));
  std::printf("%s\n", backend.error().message.c_str());
}

TEST(Backend, TheCpuComputesInF32) {
  for (const Arithmetic each : {Arithmetic::kTf32, Arithmetic::kBf16, Arithmetic::kF16}) {
    const auto backend = make_backend(Device::kCpu, each);
    ASSERT_FALSE(backend);
    EXPECT_EQ(backend.error().message, std::string("engine.precision: ") + arithmetic_name(each) +
                                           " needs a CUDA device; the cpu device computes in f32");
  }
}

TEST(Extents, EveryElementHasAPlaceOfItsOwn) {
  for (const bool channels_last : {false, true}) {
    const cuda::Extents extents{3, 5, 4, 7, channels_last};
    std::set<std::size_t> places;
    for (std::size_t row = 0; row < extents.rows(); ++row)
      for (int c = 0; c < extents.c; ++c) places.insert(extents.at(row, c));
    EXPECT_EQ(places.size(), extents.count());
    EXPECT_EQ(*places.rbegin(), extents.count() - 1);
    // Sample 2, channel 3, row 1, column 6.
    EXPECT_EQ(extents.at(2 * 28 + 1 * 7 + 6, 3),
              channels_last ? ((2u * 4 + 1) * 7 + 6) * 5 + 3 : ((2u * 5 + 3) * 4 + 1) * 7 + 6);
  }
}

TEST(RowChunks, CoverEveryRowOnceInFewEnoughChunks) {
  for (const std::size_t rows : {1u, 127u, 128u, 129u, 131072u, 131073u, 3211264u}) {
    const cuda::RowChunks chunks(rows);
    std::size_t next = 0;
    for (std::size_t i = 0; i < chunks.count(); ++i) {
      EXPECT_EQ(chunks.begin(i), next);
      EXPECT_GT(chunks.size(i), 0u);
      next = chunks.end(i);
    }
    EXPECT_EQ(next, rows);
    EXPECT_LE(chunks.count(), 1024u);
  }
}

}  // namespace
}  // namespace seng
