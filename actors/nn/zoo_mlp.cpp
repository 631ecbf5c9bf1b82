#include "actors/nn/layers.h"
#include "actors/nn/zoo.h"

namespace seng {

Result<Graph> build_mlp(const ZooOptions& options, ImageShape input, int classes) {
  const auto given = options.find("hidden");
  const std::string hidden = given == options.end() ? "256,128" : given->second;
  constexpr int kWidest = 65536;
  Graph graph(input, classes);
  graph.add("flatten", flatten());
  int number = 1;
  for (std::size_t begin = 0; begin <= hidden.size();) {
    const std::size_t end = std::min(hidden.find(',', begin), hidden.size());
    std::string word = hidden.substr(begin, end - begin);
    std::erase(word, ' ');
    const auto width = parse_width("hidden", word, kWidest);
    if (!width) return fail(width.error());
    graph.add("fc" + std::to_string(number), linear(*width));
    graph.add("relu" + std::to_string(number++), relu());
    begin = end + 1;
  }
  graph.add("fc" + std::to_string(number), linear(classes));
  return graph;
}

}  // namespace seng
