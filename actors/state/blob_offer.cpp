#include "actors/state/blob_offer.h"

#include <algorithm>

#include <fmt/format.h>

namespace seng {

BlobOffer::BlobOffer(GroupEpoch epoch, std::vector<Blob> blobs, bool grows) : epoch_(epoch), grows_(grows) {
  for (Blob& blob : blobs) add(std::move(blob));
}

void BlobOffer::add(Blob blob) {
  SENG_CHECK(blob.name.size() <= BlobRequest::kMaxBlobNameBytes, "a blob's name is too long");
  Named& named = by_name_[blob.name];
  const bool fresh = named.versions.emplace(blob.version, next_).second;
  SENG_CHECK(fresh, "two blobs of one name and version: " + blob.name);
  named.newest = std::max(named.newest, blob.version);
  const std::size_t pieces = piece_count(blob.bytes.size());
  blobs_[next_++] = {blob.bytes, std::move(blob.owner), std::vector<std::optional<BlobHash>>(pieces), 0, {}};
}

void BlobOffer::drop(const BlobKey& key) {
  const auto named = by_name_.find(key.name);
  if (named == by_name_.end()) return;
  const auto found = named->second.versions.find(key.version);
  if (found == named->second.versions.end()) return;
  blobs_.erase(found->second);
  named->second.versions.erase(found);
}

std::uint64_t BlobOffer::newest(const std::string& name) const {
  const auto named = by_name_.find(name);
  return named == by_name_.end() ? 0 : named->second.newest;
}

Result<std::variant<BlobOffer::Piece, BlobOffer::Digest, BlobOffer::Later>> BlobOffer::find(
    const BlobRequest& request) const {
  const auto named = by_name_.find(request.name);
  if (named == by_name_.end()) {
    if (grows_) return Later{};
    return fail(ErrorCode::kNotFound, "no such blob");
  }
  const auto found = named->second.versions.find(request.version);
  if (found == named->second.versions.end()) {
    if (grows_ && request.version > named->second.newest) return Later{};
    return fail(ErrorCode::kNotFound, fmt::format("not this version, but {}", named->second.newest));
  }
  const std::size_t total = blobs_.at(found->second).bytes.size();
  if (request.count == 0) return Digest{found->second};
  const std::uint64_t piece = request.offset / kBlobPieceBytes;
  if (request.offset % kBlobPieceBytes != 0 || piece >= piece_count(total) ||
      request.count != piece_bytes(total, piece)) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("{} bytes at {} are no piece of its {} bytes",
                                                         request.count, request.offset, total));
  }
  return Piece{found->second, static_cast<std::size_t>(piece)};
}

BlobHash BlobOffer::copy(Piece piece, std::span<std::byte> into) {
  Entry& entry = blobs_.at(piece.blob);
  const auto from = piece_of(entry.bytes, piece.piece);
  auto& known = entry.hashes[piece.piece];
  if (known) {
    std::copy(from.begin(), from.end(), into.begin());
  } else {
    known = copy_and_hash(into.first(from.size()), from);
  }
  return *known;
}

std::optional<BlobHash> BlobOffer::digest(std::size_t blob, std::size_t pieces) {
  Entry& entry = blobs_.at(blob);
  if (entry.whole) return entry.whole;
  for (; entry.hashed < entry.hashes.size(); ++entry.hashed) {
    auto& hash = entry.hashes[entry.hashed];
    if (hash) continue;
    if (pieces-- == 0) return std::nullopt;
    hash = hash_piece(piece_of(entry.bytes, entry.hashed));
  }
  std::vector<BlobHash> all;
  for (const auto& hash : entry.hashes) all.push_back(*hash);
  entry.whole = hash_of_pieces(all);
  return entry.whole;
}

}  // namespace seng
