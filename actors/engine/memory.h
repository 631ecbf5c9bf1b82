// Whose memory a pointer is to, where a call takes both.
#pragma once

namespace seng {

// kDevice: that of any backend of the same process and device; on the CPU it is the host's.
enum class Memory { kHost, kDevice };

}  // namespace seng
