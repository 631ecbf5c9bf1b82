// Cutting a convolution sample's factors to rank p.
//
// Its gradient is U_i = G_i A_i^T with G_i (m x kappa) and A_i (n x kappa). With Q_i (kappa x p) an
// orthonormal basis of the leading right singular subspace of G_i,
//     U_i ~ (G_i Q_i)(A_i Q_i)^T                                   (Yang et al., arXiv 2006.05924, section 4)
// which is exact for p = min(m, kappa), and otherwise leaves out G_i (I - Q_i Q_i^T) A_i^T, at most
// sigma_{p+1}(G_i) |A_i|.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "actors/engine/random.h"
#include "actors/optim/representation.h"

namespace seng {

// Writes Q^T (p x kappa, orthonormal rows, those of a direction without energy zero) for G (m x kappa,
// row-major).
//   kSvd       the eigenvectors of the smaller of G^T G and G G^T, in double
//   kSubspace  randomised subspace iteration (Halko, Martinsson, Tropp, SIAM Review 53, 2011, algorithm 4.4):
//   two passes
//              over G and G^T from a Gaussian start of p + 4 vectors, which `random` gives
// p <= min(m, kappa). Single-threaded; deterministic.
void leading_subspace(const float* gradient, std::size_t m, std::size_t kappa, std::size_t p,
                      RankMethod method, Random random, float* basis);

// How much of |G|_F^2 the leading 1, 2, ... directions hold together: cumulated squares of the singular
// values of G, min(m, kappa) of them; the last is |G|_F^2.
std::vector<double> cumulated_energy(const float* gradient, std::size_t m, std::size_t kappa);

// The smallest p, at most `cap`, for which the samples' energies together reach `share` of their whole.
int rank_for_energy(std::span<const std::vector<double>> cumulated, double share, int cap);

}  // namespace seng
