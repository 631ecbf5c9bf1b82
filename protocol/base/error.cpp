#include "protocol/base/error.h"
