// Libraries that are no CUDA backend for this program, each built from here.
#if defined(SENG_OTHER_BUILD)
struct Module {
  const char* interface;
  void* make_backend;
};
extern "C" const Module seng_cuda_module = {"of another build", nullptr};
#elif defined(SENG_NEEDS_LIBRARY)
int of_the_library();
int use_it() {
  return of_the_library();
}
#elif defined(SENG_LIBRARY)
int of_the_library() {
  return 1;
}
#else
int nothing_of_ours() {
  return 1;
}
#endif
